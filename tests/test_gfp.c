/* SPDX-License-Identifier: MIT */
/*
 * Requests by flags, one promise at a time.  Most tests run in a child, whose zone
 * is made as large as the test wants it.
 */
#include "harness.h"

#include <sys/resource.h>

#include "gfp/reclaim.h"
#include "labyrinth.h"
#include "os/wiped.h"
#include "page/event.h"
#include "page/exclusive.h"
#include "page/highatomic.h"
#include "page/reserve.h"
#include "pcp/pcp.h"

#define ATOMIC	   LABYRINTH_GFP_ATOMIC
#define NOWAIT	   LABYRINTH_GFP_NOWAIT
#define KERNEL	   LABYRINTH_GFP_KERNEL
#define ZERO	   LABYRINTH___GFP_ZERO
#define EXCL	   LABYRINTH___GFP_EXCLUSIVE
#define HIGH	   LABYRINTH___GFP_HIGH
#define NOWARN	   LABYRINTH___GFP_NOWARN
#define NORETRY	   LABYRINTH___GFP_NORETRY
#define MAYFAIL	   LABYRINTH___GFP_RETRY_MAYFAIL
#define NOFAIL	   LABYRINTH___GFP_NOFAIL
#define MEMALLOC   LABYRINTH___GFP_MEMALLOC
#define NOMEMALLOC LABYRINTH___GFP_NOMEMALLOC

enum { MANY = 8000 };

static struct lab_zone *const zone = &lab_zones[LAB_ZONE_RESERVE];

static uint64_t events(enum lab_event event)
{
	return lab_word_get(&lab_events[event]);
}

static uint64_t free_pages(void)
{
	return lab_word_get(&zone->free);
}

static uint64_t on_stacks(unsigned int cls)
{
	uint64_t n = 0;

	for (unsigned int cpu = 0; cpu < LAB_NR_CPUS; cpu++)
		n += ((struct lab_pcp_stack *)((char *)&lab_pcp_area[cpu] +
					       lab_pcp_class[cls].stack))
			     ->count;
	return n;
}

/* pages that are not handed out */
static uint64_t obtainable(void)
{
	return free_pages() + on_stacks(LAB_PCP_API) + on_stacks(LAB_PCP_ZERO) +
	       lab_highatomic_frames();
}

static void sysctl(const char *name, uint64_t value)
{
	must(labyrinth_sysctl(name, NULL, &value) == 0);
}

/* ---- frames that the test keeps from everybody ---- */

static lab_pfn_t soaked[MANY];
static unsigned int nsoaked;

static void soak_down_to(uint64_t left)
{
	struct lab_frames out;

	(void)lab_pages_drain(lab_pcp_drain_all);
	while (lab_reserve_take(LAB_ZONE_RESERVE, 0, left, &out)) {
		must(nsoaked < MANY);
		soaked[nsoaked++] = out.pfn;
	}
	must(free_pages() == left);
}

static void give_soaked(unsigned int n)
{
	must(n <= nsoaked);
	while (n-- > 0)
		lab_zone_give(soaked[--nsoaked], 1);
}

static int by_pfn(const void *a, const void *b)
{
	lab_pfn_t x = *(const lab_pfn_t *)a, y = *(const lab_pfn_t *)b;

	return x < y ? -1 : x > y;
}

/* @left frames are free, no two of them adjacent */
static void soak_to_pieces(unsigned int left)
{
	unsigned int kept = 0, i;

	soak_down_to(0);
	qsort(soaked, nsoaked, sizeof(soaked[0]), by_pfn);
	for (i = 0; i < nsoaked; i++) {
		if (soaked[i] % 2 == 0 && left > 0) {
			lab_zone_give(soaked[i], 1);
			left--;
		} else {
			soaked[kept++] = soaked[i];
		}
	}
	must(left == 0);
	nsoaked = kept;
}

static uint64_t excl_in_use(void)
{
	const struct lab_zone *excl = lab_zone_at(LAB_ZONE_EXCLUSIVE);

	return lab_word_get(&excl->managed) - lab_word_get(&excl->free) - on_stacks(LAB_PCP_EXCL);
}

/* the reserve has @pages, all resident and free */
static void resize(uint64_t pages)
{
	uint64_t before;

	(void)lab_pages_drain(lab_pcp_drain_all);
	sysctl("reserve", pages * LAB_PAGE_BYTES);
	do {
		before = lab_word_get(&zone->managed);
		if (before < pages)
			soak_down_to(0);
		lab_reserve_refill(LAB_ZONE_RESERVE);
	} while (lab_word_get(&zone->managed) != before);
	give_soaked(nsoaked);
	must(lab_word_get(&zone->managed) == pages && free_pages() == pages);
}

/* the heap can give nothing */
static void dry_heap(void)
{
	(void)lab_heap_purge(true);
	must(lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed) == 0);
	lab_os_fail_from(1, ~0ull >> 1);
}

/* run in a child, on one CPU */
static void child(child_fn *run)
{
	assert_child_succeeds(run, NULL);
}

/* ---- what is set aside for atomic runs ---- */

static void sets_aside(void *unused)
{
	unsigned int order;
	void *run;

	(void)unused;
	resize(256);
	/* above low nothing is */
	for (order = 1; order <= 5; order++)
		labyrinth_free_pages(labyrinth_alloc_pages(ATOMIC, order), order);
	must(lab_highatomic_frames() == 0);
	soak_down_to(lab_word_get(&zone->low) + 1);
	/* nor for requests that are not atomic, or of one page */
	run = labyrinth_alloc_page(ATOMIC);
	labyrinth_free_page(run);
	(void)lab_pages_drain(lab_pcp_drain_all);
	run = labyrinth_alloc_pages(NOWAIT, 1);
	must(run && lab_highatomic_frames() == 0);
	labyrinth_free_pages(run, 1);
	run = labyrinth_alloc_pages(ATOMIC | NOMEMALLOC, 1);
	must(run && lab_highatomic_frames() == 0);
	labyrinth_free_pages(run, 1);
	/* an atomic run that goes below low sets one unit aside, which is not free */
	run = labyrinth_alloc_pages(ATOMIC, 1);
	must(run && lab_highatomic_frames() == 8);
	must(free_pages() == lab_word_get(&zone->low) + 1 - 2 - 8);
	/* 1 % of this zone is less than another unit */
	must(labyrinth_alloc_pages(ATOMIC, 4) && lab_highatomic_frames() == 8);
}

/* One unit is set aside when an atomic run had to go below low, and for nothing else. */
static void test_atomic_runs_below_low_set_aside(void **state)
{
	(void)state;
	child(sets_aside);
}

static void sets_aside_by_size(void *unused)
{
	static const struct {
		uint64_t pages, units;
	} rows[] = { { 63, 0 }, { 64, 1 }, { 256, 1 }, { 1599, 1 }, { 1600, 2 }, { 4000, 5 } };

	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *runs[20];

		(void)lab_highatomic_release();
		resize(rows[i].pages);
		soak_down_to(lab_word_get(&zone->low));
		/* the model of a burst: more than could be set aside */
		for (int n = 0; n < 8; n++) {
			runs[n] = labyrinth_alloc_pages(ATOMIC | MEMALLOC, 4);
			/* what is free now is used up by the next ones; runs are not */
			if (runs[n])
				labyrinth_free_pages(runs[n], 4);
		}
		must(lab_highatomic_frames() == 8 * rows[i].units);
		give_soaked(nsoaked);
	}
}

/* A zone has 1 % of it set aside at most, from 64 pages on one unit, below nothing. */
static void test_units_are_as_many_as_the_zone_may_have(void **state)
{
	(void)state;
	child(sets_aside_by_size);
}

static void set_one_aside(void)
{
	soak_down_to(lab_word_get(&zone->low));
	labyrinth_free_pages(labyrinth_alloc_pages(ATOMIC, 1), 1);
	must(lab_highatomic_frames() == 8);
}

static void uses_aside(void *unused)
{
	uint64_t hits = events(LAB_EV_HIGHATOMIC_HIT), floor;
	unsigned int order;

	(void)unused;
	resize(256);
	for (order = 1; order <= 3; order++) {
		void *run;

		set_one_aside();
		soak_to_pieces(100);
		/* without a run in the zone: a plain request has none, an atomic one has */
		must(!labyrinth_alloc_pages(NOWAIT, order));
		must(!labyrinth_alloc_pages(NOWAIT | MEMALLOC, order));
		must(!labyrinth_alloc_pages(HIGH | NOMEMALLOC, order));
		must(events(LAB_EV_HIGHATOMIC_HIT) == hits);
		run = labyrinth_alloc_pages(ATOMIC, order);
		must(run && (uintptr_t)run % (LAB_PAGE_BYTES << order) == 0);
		must(events(LAB_EV_HIGHATOMIC_HIT) == ++hits);
		must(lab_highatomic_frames() == 0);
		must(free_pages() == 100 + 8 - (1u << order));
		labyrinth_free_pages(run, order);
		give_soaked(nsoaked);
	}
	/* it counts as free for who may have it, and for nobody else */
	set_one_aside();
	floor = lab_word_get(&zone->min);
	soak_down_to(floor);
	must(!labyrinth_alloc_page(NOWAIT) && !labyrinth_alloc_pages_nolock(0));
	floor -= floor / 2;
	floor -= floor / 4;
	soak_down_to(floor - 7);
	must(labyrinth_alloc_page(ATOMIC));
	must(!labyrinth_alloc_page(ATOMIC) && lab_highatomic_frames() == 8);
}

/* Atomic runs of order 1 to 3 have it when nothing else is left; others never. */
static void test_what_is_set_aside_serves_atomic_runs_alone(void **state)
{
	(void)state;
	child(uses_aside);
}

static void raids_aside(void *unused)
{
	uint64_t hits = events(LAB_EV_HIGHATOMIC_HIT);

	(void)unused;
	resize(256);
	/* an atomic floor of 3 pages */
	set_one_aside();
	sysctl("min_free_kbytes", 32);
	soak_down_to(2);
	must(labyrinth_alloc_page(ATOMIC) && labyrinth_alloc_page(ATOMIC));
	must(free_pages() == 0 && lab_highatomic_frames() == 8);
	must(events(LAB_EV_HIGHATOMIC_HIT) == hits);
	must(!labyrinth_alloc_page(NOWAIT) && !labyrinth_alloc_page(HIGH | NOMEMALLOC));
	/* now all else is gone */
	must(labyrinth_alloc_page(ATOMIC));
	must(events(LAB_EV_HIGHATOMIC_HIT) == hits + 1 && lab_highatomic_frames() == 0);
	must(free_pages() == 7);
}

/* A single atomic page is taken out of it last of all. */
static void test_single_pages_raid_it_last(void **state)
{
	(void)state;
	child(raids_aside);
}

static void reclaim_releases(void *unused)
{
	(void)unused;
	resize(256);
	set_one_aside();
	soak_down_to(lab_word_get(&zone->min));
	dry_heap();
	must(labyrinth_alloc_page(KERNEL | NORETRY));
	must(lab_highatomic_frames() == 0);
	must(free_pages() == lab_word_get(&zone->min) + 7);
	must(events(LAB_EV_ALLOCSTALL) == 1);
}

/* Who may wait gives it back, and has a page of it. */
static void test_reclaim_releases_what_is_set_aside(void **state)
{
	(void)state;
	child(reclaim_releases);
}

/* ---- pages that read as zero ---- */

static void *held[MANY];

/* all pages of the reserve have been written to, and are free */
static void dirty_all(void)
{
	unsigned int n = 0;

	while ((held[n] = labyrinth_alloc_page(NOWAIT | MEMALLOC)))
		memset(held[n++], 0xa5, LAB_PAGE_BYTES);
	while (n-- > 0)
		labyrinth_free_page(held[n]);
	(void)lab_pages_drain(lab_pcp_drain_all);
	must(lab_reserve_free_zeroed() == 0);
}

static void *zeroed_page(labyrinth_gfp_t gfp)
{
	void *page = labyrinth_get_zeroed_page(gfp);

	must(page && is_zero(page, LAB_PAGE_BYTES));
	return page;
}

static void zeroes_on_demand(void *unused)
{
	uint64_t hits, misses, zeroed;

	(void)unused;
	resize(256);
	dirty_all();
	hits = events(LAB_EV_ZERO_HIT);
	misses = events(LAB_EV_ZERO_MISS);
	zeroed = events(LAB_EV_ZEROED);
	/* nobody has asked: nothing is cleared */
	for (int i = 0; i < 10; i++) {
		lab_upkeep();
		labyrinth_free_page(labyrinth_alloc_page(ATOMIC));
	}
	must(events(LAB_EV_ZEROED) == zeroed && lab_reserve_free_zeroed() == 0);
	(void)lab_pages_drain(lab_pcp_drain_all);
	/* one miss: two are cleared ahead, and no third one */
	memset(zeroed_page(ATOMIC), 0xa5, LAB_PAGE_BYTES);
	must(events(LAB_EV_ZERO_MISS) == misses + 1 && events(LAB_EV_ZERO_HIT) == hits);
	for (int i = 0; i < 10; i++)
		lab_upkeep();
	must(events(LAB_EV_ZEROED) == zeroed + 2 && lab_reserve_free_zeroed() == 2);
	memset(zeroed_page(ATOMIC), 0xa5, LAB_PAGE_BYTES);
	must(events(LAB_EV_ZERO_HIT) == hits + 1 && on_stacks(LAB_PCP_ZERO) == 1);
	/* the other one waits on its stack */
	memset(zeroed_page(ATOMIC), 0xa5, LAB_PAGE_BYTES);
	must(events(LAB_EV_ZERO_HIT) == hits + 2 && on_stacks(LAB_PCP_ZERO) == 0);
	memset(zeroed_page(ATOMIC), 0xa5, LAB_PAGE_BYTES);
	must(events(LAB_EV_ZERO_HIT) == hits + 2 && events(LAB_EV_ZERO_MISS) == misses + 2);
}

/* The refiller clears two pages for each that was missed; with them requests are hits. */
static void test_pages_are_cleared_ahead_on_demand(void **state)
{
	(void)state;
	child(zeroes_on_demand);
}

static void zero_contents(void *unused)
{
	uint64_t seed = 88172645463325252ull, hits = events(LAB_EV_ZERO_HIT);
	void *pages[60] = { NULL };
	unsigned int orders[60] = { 0 };

	(void)unused;
	resize(256);
	for (int turn = 0; turn < 20000; turn++) {
		unsigned int at = (unsigned int)random_below(&seed, 60);
		bool zero = random_below(&seed, 2);

		if (pages[at]) {
			labyrinth_free_pages(pages[at], orders[at]);
			pages[at] = NULL;
			continue;
		}
		orders[at] = random_below(&seed, 4) ? 0 : (unsigned int)random_below(&seed, 4);
		pages[at] = labyrinth_alloc_pages(ATOMIC | (zero ? ZERO : 0), orders[at]);
		if (!pages[at])
			continue;
		must(!zero || is_zero(pages[at], LAB_PAGE_BYTES << orders[at]));
		memset(pages[at], 0x5a, LAB_PAGE_BYTES << orders[at]);
		if (turn % 64 == 0)
			lab_upkeep();
	}
	/* the hits were worth something */
	must(events(LAB_EV_ZERO_HIT) > hits + 200);
}

/* Whatever was done to pages before, those that are asked for as zero are zero. */
static void test_zeroed_pages_are_zero_however_dirty(void **state)
{
	(void)state;
	child(zero_contents);
}

static void zero_exclusive(void *unused)
{
	uint64_t zeroed;

	(void)unused;
	labyrinth_free_page(labyrinth_alloc_page(KERNEL | EXCL));
	resize(256);
	dirty_all();
	zeroed = events(LAB_EV_ZEROED);
	for (int i = 0; i < 5; i++)
		labyrinth_free_page(zeroed_page(ATOMIC | EXCL));
	for (int i = 0; i < 10; i++)
		lab_upkeep();
	must(events(LAB_EV_ZEROED) == zeroed && lab_reserve_free_zeroed() == 0);
}

/* Demand in the exclusive zone, which has no such pages, clears none of the reserve. */
static void test_exclusive_misses_clear_nothing_ahead(void **state)
{
	(void)state;
	child(zero_exclusive);
}

/* ---- many at once ---- */

static void bulk(void *unused)
{
	static char mine[4];
	void *pages[300] = { NULL };
	uint64_t before;
	size_t got, i;

	(void)unused;
	resize(256);
	before = obtainable();
	pages[0] = &mine[0];
	pages[5] = &mine[1];
	pages[6] = &mine[2];
	pages[19] = &mine[3];
	must(labyrinth_alloc_pages_bulk(ATOMIC | ZERO, 20, pages) == 20);
	must(pages[0] == &mine[0] && pages[5] == &mine[1] && pages[6] == &mine[2] &&
	     pages[19] == &mine[3] && !pages[20]);
	must(obtainable() == before - 16);
	for (i = 1; i < 19; i++) {
		if (i == 5 || i == 6)
			continue;
		must(is_zero(pages[i], LAB_PAGE_BYTES));
		memset(pages[i], (int)i, LAB_PAGE_BYTES);
	}
	pages[0] = pages[5] = pages[6] = pages[19] = NULL;
	labyrinth_free_pages_bulk(20, pages);
	for (i = 0; i < 20; i++)
		must(!pages[i]);
	must(obtainable() == before);
	/* short: down to low; then one, by all means, and no more */
	got = labyrinth_alloc_pages_bulk(ATOMIC, 300, pages);
	must(got == 256 - lab_word_get(&zone->low) && free_pages() == lab_word_get(&zone->low));
	must(!pages[got]);
	must(labyrinth_alloc_pages_bulk(ATOMIC, 50, pages + got) == 1);
	must(free_pages() == lab_word_get(&zone->low) - 1);
	must(labyrinth_alloc_pages_bulk(ATOMIC, 0, pages) == 0);
	must(labyrinth_alloc_pages_bulk(ATOMIC, 3, pages) == 3);
	errno = 0;
	must(labyrinth_alloc_pages_bulk(0x1000000u, 300, pages) == 0 && errno == EINVAL);
	labyrinth_free_pages_bulk(300, pages);
	must(obtainable() == before);
}

/* Holes are filled and nothing else; what there is not is a short count. */
static void test_bulk_fills_holes_and_counts_short(void **state)
{
	(void)state;
	child(bulk);
}

static void bulk_mixed(void *unused)
{
	uint64_t before, heap = heap_in_use(), excl;
	struct capture capture;
	void *pages[12] = { NULL };
	char text[100];
	const char *said;

	(void)unused;
	labyrinth_free_page(labyrinth_alloc_page(KERNEL | EXCL));
	resize(256);
	before = obtainable();
	excl = excl_in_use();
	must(labyrinth_alloc_pages_bulk(ATOMIC | EXCL | ZERO, 3, pages) == 3);
	for (int i = 0; i < 3; i++)
		must(lab_mem_kind(pages[i]) == LAB_KIND_EXCL && is_zero(pages[i], 4096));
	must(labyrinth_alloc_pages_bulk(ATOMIC, 6, pages) == 6);
	soak_down_to(lab_word_get(&zone->low));
	must(labyrinth_alloc_pages_bulk(KERNEL, 7, pages) == 7);
	must(lab_zone_of(lab_pfn_of(pages[6])) == LAB_ZONE_HEAP);
	give_soaked(nsoaked);
	/* 7 and 9 stay empty; two are there twice */
	pages[8] = pages[3];
	pages[10] = pages[1];
	pages[11] = &before;
	snprintf(text, sizeof(text), "double free of page %#lx\n", (unsigned long)pages[3]);
	capture_start(&capture);
	labyrinth_free_pages_bulk(12, pages);
	said = capture_end(&capture);
	must(strstr(said, text));
	snprintf(text, sizeof(text), "free of page %#lx which is not from", (unsigned long)&before);
	must(strstr(said, text));
	for (int i = 0; i < 12; i++)
		must(!pages[i]);
	must(obtainable() == before && heap_in_use() == heap);
	must(excl_in_use() == excl);
}

/* Pages of all zones go back at once; what is there twice or not ours is reported. */
static void test_bulk_free_of_all_kinds_reports_misuse(void **state)
{
	(void)state;
	child(bulk_mixed);
}

/* ---- exact sizes ---- */

static void exact(void *unused)
{
	static const labyrinth_gfp_t gfps[] = { ATOMIC | ZERO, ATOMIC | EXCL | ZERO };
	size_t size;

	(void)unused;
	labyrinth_free_page(labyrinth_alloc_page(KERNEL | EXCL));
	resize(600);
	for (size = 1; size <= 40 * 4096; size += 1 + size / 3) {
		size_t n = (size + 4095) / 4096, i;
		uint64_t before = obtainable();
		char *pages = labyrinth_alloc_pages_exact(size, gfps[0]);

		must(pages && (uintptr_t)pages % 4096 == 0 && is_zero(pages, n * 4096));
		must(obtainable() == before - n);
		memset(pages, 0xa5, n * 4096);
		if (n % 2)
			labyrinth_free_pages_exact(pages, size);
		else
			for (i = 0; i < n; i++)
				labyrinth_free_page(pages + i * 4096);
		must(obtainable() == before);
	}
	for (size = 1; size <= 3 * 4096; size += 3000) {
		char *pages;

		lab_excl_refill();
		(void)lab_pages_drain(lab_pcp_drain_all);
		pages = labyrinth_alloc_pages_exact(size, gfps[1]);

		must(pages && lab_mem_kind(pages) == LAB_KIND_EXCL);
		labyrinth_free_pages_exact(pages, size);
	}
	errno = 0;
	must(!labyrinth_alloc_pages_exact(0, ATOMIC) && errno == EINVAL);
	errno = 0;
	must(!labyrinth_alloc_pages_exact((512 << 12) + 1, KERNEL) && errno == EINVAL);
	errno = 0;
	must(!labyrinth_alloc_pages_exact(SIZE_MAX, KERNEL) && errno == EINVAL);
	labyrinth_free_pages_exact(NULL, 0);
}

/* Exactly as many pages as the size needs; the tail of the block is free again. */
static void test_exact_pages_are_exactly_as_many(void **state)
{
	(void)state;
	child(exact);
}

static void exact_rules(void *unused)
{
	uint64_t bad = events(LAB_EV_BAD_GFP), heap = heap_in_use();
	struct capture capture;
	const char *said;
	char *pages;

	(void)unused;
	capture_start(&capture);
	pages = labyrinth_alloc_pages_exact(3 << 12, KERNEL | LABYRINTH___GFP_COMP);
	said = capture_end(&capture);
	must(pages && events(LAB_EV_BAD_GFP) == bad + 1);
	must(strstr(said, "exact pages with __GFP_COMP or __GFP_HIGHMEM"));
	labyrinth_free_pages_exact(pages, 3 << 12);
	capture_start(&capture);
	pages = labyrinth_alloc_pages_exact(300 << 12, KERNEL | LABYRINTH___GFP_HIGHMEM);
	must(!*capture_end(&capture));
	must(pages && events(LAB_EV_BAD_GFP) == bad + 2);
	must(heap_in_use() == heap + 300);
	labyrinth_free_pages_exact(pages, 300 << 12);
	must(heap_in_use() == heap);
}

/* COMP and HIGHMEM are taken out, with one warning. */
static void test_exact_pages_warn_of_comp(void **state)
{
	(void)state;
	child(exact_rules);
}

/* ---- split ---- */

static void must_report(char *page, unsigned int order, const char *what)
{
	struct capture capture;
	const char *said;

	capture_start(&capture);
	errno = 4711;
	labyrinth_split_page(page, order);
	must(errno == 4711);
	said = capture_end(&capture);
	must(strstr(said, "BUG: split of page "));
	must(strstr(said, what));
}

static void split(void *unused)
{
	static const labyrinth_gfp_t gfps[] = { ATOMIC, ATOMIC | EXCL, KERNEL };
	static const unsigned int orders[] = { 3, 1, 7 };

	(void)unused;
	labyrinth_free_page(labyrinth_alloc_page(KERNEL | EXCL));
	resize(300);
	for (int i = 0; i < 3; i++) {
		struct capture capture;
		unsigned int order = orders[i], n;
		uint64_t before, heap;
		char *page;

		if (i == 2)
			soak_down_to(lab_word_get(&zone->low));
		before = obtainable();
		heap = heap_in_use();
		page = labyrinth_alloc_pages(gfps[i], order);
		must(page);
		must_report(page, order + 1, ", allocated with order ");
		must_report(page + 4096, order, " which is not from labyrinth_alloc_pages()");
		must_report(page + 8, order, " which is not from labyrinth_alloc_pages()");
		must_report(page, 40, ", allocated with order ");
		/* it is whole still */
		capture_start(&capture);
		labyrinth_free_page(page + 4096);
		must(strstr(capture_end(&capture), "BUG: free of page "));
		labyrinth_split_page(page, order);
		must_report(page, order, "with order ");
		labyrinth_split_page(page + 4096, 0);
		for (n = 0; n < 1u << order; n++) {
			memset(page + n * 4096, 0xa5, 4096);
			labyrinth_free_page(page + ((n * 5 + 3) % (1u << order)) * 4096);
		}
		must(obtainable() == before && heap_in_use() == heap);
	}
	must_report((char *)&split, 1, " which is not from labyrinth_alloc_pages()");
}

/* After it each page goes back by itself; misuse is reported, and nothing is split. */
static void test_split_pages_go_back_one_by_one(void **state)
{
	(void)state;
	child(split);
}

/* ---- alloc_pages_nolock(), get_zeroed_page() ---- */

static void nolock(void *unused)
{
	uint64_t failed = events(LAB_EV_FAIL_NOWAIT), calls;
	struct capture capture;
	unsigned int n = 0;
	void *page;

	(void)unused;
	resize(256);
	dirty_all();
	calls = lab_os_calls();
	capture_start(&capture);
	errno = 4711;
	while ((page = labyrinth_alloc_pages_nolock(n % 3 == 2))) {
		must(is_zero(page, n % 3 == 2 ? 8192 : 4096));
		memset(page, 0xa5, 4096);
		n++;
	}
	while ((page = labyrinth_alloc_pages_nolock(0)))
		must(is_zero(page, 4096));
	must(free_pages() == lab_word_get(&zone->min) && lab_highatomic_frames() == 0);
	must(!labyrinth_alloc_pages_nolock(3));
	must(events(LAB_EV_FAIL_NOWAIT) >= failed + 2);
	/* the crossing is left to the next one who may wake the refiller */
	must(lab_word_get(&zone->below) == 0);
	must(lab_os_calls() == calls && errno == 4711);
	must(labyrinth_flush_reports() == 0);
	must(!*capture_end(&capture) && events(LAB_EV_WARN) == 0);
	errno = 0;
	capture_start(&capture);
	must(!labyrinth_alloc_pages_nolock(10) && errno == EINVAL);
	must(!*capture_end(&capture));
}

/* Zeroed pages down to min; no report, no refiller, no system call. */
static void test_nolock_stops_at_min_in_silence(void **state)
{
	(void)state;
	child(nolock);
}

/* ---- the size of the reserve ---- */

/* pages of the reserve that are in memory */
static uint64_t resident(void)
{
	uint64_t n = 0;
	size_t block, blocks = lab_nr_sections() * LAB_SECTION_BLOCKS;

	for (block = 0; block < blocks; block++) {
		unsigned char there[LAB_BLOCK_FRAMES];

		if (!block_word(block).mapped || block_word(block).zone != LAB_ZONE_RESERVE)
			continue;
		must(mincore(block_address(block), 1ul << LAB_BLOCK_SHIFT, there) == 0);
		for (unsigned int i = 0; i < LAB_BLOCK_FRAMES; i++)
			n += there[i] & 1;
	}
	return n;
}

/* RSS of the process in pages; what the test itself uses included */
static long rss(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long total, pages;

	must(file && fscanf(file, "%ld %ld", &total, &pages) == 2);
	fclose(file);
	return pages;
}

static void resizes(void *unused)
{
	static const uint64_t sizes[] = { 256, 440, 441, 3000, 100, 3000, 7000, 0, 64, 7000, 48 };
	long before = 0;

	(void)unused;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		resize(sizes[i]);
		must(resident() == sizes[i]);
		must(lab_word_get(&zone->populated) - lab_word_get(&zone->parked) == sizes[i]);
		if (sizes[i] == 7000)
			before = rss();
		if (sizes[i] == 0) {
			must(rss() < before - 6800);
			must(!labyrinth_alloc_page(ATOMIC | MEMALLOC));
			must(!labyrinth_alloc_pages(ATOMIC, 2));
		}
		/* what came back from the system is clean, and says so truly */
		for (unsigned int n = 0; n < 20 && sizes[i] > 100; n++) {
			held[n] = labyrinth_alloc_page(ATOMIC | ZERO);
			must(held[n] && is_zero(held[n], LAB_PAGE_BYTES));
		}
		for (unsigned int n = 0; n < 20 && sizes[i] > 100; n++)
			labyrinth_free_page(held[n]);
		(void)lab_pages_drain(lab_pcp_drain_all);
		if (sizes[i])
			dirty_all();
	}
}

/* Up beyond a block and by several pieces, down, when pages leave memory, and up again. */
static void test_reserve_is_resized_at_run_time(void **state)
{
	(void)state;
	child(resizes);
}

static void shrinks_in_use(void *unused)
{
	unsigned int n = 0, i;

	(void)unused;
	resize(1000);
	while ((held[n] = labyrinth_alloc_page(NOWAIT | MEMALLOC)))
		fill(held[n], n, LAB_PAGE_BYTES), n++;
	must(n == 1000);
	sysctl("reserve", 100 * LAB_PAGE_BYTES);
	for (i = 0; i < 50; i++)
		lab_upkeep();
	/* nothing of what is in use goes */
	must(lab_word_get(&zone->managed) == 1000);
	for (i = 0; i < n; i++)
		must(is_filled(held[i], i, LAB_PAGE_BYTES));
	/* the rest as it becomes free */
	for (i = 0; i < 900; i++) {
		labyrinth_free_page(held[i]);
		if (i % 16 == 0)
			lab_upkeep();
	}
	(void)lab_pages_drain(lab_pcp_drain_all);
	for (i = 0; i < 50; i++)
		lab_upkeep();
	must(lab_word_get(&zone->managed) < 250 && resident() == lab_word_get(&zone->managed));
	for (i = 900; i < 1000; i++) {
		must(is_filled(held[i], i, LAB_PAGE_BYTES));
		labyrinth_free_page(held[i]);
	}
	(void)lab_pages_drain(lab_pcp_drain_all);
	for (i = 0; i < 50; i++)
		lab_upkeep();
	must(lab_word_get(&zone->managed) == 100 && free_pages() == 100 && resident() == 100);
}

/* A smaller cap takes no page from who has it; as pages become free they leave memory. */
static void test_smaller_reserve_waits_for_what_is_in_use(void **state)
{
	(void)state;
	child(shrinks_in_use);
}

static void runs_out_of_pieces(void *unused)
{
	uint64_t cap = 256, next, old;
	int err = 0, turns;

	(void)unused;
	for (turns = 0; turns < 20 && !err; turns++) {
		next = (cap + 600) * LAB_PAGE_BYTES;
		err = labyrinth_sysctl("reserve", NULL, &next);
		if (!err)
			cap += 600;
	}
	/* there are 8 pieces; what is refused leaves all as it was, and down works still */
	must(err == -ENOMEM && turns >= 7);
	must(labyrinth_sysctl("reserve", &old, NULL) == 0 && old == cap * LAB_PAGE_BYTES);
	resize(cap);
	resize(300);
	next = 1000 * LAB_PAGE_BYTES;
	must(labyrinth_sysctl("reserve", &old, &next) == 0 && old == 300 * LAB_PAGE_BYTES);
	/* the system refuses */
	lab_os_fail_from(1, ~0ull >> 1);
	next = (uint64_t)LAB_RESERVE_MAX * LAB_PAGE_BYTES;
	must(labyrinth_sysctl("reserve", NULL, &next) == -ENOMEM);
	must(labyrinth_sysctl("reserve", &old, NULL) == 0 && old == 1000 * LAB_PAGE_BYTES);
}

/* A resize that is refused says so and changes nothing. */
static void test_refused_resize_changes_nothing(void **state)
{
	(void)state;
	child(runs_out_of_pieces);
}

static void upkeep(void)
{
	for (int i = 0; i < 50; i++)
		lab_upkeep();
}

static void cannot_move(void *unused)
{
	(void)unused;
	resize(600);
	/* pages that the system does not take stay, and serve */
	sysctl("reserve", 100 * LAB_PAGE_BYTES);
	lab_os_fail_from(1, ~0ull >> 1);
	upkeep();
	must(lab_word_get(&zone->managed) == 600 && free_pages() == 600);
	lab_os_fail_from(0, 0);
	upkeep();
	must(lab_word_get(&zone->managed) == 100 && free_pages() == 100 && resident() == 100);
	/* and those that it does not give back are none of the zone's until it does */
	sysctl("reserve", 600 * LAB_PAGE_BYTES);
	soak_down_to(0);
	lab_os_fail_from(1, ~0ull >> 1);
	lab_reserve_refill(LAB_ZONE_RESERVE);
	must(lab_word_get(&zone->managed) == 100 && lab_word_get(&zone->parked) == 500);
	lab_os_fail_from(0, 0);
	give_soaked(nsoaked);
	resize(600);
	must(lab_word_get(&zone->parked) == 0 && resident() == 600);
}

/* A resize that the system refuses to follow is done when it does. */
static void test_resize_waits_for_the_system(void **state)
{
	(void)state;
	child(cannot_move);
}

/* ---- crossing low ---- */

static bool comes_true(bool (*is)(void))
{
	uint64_t until = now_ms() + 2000;

	while (!is() && now_ms() < until)
		usleep(1000);
	return is();
}

static bool sleeps(void)
{
	return lab_word_get(&lab_wiped.kswapd) == 3;
}

static void crossings(void *unused)
{
	uint64_t wakes;
	void *pages[20];

	(void)unused;
	resize(256);
	lab_kswapd_init(true, false);
	for (unsigned int turn = 1; turn <= 5; turn++) {
		must(comes_true(sleeps));
		wakes = events(LAB_EV_KSWAPD_WAKE);
		soak_down_to(lab_word_get(&zone->low) + 1);
		must((pages[0] = labyrinth_alloc_pages(ATOMIC, 0)));
		must(events(LAB_EV_KSWAPD_WAKE) == wakes && !lab_word_get(&zone->below));
		/* who may not wake it does not, and takes the crossing from nobody */
		must((pages[1] = labyrinth_alloc_page(HIGH)));
		must(events(LAB_EV_KSWAPD_WAKE) == wakes && !lab_word_get(&zone->below));
		for (unsigned int n = 2; n < 20; n++) {
			must((pages[n] = labyrinth_alloc_page(ATOMIC)));
			must(events(LAB_EV_KSWAPD_WAKE) == wakes + 1);
			must(lab_word_get(&zone->below) == 1);
			usleep(n % 7 == 0 ? 1000 : 0);
		}
		give_soaked(nsoaked);
		labyrinth_free_pages_bulk(20, pages);
		(void)lab_pages_drain(lab_pcp_drain_all);
		/* up again */
		labyrinth_free_page(labyrinth_alloc_page(ATOMIC));
		must(lab_word_get(&zone->below) == 0);
	}
}

/* However many requests go below low, the refiller is woken once per crossing. */
static void test_each_crossing_of_low_wakes_once(void **state)
{
	(void)state;
	if (!strcmp(HARNESS_SANITIZER, "tsan")) {
		print_message("tsan forbids threads in a child of fork()\n");
		return;
	}
	child(crossings);
}

/* ---- requests that may wait ---- */

/* nothing is left for anybody but MEMALLOC, and the heap is dry */
static void nothing_left(void)
{
	resize(256);
	soak_down_to(0);
	dry_heap();
}

/* a request that has to fail; how long it took, ms */
static uint64_t takes(labyrinth_gfp_t gfp)
{
	uint64_t start = now_ms();

	errno = 0;
	must(!labyrinth_alloc_page(gfp) && errno == ENOMEM);
	return now_ms() - start;
}

static void waits(void *unused)
{
	struct capture capture;
	const char *said;
	uint64_t took;

	(void)unused;
	nothing_left();
	sysctl("stall_ms", 300);
	capture_start(&capture);
	took = takes(KERNEL);
	said = capture_end(&capture);
	must(took >= 290 && took < 1500);
	must(events(LAB_EV_STALL) == 1 && events(LAB_EV_FAIL_KERNEL) == 1);
	must(events(LAB_EV_ALLOCSTALL) >= 3);
	must(strstr(said, "page allocation stall for 0 secs: order:0, mode:0xcc0(GFP_KERNEL)"));
	must(strstr(said, "page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)"));
	/* one round, and no nap */
	sysctl("stall_ms", 10000);
	took = events(LAB_EV_ALLOCSTALL);
	must(takes(KERNEL | NORETRY | NOWARN) < 200);
	must(events(LAB_EV_ALLOCSTALL) == took + 1);
	/* as many as the kernel makes without progress */
	took = events(LAB_EV_ALLOCSTALL);
	must(takes(KERNEL | MAYFAIL | NOWARN) < 1000);
	must(events(LAB_EV_ALLOCSTALL) == took + 16);
	must(events(LAB_EV_STALL) == 1 && events(LAB_EV_FAIL_KERNEL) == 3);
	/* of both NORETRY is obeyed */
	took = events(LAB_EV_ALLOCSTALL);
	must(takes(KERNEL | MAYFAIL | NORETRY | NOWARN) < 200);
	must(events(LAB_EV_ALLOCSTALL) == took + 1);
}

/* GFP_KERNEL waits and reports; NORETRY tries once, RETRY_MAYFAIL sixteen times. */
static void test_waiting_is_as_long_as_the_flags_say(void **state)
{
	(void)state;
	child(waits);
}

static _Atomic uint64_t stalls_before;

/*
 * Somebody frees a page after 200 ms, and not before the wait was reported twice: the
 * one who waits may have begun late.  If it is not, this goes on, and the caller fails.
 */
static void *free_later(void *page)
{
	int turn;

	usleep(200000);
	for (turn = 0; turn < 150 && events(LAB_EV_STALL) < stalls_before + 2; turn++)
		usleep(10000);
	labyrinth_free_page(page);
	return NULL;
}

static void never_fails(void *unused)
{
	static const labyrinth_gfp_t gfps[] = {
		KERNEL | NOFAIL,	   KERNEL | NOFAIL | NORETRY,
		KERNEL | NOFAIL | MAYFAIL, KERNEL | NOFAIL | NORETRY | MAYFAIL | ZERO,
		KERNEL | NOFAIL | EXCL,
	};

	(void)unused;
	labyrinth_free_page(labyrinth_alloc_page(KERNEL | EXCL));
	nothing_left();
	sysctl("stall_ms", 50);
	for (size_t i = 0; i < sizeof(gfps) / sizeof(gfps[0]); i++) {
		const labyrinth_gfp_t excl = gfps[i] & EXCL;
		uint64_t start, stalls = stalls_before = events(LAB_EV_STALL);
		unsigned int n = 0;
		pthread_t thread;
		void *page;

		lab_os_fail_from(0, 0);
		give_soaked(nsoaked);
		/* half of min are left, where the last resort of NOFAIL ends */
		while ((held[n] = labyrinth_alloc_page(KERNEL | HIGH | NORETRY | NOWARN | EXCL)))
			must(++n < 100);
		soak_down_to(lab_word_get(&zone->min) - lab_word_get(&zone->min) / 2);
		page = excl ? held[--n] : lab_frame_address(soaked[--nsoaked]);
		if (!excl)
			lab_kind_set(lab_pfn_of(page), LAB_KIND_API);
		dry_heap();
		must(pthread_create(&thread, NULL, free_later, page) == 0);
		start = now_ms();
		page = labyrinth_alloc_page(gfps[i] | NOWARN);
		must(page && now_ms() - start >= 150 && now_ms() - start < 2000);
		/* the wait is reported again and again */
		must(events(LAB_EV_STALL) >= stalls + 2);
		pthread_join(thread, NULL);
		labyrinth_free_page(page);
		while (n-- > 0)
			labyrinth_free_page(held[n]);
	}
}

/* NOFAIL waits until another thread frees a page, whatever other flags say. */
static void test_nofail_waits_for_a_page(void **state)
{
	(void)state;
	if (!strcmp(HARNESS_SANITIZER, "tsan")) {
		print_message("tsan forbids threads in a child of fork()\n");
		return;
	}
	child(never_fails);
}

/* ---- atomic sections ---- */

static void in_section(void *unused)
{
	uintptr_t saved;
	struct capture capture;
	uint64_t calls, n = 0;
	const char *said;

	(void)unused;
	resize(256);
	saved = labyrinth_gfp_save();
	capture_start(&capture);
	calls = lab_os_calls();
	errno = 4711;
	while (labyrinth_alloc_pages(KERNEL | HIGH | NOFAIL, 1)) {
		n++;
		must(events(LAB_EV_MIGHT_SLEEP) == n);
	}
	/* as GFP_NOWAIT: down to min, no system call, no report of the failure */
	must(free_pages() - lab_word_get(&zone->min) < 2);
	must(lab_os_calls() == calls && errno == 4711);
	must(events(LAB_EV_FAIL_NOWAIT) == 1 && events(LAB_EV_FAIL_KERNEL) == 0);
	must(events(LAB_EV_ALLOCSTALL) == 0 && events(LAB_EV_WARN) == 0);
	must(lseek(capture.file, 0, SEEK_END) == 0);
	labyrinth_gfp_restore(saved);
	/* a line for the section, with the request's own flags, and one for NOFAIL */
	must(labyrinth_flush_reports() == 2);
	said = capture_end(&capture);
	must(strstr(said, "a request that may wait was made in an atomic section"));
	must(strstr(said, "GFP_KERNEL|__GFP_HIGH|__GFP_NOFAIL"));
	must(strstr(said, "__GFP_NOFAIL in an atomic section: it has failed"));
	/* outside it is what it says */
	must(labyrinth_alloc_pages(KERNEL, 1));
	must(events(LAB_EV_MIGHT_SLEEP) == n + 1);
}

static void hit_in_section(void *unused)
{
	static const labyrinth_gfp_t bad[] = { ATOMIC | LABYRINTH___GFP_DMA | LABYRINTH___GFP_DMA32,
					       ATOMIC | LABYRINTH___GFP_HIGHMEM |
						       LABYRINTH___GFP_DMA };
	uintptr_t saved;
	size_t i;

	(void)unused;
	resize(256);
	for (i = 0; i < 2; i++) {
		/* this page lies ready on the stack */
		labyrinth_free_page(labyrinth_alloc_page(ATOMIC));
		labyrinth_free_page(labyrinth_alloc_page(bad[i]));
		must(events(LAB_EV_BAD_GFP) == i + 1);
	}
	saved = labyrinth_gfp_save();
	labyrinth_free_page(labyrinth_alloc_page(KERNEL));
	must(events(LAB_EV_MIGHT_SLEEP) == 1);
	labyrinth_gfp_restore(saved);
	labyrinth_free_page(labyrinth_alloc_page(KERNEL));
	must(events(LAB_EV_MIGHT_SLEEP) == 1);
}

/* The rules hold for a page that lies ready on the stack too, whichever the back end. */
static void test_rules_hold_for_pages_of_the_stack(void **state)
{
	(void)state;
	child(hit_in_section);
}

/* What may wait is GFP_NOWAIT in an atomic section, and said to be once. */
static void test_section_turns_kernel_into_nowait(void **state)
{
	(void)state;
	child(in_section);
}

/* ---- P6: out of memory ---- */

static void out_of_memory(void *unused)
{
	uint64_t floor, left, n = 0;
	void *ptr, **list = NULL;

	(void)unused;
	resize(256);
	lab_os_fail_from(1, ~0ull >> 1);
	errno = 0;
	/* pages first: they are the ones that malloc() takes from the reserve */
	for (size_t size = 4096; size > 100; size /= 2) {
		while ((ptr = labyrinth_heap_malloc(size))) {
			*(void **)ptr = list;
			list = ptr;
		}
	}
	must(errno == ENOMEM && events(LAB_EV_FAIL_MALLOC) > 0);
	errno = 0;
	must(!labyrinth_heap_malloc(100000) && errno == ENOMEM);
	errno = 0;
	must(!labyrinth_heap_calloc(1, 5000) && errno == ENOMEM);
	/* atomic requests have what lies between low and their floor, at least */
	floor = lab_word_get(&zone->min);
	floor -= floor / 2;
	floor -= floor / 4;
	left = obtainable();
	must(left >= lab_word_get(&zone->low));
	while ((held[n] = labyrinth_alloc_page(ATOMIC)))
		memset(held[n++], 0xa5, LAB_PAGE_BYTES);
	must(n == left - floor && n >= 101 && free_pages() == floor);
	/* and again, as often as they are freed */
	while (n-- > 0)
		labyrinth_free_page(held[n]);
	must((ptr = labyrinth_malloc(500, ATOMIC)));
	labyrinth_free(ptr);
	for (; list; list = ptr) {
		ptr = *list;
		labyrinth_free(list);
	}
}

/* While the system gives nothing malloc() fails and atomic requests are served. */
static void test_atomic_requests_are_served_when_memory_is_out(void **state)
{
	(void)state;
	child(out_of_memory);
}

/* a limit of this process, as ulimit -v sets it: what is mapped may become resident */
static void out_of_address_space(void *unused)
{
	const struct rlimit none = { 0 };
	void *ptr, **list = NULL;
	unsigned int n = 0;

	(void)unused;
	must(lab_word_get(&zone->managed) < lab_word_get(&zone->cap));
	must(setrlimit(RLIMIT_AS, &none) == 0);
	/* no page: they would be the reserve's, which then grows by itself */
	while ((ptr = labyrinth_heap_malloc(60000))) {
		*(void **)ptr = list;
		list = ptr;
	}
	must(lab_word_get(&zone->managed) == lab_word_get(&zone->cap));
	while ((held[n] = labyrinth_alloc_page(ATOMIC)))
		memset(held[n++], 0xa5, LAB_PAGE_BYTES);
	must(n >= 101);
}

/* The reserve is as large as it may be before malloc() fails, however small it was. */
static void test_reserve_is_full_grown_when_memory_is_out(void **state)
{
	(void)state;
	if (getenv("LAB_EMULATED")) {
		print_message("the emulator holds no limit of address space\n");
		skip();
	}
	child(out_of_address_space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_atomic_runs_below_low_set_aside),
		cmocka_unit_test(test_units_are_as_many_as_the_zone_may_have),
		cmocka_unit_test(test_what_is_set_aside_serves_atomic_runs_alone),
		cmocka_unit_test(test_single_pages_raid_it_last),
		cmocka_unit_test(test_reclaim_releases_what_is_set_aside),
		cmocka_unit_test(test_pages_are_cleared_ahead_on_demand),
		cmocka_unit_test(test_zeroed_pages_are_zero_however_dirty),
		cmocka_unit_test(test_exclusive_misses_clear_nothing_ahead),
		cmocka_unit_test(test_bulk_fills_holes_and_counts_short),
		cmocka_unit_test(test_bulk_free_of_all_kinds_reports_misuse),
		cmocka_unit_test(test_exact_pages_are_exactly_as_many),
		cmocka_unit_test(test_exact_pages_warn_of_comp),
		cmocka_unit_test(test_split_pages_go_back_one_by_one),
		cmocka_unit_test(test_nolock_stops_at_min_in_silence),
		cmocka_unit_test(test_reserve_is_resized_at_run_time),
		cmocka_unit_test(test_smaller_reserve_waits_for_what_is_in_use),
		cmocka_unit_test(test_refused_resize_changes_nothing),
		cmocka_unit_test(test_resize_waits_for_the_system),
		cmocka_unit_test(test_each_crossing_of_low_wakes_once),
		cmocka_unit_test(test_waiting_is_as_long_as_the_flags_say),
		cmocka_unit_test(test_nofail_waits_for_a_page),
		cmocka_unit_test(test_rules_hold_for_pages_of_the_stack),
		cmocka_unit_test(test_section_turns_kernel_into_nowait),
		cmocka_unit_test(test_atomic_requests_are_served_when_memory_is_out),
		cmocka_unit_test(test_reserve_is_full_grown_when_memory_is_out),
	};

	if (labyrinth_sysctl("stall_ms", NULL, &(uint64_t){ 0 }))
		return 1;
	pin_to_one_cpu();
	return cmocka_run_group_tests_name("gfp", tests, NULL, NULL);
}
