/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "labyrinth.h"
#include "pcp/flow.h"
#include "slab/cache.h"
#include "slab/large.h"

static bool is_live(const void *ptr)
{
	unsigned int cls = lab_mem_kind(ptr);

	return lab_byte_get(lab_live_byte(ptr, LAB_LIVE_SHIFT_OF(cls))) == lab_live_value(ptr);
}

/* sizes around every boundary between classes, kinds and layers */
static size_t next_size(size_t size)
{
	size_t step = size < 600 ? 1 : size < 5000 ? 13 : size < 40000 ? 509 : size / 7;

	return size + step;
}

/* A block of any size is aligned, large enough, not much larger, and ours to write. */
static void test_malloc_of_every_size_is_aligned_and_large_enough(void **state)
{
	size_t size;

	(void)state;
	for (size = 0; size <= 20u << 20; size = next_size(size)) {
		char *p = labyrinth_heap_malloc(size);
		size_t have;

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		have = labyrinth_malloc_usable_size(p);
		assert_true(have >= size);
		assert_true(have <= 16 || have <= size + size / 8 + 16 ||
			    (size > 3840 && have == LAB_PAGE_BYTES) ||
			    (size > 32768 && have < size + LAB_PAGE_BYTES));
		memset(p, 0x5a, have);
		labyrinth_free(p);
	}
	assert_int_equal(labyrinth_malloc_usable_size(NULL), 0);
	labyrinth_free(NULL);
}

/* Between malloc and free, and only then, the live byte says so. */
static void test_live_byte_is_set_from_malloc_to_free(void **state)
{
	size_t size;

	(void)state;
	for (size = 1; size <= LAB_CLASS_MAX; size = next_size(size)) {
		char *p = labyrinth_heap_malloc(size), *q = labyrinth_heap_malloc(size);
		unsigned int shift = LAB_LIVE_SHIFT_OF(lab_mem_kind(p));

		assert_true(is_live(p) && is_live(q) && p != q);
		labyrinth_free(p);
		assert_int_equal(lab_byte_get(lab_live_byte(p, shift)), 0);
		assert_true(is_live(q));
		labyrinth_free(q);
	}
}

/* calloc() yields zeros, also where the memory was dirty a moment ago. */
static void test_calloc_after_dirty_reuse_is_zero(void **state)
{
	size_t size;

	(void)state;
	for (size = 1; size <= 12u << 20; size = next_size(size)) {
		char *p = labyrinth_heap_malloc(size);

		assert_non_null(p);
		memset(p, 0xff, labyrinth_malloc_usable_size(p));
		labyrinth_free(p);
		p = size % 3 ? labyrinth_heap_calloc(1, size) : labyrinth_heap_calloc(size / 3, 3);
		assert_non_null(p);
		assert_true(is_zero(p, size));
		memset(p, 0xff, size);
		labyrinth_free(p);
	}
	/* a huge block is zero to its last byte when it is not a multiple of a page */
	for (int i = 0; i < 3; i++) {
		char *p = labyrinth_heap_calloc(1, (5u << 20) + 100);

		assert_true(is_zero(p, (5u << 20) + 100));
		memset(p, 0xff, (5u << 20) + 100);
		labyrinth_free(p);
	}
}

/* Every member of the aligned family keeps the alignment it is asked for. */
static void test_aligned_family_keeps_every_alignment(void **state)
{
	static const size_t sizes[] = { 0,    1,    15,	  48,	 100,	129,	1000,
					3000, 4096, 4097, 20000, 40000, 300000, 3u << 20 };
	size_t align, i;

	(void)state;
	for (align = 1; align <= 64u << 20; align <<= 1) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			void *ptrs[3] = { labyrinth_heap_memalign(align, sizes[i]),
					  labyrinth_heap_aligned_alloc(align, sizes[i]), NULL };

			if (align >= sizeof(void *))
				assert_int_equal(
					labyrinth_heap_posix_memalign(&ptrs[2], align, sizes[i]),
					0);
			for (int j = 0; j < 2 + (align >= sizeof(void *)); j++) {
				assert_non_null(ptrs[j]);
				assert_int_equal((uintptr_t)ptrs[j] % align, 0);
				assert_true(labyrinth_malloc_usable_size(ptrs[j]) >= sizes[i]);
				memset(ptrs[j], j, sizes[i]);
			}
			for (int j = 0; j < 3; j++)
				labyrinth_free(ptrs[j]);
		}
	}
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *p = labyrinth_heap_valloc(sizes[i]), *q = labyrinth_heap_pvalloc(sizes[i]);

		assert_true(p && (uintptr_t)p % LAB_PAGE_BYTES == 0);
		assert_true(q && (uintptr_t)q % LAB_PAGE_BYTES == 0);
		assert_true(labyrinth_malloc_usable_size(q) >=
			    lab_align_up(sizes[i], LAB_PAGE_BYTES));
		labyrinth_free_sized(p, sizes[i]);
		labyrinth_free_aligned_sized(q, LAB_PAGE_BYTES, sizes[i]);
	}
}

/* What cannot be is refused by NULL and the errno of glibc; the block given stays. */
static void test_impossible_requests_are_refused_with_errno(void **state)
{
	void *volatile out = (void *)1, *p = labyrinth_heap_malloc(100), *result;
	volatile size_t huge = PTRDIFF_MAX, most = SIZE_MAX;
	void *probe = (void *)1;

	(void)state;
	memset(p, 7, 100);
#define assert_fails(call, err)                                                                    \
	do {                                                                                       \
		errno = 0;                                                                         \
		assert_null(call);                                                                 \
		assert_int_equal(errno, err);                                                      \
	} while (0)
	assert_fails(labyrinth_heap_malloc(huge), ENOMEM);
	assert_fails(labyrinth_heap_malloc(huge + 1), ENOMEM);
	assert_fails(labyrinth_heap_malloc(most), ENOMEM);
	assert_fails(labyrinth_heap_calloc(most, 2), ENOMEM);
	assert_fails(labyrinth_heap_calloc(1ul << 32, 1ul << 32), ENOMEM);
	assert_fails(labyrinth_heap_calloc(1, most), ENOMEM);
	assert_fails(labyrinth_heap_realloc(p, most), ENOMEM);
	assert_fails(labyrinth_heap_realloc(p, huge), ENOMEM);
	assert_fails(labyrinth_heap_realloc(NULL, most), ENOMEM);
	assert_fails(labyrinth_heap_reallocarray(p, most, 2), ENOMEM);
	assert_fails(labyrinth_heap_memalign(64, most), ENOMEM);
	assert_fails(labyrinth_heap_memalign(1ul << 62, 1), ENOMEM);
	assert_fails(labyrinth_heap_memalign(1ul << 63, 1), ENOMEM);
	assert_fails(labyrinth_heap_memalign((1ul << 63) + 1, 1), EINVAL);
	assert_fails(labyrinth_heap_valloc(most), ENOMEM);
	assert_fails(labyrinth_heap_pvalloc(most), ENOMEM);
	assert_fails(labyrinth_heap_pvalloc(huge), ENOMEM);
#undef assert_fails
	result = probe;
	assert_int_equal(labyrinth_heap_posix_memalign(&result, 3, 1), EINVAL);
	assert_int_equal(labyrinth_heap_posix_memalign(&result, 0, 1), EINVAL);
	assert_int_equal(labyrinth_heap_posix_memalign(&result, 4, 1), EINVAL);
	assert_int_equal(labyrinth_heap_posix_memalign(&result, 24, 1), EINVAL);
	assert_int_equal(labyrinth_heap_posix_memalign(&result, 64, most), ENOMEM);
	assert_ptr_equal(result, probe);
	out = p;
	for (int i = 0; i < 100; i++)
		assert_int_equal(((char *)out)[i], 7);
	labyrinth_free(p);
}

/* errno is kept by whatever succeeds. */
static void test_errno_after_success_is_kept(void **state)
{
	size_t size;

	(void)state;
	errno = 4711;
	for (size = 1; size <= 8u << 20; size *= 2) {
		void *p = labyrinth_heap_malloc(size), *q = labyrinth_heap_calloc(2, size);

		p = labyrinth_heap_realloc(p, 3 * size);
		labyrinth_free(p);
		labyrinth_free(q);
		labyrinth_free(labyrinth_heap_memalign(256, size));
	}
	(void)labyrinth_malloc_trim(0);
	assert_int_equal(errno, 4711);
}

/* An alignment that is no power of two is rounded up to one, as in glibc. */
static void test_memalign_by_odd_alignment_rounds_it_up(void **state)
{
	void *p = labyrinth_heap_memalign(48, 10), *q = labyrinth_heap_memalign(5000, 10),
	     *r = labyrinth_heap_memalign(0, 10);

	(void)state;
	assert_true(p && (uintptr_t)p % 64 == 0);
	assert_true(q && (uintptr_t)q % 8192 == 0);
	assert_non_null(r);
	labyrinth_free(p);
	labyrinth_free(q);
	labyrinth_free(r);
}

/* When all is free again, a trim leaves nothing dirty behind but active slabs. */
static void test_trim_gives_idle_memory_back(void **state)
{
	enum { MANY = 20000 };
	static void *ptrs[MANY];
	uint64_t seed = new_seed("malloc");

	(void)state;
	for (int i = 0; i < MANY; i++) {
		size_t size = 1 + random_below(&seed, 2000);

		ptrs[i] = labyrinth_heap_malloc(size);
		memset(ptrs[i], 1, size);
	}
	shuffle(ptrs, MANY, &seed);
	for (int i = 0; i < MANY; i++)
		labyrinth_free(ptrs[i]);
	assert_true(labyrinth_malloc_trim(0) == 1);
	assert_int_equal(lab_word_get(&lab_zones[LAB_ZONE_HEAP].dirty), 0);
	/* 72 active slabs, of up to 64 frames, and a stack of pages */
	assert_true(heap_in_use() < 1500 + 256);
	assert_true(labyrinth_malloc_trim(0) == 0);
}

/* ---- pages, and the reserve that they lean on ---- */

enum { NR_PAGES = 12000 };
static void *pages[NR_PAGES];

static void take_pages(void)
{
	for (unsigned int i = 0; i < NR_PAGES; i++)
		must((pages[i] = labyrinth_heap_malloc(LAB_PAGE_BYTES)) != NULL);
}

static void free_pages_and_trim(void)
{
	for (unsigned int i = 0; i < NR_PAGES; i++)
		labyrinth_free(pages[i]);
	(void)labyrinth_malloc_trim(0);
}

/* by how much the stack falls short of one page more, each time, until it has none of ours */
static unsigned int flushes(unsigned int *size, unsigned int most)
{
	uint64_t before, now;
	unsigned int n = 0;

	for (unsigned int i = 0; i < NR_PAGES; i++) {
		before = lab_pcp_stacked(LAB_PCP_PAGE);
		labyrinth_free(pages[i]);
		now = lab_pcp_stacked(LAB_PCP_PAGE);
		if (now <= before && n < most)
			size[n++] = (unsigned int)(before - now);
	}
	return n;
}

static void rows(void *unused)
{
	unsigned int size[5], most = 0;
	void *page;

	(void)unused;
	pin_to_one_cpu();
	for (int turn = 0; turn < 2; turn++) {
		take_pages();
		must(flushes(size, 5) == 5);
		must(size[0] == 64 && size[1] == 128 && size[2] == 255 && size[3] == 255);
	}
	take_pages();
	/* an eighth of what there is, but half a stack at most, and what a block has; one is used */
	for (int turn = 0; turn < 4; turn++) {
		while (lab_pcp_stacked(LAB_PCP_PAGE))
			must(labyrinth_heap_malloc(LAB_PAGE_BYTES) != NULL);
		must((page = labyrinth_heap_malloc(LAB_PAGE_BYTES)) != NULL);
		if (most < lab_pcp_stacked(LAB_PCP_PAGE))
			most = lab_pcp_stacked(LAB_PCP_PAGE);
	}
	must(most == 254);
}

/* The first flush after a refill is small, and who goes on gets larger ones; see slab/pages.c. */
static void test_flushes_of_pages_grow_in_a_row(void **state)
{
	(void)state;
	assert_child_succeeds(rows, NULL);
}

static void follows(void *unused)
{
	const struct lab_zone *reserve = &lab_zones[LAB_ZONE_RESERVE];
	uint64_t small = lab_word_get(&reserve->managed), large;
	void *page;

	(void)unused;
	must(small < 100);
	take_pages();
	large = lab_word_get(&reserve->managed);
	must(large > 2 * small);
	free_pages_and_trim();
	must(lab_word_get(&reserve->managed) < large / 2);
	must(lab_word_get(&reserve->free) >= lab_word_get(&reserve->low));
	/* who asks for exclusive pages asks for none of these */
	large = lab_word_get(&reserve->managed);
	for (unsigned int i = 0; i < 40; i++) {
		page = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL | LABYRINTH___GFP_EXCLUSIVE, 1);
		labyrinth_free_pages(page, 1);
	}
	must(lab_word_get(&reserve->managed) == large);
	/* now somebody counts on it, and the first one who may wait has it grow */
	page = labyrinth_alloc_page(LABYRINTH_GFP_KERNEL);
	labyrinth_free_page(page);
	must(lab_word_get(&reserve->managed) > large);
	page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC);
	must(page != NULL);
	labyrinth_free_page(page);
	take_pages();
	large = lab_word_get(&reserve->managed);
	must(large > 2 * small);
	free_pages_and_trim();
	must(lab_word_get(&reserve->managed) == large);
}

/* The reserve of a program that never asks for its pages falls with the heap, and no other. */
static void test_reserve_follows_a_heap_that_shrinks(void **state)
{
	(void)state;
	assert_child_succeeds(follows, NULL);
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
	lab_word_t box[1024];
} stress;

/* a block that knows its size: in its first word, if it has one */
static uint64_t *stamped(uint64_t *seed)
{
	static const size_t most[] = { 64, 64, 512, 512, 4096, 8192, 40000, 300000, 5u << 20 };
	size_t size = 8 + random_below(seed, most[random_below(seed, 9)]);
	uint64_t *p;

	switch (random_below(seed, 4)) {
	case 0:
		p = labyrinth_heap_calloc(1, size);
		must(p && p[0] == 0 && is_zero(p, size < 4096 ? size : 4096));
		break;
	case 1:
		p = labyrinth_heap_memalign(16u << random_below(seed, 9), size);
		break;
	default:
		p = labyrinth_heap_malloc(size);
	}
	must(p);
	fill(p, size << 24, size < 65536 ? size : 65536);
	return p;
}

static size_t stamp_of(uint64_t *p)
{
	size_t size = p[0] >> 24;

	must(labyrinth_malloc_usable_size(p) >= size);
	must(is_filled(p, size << 24, size < 65536 ? size : 65536));
	return size;
}

static void use_box(lab_word_t *box, uint64_t *seed)
{
	uint64_t *p = stamped(seed);
	uint64_t old = atomic_exchange(box, (uintptr_t)p);
	size_t size, to;

	if (!old)
		return;
	p = (uint64_t *)(uintptr_t)old;
	size = stamp_of(p);
	if (next_random(seed) % 4 == 0) {
		to = 8 + random_below(seed, 2 * size);
		p = labyrinth_heap_realloc(p, to);
		must(p);
		to = to < size ? to : size;
		must(is_filled(p, size << 24, to < 65536 ? to : 65536));
	}
	labyrinth_free(p);
}

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919;

	(void)unused;
	pin_by_id(id);
	while (now_ms() < stress.until) {
		for (int i = 0; i < 50; i++)
			use_box(&stress.box[random_below(&seed, 1024)], &seed);
		if (random_below(&seed, 50) == 0)
			(void)labyrinth_malloc_trim(0);
	}
}

/* Blocks that threads allocate, resize and free for each other keep their contents. */
static void test_blocks_among_threads_keep_their_contents(void **state)
{
	uint64_t in_use;

	(void)state;
	stress.seed = new_seed("malloc");
	stress.until = now_ms() + 2 * STRESS_MS;
	run_threads(NR_THREADS, stress_thread, NULL);
	for (unsigned int i = 0; i < 1024; i++) {
		uint64_t *p = (uint64_t *)(uintptr_t)lab_word_get(&stress.box[i]);

		if (p)
			(void)stamp_of(p);
		labyrinth_free(p);
	}
	(void)labyrinth_malloc_trim(0);
	in_use = heap_in_use();
	print_message("%s: %u frames stay in stacks and active slabs\n", labyrinth_pcp_backend(),
		      (unsigned int)in_use);
	/* per CPU: active slabs and the contents of its stacks */
	assert_true(in_use < (uint64_t)sysconf(_SC_NPROCESSORS_CONF) * 4000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malloc_of_every_size_is_aligned_and_large_enough),
		cmocka_unit_test(test_live_byte_is_set_from_malloc_to_free),
		cmocka_unit_test(test_calloc_after_dirty_reuse_is_zero),
		cmocka_unit_test(test_aligned_family_keeps_every_alignment),
		cmocka_unit_test(test_memalign_by_odd_alignment_rounds_it_up),
		cmocka_unit_test(test_impossible_requests_are_refused_with_errno),
		cmocka_unit_test(test_errno_after_success_is_kept),
		cmocka_unit_test(test_trim_gives_idle_memory_back),
		cmocka_unit_test(test_flushes_of_pages_grow_in_a_row),
		cmocka_unit_test(test_reserve_follows_a_heap_that_shrinks),
		cmocka_unit_test(test_blocks_among_threads_keep_their_contents),
	};

	pin_to_one_cpu();
	return cmocka_run_group_tests_name("malloc", tests, NULL, NULL);
}
