/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "pcp/pcp.h"
#include "slab/cache.h"

/* as class_alloc() of api/malloc_api.c does, without the live byte */
static void *object_alloc(unsigned int cls)
{
	void *ptr = lab_pcp_pop(cls);

	return ptr ? ptr : cls == LAB_PCP_PAGE ? lab_page_alloc() : lab_cache_alloc(cls);
}

static void object_free(unsigned int cls, void *ptr)
{
	if (lab_pcp_push(cls, ptr))
		return;
	if (cls == LAB_PCP_PAGE)
		lab_page_free(ptr);
	else
		lab_cache_free(cls, ptr);
}

static void trim(void)
{
	lab_cache_trim(1, LAB_NR_CLASSES - 1, lab_pcp_drain_all);
}

/* Objects in use never overlap: each keeps what was written into it. */
static void test_objects_of_every_class_keep_their_contents(void **state)
{
	enum { MANY = 700 };
	static void *ptrs[MANY];
	uint64_t seed = new_seed("cache");
	unsigned int cls, n, i;

	(void)state;
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		n = 3u * lab_class[cls].nobj < MANY ? 3u * lab_class[cls].nobj : MANY;
		for (i = 0; i < n; i++) {
			ptrs[i] = object_alloc(cls);
			assert_non_null(ptrs[i]);
			assert_int_equal(lab_mem_kind(ptrs[i]), cls);
			assert_int_equal((uintptr_t)ptrs[i] % 16, 0);
			fill(ptrs[i], (uintptr_t)ptrs[i], lab_class[cls].size);
		}
		shuffle(ptrs, n, &seed);
		for (i = 0; i < n; i++) {
			assert_true(is_filled(ptrs[i], (uintptr_t)ptrs[i], lab_class[cls].size));
			object_free(cls, ptrs[i]);
		}
	}
}

/* When all objects are back, a trim retires all slabs. */
static void test_trim_after_all_frees_retires_all_slabs(void **state)
{
	enum { MANY = 4000 };
	static void *ptrs[MANY];
	uint64_t seed = new_seed("cache");
	unsigned int cls, n, i;

	(void)state;
	trim();
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		n = 20u * lab_class[cls].nobj < MANY ? 20u * lab_class[cls].nobj : MANY;
		for (i = 0; i < n; i++)
			assert_non_null(ptrs[i] = object_alloc(cls));
		assert_true(lab_cache_slabs(cls) >= n / lab_class[cls].nobj);
		shuffle(ptrs, n, &seed);
		for (i = 0; i < n; i++)
			object_free(cls, ptrs[i]);
		trim();
		assert_int_equal(lab_cache_slabs(cls), 0);
	}
	/* malloc()'s pages were not used */
	assert_int_equal(heap_in_use(), 0);
}

/* A batch that finds the stack full goes back: no object of it keeps a slab. */
static void test_what_finds_no_room_on_the_stack_goes_back(void **state)
{
	enum { MANY = 40 };
	void *ptrs[MANY];
	unsigned int cls, i;

	(void)state;
	trim();
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		/* nobody takes what the first ones stack */
		for (i = 0; i < MANY; i++)
			assert_non_null(ptrs[i] = lab_cache_alloc(cls));
		for (i = 0; i < MANY; i++)
			lab_cache_free(cls, ptrs[i]);
		trim();
		assert_int_equal(lab_cache_slabs(cls), 0);
	}
	assert_int_equal(heap_in_use(), 0);
}

/* Small objects of one batch: none lies on the cache line of the one before it. */
static void test_objects_in_a_row_share_no_line(void **state)
{
	enum { MANY = 12 };
	uintptr_t at[MANY];
	unsigned int cls, i;

	(void)state;
	trim();
	for (cls = 1; lab_class[cls].size < 64; cls++) {
		for (i = 0; i < MANY; i++) {
			assert_non_null(at[i] = (uintptr_t)object_alloc(cls));
			if (lab_pcp_backend() != LAB_PCP_NONE && i)
				assert_true(
					at[i] / 64 != (at[i - 1] + lab_class[cls].size - 1) / 64 &&
					(at[i] + lab_class[cls].size - 1) / 64 != at[i - 1] / 64);
		}
		for (i = MANY; i-- > 0;)
			object_free(cls, (void *)at[i]);
	}
	trim();
}

/* A class that has many slabs gets the next ones side by side, whatever else is taken. */
static void test_a_large_class_grows_by_clusters(void **state)
{
	enum { CLS = 3, SLABS = 256, MANY = 85 * (SLABS + 40) };
	static void *ptrs[MANY];
	static struct lab_frames other[MANY / 85];
	unsigned int n, i, n_other = 0, side_by_side = 0;
	uint64_t slabs;

	(void)state;
	assert_int_equal(lab_class[CLS].nobj, 85);
	trim();
	(void)lab_heap_purge(true);
	for (n = 0; lab_cache_slabs(CLS) < SLABS; n++)
		assert_non_null(ptrs[n] = object_alloc(CLS));
	slabs = lab_cache_slabs(CLS);
	/* somebody else takes a frame with each slab's worth of objects */
	for (i = 0; i < 85 * 32; i++) {
		assert_non_null(ptrs[n] = object_alloc(CLS));
		n++;
		if (i % 85 == 0)
			assert_true(lab_heap_take_run(1, 0, &other[n_other++]));
	}
	for (i = 0; i < n_other; i++) {
		void *after = lab_frame_address(other[i].pfn + 1);

		side_by_side += lab_mem_kind(after) == CLS;
		lab_zone_give(other[i].pfn, 1);
	}
	/* of 32 slabs two clusters or three, not one beside each of the others' frames */
	assert_true(lab_cache_slabs(CLS) >= slabs + 16);
	assert_in_range(side_by_side, 0, 4);
	while (n > 0)
		object_free(CLS, ptrs[--n]);
	trim();
	assert_int_equal(lab_cache_slabs(CLS), 0);
	assert_int_equal(heap_in_use(), 0);
}

/* Without a trim, idle slabs are retired by frees themselves: few stay. */
static void test_free_of_many_objects_retires_most_slabs(void **state)
{
	enum { MANY = 64 * 60 };
	static void *ptrs[MANY];
	unsigned int i;

	(void)state;
	for (i = 0; i < MANY; i++)
		assert_non_null(ptrs[i] = object_alloc(4)); /* 64 a slab */
	assert_true(lab_cache_slabs(4) >= 60);
	for (i = 0; i < MANY; i++)
		object_free(4, ptrs[i]);
	/* 512 objects, 8 slabs' worth, may lie on the stack */
	assert_in_range(lab_cache_slabs(4), 1, 20);
	trim();
	assert_int_equal(lab_cache_slabs(4), 0);
}

/* A slab with one object in use stays, and the object keeps its contents. */
static void test_trim_with_objects_in_use_keeps_their_slabs(void **state)
{
	enum { MANY = 640 };
	static void *ptrs[MANY];
	unsigned int i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		assert_non_null(ptrs[i] = object_alloc(4));
		fill(ptrs[i], i, 64);
	}
	for (i = 0; i < MANY; i++)
		if (i % 64)
			object_free(4, ptrs[i]);
	trim();
	assert_true(lab_cache_slabs(4) >= 10);
	for (i = 0; i < MANY; i += 64) {
		assert_true(is_filled(ptrs[i], i, 64));
		object_free(4, ptrs[i]);
	}
	trim();
	assert_int_equal(lab_cache_slabs(4), 0);
}

/* malloc()'s pages are whole, keep their contents, and go back to their zone. */
static void test_pages_go_back_to_their_zone(void **state)
{
	enum { MANY = 1000 };
	static void *ptrs[MANY];
	uint64_t seed = new_seed("pages"), before = heap_in_use();
	unsigned int i, left;

	(void)state;
	for (i = 0; i < MANY; i++) {
		assert_non_null(ptrs[i] = object_alloc(LAB_PCP_PAGE));
		assert_int_equal((uintptr_t)ptrs[i] % LAB_PAGE_BYTES, 0);
		assert_int_equal(lab_mem_kind(ptrs[i]), LAB_PCP_PAGE);
		fill(ptrs[i], (uintptr_t)ptrs[i], LAB_PAGE_BYTES);
	}
	shuffle(ptrs, MANY, &seed);
	for (i = 0; i < MANY; i++) {
		assert_true(is_filled(ptrs[i], (uintptr_t)ptrs[i], LAB_PAGE_BYTES));
		object_free(LAB_PCP_PAGE, ptrs[i]);
	}
	/* empty the stack by hand, each page to its zone */
	for (left = 0; (ptrs[left] = lab_pcp_pop(LAB_PCP_PAGE)); left++)
		;
	for (i = 0; i < left; i++) {
		lab_kind_set(lab_pfn_of(ptrs[i]), LAB_KIND_FREE);
		lab_zone_give(lab_pfn_of(ptrs[i]), 1);
	}
	assert_int_equal(heap_in_use(), before);
}

/* ---- threads ---- */

enum { NR_BOXES = 512 };

/* objects change hands here: who puts one in frees what was there */
static struct {
	lab_word_t box[NR_BOXES];
	uint64_t seed, until;
} stress;

/* class and tag travel in the object itself */
static void *stamped(uint64_t *seed)
{
	unsigned int cls = 1 + (unsigned int)random_below(seed, LAB_NR_CLASSES - 1);
	uint64_t *object = object_alloc(cls);

	must(object);
	fill(object, (uint64_t)cls << 32, lab_class[cls].size);
	return object;
}

static void check_and_free(uint64_t *object)
{
	unsigned int cls = (unsigned int)(object[0] >> 32);

	must(cls == lab_mem_kind(object));
	must(is_filled(object, (uint64_t)cls << 32, lab_class[cls].size));
	memset(object, 0, lab_class[cls].size);
	object_free(cls, object);
}

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919;

	(void)unused;
	pin_by_id(id);
	while (now_ms() < stress.until) {
		for (int i = 0; i < 100; i++) {
			lab_word_t *box = &stress.box[random_below(&seed, NR_BOXES)];
			uint64_t old = atomic_exchange(box, (uintptr_t)stamped(&seed));

			if (old)
				check_and_free((uint64_t *)(uintptr_t)old);
		}
		if (random_below(&seed, 10) == 0)
			trim();
	}
}

/* Objects that threads free for each other are whole, and all slabs come back. */
static void test_objects_freed_by_other_threads_are_whole(void **state)
{
	unsigned int cls, i;

	(void)state;
	stress.seed = new_seed("cache");
	stress.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, stress_thread, NULL);
	for (i = 0; i < NR_BOXES; i++)
		if (lab_word_get(&stress.box[i]))
			check_and_free((uint64_t *)(uintptr_t)lab_word_get(&stress.box[i]));
	/* of every CPU: what the threads left on stacks and in active slabs */
	trim();
	for (cls = 1; cls < LAB_NR_CLASSES; cls++)
		assert_int_equal(lab_cache_slabs(cls), 0);
	assert_int_equal(heap_in_use(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects_of_every_class_keep_their_contents),
		cmocka_unit_test(test_trim_after_all_frees_retires_all_slabs),
		cmocka_unit_test(test_what_finds_no_room_on_the_stack_goes_back),
		cmocka_unit_test(test_objects_in_a_row_share_no_line),
		cmocka_unit_test(test_a_large_class_grows_by_clusters),
		cmocka_unit_test(test_free_of_many_objects_retires_most_slabs),
		cmocka_unit_test(test_trim_with_objects_in_use_keeps_their_slabs),
		cmocka_unit_test(test_pages_go_back_to_their_zone),
		/* last: it leaves an active slab on every CPU */
		cmocka_unit_test(test_objects_freed_by_other_threads_are_whole),
	};

	pin_to_one_cpu();
	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
