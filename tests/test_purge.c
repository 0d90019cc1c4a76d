/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "page/thp.h"

/* of the records of a block */
enum { RECORD_PAGES = LAB_BLOCK_FRAMES * sizeof(struct lab_frame) / LAB_PAGE_BYTES };

static struct lab_zone *const heap = &lab_zones[LAB_ZONE_HEAP];

/* pages of a range that are in memory; -1: not mapped */
static long resident(const void *ptr, size_t npages)
{
	unsigned char vec[LAB_BLOCK_FRAMES];
	long n = 0;
	size_t i;

	must(npages <= LAB_BLOCK_FRAMES);
	if (mincore((void *)(uintptr_t)ptr, npages << LAB_PAGE_SHIFT, vec))
		return -1;
	for (i = 0; i < npages; i++)
		n += vec[i] & 1;
	return n;
}

/* of this process, in memory */
static long rss_pages(void)
{
	long size = 0, rss = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	must(file && fscanf(file, "%ld %ld", &size, &rss) == 2);
	fclose(file);
	return rss;
}

static lab_pfn_t take_block(void)
{
	struct lab_frames out;

	must(lab_heap_take_run(LAB_BLOCK_FRAMES, 9, &out));
	return out.pfn;
}

/* Idle dirty memory leaves the process; what is in use keeps its contents. */
static void test_purge_of_idle_frames_lowers_rss_and_spares_the_used(void **state)
{
	enum { BLOCKS = 16 };
	lab_pfn_t pfn[BLOCKS];
	unsigned int i, f;
	long rss, kept = 0;

	(void)state;
	for (i = 0; i < BLOCKS; i++) {
		pfn[i] = take_block();
		for (f = 0; f < LAB_BLOCK_FRAMES; f++)
			fill(lab_frame_address(pfn[i] + f), f, LAB_PAGE_BYTES);
	}
	for (i = 0; i < BLOCKS; i++) {
		/* even blocks go back whole, of the others every eighth page stays */
		if (i % 2 == 0) {
			lab_zone_give(pfn[i], LAB_BLOCK_FRAMES);
			continue;
		}
		for (f = 0; f < LAB_BLOCK_FRAMES; f += 8, kept++)
			lab_zone_give(pfn[i] + f + 1, 7);
	}
	rss = rss_pages();
	assert_int_equal(lab_word_get(&heap->dirty), BLOCKS * LAB_BLOCK_FRAMES - kept);
	assert_int_equal(lab_heap_purge(false), BLOCKS * LAB_BLOCK_FRAMES - kept);
	assert_int_equal(lab_word_get(&heap->dirty), 0);
	assert_true(rss - rss_pages() >= (BLOCKS * LAB_BLOCK_FRAMES - kept) * 9 / 10);
	for (i = 0; i < BLOCKS; i++) {
		if (i % 2 == 0) {
			assert_int_equal(resident(lab_frame_address(pfn[i]), LAB_BLOCK_FRAMES), 0);
			continue;
		}
		for (f = 0; f < LAB_BLOCK_FRAMES; f += 8) {
			assert_int_equal(resident(lab_frame_address(pfn[i] + f + 1), 7), 0);
			assert_true(is_filled(lab_frame_address(pfn[i] + f), f, LAB_PAGE_BYTES));
			lab_zone_give(pfn[i] + f, 1);
		}
	}
	assert_int_equal(heap_in_use(), 0);
	assert_int_equal(lab_heap_purge(false), kept);
}

/* Frames that were given to the system are clean when they are taken again. */
static void test_frames_after_a_purge_are_clean(void **state)
{
	struct lab_frames out;
	lab_pfn_t pfn = take_block();

	(void)state;
	memset(lab_frame_address(pfn), 0xa5, LAB_BLOCK_FRAMES * LAB_PAGE_BYTES);
	lab_zone_give(pfn + 64, 128);
	assert_int_equal(lab_heap_purge(false), 128);
	assert_true(lab_heap_extend(pfn + 64, 100));
	assert_true(is_zero(lab_frame_address(pfn + 64), 100 * LAB_PAGE_BYTES));
	assert_false(is_zero(lab_frame_address(pfn + 192), LAB_PAGE_BYTES));
	lab_zone_give(pfn, 64 + 100);
	lab_zone_give(pfn + 192, LAB_BLOCK_FRAMES - 192);
	(void)lab_heap_purge(false);
	assert_true(lab_heap_take_run(LAB_BLOCK_FRAMES, 9, &out));
	assert_int_equal(out.nclean, LAB_BLOCK_FRAMES);
	assert_true(is_zero(lab_frame_address(out.pfn), LAB_BLOCK_FRAMES * LAB_PAGE_BYTES));
	lab_zone_give(out.pfn, LAB_BLOCK_FRAMES);
	(void)lab_heap_purge(false);
	assert_int_equal(lab_word_get(&heap->dirty), 0);
}

/* With a block that is all free, the memory of its live bytes and records goes as well. */
static void test_purge_of_a_whole_block_takes_its_tables_along(void **state)
{
	static const unsigned int shifts[] = { LAB_LIVE16_SHIFT, LAB_LIVE128_SHIFT };
	lab_pfn_t pfn = take_block();
	lab_byte_t *live[2];
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		live[i] = lab_live_byte(lab_frame_address(pfn), shifts[i]);
		lab_byte_set(live[i], LAB_LIVE);
		lab_byte_set(live[i], 0);
		assert_int_equal(resident((void *)live[i], 1), 1);
	}
	for (i = 0; i < LAB_BLOCK_FRAMES; i++)
		lab_word_set(&lab_frame_at(pfn + i)->word, i + 1);
	lab_zone_give(pfn + 1, LAB_BLOCK_FRAMES - 1);
	(void)lab_heap_purge(false);
	assert_int_equal(resident((void *)live[0], 1), 1);
	assert_int_equal(resident(lab_frame_at(pfn), RECORD_PAGES), RECORD_PAGES);
	lab_zone_give(pfn, 1);
	(void)lab_heap_purge(false);
	assert_int_equal(resident(lab_frame_at(pfn), RECORD_PAGES), 0);
	assert_int_equal(lab_word_get(&lab_frame_at(pfn)->word), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(resident((void *)live[i], 1), 0);
		assert_int_equal(lab_byte_get(live[i]), 0);
	}
}

/* For want of address space whole blocks are unmapped, and can be mapped again. */
static void test_purge_with_unmap_gives_address_space_back(void **state)
{
	lab_pfn_t pfn = take_block(), other = take_block();

	(void)state;
	memset(lab_frame_address(pfn), 1, 1000);
	fill(lab_frame_address(other), 3, LAB_PAGE_BYTES);
	lab_zone_give(pfn, LAB_BLOCK_FRAMES);
	lab_zone_give(other + 1, LAB_BLOCK_FRAMES - 1);
	assert_true(lab_heap_purge(true) >= LAB_BLOCK_FRAMES);
	assert_int_equal(resident(lab_frame_address(pfn), 1), -1);
	assert_int_equal(lab_word_get(&heap->managed), LAB_BLOCK_FRAMES);
	assert_int_equal(lab_word_get(&heap->free), LAB_BLOCK_FRAMES - 1);
	assert_true(is_filled(lab_frame_address(other), 3, LAB_PAGE_BYTES));
	pfn = take_block();
	assert_true(is_zero(lab_frame_address(pfn), 1000));
	lab_zone_give(pfn, LAB_BLOCK_FRAMES);
	lab_zone_give(other, 1);
	(void)lab_heap_purge(true);
	assert_int_equal(lab_word_get(&heap->managed), 0);
}

/* Where the system refuses, nothing is called clean and nothing is lost. */
static void test_purge_that_fails_changes_no_books(void **state)
{
	lab_pfn_t pfn = take_block(), part = take_block();
	uint64_t dirty;
	size_t done;

	(void)state;
	fill(lab_frame_address(part), 3, LAB_PAGE_BYTES);
	memset(lab_frame_address(pfn), 0xa5, LAB_BLOCK_FRAMES * LAB_PAGE_BYTES);
	lab_zone_give(pfn, LAB_BLOCK_FRAMES);
	lab_zone_give(part + 1, LAB_BLOCK_FRAMES - 1);
	dirty = lab_word_get(&heap->dirty);
	lab_os_fail_from(1, UINT32_MAX);
	done = lab_heap_purge(false);
	lab_os_fail_from(0, 0);
	assert_int_equal(done, 0);
	assert_int_equal(lab_word_get(&heap->dirty), dirty);
	assert_int_equal(heap_in_use(), 1);
	assert_int_equal(lab_heap_purge(false), dirty);
	lab_zone_give(part, 1);
	(void)lab_heap_purge(true);
	assert_int_equal(lab_word_get(&heap->managed), 0);
	assert_int_equal(lab_word_get(&heap->dirty), 0);
}

/* Little idle memory is kept; much more than is in use leaves at once, the rest by and by. */
static void test_decay_keeps_little_and_gives_much(void **state)
{
	enum { BLOCKS = 64, LITTLE = 32, SOME = 8192, MUCH = 16384 };
	lab_pfn_t pfn[BLOCKS];
	uint64_t until;
	unsigned int i;

	(void)state;
	for (i = 0; i < BLOCKS; i++)
		pfn[i] = take_block();
	lab_zone_give(pfn[0], LITTLE);
	assert_false(lab_heap_decay());
	assert_int_equal(lab_word_get(&heap->dirty), LITTLE);
	lab_zone_give(pfn[0] + LITTLE, LAB_BLOCK_FRAMES - LITTLE);
	for (i = 1; i < BLOCKS; i++)
		lab_zone_give(pfn[i], LAB_BLOCK_FRAMES);
	assert_int_equal(lab_word_get(&heap->dirty), BLOCKS * LAB_BLOCK_FRAMES);
	assert_false(lab_heap_decay());
	assert_true(lab_word_get(&heap->dirty) <= MUCH);
	assert_true(lab_word_get(&heap->dirty) >= SOME);
	until = now_ms() + 3000;
	while (lab_word_get(&heap->dirty) > SOME + LAB_BLOCK_FRAMES) {
		assert_true(now_ms() < until);
		usleep(2000);
		assert_false(lab_heap_decay());
	}
	/* in no hurry any more, and much went back: the stacks should be emptied */
	while (!lab_heap_decay()) {
		assert_true(now_ms() < until);
		usleep(2000);
	}
	assert_false(lab_heap_decay());
	assert_true(lab_word_get(&heap->dirty) >= LITTLE / 2);
	(void)lab_heap_purge(true);
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
} stress;

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919;
	struct lab_frames out;

	(void)unused;
	while (now_ms() < stress.until) {
		unsigned int n = 1 + (unsigned int)random_below(&seed, 100);

		if (id == 0) {
			(void)lab_heap_purge(false);
			continue;
		}
		must(lab_heap_take_run(n, 0, &out));
		if (out.nclean == n)
			must(is_zero(lab_frame_address(out.pfn), n * LAB_PAGE_BYTES));
		fill(lab_frame_address(out.pfn), id, n * LAB_PAGE_BYTES);
		must(is_filled(lab_frame_address(out.pfn), id, n * LAB_PAGE_BYTES));
		lab_zone_give(out.pfn, n);
	}
}

/* A purge beside threads at work never touches what they hold. */
static void test_purge_beside_threads_spares_their_frames(void **state)
{
	(void)state;
	stress.seed = new_seed("purge");
	stress.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, stress_thread, NULL);
	assert_int_equal(heap_in_use(), 0);
	(void)lab_heap_purge(false);
	assert_int_equal(lab_word_get(&heap->dirty), 0);
}

/* what smaps says of the mapping that @at lies in: the line of its flags; "" if none */
static void flags_of(const void *at, char line[512])
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long from, to;
	bool here = false;

	assert_non_null(smaps);
	while (fgets(line, 512, smaps)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)at >= from && (uintptr_t)at < to;
		else if (here && !strncmp(line, "VmFlags:", 8))
			break;
		line[0] = 0;
	}
	fclose(smaps);
}

/*
 * A heap that has reached the option's size grows by blocks that may be huge pages, one
 * below does not; of which a part goes back may not any more, and reads as zero there.
 */
static void test_big_heaps_grow_by_huge_pages_until_they_shrink(void **state)
{
	bool has_thp = access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) == 0;
	static struct lab_frames run[64];
	struct lab_frames small;
	char flags[512];
	size_t i;

	(void)state;
	(void)lab_heap_purge(true);
	lab_word_set(&lab_thp_from, 4 * LAB_BLOCK_FRAMES);
	assert_true(lab_heap_take_run(1, 0, &small));
	flags_of(lab_frame_address(small.pfn), flags);
	assert_null(strstr(flags, " hg"));
	for (i = 0; i < 64; i++)
		assert_true(lab_heap_take_run(LAB_BLOCK_FRAMES, 9, &run[i]));
	flags_of(lab_frame_address(run[63].pfn), flags);
	assert_true(!has_thp || strstr(flags, " hg"));
	assert_true(!has_thp || lab_word_get(&lab_block_at(run[63].pfn / LAB_BLOCK_FRAMES)->huge));
	memset(lab_frame_address(run[63].pfn), 1, LAB_BLOCK_FRAMES * LAB_PAGE_BYTES);
	/* what the system refuses is tried again with the next part */
	lab_zone_give(run[63].pfn + 1, 50);
	lab_os_fail_from(1, 1);
	assert_true(lab_heap_purge(false) >= (has_thp ? 50 : 0));
	lab_os_fail_from(0, 0);
	flags_of(lab_frame_address(run[63].pfn), flags);
	assert_true(!has_thp || strstr(flags, " hg"));
	lab_zone_give(run[63].pfn + 51, 50);
	assert_true(lab_heap_purge(false) >= 50);
	flags_of(lab_frame_address(run[63].pfn), flags);
	assert_null(strstr(flags, " hg"));
	assert_true(is_zero(lab_frame_address(run[63].pfn + 1), 100 * LAB_PAGE_BYTES));
	assert_int_equal(*(char *)lab_frame_address(run[63].pfn), 1);
	lab_word_set(&lab_thp_from, 0);
	lab_zone_give(run[63].pfn, 1);
	lab_zone_give(run[63].pfn + 101, LAB_BLOCK_FRAMES - 101);
	for (i = 0; i < 63; i++)
		lab_zone_give(run[i].pfn, LAB_BLOCK_FRAMES);
	lab_zone_give(small.pfn, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_purge_of_idle_frames_lowers_rss_and_spares_the_used),
		cmocka_unit_test(test_frames_after_a_purge_are_clean),
		cmocka_unit_test(test_purge_with_unmap_gives_address_space_back),
		cmocka_unit_test(test_purge_that_fails_changes_no_books),
		cmocka_unit_test(test_purge_of_a_whole_block_takes_its_tables_along),
		cmocka_unit_test(test_decay_keeps_little_and_gives_much),
		cmocka_unit_test(test_purge_beside_threads_spares_their_frames),
		cmocka_unit_test(test_big_heaps_grow_by_huge_pages_until_they_shrink),
	};

	return cmocka_run_group_tests_name("purge", tests, NULL, NULL);
}
