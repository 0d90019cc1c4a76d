/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "slab/slab.h"

/* The class of a size is large enough, the smallest such, and wastes at most an eighth. */
static void test_class_of_every_size_is_the_smallest_that_fits(void **state)
{
	size_t size;

	(void)state;
	for (size = 0; size <= LAB_CLASS_MAX; size++) {
		unsigned int cls = lab_class_of(size), formula = LAB_CLASS_OF(size ? size : 1);
		size_t have = lab_class_bytes(cls);

		assert_true(have >= size);
		if (size > LAB_PAGE_SIZES_ABOVE && size <= LAB_PAGE_BYTES) {
			assert_int_equal(cls, LAB_PCP_PAGE);
			continue;
		}
		assert_int_equal(cls, formula);
		assert_in_range(cls, 1, LAB_NR_CLASSES - 1);
		if (cls > 1)
			assert_true(lab_class[cls - 1].size < size);
		if (size > 128)
			assert_true((have - size) * 8 <= have);
	}
}

/* Constants that the compiler folds agree with the tables. */
static void test_macros_agree_with_the_tables(void **state)
{
	unsigned int cls;

	(void)state;
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		uint64_t size = lab_class[cls].size;

		assert_int_equal(size, LAB_CLASS_SIZE(cls));
		assert_int_equal(LAB_CLASS_OF(size), cls);
		assert_int_equal(size % 16, 0);
		assert_true(cls == 1 || size > lab_class[cls - 1].size);
	}
	assert_int_equal(lab_class[LAB_NR_CLASSES - 1].size, LAB_CLASS_MAX);
}

/* A slab wastes at most an eighth at its tail, fits its bitmap and its block. */
static void test_slab_of_every_class_wastes_little(void **state)
{
	unsigned int cls;

	(void)state;
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		size_t bytes = LAB_PAGE_BYTES << lab_class[cls].order;
		size_t used = (size_t)lab_class[cls].nobj * lab_class[cls].size;

		/* 8, 16 and 32 KiB are mostly asked for one at a time */
		assert_in_range(lab_class[cls].nobj,
				cls == 56		 ? 4
				: cls == 64 || cls == 72 ? 2
							 : 8,
				256);
		assert_true(used <= bytes);
		assert_true((bytes - used) * 8 <= bytes);
		assert_true(bytes - used < lab_class[cls].size);
		assert_true(lab_class[cls].order <= LAB_BLOCK_ORDER);
	}
}

/* From any byte of any object the reciprocal leads to its index, by no division. */
static void test_index_of_every_offset_of_every_class_is_exact(void **state)
{
	unsigned int cls;

	(void)state;
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		size_t end = (size_t)lab_class[cls].nobj * lab_class[cls].size, offset;
		uint32_t size = lab_class[cls].size, index = 0;
		/* far into the window, in the second slab of its kind */
		const char *slab = (char *)lab_mem.base + (1ul << 32) +
				   (LAB_PAGE_BYTES << lab_class[cls].order);

		for (offset = 0; offset < end; offset++) {
			if (offset == (size_t)(index + 1) * size)
				index++;
			if (lab_slab_index(slab + offset, cls) != index)
				fail_msg("class %u, offset %u", cls, (unsigned int)offset);
		}
		assert_int_equal(lab_slab_of(slab, cls), lab_slab_of(slab + end - 1, cls));
		assert_ptr_equal(lab_frame_address(lab_slab_of(slab + end - 1, cls)), slab);
	}
}

/* What malloc() and free() look up agrees with what the layers below do. */
static void test_hot_tables_agree_with_the_stacks(void **state)
{
	unsigned int i, cls;

	(void)state;
	for (i = 0; i < LAB_HOT_MAX / 16; i++) {
		cls = lab_class_of(i * 16ul + 16);
		assert_int_equal(cls, lab_class_of(i * 16ul + 1));
		assert_ptr_equal(lab_hot.pop[i], lab_pcp_area[0].bytes + lab_pcp_class[cls].stack);
		assert_int_equal(lab_hot.shift_of_size[i], LAB_LIVE_SHIFT_OF(cls));
	}
	assert_int_equal(lab_class_of(0), 1);
	for (cls = 1; cls <= LAB_PCP_PAGE; cls++) {
		assert_ptr_equal(lab_hot.push[cls],
				 lab_pcp_area[0].bytes + lab_pcp_class[cls].stack);
		assert_int_equal(lab_hot.cap[cls], lab_pcp_class[cls].cap);
		assert_int_equal(lab_hot.shift_of_kind[cls], LAB_LIVE_SHIFT_OF(cls));
	}
	assert_int_equal(lab_hot.live[LAB_LIVE16_SHIFT], lab_mem.live[LAB_LIVE16_SHIFT]);
	assert_int_equal(lab_hot.live[LAB_LIVE128_SHIFT], lab_mem.live[LAB_LIVE128_SHIFT]);
}

/* The map of a class has a live byte of its own for each object's start. */
static void test_live_bytes_of_neighbours_are_different(void **state)
{
	unsigned int cls, i;

	(void)state;
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		unsigned int shift = LAB_LIVE_SHIFT_OF(cls);
		const char *slab = (char *)lab_mem.base;

		assert_true(shift == LAB_LIVE16_SHIFT || shift == LAB_LIVE128_SHIFT);
		for (i = 1; i < lab_class[cls].nobj; i++) {
			const char *p = slab + (size_t)i * lab_class[cls].size;

			assert_ptr_not_equal(lab_live_byte(p, shift),
					     lab_live_byte(p - lab_class[cls].size, shift));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_class_of_every_size_is_the_smallest_that_fits),
		cmocka_unit_test(test_macros_agree_with_the_tables),
		cmocka_unit_test(test_slab_of_every_class_wastes_little),
		cmocka_unit_test(test_index_of_every_offset_of_every_class_is_exact),
		cmocka_unit_test(test_hot_tables_agree_with_the_stacks),
		cmocka_unit_test(test_live_bytes_of_neighbours_are_different),
	};

	return cmocka_run_group_tests_name("sizeclass", tests, NULL, NULL);
}
