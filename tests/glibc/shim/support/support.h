/* SPDX-License-Identifier: MIT */
/* Calls that end the test when they fail. */
#ifndef SHIM_SUPPORT_SUPPORT_H
#define SHIM_SUPPORT_SUPPORT_H

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <support/check.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHIM_CALL static inline __attribute__((unused))

SHIM_CALL void *xmalloc(size_t bytes)
{
	void *block = malloc(bytes);

	if (!block)
		FAIL_EXIT1("malloc(%zu): %m", bytes);
	return block;
}

SHIM_CALL void *xcalloc(size_t count, size_t bytes)
{
	void *block = calloc(count, bytes);

	if (!block)
		FAIL_EXIT1("calloc(%zu, %zu): %m", count, bytes);
	return block;
}

SHIM_CALL void *xrealloc(void *old, size_t bytes)
{
	void *block = realloc(old, bytes);

	if (!block && bytes)
		FAIL_EXIT1("realloc(%zu): %m", bytes);
	return block;
}

SHIM_CALL char *xstrdup(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		FAIL_EXIT1("strdup: %m");
	return copy;
}

SHIM_CALL __attribute__((format(printf, 1, 2))) char *xasprintf(const char *format, ...)
{
	char *text;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		FAIL_EXIT1("asprintf: %m");
	return text;
}

/* Called from signal handlers. */
SHIM_CALL void write_message(const char *text)
{
	ssize_t done = write(STDOUT_FILENO, text, strlen(text));

	(void)done;
}

SHIM_CALL int ignore_stderr(void)
{
	int fd = open("/dev/null", O_WRONLY);

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		FAIL_EXIT1("/dev/null: %m");
	return fd;
}

/* Memory that a child shares; the length is kept in front of it. */
SHIM_CALL void *support_shared_allocate(size_t bytes)
{
	size_t *base =
		mmap(NULL, bytes + 64, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		FAIL_EXIT1("mmap: %m");
	base[0] = bytes + 64;
	return (char *)base + 64;
}

SHIM_CALL void support_shared_free(void *block)
{
	size_t *base = (void *)((char *)block - 64);

	if (munmap(base, base[0]))
		FAIL_EXIT1("munmap: %m");
}

#endif
