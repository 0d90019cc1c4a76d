/* SPDX-License-Identifier: MIT */
#include "harness.h"

enum { MIB = 1 << 20 };

static struct lab_zone *const heap = &lab_zones[LAB_ZONE_HEAP];
static const size_t block_bytes = 1ul << LAB_BLOCK_SHIFT;

static void touch(size_t index, size_t n, uint64_t tag)
{
	size_t i;

	for (i = index; i < index + n; i++) {
		fill(block_address(i), tag + i, 64);
		fill((char *)block_address(i) + block_bytes - 64, tag + i, 64);
	}
}

static bool is_touched(size_t index, size_t n, uint64_t tag)
{
	size_t i;

	for (i = index; i < index + n; i++)
		if (!is_filled(block_address(i), tag + i, 64) ||
		    !is_filled((char *)block_address(i) + block_bytes - 64, tag + i, 64))
			return false;
	return true;
}

static bool is_block_mapped(size_t index)
{
	return msync(block_address(index), block_bytes, MS_ASYNC) == 0;
}

/* Runs of any length are whole: mapped, ours alone, and clean when they say so. */
static void test_run_of_every_length_belongs_to_its_taker(void **state)
{
	static const size_t mib[] = { 3, 4, 5, 63, 64, 65, 130, 300 };
	enum { RUNS = sizeof(mib) / sizeof(mib[0]) };
	size_t run[RUNS], i;
	bool clean;

	(void)state;
	for (i = 0; i < RUNS; i++) {
		run[i] = lab_run_take(mib[i] * MIB, block_bytes, &clean);
		assert_true(run[i] != SIZE_MAX);
		if (clean)
			assert_true(is_zero(block_address(run[i]), mib[i] * MIB));
		touch(run[i], (mib[i] + 1) / 2, i << 32);
	}
	for (i = 0; i < RUNS; i++) {
		assert_true(is_touched(run[i], (mib[i] + 1) / 2, i << 32));
		lab_run_give(run[i], (mib[i] + 1) / 2);
	}
	assert_int_equal(heap_in_use(), 0);
}

/* What a run was becomes ordinary frames, dirty, and serves small requests. */
static void test_run_given_back_serves_small_requests(void **state)
{
	struct lab_frames out;
	size_t run;
	bool clean;

	(void)state;
	(void)lab_heap_purge(true);
	run = lab_run_take(16 * MIB, block_bytes, &clean);
	assert_true(run != SIZE_MAX);
	assert_true(clean);
	assert_int_equal(heap_in_use(), 8 * LAB_BLOCK_FRAMES);
	touch(run, 8, 1);
	lab_run_give(run, 8);
	assert_int_equal(heap_in_use(), 0);
	assert_int_equal(lab_word_get(&heap->dirty), 8 * LAB_BLOCK_FRAMES);
	assert_true(lab_heap_take_run(LAB_BLOCK_FRAMES, 9, &out));
	assert_int_equal(out.nclean, 0);
	assert_in_range(out.pfn / LAB_BLOCK_FRAMES, run, run + 7);
	lab_zone_give(out.pfn, LAB_BLOCK_FRAMES);
	(void)lab_heap_purge(true);
	assert_int_equal(lab_word_get(&heap->managed), 0);
	assert_int_equal(lab_word_get(&heap->dirty), 0);
}

/* A run is clean when the system has just cleaned it, and not when it was used since. */
static void test_run_taken_again_is_clean_only_if_it_reads_as_zero(void **state)
{
	size_t run;
	bool clean;

	(void)state;
	for (int turn = 0; turn < 6; turn++) {
		run = lab_run_take(8 * MIB, block_bytes, &clean);
		assert_true(run != SIZE_MAX);
		assert_int_equal(clean, is_zero(block_address(run), 8 * MIB));
		touch(run, 4, 0x1234);
		lab_run_give(run, 4);
		if (turn % 2)
			(void)lab_heap_purge(false);
	}
	(void)lab_heap_purge(true);
}

/* Any power of two up to 1 GiB is kept as alignment. */
static void test_run_of_every_alignment_is_aligned(void **state)
{
	size_t align;
	bool clean;

	(void)state;
	for (align = block_bytes; align <= 1ul << 30; align <<= 1) {
		size_t run = lab_run_take(3 * MIB, align, &clean);

		assert_true(run != SIZE_MAX);
		assert_int_equal((uintptr_t)block_address(run) % align, 0);
		touch(run, 2, align);
		lab_run_give(run, 2);
	}
	assert_int_equal(heap_in_use(), 0);
}

/* A run grows in place into free or unmapped blocks, not into used ones. */
static void test_extend_into_used_block_is_refused(void **state)
{
	size_t run, bad;
	bool clean;

	(void)state;
	run = lab_run_take(20 * MIB, block_bytes, &clean);
	assert_true(run != SIZE_MAX);
	lab_run_give(run + 2, 8); /* the tail is free and mapped */
	touch(run, 2, 5);
	for (bad = 2; bad < 10; bad++) {
		struct lab_frames out;

		assert_true(lab_block_take_at(run + bad, LAB_ZONE_HEAP, 300, 1, &out));
		assert_false(lab_run_extend(run + 2, 8));
		lab_block_give(run + bad, 300, 1);
	}
	assert_true(lab_run_extend(run + 2, 4));
	assert_int_equal(heap_in_use(), 6 * LAB_BLOCK_FRAMES);
	(void)lab_heap_purge(true); /* now the rest is not mapped */
	assert_true(lab_run_extend(run + 6, 4));
	assert_true(is_touched(run, 2, 5));
	touch(run, 10, 6);
	assert_false(lab_run_extend(lab_nr_sections() * LAB_SECTION_BLOCKS - 1, 2));
	lab_run_give(run, 10);
	assert_int_equal(heap_in_use(), 0);
}

/* Blocks whose pages moved away are given back as holes and can be mapped again. */
static void test_give_unmapped_leaves_holes_that_serve_again(void **state)
{
	uint64_t managed;
	size_t run, again;
	bool clean;

	(void)state;
	run = lab_run_take(8 * MIB, block_bytes, &clean);
	assert_true(run != SIZE_MAX);
	managed = lab_word_get(&heap->managed);
	assert_int_equal(munmap(block_address(run), 4 * block_bytes), 0);
	lab_run_give_unmapped(run, 4);
	assert_int_equal(lab_word_get(&heap->managed), managed - 4 * LAB_BLOCK_FRAMES);
	assert_int_equal(block_word(run).mapped, 0);
	assert_false(is_block_mapped(run));
	again = lab_run_take(8 * MIB, block_bytes, &clean);
	assert_int_equal(again, run);
	assert_true(clean);
	assert_true(is_zero(block_address(again), 8 * MIB));
	lab_run_give(again, 4);
}

/* What a run has mapped when the system refuses the rest of it is unmapped again. */
static void test_run_refused_half_way_leaves_its_holes(void **state)
{
	size_t run;
	bool clean;

	(void)state;
	run = lab_run_take(6 * MIB, block_bytes, &clean);
	assert_true(run != SIZE_MAX);
	assert_int_equal(munmap(block_address(run), block_bytes), 0);
	assert_int_equal(munmap(block_address(run + 2), block_bytes), 0);
	lab_run_give_unmapped(run, 1);
	lab_run_give(run + 1, 1);
	lab_run_give_unmapped(run + 2, 1);
	lab_os_fail_from(2, UINT32_MAX);
	assert_true(lab_run_take(6 * MIB, block_bytes, &clean) == SIZE_MAX);
	lab_os_fail_from(0, 0);
	assert_int_equal(block_word(run).mapped, 0);
	assert_false(is_block_mapped(run));
	assert_false(is_block_mapped(run + 2));
	assert_int_equal(lab_run_take(6 * MIB, block_bytes, &clean), run);
	lab_run_give(run, 3);
	assert_int_equal(heap_in_use(), 0);
}

/* A mapping of the program's inside the window is left alone and passed over. */
static void test_run_around_foreign_mapping_leaves_it_alone(void **state)
{
	size_t run, other;
	char *theirs;
	bool clean;

	(void)state;
	(void)lab_heap_purge(true);
	run = lab_run_take(8 * MIB, block_bytes, &clean);
	assert_true(run != SIZE_MAX);
	lab_run_give(run, 4);
	(void)lab_heap_purge(true);
	theirs = mmap((char *)block_address(run + 1) + LAB_PAGE_BYTES, LAB_PAGE_BYTES,
		      PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		      0);
	assert_true(theirs != MAP_FAILED);
	fill(theirs, 42, LAB_PAGE_BYTES);
	other = lab_run_take(8 * MIB, block_bytes, &clean);
	assert_true(other != SIZE_MAX);
	assert_false(other <= run + 1 && run + 1 < other + 4);
	touch(other, 4, 9);
	assert_true(is_filled(theirs, 42, LAB_PAGE_BYTES));
	lab_run_give(other, 4);
	/* small requests grow around it, too */
	for (int i = 0; i < 40; i++) {
		struct lab_frames out;

		assert_true(lab_heap_take_run(LAB_BLOCK_FRAMES, 9, &out));
		assert_int_not_equal(out.pfn / LAB_BLOCK_FRAMES, run + 1);
		fill(lab_frame_address(out.pfn), 1, block_bytes);
	}
	assert_true(is_filled(theirs, 42, LAB_PAGE_BYTES));
}

/* What no window can hold is refused, and nothing changes but the count of failures. */
static void test_run_beyond_the_window_is_refused(void **state)
{
	uint64_t managed = lab_word_get(&heap->managed), failed = lab_word_get(&heap->failed);
	size_t sections = lab_nr_sections();
	bool clean;

	(void)state;
	assert_true(lab_run_take(1ul << 45, block_bytes, &clean) == SIZE_MAX);
	assert_true(lab_run_take(3 * MIB, 1ul << 60, &clean) == SIZE_MAX);
	assert_true(lab_run_take(PTRDIFF_MAX & -block_bytes, block_bytes, &clean) == SIZE_MAX);
	assert_int_equal(lab_word_get(&heap->failed), failed + 3);
	assert_true(lab_word_get(&heap->managed) <= managed);
	assert_int_equal(lab_nr_sections(), sections);
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
} stress;

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919;
	bool clean;

	(void)unused;
	while (now_ms() < stress.until) {
		size_t n = 2 + random_below(&seed, 12), more = 1 + random_below(&seed, 3);
		size_t run = lab_run_take(n * block_bytes, block_bytes, &clean);

		must(run != SIZE_MAX);
		touch(run, n, (uint64_t)id << 40);
		if (lab_run_extend(run + n, more)) {
			touch(run + n, more, (uint64_t)id << 40);
			n += more;
		}
		must(is_touched(run, n, (uint64_t)id << 40));
		lab_run_give(run, n);
		if (random_below(&seed, 8) == 0)
			(void)lab_heap_purge(next_random(&seed) & 1);
	}
}

/* Among threads no block has two owners, and at rest the heap is free. */
static void test_runs_among_threads_have_one_owner(void **state)
{
	uint64_t before = heap_in_use();

	(void)state;
	stress.seed = new_seed("run");
	stress.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, stress_thread, NULL);
	assert_int_equal(heap_in_use(), before);
	(void)lab_heap_purge(true);
	assert_int_equal(lab_word_get(&heap->managed), before);
	assert_int_equal(lab_word_get(&heap->dirty), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_of_every_length_belongs_to_its_taker),
		cmocka_unit_test(test_run_given_back_serves_small_requests),
		cmocka_unit_test(test_run_taken_again_is_clean_only_if_it_reads_as_zero),
		cmocka_unit_test(test_run_of_every_alignment_is_aligned),
		cmocka_unit_test(test_extend_into_used_block_is_refused),
		cmocka_unit_test(test_give_unmapped_leaves_holes_that_serve_again),
		cmocka_unit_test(test_run_refused_half_way_leaves_its_holes),
		cmocka_unit_test(test_run_beyond_the_window_is_refused),
		cmocka_unit_test(test_runs_among_threads_have_one_owner),
		/* last: it keeps what it took */
		cmocka_unit_test(test_run_around_foreign_mapping_leaves_it_alone),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
