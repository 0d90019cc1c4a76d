// SPDX-License-Identifier: MIT
/*
 * The malloc family at its edges, compared with what glibc 2.36 does.  Plain
 * glibc passes all of it; a replacement is to do the same.
 *
 *   gcc -std=gnu11 -O2 -Wall -Wextra -fno-builtin -o abi abi.c -pthread
 *   [LD_PRELOAD=...] ./abi [--direct] [CASE...]
 *
 * -fno-builtin is needed: else gcc removes pairs of malloc() and free(), and
 * knows what errno is afterwards.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>

#include "check.h"

/* Requests that cannot succeed, and blocks that outlive them, are the point. */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Walloc-size-larger-than="
#pragma GCC diagnostic ignored "-Wuse-after-free"
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t page;

/* Beyond each of these lies the largest object that C can have. */
static const size_t too_large[] = {
	SIZE_MAX,	  SIZE_MAX - 1,	    SIZE_MAX - 7,
	SIZE_MAX - 15,	  SIZE_MAX - 31,    SIZE_MAX - 4095,
	SIZE_MAX - 4096,  SIZE_MAX - 65535, SIZE_MAX - (2 * MIB),
	SIZE_MAX / 2 + 1, SIZE_MAX / 2 + 2, SIZE_MAX / 2 + 4096,
	SIZE_MAX / 4 * 3,
};

/* What no machine has; a request for it fails in mmap() at the latest. */
static const size_t out_of_reach[] = {
	SIZE_MAX / 2, SIZE_MAX / 2 - 4095, (size_t)1 << 62, (size_t)1 << 50, (size_t)1 << 48,
};

static size_t sizes[LADDER_ROOM];

/* ---- sizes of nothing ---- */

static void *zero_size(unsigned int how)
{
	void *block = NULL;

	switch (how) {
	case 0:
		return malloc(0);
	case 1:
		return calloc(0, 8);
	case 2:
		return calloc(8, 0);
	case 3:
		return realloc(NULL, 0);
	case 4:
		return reallocarray(NULL, 0, 8);
	case 5:
		return memalign(64, 0);
	case 6:
		return aligned_alloc(64, 0);
	case 7:
		return posix_memalign(&block, 64, 0) ? NULL : block;
	case 8:
		return valloc(0);
	default:
		return pvalloc(0);
	}
}

static void test_zero_size_is_unique(void)
{
	enum { HOWS = 10, EACH = 40 };
	void *block[HOWS * EACH];

	for (size_t i = 0; i < COUNT(block); i++) {
		block[i] = zero_size(i % HOWS);
		EXPECT(block[i], "way %zu to allocate nothing returned NULL", i % HOWS);
		EXPECT(is_aligned(block[i], 16), "way %zu: %p", i % HOWS, block[i]);
		for (size_t k = 0; k < i; k++)
			EXPECT(block[k] != block[i], "%p twice (%zu, %zu)", block[i], k, i);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
}

/* realloc(p, 0) is free(p), and says NULL. */
static void test_realloc_zero_frees(void)
{
	static const size_t each[] = { 0, 1, 16, 1000, 4096, 100000, 10 * MIB };
	size_t before;

	for (size_t i = 0; i < COUNT(each); i++) {
		void *block = malloc(each[i]);

		errno = 1234;
		EXPECT(realloc(block, 0) == NULL, "realloc(%zu bytes, 0) is not NULL", each[i]);
		EXPECT(errno == 1234, "realloc(%zu bytes, 0) set errno to %d", each[i], errno);
		EXPECT(reallocarray(malloc(each[i]), 0, 8) == NULL, "reallocarray(p, 0, 8)");
		EXPECT(reallocarray(malloc(each[i]), 8, 0) == NULL, "reallocarray(p, 8, 0)");
	}
	before = resident();
	for (unsigned int i = 0; i < 1000000; i++) {
		char *block = malloc(1024);

		*(volatile char *)block = 1;
		if (!EXPECT(realloc(block, 0) == NULL, "realloc(p, 0) is not NULL"))
			break;
	}
	for (unsigned int i = 0; i < 32; i++) {
		char *block = malloc(64 * MIB);

		for (size_t at = 0; at < 64 * MIB; at += page)
			((volatile char *)block)[at] = 1;
		if (!EXPECT(realloc(block, 0) == NULL, "realloc(p, 0) is not NULL"))
			break;
	}
	EXPECT(resident() < before + 512 * MIB, "%zu MiB have not been freed",
	       (resident() - before) / MIB);
}

static void test_realloc_null_allocates(void)
{
	for (size_t size = 0; size < 20000; size += 1 + size / 8) {
		char *block = realloc(NULL, size), *array = reallocarray(NULL, size, 3);

		EXPECT(block && is_aligned(block, 16), "realloc(NULL, %zu) = %p", size, block);
		EXPECT(array && malloc_usable_size(array) >= 3 * size, "reallocarray(NULL)");
		pattern_fill(block, size, 1);
		pattern_fill(array, 3 * size, 2);
		EXPECT(pattern_wrong(block, size, 1) < 0, "realloc(NULL, %zu): contents", size);
		free(block);
		free(array);
	}
}

/* ---- sizes of too much ---- */

#define EXPECT_NO_MEMORY(call)                                                                     \
	do {                                                                                       \
		errno = 0;                                                                         \
		void *got_ = (call);                                                               \
		EXPECT(got_ == NULL && errno == ENOMEM, "%s, size %#zx: %p, errno %d", #call,      \
		       size, got_, errno);                                                         \
	} while (0)

static void refuses_size(size_t size)
{
	char *old = malloc(100);
	void *out = old;
	int err;

	pattern_fill(old, 100, size);
	EXPECT_NO_MEMORY(malloc(size));
	EXPECT_NO_MEMORY(calloc(1, size));
	EXPECT_NO_MEMORY(calloc(size, 1));
	EXPECT_NO_MEMORY(calloc(size / 8 + 1, 8));
	EXPECT_NO_MEMORY(realloc(NULL, size));
	EXPECT_NO_MEMORY(realloc(old, size));
	EXPECT_NO_MEMORY(reallocarray(old, 1, size));
	EXPECT_NO_MEMORY(reallocarray(old, size, 1));
	EXPECT_NO_MEMORY(valloc(size));
	EXPECT_NO_MEMORY(pvalloc(size));
	for (size_t alignment = 8; alignment; alignment <<= 1) {
		EXPECT_NO_MEMORY(memalign(alignment, size));
		EXPECT_NO_MEMORY(aligned_alloc(alignment, size));
		err = posix_memalign(&out, alignment, size);
		EXPECT(err == ENOMEM, "posix_memalign(%#zx, %#zx) = %d", alignment, size, err);
		EXPECT(out == old, "posix_memalign(%#zx) wrote its result", size);
	}
	EXPECT(malloc_usable_size(old) >= 100, "the old block has changed its size");
	EXPECT(pattern_wrong(old, 100, size) < 0, "the old block has changed");
	free(old);
}

static void test_too_large_sets_enomem(void)
{
	for (size_t i = 0; i < COUNT(too_large); i++)
		refuses_size(too_large[i]);
	for (size_t i = 0; i < COUNT(out_of_reach); i++)
		refuses_size(out_of_reach[i]);
}

/* A realloc() that fails leaves blocks of every size as they were. */
static void test_failed_realloc_keeps_block(void)
{
	size_t n = ladder(sizes, 4 * MIB);

	for (size_t i = 0; i < n; i += 7) {
		size_t usable, size = sizes[i];
		char *block = malloc(size);

		usable = malloc_usable_size(block);
		pattern_fill(block, usable, i);
		EXPECT_NO_MEMORY(realloc(block, SIZE_MAX / 2 + 1));
		EXPECT_NO_MEMORY(realloc(block, SIZE_MAX));
		EXPECT_NO_MEMORY(realloc(block, (size_t)1 << 50));
		EXPECT_NO_MEMORY(reallocarray(block, SIZE_MAX / 8, 9));
		EXPECT(malloc_usable_size(block) == usable, "%zu bytes: usable size", size);
		EXPECT(pattern_wrong(block, usable, i) < 0, "%zu bytes: contents", size);
		free(block);
	}
}

static void test_products_that_overflow(void)
{
	static const size_t factor[][2] = {
		{ SIZE_MAX, SIZE_MAX },
		{ SIZE_MAX / 2 + 1, 2 },
		{ SIZE_MAX, 2 },
		{ (size_t)1 << 32, (size_t)1 << 32 },
		{ ((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1 },
		{ SIZE_MAX / 3 + 1, 3 },
		{ SIZE_MAX / 8 + 2, 8 },
		{ SIZE_MAX / 24 + 1, 24 },
		{ (SIZE_MAX >> 20) + 2, MIB },
	};

	for (size_t i = 0; i < COUNT(factor); i++) {
		size_t a = factor[i][0], b = factor[i][1], size = a * b;
		char *old = malloc(3000);

		pattern_fill(old, 3000, i);
		EXPECT_NO_MEMORY(calloc(a, b));
		EXPECT_NO_MEMORY(calloc(b, a));
		EXPECT_NO_MEMORY(reallocarray(NULL, a, b));
		EXPECT_NO_MEMORY(reallocarray(old, a, b));
		EXPECT_NO_MEMORY(reallocarray(old, b, a));
		EXPECT(pattern_wrong(old, 3000, i) < 0, "the old block has changed");
		free(old);
	}
}

/* ---- alignment ---- */

static void test_posix_memalign_refuses(void)
{
	static const size_t bad[] = { 0,
				      1,
				      2,
				      3,
				      4,
				      5,
				      7,
				      9,
				      12,
				      24,
				      40,
				      48,
				      4095,
				      4097,
				      6144,
				      SIZE_MAX,
				      SIZE_MAX - 7,
				      (size_t)3 << 40 };

	for (size_t i = 0; i < COUNT(bad); i++) {
		void *out = &seed;
		int err;

		errno = 1234;
		err = posix_memalign(&out, bad[i], 100);
		EXPECT(err == EINVAL, "posix_memalign(%#zx) = %d", bad[i], err);
		EXPECT(out == &seed, "posix_memalign(%#zx) wrote its result", bad[i]);
		EXPECT(errno == 1234, "posix_memalign(%#zx) set errno to %d", bad[i], errno);
	}
}

/* memalign() and, in glibc 2.36, aligned_alloc() round up to a power of two. */
static void test_odd_alignments_round_up(void)
{
	static const size_t odd[][2] = {
		{ 0, 16 },     { 1, 16 },      { 2, 16 },      { 3, 16 },	   { 15, 16 },
		{ 17, 32 },    { 24, 32 },     { 33, 64 },     { 48, 64 },	   { 100, 128 },
		{ 513, 1024 }, { 3000, 4096 }, { 4097, 8192 }, { 100000, 131072 },
	};
	static const size_t each[] = { 0, 1, 10, 48, 100, 4096, 5000, 70000 };

	for (size_t i = 0; i < COUNT(odd); i++)
		for (size_t k = 0; k < COUNT(each); k++) {
			char *one = memalign(odd[i][0], each[k]);
			char *two = aligned_alloc(odd[i][0], each[k]);

			EXPECT(one && is_aligned(one, odd[i][1]), "memalign(%zu, %zu) = %p",
			       odd[i][0], each[k], one);
			EXPECT(two && is_aligned(two, odd[i][1]), "aligned_alloc(%zu, %zu) = %p",
			       odd[i][0], each[k], two);
			free(one);
			free(two);
		}
	for (size_t size = 0; size <= 8; size += 8) {
		volatile size_t half = SIZE_MAX / 2 + 1; /* the largest power of two */

		errno = 0;
		EXPECT(!memalign(half + 1, size) && errno == EINVAL,
		       "memalign(SIZE_MAX / 2 + 2): errno %d", errno);
		errno = 0;
		EXPECT(!aligned_alloc(half + half - 1, size) && errno == EINVAL,
		       "aligned_alloc(SIZE_MAX): errno %d", errno);
		EXPECT_NO_MEMORY(memalign(half, size));
		EXPECT_NO_MEMORY(memalign(half >> 13, size));
	}
}

static void test_every_block_is_16_aligned(void)
{
	size_t n = ladder(sizes, 8 * MIB);

	for (size_t i = 0; i < n; i++) {
		char *block[4];

		block[0] = malloc(sizes[i]);
		block[1] = calloc(1, sizes[i]);
		block[2] = realloc(malloc(1), sizes[i] + 1);
		block[3] = realloc(malloc(sizes[i]), sizes[i] / 2 + 1);
		for (size_t k = 0; k < COUNT(block); k++) {
			EXPECT(block[k] && is_aligned(block[k], 16), "way %zu, %zu bytes: %p", k,
			       sizes[i], block[k]);
			free(block[k]);
		}
	}
}

static void *aligned(unsigned int how, size_t alignment, size_t size)
{
	void *block = NULL;

	if (how == 0)
		return memalign(alignment, size);
	if (how == 1)
		return aligned_alloc(alignment, size);
	return posix_memalign(&block, alignment, size) ? NULL : block;
}

/* All of one alignment live at once: none overlaps another. */
static void test_alignments_by_sizes(void)
{
	static const size_t each[] = { 0,      1,      7,	8,	 15,	16,
				       17,     31,     32,	64,	 100,	128,
				       1000,   1024,   2048,	4095,	 4096,	4097,
				       8192,   12288,  16384,	65535,	 65536, 131072,
				       200000, 262144, 1 << 19, MIB - 1, MIB };
	void *block[COUNT(each) * 3];

	for (size_t alignment = 8; alignment <= MIB; alignment *= 2) {
		for (size_t i = 0; i < COUNT(block); i++) {
			size_t size = each[i / 3];

			block[i] = aligned(i % 3, alignment, size);
			if (!EXPECT(block[i] && is_aligned(block[i], alignment),
				    "way %zu, alignment %zu, %zu bytes: %p", i % 3, alignment, size,
				    block[i]))
				continue;
			EXPECT(malloc_usable_size(block[i]) >= size,
			       "alignment %zu, %zu bytes: usable %zu", alignment, size,
			       malloc_usable_size(block[i]));
			pattern_fill(block[i], malloc_usable_size(block[i]), alignment + i);
		}
		for (size_t i = 0; i < COUNT(block); i++) {
			size_t keep = each[i / 3] < 3000 ? each[i / 3] : 3000;

			if (!block[i])
				continue;
			EXPECT(pattern_wrong(block[i], malloc_usable_size(block[i]),
					     alignment + i) < 0,
			       "alignment %zu, %zu bytes: contents", alignment, each[i / 3]);
			if (i % 2)
				block[i] = realloc(block[i], 3000);
			EXPECT(pattern_wrong(block[i], keep, alignment + i) < 0,
			       "realloc of alignment %zu, %zu bytes", alignment, each[i / 3]);
			free(block[i]);
		}
	}
}

static void test_pages(void)
{
	size_t n = ladder(sizes, 1 * MIB);

	for (size_t i = 0; i < n; i++) {
		size_t whole = (sizes[i] + page - 1) / page * page;
		char *one = valloc(sizes[i]), *two = pvalloc(sizes[i]);

		EXPECT(one && is_aligned(one, page), "valloc(%zu) = %p", sizes[i], one);
		EXPECT(two && is_aligned(two, page), "pvalloc(%zu) = %p", sizes[i], two);
		EXPECT(malloc_usable_size(one) >= sizes[i], "valloc(%zu): usable", sizes[i]);
		EXPECT(malloc_usable_size(two) >= whole, "pvalloc(%zu): usable %zu", sizes[i],
		       malloc_usable_size(two));
		pattern_fill(one, sizes[i], 1);
		pattern_fill(two, whole, 2);
		EXPECT(pattern_wrong(one, sizes[i], 1) < 0, "valloc(%zu): contents", sizes[i]);
		free(one);
		free(two);
	}
	for (size_t size = SIZE_MAX; size >= SIZE_MAX - 3 * page; size -= page / 2) {
		EXPECT_NO_MEMORY(valloc(size));
		EXPECT_NO_MEMORY(pvalloc(size));
	}
}

/* ---- errno ---- */

static void test_errno_is_kept(void)
{
	static const size_t each[] = { 0,	1,	  24,	    1000,      4096,
				       5000,	32 * KIB, 100000,   256 * KIB, MIB,
				       5318153, 64 * MIB, 256 * MIB };
	errno = 1789;
	free(NULL);
	EXPECT(errno == 1789, "free(NULL) set errno to %d", errno);
	for (size_t i = 0; i < COUNT(each); i++) {
		void *block[5];

		errno = 1789;
		block[0] = malloc(each[i]);
		EXPECT(errno == 1789, "malloc(%zu) set errno to %d", each[i], errno);
		block[1] = calloc(1, each[i]);
		block[2] = memalign(4096, each[i]);
		block[3] = realloc(malloc(10), each[i] + 1);
		block[4] = realloc(malloc(each[i]), each[i] * 2 + 1);
		EXPECT(errno == 1789, "calloc, memalign or realloc(%zu): errno %d", each[i], errno);
		for (size_t k = 0; k < COUNT(block); k++) {
			size_t usable = malloc_usable_size(block[k]);

			EXPECT(usable >= each[i] && errno == 1789, "usable size, errno %d", errno);
			free(block[k]);
			EXPECT(errno == 1789, "free(%zu) set errno to %d", each[i], errno);
		}
		block[0] = malloc(each[i]);
		errno = 0;
		block[1] = malloc(SIZE_MAX);
		EXPECT(!block[1] && errno == ENOMEM, "malloc(SIZE_MAX): errno %d", errno);
		free(block[0]);
		EXPECT(errno == ENOMEM, "free(%zu) after a failure: errno %d", each[i], errno);
	}
}

static const struct check_test tests[] = {
	{ "zero_size_is_unique", test_zero_size_is_unique },
	{ "realloc_zero_frees", test_realloc_zero_frees },
	{ "realloc_null_allocates", test_realloc_null_allocates },
	{ "too_large_sets_enomem", test_too_large_sets_enomem },
	{ "failed_realloc_keeps_block", test_failed_realloc_keeps_block },
	{ "products_that_overflow", test_products_that_overflow },
	{ "posix_memalign_refuses", test_posix_memalign_refuses },
	{ "odd_alignments_round_up", test_odd_alignments_round_up },
	{ "every_block_is_16_aligned", test_every_block_is_16_aligned },
	{ "alignments_by_sizes", test_alignments_by_sizes },
	{ "pages", test_pages },
	{ "errno_is_kept", test_errno_is_kept },
};

int main(int argc, char **argv)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	return check_main(argc, argv, tests, COUNT(tests));
}
