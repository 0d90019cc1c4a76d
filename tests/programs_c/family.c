// SPDX-License-Identifier: MIT
/*
 * The rest of the malloc family, beside what allocates: C23's sized free(),
 * cfree(), mallinfo(), mallopt(), malloc_trim(), malloc_stats(), malloc_info();
 * and that none of the family is a cancellation point.
 *
 *   gcc -std=gnu11 -O2 -Wall -Wextra -fno-builtin -o family family.c -pthread
 *   [LD_PRELOAD=...] ./family [--direct] [CASE...]
 *
 * What the C library does not have (C23) is skipped, unless LD_PRELOAD names
 * labyrinth, which promises it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

#include "check.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* mallinfo() */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t sizes[LADDER_ROOM];

/* ---- what C23 and old programs add ---- */

/* The function that the program would get, if it comes from malloc's library. */
static void *from_same_library(const char *name)
{
	Dl_info info, own;
	void *function = dlsym(RTLD_DEFAULT, name);

	if (!function) {
		EXPECT(!is_labyrinth(), "no %s()", name);
		return NULL;
	}
	if (dladdr(dlsym(RTLD_DEFAULT, "malloc"), &own) && dladdr(function, &info) &&
	    info.dli_fbase == own.dli_fbase)
		return function;
	EXPECT(!is_labyrinth(), "%s() comes from %s", name, info.dli_fname);
	return NULL;
}

static void test_family_is_complete(void)
{
	static const char *const names[] = {
		"malloc",	"free",	       "calloc",	"realloc",
		"reallocarray", "memalign",    "aligned_alloc", "posix_memalign",
		"valloc",	"pvalloc",     "cfree",		"malloc_usable_size",
		"malloc_trim",	"mallinfo",    "mallinfo2",	"mallopt",
		"malloc_stats", "malloc_info", "free_sized",	"free_aligned_sized",
	};

	if (!is_labyrinth())
		return check_skip("only Labyrinth promises the whole family");
	for (size_t i = 0; i < COUNT(names); i++)
		EXPECT(from_same_library(names[i]), "%s() is missing", names[i]);
}

static void test_free_sized(void)
{
	void (*free_sized)(void *, size_t) = from_same_library("free_sized");
	void (*free_aligned_sized)(void *, size_t, size_t) =
		from_same_library("free_aligned_sized");
	size_t n = ladder(sizes, 8 * MIB);

	if (!free_sized || !free_aligned_sized)
		return check_skip("no C23 functions here");
	errno = 1789;
	free_sized(NULL, 0);
	free_sized(NULL, 100);
	free_aligned_sized(NULL, 64, 128);
	for (size_t i = 0; i < n; i++) {
		size_t whole = (sizes[i] + 63) / 64 * 64;

		free_sized(malloc(sizes[i]), sizes[i]);
		free_sized(calloc(1, sizes[i]), sizes[i]);
		free_sized(realloc(malloc(3), sizes[i] + 1), sizes[i] + 1);
		free_aligned_sized(aligned_alloc(64, whole), 64, whole);
		free_aligned_sized(aligned_alloc(8192, 8192 * (1 + i % 9)), 8192,
				   8192 * (1 + i % 9));
		EXPECT(errno == 1789, "%zu bytes: errno %d", sizes[i], errno);
	}
	for (size_t i = 0; i < 100000; i++) {
		char *block = malloc(10000);

		*(volatile char *)block = 1;
		free_sized(block, 10000);
	}
	EXPECT(resident() < 512 * MIB, "free_sized() does not free");
}

static void test_cfree(void)
{
	void (*cfree)(void *) = from_same_library("cfree");

	if (!cfree)
		return check_skip("no cfree() here");
	cfree(NULL);
	for (size_t size = 0; size < MIB; size += 1 + size / 4) {
		errno = 1789;
		cfree(calloc(1, size));
		EXPECT(errno == 1789, "cfree(%zu) set errno to %d", size, errno);
	}
}

/* ---- reports ---- */

static void test_mallinfo(void)
{
	enum { BLOCKS = 1000, BYTES = 10000 };
	static void *block[BLOCKS];
	struct mallinfo2 before = mallinfo2(), after, freed;
	struct mallinfo old;

	for (size_t i = 0; i < BLOCKS; i++)
		block[i] = memset(malloc(BYTES), 1, BYTES);
	after = mallinfo2();
	EXPECT(after.uordblks >= before.uordblks + BLOCKS * BYTES,
	       "uordblks %zu, then %zu with %u bytes more", before.uordblks, after.uordblks,
	       BLOCKS * BYTES);
	EXPECT(after.uordblks < before.uordblks + 4u * BLOCKS * BYTES, "uordblks %zu is too much",
	       after.uordblks);
	EXPECT(after.uordblks <= after.arena + after.hblkhd, "uordblks %zu, but arena only %zu",
	       after.uordblks, after.arena);
	old = mallinfo();
	EXPECT((size_t)old.uordblks >= BLOCKS * BYTES, "mallinfo().uordblks %d", old.uordblks);
	for (size_t i = 0; i < BLOCKS; i++)
		free(block[i]);
	freed = mallinfo2();
	EXPECT(freed.uordblks <= after.uordblks - BLOCKS * BYTES / 2,
	       "uordblks %zu, still %zu after free", after.uordblks, freed.uordblks);
	block[0] = malloc(100 * MIB);
	after = mallinfo2();
	EXPECT(after.uordblks + after.hblkhd >= freed.uordblks + freed.hblkhd + 100 * MIB,
	       "100 MiB are not seen: uordblks %zu, hblkhd %zu", after.uordblks, after.hblkhd);
	free(block[0]);
}

static void test_mallopt_and_trim(void)
{
	static const int params[][2] = { { M_MMAP_THRESHOLD, 128 * KIB },
					 { M_MXFAST, 64 },
					 { M_TRIM_THRESHOLD, 256 * KIB },
					 { M_TOP_PAD, 64 * KIB },
					 { M_MMAP_MAX, 1000 },
					 { M_CHECK_ACTION, 1 },
					 { M_ARENA_TEST, 1 },
					 { M_ARENA_MAX, 8 } };
	int got;

	for (size_t i = 0; i < COUNT(params); i++)
		EXPECT(mallopt(params[i][0], params[i][1]) == 1, "mallopt(%d) is not 1",
		       params[i][0]);
	for (unsigned int i = 0; i < 3; i++) {
		errno = 1789;
		got = malloc_trim(i * 4096);
		EXPECT(got == 0 || got == 1, "malloc_trim() = %d", got);
		EXPECT(errno == 1789, "malloc_trim() set errno to %d", errno);
		free(malloc(10 * MIB));
	}
}

/* What @call writes to stderr, without the terminator; in @text. */
static size_t stderr_of(void (*call)(void), char *text, size_t room)
{
	int keep = dup(2), file = memfd_create("stderr", 0);
	ssize_t len;

	dup2(file, 2);
	call();
	fflush(stderr);
	dup2(keep, 2);
	close(keep);
	len = pread(file, text, room - 1, 0);
	close(file);
	text[len > 0 ? len : 0] = '\0';
	return len > 0 ? (size_t)len : 0;
}

static void test_stats_and_info(void)
{
	static char text[1 << 16];
	char *stream_text = NULL;
	size_t stream_size = 0;
	FILE *stream;

	EXPECT(stderr_of(malloc_stats, text, sizeof(text)) > 0, "malloc_stats() is silent");
	EXPECT(strchr(text, '\n') != NULL, "malloc_stats() has written no line");

	stream = open_memstream(&stream_text, &stream_size);
	EXPECT(malloc_info(1, stream) == EINVAL, "malloc_info(1) is not EINVAL");
	fflush(stream);
	EXPECT(stream_size == 0, "malloc_info(1) has written");
	EXPECT(malloc_info(0, stream) == 0, "malloc_info(0) is not 0");
	fclose(stream);
	EXPECT(strncmp(stream_text, "<malloc version=", 16) == 0, "malloc_info(): begins '%.20s'",
	       stream_text);
	EXPECT(strstr(stream_text, "</malloc>\n") != NULL, "malloc_info(): no end");
	free(stream_text);
}

/* ---- threads ---- */

static int cancel_reached;

static void *calls_with_cancellation_pending(void *calls)
{
	pthread_cancel(pthread_self());
	((void (*)(void))calls)();
	__atomic_store_n(&cancel_reached, 1, __ATOMIC_RELAXED);
	pthread_testcancel();
	return NULL;
}

static void the_whole_family(void)
{
	void *block;

	for (size_t size = 1; size <= 64 * MIB; size *= 4) {
		block = realloc(calloc(1, size), 2 * size);
		free(block);
		if (posix_memalign(&block, 4096, size) == 0)
			free(block);
		free(malloc(size));
	}
	malloc_trim(0);
	mallinfo2();
}

static void in_cancelled_thread(void (*calls)(void))
{
	pthread_t thread;
	void *result = NULL;

	cancel_reached = 0;
	EXPECT(pthread_create(&thread, NULL, calls_with_cancellation_pending, (void *)calls) == 0,
	       "no thread");
	pthread_join(thread, &result);
	EXPECT(cancel_reached && result == PTHREAD_CANCELED, "was cancelled too early");
}

static void stats_in_cancelled_thread(void)
{
	in_cancelled_thread(malloc_stats);
}

static void test_no_cancellation_point(void)
{
	static char text[1 << 16];

	in_cancelled_thread(the_whole_family);
	stderr_of(stats_in_cancelled_thread, text, sizeof(text));
}

static const struct check_test tests[] = {
	{ "family_is_complete", test_family_is_complete },
	{ "free_sized", test_free_sized },
	{ "cfree", test_cfree },
	{ "mallinfo", test_mallinfo },
	{ "mallopt_and_trim", test_mallopt_and_trim },
	{ "stats_and_info", test_stats_and_info },
	{ "no_cancellation_point", test_no_cancellation_point },
};

int main(int argc, char **argv)
{
	return check_main(argc, argv, tests, COUNT(tests));
}
