/* SPDX-License-Identifier: MIT */
#include "mapping.h"

/* A free frame that the program maps over is not handed out a second time. */
static void test_hole_mapped_over_has_one_owner(void **state)
{
	enum { MANY = 200 };
	static char *other[MANY];
	char *p = map(1);
	int i;

	(void)state;
	assert_int_equal(unmap(p, 1), 0);
	/* it lies on a stack now, and is taken from there by its address */
	assert_ptr_equal(labyrinth_mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), p);
	fill(p, 42, PAGE);
	errno = 0;
	assert_ptr_equal(labyrinth_mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0),
			 MAP_FAILED);
	assert_int_equal(errno, EEXIST);
	for (i = 0; i < MANY; i++) {
		other[i] = map(1);
		assert_ptr_not_equal(other[i], p);
		fill(other[i], (uint64_t)i << 32, PAGE);
	}
	assert_true(is_filled(p, 42, PAGE));
	assert_int_equal(unmap(p, 1), 0);
	for (i = 0; i < MANY; i++) {
		assert_true(is_filled(other[i], (uint64_t)i << 32, PAGE));
		assert_int_equal(unmap(other[i], 1), 0);
	}
}

/* It grows in place or moves, shrinks where it is, and keeps its bytes. */
static void test_mremap_keeps_the_bytes(void **state)
{
	size_t to;
	char *p, *q;

	(void)state;
	for (to = 1; to < 40; to++) {
		p = map(4);
		fill(p, to << 32, 4 * PAGE);
		q = labyrinth_mremap(p, 4 * PAGE, to * PAGE, MREMAP_MAYMOVE, NULL);
		assert_ptr_not_equal(q, MAP_FAILED);
		assert_true(is_filled(q, to << 32, (to < 4 ? to : 4) * PAGE));
		if (to > 4)
			assert_true(is_zero(q + 4 * PAGE, (to - 4) * PAGE));
		assert_int_equal(unmap(q, to), 0);
	}
	errno = 0;
	assert_ptr_equal(labyrinth_mremap(map(1), PAGE, 0, 0, NULL), MAP_FAILED);
	assert_int_equal(errno, EINVAL);
}

/* An entry of a stack that was mapped over in part gives back the rest. */
static void test_stale_entry_leaks_nothing(void **state)
{
	uint64_t before;
	char *p, *q;

	(void)state;
	pin_to_one_cpu();
	lab_map_trim();
	before = heap_in_use();
	p = map(5);
	assert_int_equal(unmap(p, 5), 0);
	assert_ptr_equal(labyrinth_mmap(p + 2 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0),
			 p + 2 * PAGE);
	fill(p + 2 * PAGE, 9, PAGE);
	q = map(5);
	assert_true(is_zero(q, 5 * PAGE));
	assert_true(is_filled(p + 2 * PAGE, 9, PAGE));
	assert_int_equal(unmap(p + 2 * PAGE, 1), 0);
	assert_int_equal(unmap(q, 5), 0);
	lab_map_trim();
	assert_int_equal(heap_in_use(), before);
}

/* Frames whose pages the kernel has moved away, or mapped over, are heap again. */
static void test_moved_pages_leak_nothing(void **state)
{
	uint64_t before;
	char *p, *q;
	int i;

	(void)state;
	pin_to_one_cpu();
	lab_map_trim();
	before = heap_in_use();
	for (i = 0; i < 20; i++) {
		p = map(3);
		q = map(3);
		fill(p, 5, 3 * PAGE);
		p = labyrinth_mremap(p, 3 * PAGE, 100 * PAGE, MREMAP_MAYMOVE, NULL);
		assert_true(is_filled(p, 5, 3 * PAGE));
		assert_ptr_equal(
			labyrinth_mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q),
			q);
		assert_true(is_filled(q, 5, 2 * PAGE));
		assert_int_equal(unmap(q, 3), 0);
		assert_int_equal(unmap(p, 100), 0);
	}
	lab_map_trim();
	assert_int_equal(heap_in_use(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hole_mapped_over_has_one_owner),
		cmocka_unit_test(test_mremap_keeps_the_bytes),
		cmocka_unit_test(test_stale_entry_leaks_nothing),
		cmocka_unit_test(test_moved_pages_leak_nothing),
	};

	return cmocka_run_group_tests_name("place", tests, NULL, NULL);
}
