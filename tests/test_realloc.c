/* SPDX-License-Identifier: MIT */
/* realloc(), and the large and huge objects below it. */
#include "harness.h"

#include "labyrinth.h"
#include "slab/cache.h"
#include "slab/large.h"

enum { MIB = 1 << 20 };

/* sizes on both sides of every boundary: class, page, slab, large, huge */
static const size_t edges[] = { 8,	 16,	      17,      128,	129,	     3840,   3841,
				4096,	 4097,	      32768,   32769,	40000,	     65536,  MIB,
				2 * MIB, 2 * MIB + 1, 3 * MIB, 5 * MIB, 4 * MIB + 1, 9 * MIB };
enum { NR_EDGES = sizeof(edges) / sizeof(edges[0]) };

static bool keeps(const void *p, uint64_t tag, size_t bytes)
{
	return is_filled(p, tag, bytes & ~7ul);
}

/* From any size to any other the contents stay, as far as both sizes reach. */
static void test_realloc_across_every_boundary_keeps_the_contents(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < NR_EDGES; i++) {
		for (j = 0; j < NR_EDGES; j++) {
			char *p = labyrinth_heap_malloc(edges[i]);

			assert_non_null(p);
			fill(p, i + 1, edges[i]);
			p = labyrinth_heap_realloc(p, edges[j]);
			assert_non_null(p);
			assert_true(keeps(p, i + 1, edges[i] < edges[j] ? edges[i] : edges[j]));
			assert_true(labyrinth_malloc_usable_size(p) >= edges[j]);
			fill(p, 9, edges[j]);
			labyrinth_free(p);
		}
	}
	assert_null(labyrinth_heap_realloc(labyrinth_heap_malloc(10), 0));
	labyrinth_free(labyrinth_heap_realloc(NULL, 10));
	labyrinth_free(labyrinth_heap_reallocarray(NULL, 10, 10));
}

/* A block that grows and shrinks at random for long keeps its contents. */
static void test_realloc_at_random_keeps_the_contents(void **state)
{
	uint64_t seed = new_seed("realloc");
	size_t size = 64, next;
	char *p = labyrinth_heap_malloc(size);

	(void)state;
	fill(p, 1, size);
	for (int i = 0; i < 600; i++) {
		next = 8 + (random_below(&seed, 1u << (4 + random_below(&seed, 20))) & ~7ul);
		p = labyrinth_heap_realloc(p, next);
		assert_non_null(p);
		assert_true(keeps(p, 1, size < next ? size : next));
		fill(p, 1, next);
		size = next;
	}
	labyrinth_free(p);
}

/* A large object grows and shrinks in place where what follows is free. */
static void test_large_resize_works_in_place(void **state)
{
	uint64_t in_use;
	bool clean;
	char *p, *wall;

	(void)state;
	p = lab_large_alloc(20 * LAB_PAGE_BYTES, 1ul << LAB_BLOCK_SHIFT, &clean);
	assert_non_null(p);
	in_use = heap_in_use();
	fill(p, 3, 20 * LAB_PAGE_BYTES);
	assert_ptr_equal(lab_large_resize(p, 30 * LAB_PAGE_BYTES - 100), p);
	assert_int_equal(lab_large_bytes(p), 30 * LAB_PAGE_BYTES);
	assert_int_equal(heap_in_use(), in_use + 10);
	assert_int_equal(lab_mem_kind(p + 29 * LAB_PAGE_BYTES), LAB_KIND_BODY);
	fill(p, 3, 30 * LAB_PAGE_BYTES);
	assert_ptr_equal(lab_large_resize(p, 9 * LAB_PAGE_BYTES), p);
	assert_int_equal(lab_large_bytes(p), 9 * LAB_PAGE_BYTES);
	assert_int_equal(heap_in_use(), in_use - 11);
	assert_int_equal(lab_mem_kind(p + 9 * LAB_PAGE_BYTES), LAB_KIND_FREE);
	assert_true(keeps(p, 3, 9 * LAB_PAGE_BYTES));
	/* the tail given back is somebody else's: no growth into it */
	wall = lab_large_alloc(LAB_PAGE_BYTES, LAB_PAGE_BYTES, &clean);
	while (wall && wall != p + 9 * LAB_PAGE_BYTES)
		wall = lab_large_alloc(LAB_PAGE_BYTES, LAB_PAGE_BYTES, &clean);
	assert_non_null(wall);
	assert_null(lab_large_resize(p, 10 * LAB_PAGE_BYTES));
	assert_int_equal(lab_large_bytes(p), 9 * LAB_PAGE_BYTES);
	assert_true(keeps(p, 3, 9 * LAB_PAGE_BYTES));
	assert_true(lab_large_free(p));
	assert_int_equal(lab_mem_kind(p + LAB_PAGE_BYTES), LAB_KIND_FREE);
}

/* A huge object grows in place into free blocks and gives its tail back. */
static void test_huge_resize_works_in_place(void **state)
{
	uint64_t in_use = heap_in_use();
	char *p = labyrinth_heap_malloc(20 * MIB);

	(void)state;
	assert_int_equal(heap_in_use(), in_use + 10 * LAB_BLOCK_FRAMES);
	fill(p, 5, 20 * MIB);
	assert_ptr_equal(labyrinth_heap_realloc(p, 5 * MIB), p);
	assert_int_equal(labyrinth_malloc_usable_size(p), 5 * MIB);
	assert_int_equal(heap_in_use(), in_use + 3 * LAB_BLOCK_FRAMES);
	assert_ptr_equal(labyrinth_heap_realloc(p, 12 * MIB), p);
	assert_int_equal(heap_in_use(), in_use + 6 * LAB_BLOCK_FRAMES);
	assert_true(keeps(p, 5, 5 * MIB));
	fill(p, 6, 12 * MIB);
	labyrinth_free(p);
	assert_int_equal(heap_in_use(), in_use);
}

/* Where it cannot grow in place a huge object moves by its pages, and keeps them. */
static void test_huge_resize_moves_and_keeps_the_contents(void **state)
{
	uint64_t in_use = heap_in_use();
	char *p = labyrinth_heap_malloc(6 * MIB), *wall = labyrinth_heap_malloc(6 * MIB), *q;

	(void)state;
	if (wall != p + 6 * MIB)
		print_message("the second object does not follow the first\n");
	fill(p, 7, 6 * MIB);
	fill(wall, 8, 6 * MIB);
	q = labyrinth_heap_realloc(p, 100 * MIB);
	assert_non_null(q);
	assert_true(keeps(q, 7, 6 * MIB));
	assert_true(is_zero(q + 6 * MIB, 64));
	fill(q, 9, 100 * MIB);
	assert_true(keeps(wall, 8, 6 * MIB));
	assert_int_equal(heap_in_use(), in_use + 53 * LAB_BLOCK_FRAMES);
	if (q != p) {
		assert_int_equal(lab_mem_kind(p), LAB_KIND_FREE);
		/* the hole that it left serves again */
		p = labyrinth_heap_calloc(1, 6 * MIB);
		assert_true(is_zero(p, 6 * MIB));
		fill(p, 1, 6 * MIB);
		labyrinth_free(p);
	}
	labyrinth_free(wall);
	labyrinth_free(q);
	assert_int_equal(heap_in_use(), in_use);
}

/* A mapping of the program's that lies where a huge object could move stays intact. */
static void test_huge_resize_beside_foreign_mapping_leaves_it_alone(void **state)
{
	size_t bytes = 8 * MIB;
	char *p, *wall, *q, *theirs;

	(void)state;
	(void)labyrinth_malloc_trim(0);
	p = labyrinth_heap_malloc(6 * MIB);
	wall = labyrinth_heap_malloc(6 * MIB);
	fill(p, 7, 6 * MIB);
	/* where would the next one go? */
	q = labyrinth_heap_malloc(30 * MIB);
	assert_non_null(q);
	labyrinth_free(q);
	(void)lab_heap_purge(true);
	theirs = mmap(q + 4 * MIB, LAB_PAGE_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_true(theirs != MAP_FAILED);
	fill(theirs, 42, LAB_PAGE_BYTES);
	for (bytes = 8 * MIB; bytes <= 30 * MIB; bytes += 6 * MIB) {
		p = labyrinth_heap_realloc(p, bytes);
		assert_non_null(p);
		assert_true(keeps(p, 7, 6 * MIB));
		assert_true(p + bytes <= theirs || theirs + LAB_PAGE_BYTES <= p);
		assert_true(is_filled(theirs, 42, LAB_PAGE_BYTES));
	}
	labyrinth_free(p);
	labyrinth_free(wall);
	(void)labyrinth_malloc_trim(0);
	assert_true(is_filled(theirs, 42, LAB_PAGE_BYTES));
}

/* Where mremap is refused a huge object is copied, and nothing is lost. */
static void test_huge_resize_without_mremap_copies(void **state)
{
	uint64_t in_use = heap_in_use(), nth;
	bool done = false;

	(void)state;
	for (nth = 1; nth < 60 && !done; nth++) {
		char *p = labyrinth_heap_malloc(6 * MIB), *wall = labyrinth_heap_malloc(6 * MIB),
		     *q;
		uint64_t calls = lab_os_calls();

		fill(p, 7, 6 * MIB);
		lab_os_fail_from(nth, 1);
		q = labyrinth_heap_realloc(p, 30 * MIB);
		lab_os_fail_from(0, 0);
		done = lab_os_calls() - calls < nth;
		if (!q)
			assert_true(keeps(p, 7, 6 * MIB));
		p = q ? q : p;
		assert_true(keeps(p, 7, 6 * MIB));
		if (q)
			fill(q, 8, 30 * MIB);
		labyrinth_free(p);
		labyrinth_free(wall);
		assert_int_equal(heap_in_use(), in_use);
		(void)lab_heap_purge(true);
	}
	assert_true(done);
}

/* Large objects say what they are, to the reports of misuse. */
static void test_large_objects_know_their_inside(void **state)
{
	char *p = labyrinth_heap_malloc(9 * MIB);

	(void)state;
	assert_true(lab_large_contains(p + 1));
	assert_true(lab_large_contains(p + 9 * MIB - 1));
	assert_false(lab_large_contains(p + 9 * MIB));
	assert_true(lab_large_free(p));
	assert_false(lab_large_contains(p + 1));
	assert_true(lab_large_was(p));
	p = labyrinth_heap_malloc(MIB);
	assert_true(lab_large_free(p));
	assert_true(lab_large_was(p));
}

static void free_twice(void *arg)
{
	void *p = labyrinth_heap_malloc(*(size_t *)arg);

	labyrinth_free(p);
	labyrinth_free(p);
}

static void free_inside(void *arg)
{
	labyrinth_free((char *)labyrinth_heap_malloc(*(size_t *)arg) + 16);
}

static void realloc_freed(void *arg)
{
	void *p = labyrinth_heap_malloc(*(size_t *)arg);

	labyrinth_free(p);
	(void)labyrinth_heap_realloc(p, 5);
}

/* A second free, an interior pointer, a dangling realloc: reported at once, for every kind. */
static void test_misuse_of_every_kind_of_block_aborts(void **state)
{
	static const size_t sizes[] = { 20, 100, 500, 4000, 20000, 200000, 5 * MIB };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_child_aborts(free_twice, (void *)(uintptr_t)&sizes[i],
				    "BUG: double free of ");
		assert_child_aborts(free_inside, (void *)(uintptr_t)&sizes[i],
				    "which is inside a block, not its start");
		assert_child_aborts(realloc_freed, (void *)(uintptr_t)&sizes[i],
				    "BUG: realloc after free of ");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_large_resize_works_in_place),
		cmocka_unit_test(test_huge_resize_works_in_place),
		cmocka_unit_test(test_huge_resize_moves_and_keeps_the_contents),
		cmocka_unit_test(test_huge_resize_without_mremap_copies),
		cmocka_unit_test(test_realloc_across_every_boundary_keeps_the_contents),
		cmocka_unit_test(test_realloc_at_random_keeps_the_contents),
		cmocka_unit_test(test_large_objects_know_their_inside),
		cmocka_unit_test(test_misuse_of_every_kind_of_block_aborts),
		cmocka_unit_test(test_huge_resize_beside_foreign_mapping_leaves_it_alone),
	};

	pin_to_one_cpu();
	return cmocka_run_group_tests_name("realloc", tests, NULL, NULL);
}
