/* SPDX-License-Identifier: MIT */
/* What regress.c and regress_calls.c share: figures of this process, contents. */
#ifndef TESTS_REGRESS_H
#define TESTS_REGRESS_H

#include "check.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/resource.h>

#define PATTERN_SEED 77u

/* A line of /proc/self/status in bytes; allocates nothing, as memory may be out. */
CHECK_CALL size_t status_bytes(const char *key)
{
	char text[4096], *line;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		check_give_up("cannot read /proc/self/status");
	text[n] = '\0';
	line = strstr(text, key);
	return line ? strtoul(line + strlen(key), NULL, 10) << 10 : 0;
}

/* Address space may grow by so much from now on; a negative number: as it likes. */
CHECK_CALL void limit_growth(long bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = bytes < 0 ? limit.rlim_max : status_bytes("VmSize:") + (size_t)bytes;
	if (setrlimit(RLIMIT_AS, &limit))
		check_give_up("setrlimit");
}

/* A block whose contents are known, or NULL. */
CHECK_CALL char *filled(size_t size)
{
	char *block = malloc(size);

	if (block)
		pattern_fill(block, size, PATTERN_SEED);
	return block;
}

CHECK_CALL void expect_filled(const char *block, size_t size, const char *what)
{
	EXPECT(pattern_wrong(block, size, PATTERN_SEED) < 0, "%s: %zu bytes at %p, wrong at %td",
	       what, size, (const void *)block, pattern_wrong(block, size, PATTERN_SEED));
}

/* Huge blocks as a program uses them later on: written to in full. */
CHECK_CALL void use_huge(void)
{
	static const size_t sizes[] = { 5, 70, 3, 100, 20, 9 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		char *one = malloc(sizes[i] * MIB), *other = malloc(3 * MIB);

		if (!EXPECT(one && other, "malloc(%zu MiB) is NULL", sizes[i]))
			return;
		memset(one, 1, sizes[i] * MIB);
		memset(other, 2, 3 * MIB);
		free(one);
		free(other);
	}
}

#endif /* TESTS_REGRESS_H */
