/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "gfp/reclaim.h"
#include "labyrinth.h"
#include "page/exclusive.h"
#include "page/highatomic.h"
#include "page/reserve.h"
#include "pcp/pcp.h"

enum {
	ATOMIC = LABYRINTH_GFP_ATOMIC,
	NOWAIT = LABYRINTH_GFP_NOWAIT,
	KERNEL = LABYRINTH_GFP_KERNEL,
	ZERO = LABYRINTH_GFP_ZERO,
};
static const labyrinth_gfp_t EXCL = LABYRINTH_GFP_EXCLUSIVE;

static void fill_up(enum lab_zone_id id)
{
	uint64_t before;

	do {
		before = lab_word_get(&lab_zone_at(id)->managed);
		if (id == LAB_ZONE_EXCLUSIVE)
			lab_excl_refill();
		else
			lab_reserve_refill(id);
	} while (lab_word_get(&lab_zone_at(id)->managed) != before);
}

static enum lab_zone_id zone_of_gfp(labyrinth_gfp_t gfp)
{
	return gfp & EXCL ? LAB_ZONE_EXCLUSIVE : LAB_ZONE_RESERVE;
}

static uint64_t stacked(unsigned int cls)
{
	uint64_t n = 0;

	for (unsigned int cpu = 0; cpu < LAB_NR_CPUS; cpu++)
		n += ((struct lab_pcp_stack *)((char *)&lab_pcp_area[cpu] +
					       lab_pcp_class[cls].stack))
			     ->count;
	return n;
}

/* free pages of a zone, those in stacks and those set aside included */
static uint64_t obtainable(enum lab_zone_id id)
{
	uint64_t n = lab_word_get(&lab_zone_at(id)->free);

	if (id == LAB_ZONE_EXCLUSIVE)
		return n + stacked(LAB_PCP_EXCL);
	return n + stacked(LAB_PCP_API) + stacked(LAB_PCP_ZERO) + lab_highatomic_frames();
}

/* All that the zone has at its cap, and no page in a stack. */
static void full_zones(void)
{
	fill_up(LAB_ZONE_RESERVE);
	fill_up(LAB_ZONE_EXCLUSIVE);
}

#define HIGH	   LABYRINTH___GFP_HIGH
#define MEMALLOC   LABYRINTH___GFP_MEMALLOC
#define NOMEMALLOC LABYRINTH___GFP_NOMEMALLOC
#define RECLAIM	   LABYRINTH___GFP_DIRECT_RECLAIM
#define NORETRY	   LABYRINTH___GFP_NORETRY

/* the dips below min, by the steps of __zone_watermark_ok() */
enum dip { NONE, HALF, ATOMIC_DIP, ALL };

static uint64_t floor_after(enum dip dip, uint64_t min)
{
	switch (dip) {
	case NONE:
		return min;
	case HALF:
		return min - min / 2;
	case ATOMIC_DIP:
		min -= min / 2;
		return min - min / 4;
	default:
		return 0;
	}
}

/* Table A4, row by row: each class of flags stops exactly at its floor. */
static void test_every_row_of_flags_stops_at_its_floor(void **state)
{
	static const struct {
		labyrinth_gfp_t gfp;
		enum dip dip;
	} rows[] = {
		{ 0, NONE },
		{ NOWAIT, NONE },
		{ KERNEL & ~RECLAIM, NONE },
		{ KERNEL | NORETRY, NONE },
		{ HIGH | RECLAIM | NORETRY, HALF },
		{ KERNEL | HIGH | NORETRY, HALF },
		{ ATOMIC, ATOMIC_DIP },
		{ HIGH, ATOMIC_DIP },
		{ ATOMIC | NOMEMALLOC, HALF },
		{ NOWAIT | NOMEMALLOC, NONE },
		{ NOWAIT | MEMALLOC, ALL },
		{ ATOMIC | MEMALLOC, ALL },
		{ KERNEL | MEMALLOC | NORETRY, ALL },
		{ ATOMIC | MEMALLOC | NOMEMALLOC, HALF },
		{ NOWAIT | MEMALLOC | NOMEMALLOC, NONE },
		{ LABYRINTH___GFP_NOWARN | ZERO | NOMEMALLOC | LABYRINTH___GFP_COMP, NONE },
	};
	static void *pages[300];
	unsigned int n, i, zone;

	(void)state;
	for (i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		labyrinth_gfp_t gfp = rows[i / 2].gfp | (i & 1 ? EXCL : 0);
		enum lab_zone_id id = zone_of_gfp(gfp);
		uint64_t min, failed, floor;

		full_zones();
		(void)labyrinth_malloc_trim(0);
		min = lab_word_get(&lab_zone_at(id)->min);
		failed = lab_word_get(&lab_zone_at(id)->failed);
		floor = floor_after(rows[i / 2].dip, min);
		/* the others are in the stack, which may hold half of a small zone */
		if (floor > lab_word_get(&lab_zone_at(id)->free))
			floor = lab_word_get(&lab_zone_at(id)->free);
		/* the heap, its other source, has nothing */
		lab_os_fail_from(gfp & RECLAIM && !(gfp & EXCL) ? 1 : 0, ~0ull >> 1);
		for (n = 0; n < 300 && (pages[n] = labyrinth_alloc_page(gfp)); n++) {
			if (lab_zone_of(lab_pfn_of(pages[n])) == LAB_ZONE_HEAP)
				n--; /* kept: what the heap still has */
			else
				memset(pages[n], (int)n, LAB_PAGE_BYTES);
		}
		lab_os_fail_from(0, 0);
		assert_int_equal(lab_word_get(&lab_zone_at(id)->free), floor);
		assert_int_equal(lab_word_get(&lab_zone_at(id)->failed), failed + 1);
		for (zone = n; zone-- > 0;)
			assert_int_equal(((unsigned char *)pages[zone])[4000], zone & 0xff);
		while (n-- > 0)
			labyrinth_free_page(pages[n]);
	}
}

/* An atomic request makes no system call, whether it succeeds or not. */
static void test_atomic_requests_make_no_system_call(void **state)
{
	static const labyrinth_gfp_t gfps[] = { ATOMIC, ATOMIC | ZERO, NOWAIT, 0,
						ATOMIC | LABYRINTH_GFP_EXCLUSIVE };
	static void *pages[200];
	unsigned int n, i, order;
	uint64_t calls;

	(void)state;
	for (i = 0; i < sizeof(gfps) / sizeof(gfps[0]); i++) {
		calls = lab_os_calls();
		for (n = 0; n < 200 && (pages[n] = labyrinth_alloc_page(gfps[i])); n++)
			;
		assert_int_equal(lab_os_calls(), calls);
		while (n-- > 0)
			labyrinth_free_page(pages[n]);
		for (order = 1; order <= 9; order++) {
			pages[0] = labyrinth_alloc_pages(gfps[i], order);
			labyrinth_free_pages(pages[0], order);
		}
		assert_int_equal(lab_os_calls(), calls);
	}
	for (n = 0; (pages[n] = labyrinth_void_alloc_page_gfp_atomic_exclusive()); n++)
		memset(pages[n], 1, LAB_PAGE_BYTES);
	assert_int_equal(lab_os_calls(), calls);
	assert_true(n >= 8);
	while (n-- > 0)
		labyrinth_free_page(pages[n]);
}

/* What may sleep goes to the heap when the reserve has nothing for it. */
static void test_kernel_requests_fall_back_to_the_heap(void **state)
{
	enum { MANY = 300 };
	static void *pages[MANY];
	unsigned int n, from_heap = 0;

	(void)state;
	for (n = 0; n < MANY; n++) {
		pages[n] = labyrinth_alloc_page(KERNEL | (n & 1 ? ZERO : 0u));
		assert_non_null(pages[n]);
		if (n & 1)
			assert_true(is_zero(pages[n], LAB_PAGE_BYTES));
		memset(pages[n], 0x5a, LAB_PAGE_BYTES);
		from_heap += lab_zone_of(lab_pfn_of(pages[n])) == LAB_ZONE_HEAP;
	}
	/* above low the reserve serves, below it the heap */
	assert_in_range(from_heap, MANY - 120, MANY - 8);
	for (n = 0; n < MANY; n++)
		labyrinth_free_page(pages[n]);
	assert_int_equal(heap_in_use(), 0);
	/* the exclusive zone has no second source */
	for (n = 0; n < MANY && (pages[n] = labyrinth_alloc_page(KERNEL | EXCL | NORETRY)); n++)
		assert_int_equal(lab_zone_of(lab_pfn_of(pages[n])), LAB_ZONE_EXCLUSIVE);
	assert_true(n < 32);
	errno = 0;
	assert_null(labyrinth_alloc_page(KERNEL | EXCL | NORETRY));
	assert_int_equal(errno, ENOMEM);
	while (n-- > 0)
		labyrinth_free_page(pages[n]);
}

/* Pages of every order are aligned to their size, zero if asked, and all come back. */
static void test_pages_of_every_order_are_aligned_and_zero(void **state)
{
	uint64_t in_use = heap_in_use();
	unsigned int order, turn;

	(void)state;
	for (turn = 0; turn < 3; turn++) {
		for (order = 0; order <= LABYRINTH_MAX_PAGE_ORDER; order++) {
			size_t bytes = LAB_PAGE_BYTES << order;
			char *a = labyrinth_alloc_pages(KERNEL, order);
			char *b = labyrinth_alloc_pages(KERNEL | ZERO, order);

			assert_non_null(a);
			assert_non_null(b);
			assert_int_equal((uintptr_t)a % bytes, 0);
			assert_int_equal((uintptr_t)b % bytes, 0);
			assert_true(a + bytes <= b || b + bytes <= a);
			assert_true(is_zero(b, bytes));
			memset(a, 0xa5, bytes);
			memset(b, 0x5a, bytes);
			assert_true(a[0] == (char)0xa5 && a[bytes - 1] == (char)0xa5);
			labyrinth_free_pages(a, order);
			labyrinth_free_pages(b, order);
		}
	}
	assert_int_equal(heap_in_use(), in_use);
}

/*
 * A page of a batch in which some read as zero and the lowest does not is cleared all the
 * same.  The search for clean pages has said that there are none, as it does when
 * another context has them in hand just then.
 */
static void test_one_clean_page_does_not_make_a_batch_clean(void **state)
{
	static char *pages[600];
	const labyrinth_gfp_t all = ATOMIC | MEMALLOC | LABYRINTH___GFP_NOWARN;
	char *low = (char *)UINTPTR_MAX, *next = low, *page;
	unsigned int n = 0, i;

	(void)state;
	full_zones();
	(void)lab_pages_drain(lab_pcp_drain_all);
	while (n < 600 && (pages[n] = labyrinth_alloc_page(all)))
		memset(pages[n++], 0x5a, LAB_PAGE_BYTES);
	assert_in_range(n, 64, 599);
	for (i = 0; i < n; i++) {
		if (pages[i] < low) {
			next = low;
			low = pages[i];
		} else if (pages[i] < next) {
			next = pages[i];
		}
		labyrinth_free_page(pages[i]);
	}
	(void)lab_pages_drain(lab_pcp_drain_all);
	page = labyrinth_alloc_page(ATOMIC | ZERO);
	assert_non_null(page);
	memset(page, 0x5a, LAB_PAGE_BYTES);
	labyrinth_free_page(page);
	(void)lab_pages_drain(lab_pcp_drain_all);
	assert_false(lab_reserve_has_zeroed());
	memset(next, 0, LAB_PAGE_BYTES);
	lab_block_set_clean(lab_pfn_of(next) / LAB_BLOCK_FRAMES,
			    lab_pfn_of(next) % LAB_BLOCK_FRAMES, 1);
	page = labyrinth_alloc_page(ATOMIC | ZERO);
	assert_ptr_equal(page, low);
	assert_true(is_zero(page, LAB_PAGE_BYTES));
	labyrinth_free_page(page);
}

/* Small orders are had from the reserve atomically, zeroed if asked. */
static void test_atomic_pages_of_small_orders_come_from_the_reserve(void **state)
{
	unsigned int order;

	(void)state;
	fill_up(LAB_ZONE_RESERVE);
	for (order = 1; order <= 3; order++) {
		size_t bytes = LAB_PAGE_BYTES << order;
		char *page = labyrinth_alloc_pages(ATOMIC | ZERO, order);

		assert_non_null(page);
		assert_int_equal(lab_zone_of(lab_pfn_of(page)), LAB_ZONE_RESERVE);
		assert_int_equal((uintptr_t)page % bytes, 0);
		assert_true(is_zero(page, bytes));
		memset(page, 0xa5, bytes);
		labyrinth_free_pages(page, order);
	}
	assert_null(labyrinth_alloc_pages(ATOMIC, 9));
}

/* errno is kept by all that succeeds and by atomic failure; it names other failures. */
static void test_errno_is_kept_or_names_the_failure(void **state)
{
	static void *pages[200];
	unsigned int n;
	void *page;

	(void)state;
	errno = 4711;
	page = labyrinth_alloc_page(KERNEL);
	labyrinth_free_page(page);
	page = labyrinth_alloc_pages(KERNEL | ZERO, 5);
	labyrinth_free_pages(page, 5);
	for (n = 0; n < 200 && (pages[n] = labyrinth_alloc_page(ATOMIC)); n++)
		;
	while (n-- > 0)
		labyrinth_free_page(pages[n]);
	assert_null(labyrinth_alloc_pages(ATOMIC, 9));
	labyrinth_free_page(NULL);
	labyrinth_free_pages(NULL, 3);
	assert_int_equal(errno, 4711);
	assert_null(labyrinth_alloc_page(0x01000000u));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(labyrinth_alloc_pages(0x40000000u, 2));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(labyrinth_alloc_pages(KERNEL, LABYRINTH_MAX_PAGE_ORDER + 1));
	assert_int_equal(errno, EINVAL);
}

/* ---- misuse: reported, leaked, survived ---- */

struct misuse {
	void *page;
	unsigned int order;
	const char *say; /* after the address */
	bool doubly;
};

static void assert_reported(const struct misuse *what)
{
	struct capture capture;
	char line[256];
	int err;

	snprintf(line, sizeof(line), "labyrinth[%d]: BUG: %sfree of page %#lx%s\n", (int)getpid(),
		 what->doubly ? "double " : "", (unsigned long)what->page, what->say);
	capture_start(&capture);
	errno = 4711;
	labyrinth_free_pages(what->page, what->order);
	err = errno;
	assert_string_equal(capture_end(&capture), line);
	assert_int_equal(err, 4711);
}

/* A page given back wrongly is reported once, is not given back, and all goes on. */
static void test_misuse_is_reported_and_survived(void **state)
{
	static const char of_other[] = " which is not from labyrinth_alloc_pages()";
	int on_stack;
	char *page = labyrinth_alloc_page(KERNEL), *two = labyrinth_alloc_pages(KERNEL, 1);
	char *excl = labyrinth_alloc_page(KERNEL | EXCL), *heap = labyrinth_alloc_pages(KERNEL, 8);
	void *block = labyrinth_heap_malloc(100);
	const struct misuse rows[] = {
		{ page, 1, " with order 1, allocated with order 0", false },
		{ excl, 3, " with order 3, allocated with order 0", false },
		{ two, 0, " with order 0, allocated with order 1", false },
		{ two, 2, " with order 2, allocated with order 1", false },
		{ heap, 9, " with order 9, allocated with order 8", false },
		{ two + LAB_PAGE_BYTES, 0, of_other, false },
		{ page + 16, 0, of_other, false },
		{ two + 16, 1, of_other, false },
		{ &on_stack, 0, of_other, false },
		{ block, 0, of_other, false },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_reported(&rows[i]);
	memset(two, 1, 2 * LAB_PAGE_BYTES);
	labyrinth_free(block);
	labyrinth_free_page(page);
	labyrinth_free_page(excl);
	labyrinth_free_pages(two, 1);
	labyrinth_free_pages(heap, 8);
	assert_reported(&(struct misuse){ page, 0, "", true });
	assert_reported(&(struct misuse){ excl, 0, "", true });
	assert_reported(&(struct misuse){ two, 1, "", true });
	assert_reported(&(struct misuse){ heap, 8, "", true });
	page = labyrinth_alloc_page(KERNEL);
	assert_non_null(page);
	labyrinth_free_page(page);
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
	lab_word_t box[64];
} stress;

static uint64_t *some_page(uint64_t *seed)
{
	static const labyrinth_gfp_t gfps[] = { ATOMIC,
						NOWAIT,
						KERNEL,
						KERNEL | ZERO,
						ATOMIC | LABYRINTH_GFP_EXCLUSIVE,
						KERNEL | NORETRY | LABYRINTH_GFP_EXCLUSIVE };
	labyrinth_gfp_t gfp = gfps[random_below(seed, 6)] | LABYRINTH___GFP_NOWARN;
	unsigned int order = next_random(seed) % 4 ? 0 : (unsigned int)random_below(seed, 5);
	uint64_t *page = labyrinth_alloc_pages(gfp, order);

	if (!page)
		return NULL;
	if (gfp & ZERO)
		must(is_zero(page, LAB_PAGE_BYTES << order));
	fill(page, (uint64_t)order << 32, LAB_PAGE_BYTES << order);
	return page;
}

static void drop_page(uint64_t *page)
{
	unsigned int order = (unsigned int)(page[0] >> 32);

	must(is_filled(page, (uint64_t)order << 32, LAB_PAGE_BYTES << order));
	page[0] = ~0ull;
	labyrinth_free_pages(page, order);
}

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919;

	(void)unused;
	pin_by_id(id);
	while (now_ms() < stress.until) {
		uint64_t *page = some_page(&seed);
		uint64_t old = atomic_exchange(&stress.box[random_below(&seed, 64)],
					       (uint64_t)(uintptr_t)page);

		if (old)
			drop_page((uint64_t *)(uintptr_t)old);
	}
}

/* Pages that threads free for each other are whole, nothing is reported, none is lost. */
static void test_pages_freed_by_other_threads_are_whole(void **state)
{
	uint64_t heap = heap_in_use(), excl = obtainable(LAB_ZONE_EXCLUSIVE);
	struct capture capture;

	(void)state;
	stress.seed = new_seed("page_api");
	stress.until = now_ms() + STRESS_MS;
	/* what the tests before have provoked */
	(void)labyrinth_flush_reports();
	capture_start(&capture);
	run_threads(NR_THREADS, stress_thread, NULL);
	for (unsigned int i = 0; i < 64; i++)
		if (lab_word_get(&stress.box[i]))
			drop_page((uint64_t *)(uintptr_t)lab_word_get(&stress.box[i]));
	assert_string_equal(capture_end(&capture), "");
	assert_int_equal(heap_in_use(), heap);
	assert_true(obtainable(LAB_ZONE_EXCLUSIVE) >= excl);
	assert_int_equal(obtainable(LAB_ZONE_RESERVE),
			 lab_word_get(&lab_zones[LAB_ZONE_RESERVE].managed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row_of_flags_stops_at_its_floor),
		cmocka_unit_test(test_atomic_requests_make_no_system_call),
		cmocka_unit_test(test_kernel_requests_fall_back_to_the_heap),
		cmocka_unit_test(test_pages_of_every_order_are_aligned_and_zero),
		cmocka_unit_test(test_one_clean_page_does_not_make_a_batch_clean),
		cmocka_unit_test(test_atomic_pages_of_small_orders_come_from_the_reserve),
		cmocka_unit_test(test_errno_is_kept_or_names_the_failure),
		cmocka_unit_test(test_pages_freed_by_other_threads_are_whole),
		cmocka_unit_test(test_misuse_is_reported_and_survived),
	};

	/* what may wait fails after one round of reclaim */
	if (labyrinth_sysctl("stall_ms", NULL, &(uint64_t){ 0 }))
		return 1;
	pin_to_one_cpu();
	return cmocka_run_group_tests_name("page_api", tests, NULL, NULL);
}
