/* SPDX-License-Identifier: MIT */
/*
 * Checks for the programs that compare an allocator with what glibc does: abi,
 * cxxops, life.  Nothing here allocates, so it may be used at any time of a
 * process; lines go out by write(2).
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_CALL static inline __attribute__((unused))

/* What the case that runs now has found.  Counted atomically: threads check. */
static struct {
	const char *name;
	unsigned int checks;
	unsigned int failed;
	bool skipped;
} check_case;

__attribute__((format(printf, 1, 2))) CHECK_CALL void say(const char *format, ...)
{
	char line[400];
	va_list args;
	ssize_t done;
	int len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (len > (int)sizeof(line) - 2)
		len = sizeof(line) - 2;
	line[len] = '\n';
	done = write(STDOUT_FILENO, line, (size_t)len + 1);
	(void)done;
}

/* The first few failures of a case are shown, the rest are only counted. */
#define EXPECT(good, ...)                                                                          \
	(check_count(good) ? true : (check_show() ? say(__VA_ARGS__) : (void)0, false))

CHECK_CALL bool check_count(bool good)
{
	__atomic_fetch_add(&check_case.checks, 1, __ATOMIC_RELAXED);
	if (!good)
		__atomic_fetch_add(&check_case.failed, 1, __ATOMIC_RELAXED);
	return good;
}

CHECK_CALL bool check_show(void)
{
	return __atomic_load_n(&check_case.failed, __ATOMIC_RELAXED) <= 8;
}

CHECK_CALL void check_begin(const char *name)
{
	check_case.name = name;
	check_case.checks = 0;
	check_case.failed = 0;
	check_case.skipped = false;
}

/* The one line of a case; true if it has not failed. */
CHECK_CALL bool check_end(void)
{
	if (check_case.skipped && !check_case.failed)
		return true;
	if (check_case.failed)
		say("FAIL %s: %u of %u checks", check_case.name, check_case.failed,
		    check_case.checks);
	else
		say("ok %s: %u checks", check_case.name, check_case.checks);
	return !check_case.failed;
}

/* The case cannot go on. */
CHECK_CALL void check_give_up(const char *why)
{
	say("FAIL %s: %s", check_case.name, why);
	_exit(1);
}

CHECK_CALL void check_skip(const char *why)
{
	check_case.skipped = true;
	say("skip %s: %s", check_case.name, why);
}

/* ---- contents that tell which block they belong to ---- */

typedef uint64_t __attribute__((may_alias, aligned(1))) word_at_any_address;

CHECK_CALL uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

CHECK_CALL uint64_t rng_next(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15u);
}

CHECK_CALL size_t rng_below(uint64_t *state, size_t limit)
{
	return rng_next(state) % limit;
}

/* 0 .. max, each power of two as likely as the next: most blocks are small. */
CHECK_CALL size_t rng_size(uint64_t *state, size_t max)
{
	unsigned int bits = 64 - (unsigned int)__builtin_clzl(max | 1);
	size_t mask = ((size_t)2 << rng_below(state, bits)) - 1;

	return (rng_next(state) & mask) % (max + 1);
}

CHECK_CALL uint64_t pattern_at(uint64_t seed, size_t idx)
{
	return (seed + idx) * 0x9e3779b97f4a7c15u ^ seed << 17;
}

CHECK_CALL void pattern_fill(void *block, size_t size, uint64_t seed)
{
	word_at_any_address *words = (word_at_any_address *)block;
	unsigned char *bytes = (unsigned char *)block;
	size_t idx;

	for (idx = 0; idx < size / 8; idx++)
		words[idx] = pattern_at(seed, idx);
	for (idx *= 8; idx < size; idx++)
		bytes[idx] = (unsigned char)(pattern_at(seed, idx / 8) >> idx % 8 * 8);
}

/* The offset of the first wrong byte, or -1. */
CHECK_CALL ptrdiff_t pattern_wrong(const void *block, size_t size, uint64_t seed)
{
	const word_at_any_address *words = (const word_at_any_address *)block;
	const unsigned char *bytes = (const unsigned char *)block;
	size_t idx;

	for (idx = 0; idx < size / 8 && words[idx] == pattern_at(seed, idx);)
		idx++;
	for (idx *= 8; idx < size; idx++)
		if (bytes[idx] != (unsigned char)(pattern_at(seed, idx / 8) >> idx % 8 * 8))
			return (ptrdiff_t)idx;
	return -1;
}

/* The offset of the first byte that is not zero, or -1. */
CHECK_CALL ptrdiff_t zero_wrong(const void *block, size_t size)
{
	const word_at_any_address *words = (const word_at_any_address *)block;
	const unsigned char *bytes = (const unsigned char *)block;
	size_t idx;

	for (idx = 0; idx < size / 8 && !words[idx];)
		idx++;
	for (idx *= 8; idx < size; idx++)
		if (bytes[idx])
			return (ptrdiff_t)idx;
	return -1;
}

CHECK_CALL bool is_aligned(const void *block, size_t alignment)
{
	return ((uintptr_t)block & (alignment - 1)) == 0;
}

/* ---- sizes around everything that may be a boundary ---- */

enum { KIB = 1 << 10, MIB = 1 << 20, LADDER_ROOM = 1200 };

/* Put the sizes 0 .. @max into @sizes, rising; returns how many there are. */
CHECK_CALL size_t ladder(size_t *sizes, size_t max)
{
	static const int around[] = { -17, -16, -1, 0, 1, 16, 17 };
	size_t n = 0;

	for (size_t size = 0; size <= 256 && size <= max; size++)
		sizes[n++] = size;
	for (size_t step = 256; step <= max; step *= 2)
		for (size_t quarter = 0; quarter < 4; quarter++)
			for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
				size_t size = step + step / 4 * quarter + (size_t)around[i];

				if (size <= max && size > sizes[n - 1] && n < LADDER_ROOM)
					sizes[n++] = size;
			}
	return n;
}

/* ---- a program of cases ---- */

struct check_test {
	const char *name;
	void (*run)(void);
};

static uint64_t seed __attribute__((unused)) = 1;

CHECK_CALL size_t resident(void)
{
	unsigned long total = 0, rss = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file && fscanf(file, "%lu %lu", &total, &rss) != 2)
		rss = 0;
	if (file)
		fclose(file);
	return rss * (size_t)sysconf(_SC_PAGESIZE);
}

/* Labyrinth promises more than glibc has, and is held to it. */
CHECK_CALL bool is_labyrinth(void)
{
	const char *preloaded = getenv("LD_PRELOAD");

	return preloaded && strstr(preloaded, "labyrinth");
}

CHECK_CALL bool check_run(const struct check_test *test)
{
	check_begin(test->name);
	test->run();
	return check_end();
}

CHECK_CALL bool check_run_in_child(const struct check_test *test, unsigned int seconds)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(seconds);
		_exit(!check_run(test));
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		say("FAIL %s: %s (signal %d)", test->name,
		    WTERMSIG(status) == SIGALRM ? "hung" : "crashed", WTERMSIG(status));
	return status == 0;
}

/*
 * main() of such a program: [--seed N] [--direct] [CASE...].  Each case runs in
 * a child, with a time limit, so that a crash or a hang costs one line only;
 * --direct runs one after the other in this process.
 */
CHECK_CALL int check_main(int argc, char **argv, const struct check_test *tests, size_t n)
{
	bool direct = false, good = true;
	int first = 1;

	for (; first < argc && argv[first][0] == '-'; first++) {
		if (!strcmp(argv[first], "--direct"))
			direct = true;
		else if (!strcmp(argv[first], "--seed") && first + 1 < argc)
			seed = strtoull(argv[++first], NULL, 0);
		else
			return 2;
	}
	say("seed %llu", (unsigned long long)seed);
	for (size_t i = 0; i < n; i++) {
		bool wanted = first == argc;

		for (int k = first; k < argc; k++)
			wanted |= !strcmp(argv[k], tests[i].name);
		if (wanted)
			good &= direct ? check_run(&tests[i]) : check_run_in_child(&tests[i], 60);
	}
	return !good;
}

#endif
