/* SPDX-License-Identifier: MIT */
/*
 * Every entry is seen by the watchers exactly once, and so is what it gives back:
 * with each object sampled the table of owners is a list of what is live.
 */
#include "harness.h"

#include "diag/owner.h"
#include "diag/sample.h"
#include "gfp/trace.h"
#include "labyrinth.h"
#include "page/reserve.h"

enum { ATOMIC = LABYRINTH_GFP_ATOMIC, KERNEL = LABYRINTH_GFP_KERNEL };
#define EXCLUSIVE (LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE)

/* ---- what is recorded ---- */

struct count {
	uintptr_t address;
	size_t all, here;
	struct lab_owner last;
};

static void see(const struct lab_owner *owner, void *arg)
{
	struct count *count = arg;

	count->all++;
	if (owner->address == count->address) {
		count->here++;
		count->last = *owner;
	}
}

static struct count count(const void *ptr)
{
	struct count count = { .address = (uintptr_t)ptr };

	lab_owner_each(see, &count);
	return count;
}

static void see_sums(const struct lab_export_stack_sums *stack, void *arg)
{
	uint64_t *sums = arg;

	sums[0] += lab_word_get(lab_depot_word(&stack->live));
	sums[1] += lab_word_get(lab_depot_word(&stack->live_bytes));
	sums[2] += lab_word_get(lab_depot_word(&stack->total));
}

static unsigned int fake_stack(uintptr_t *ips, unsigned int max)
{
	(void)max;
	ips[0] = 0x1234;
	return 1;
}

static void no_capture(unsigned int slot)
{
	(void)slot;
}

static void no_print(unsigned int slot, labyrinth_trace_put_fn *put, void *arg)
{
	(void)slot;
	(void)put;
	(void)arg;
}

static int start(void **state)
{
	static const struct labyrinth_trace trace = { .version = LABYRINTH_TRACE_VERSION,
						      .slots = LABYRINTH_TRACE_SLOTS,
						      .capture = no_capture,
						      .print = no_print,
						      .stack = fake_stack };

	(void)state;
	if (labyrinth_trace_register(&trace) || labyrinth_profile_start(1))
		return -1;
	return labyrinth_page_owner_start();
}

/* ---- objects ---- */

static size_t object_size;

static void *by_malloc(void)
{
	return labyrinth_heap_malloc(object_size);
}

static void *by_calloc(void)
{
	return labyrinth_heap_calloc(1, object_size);
}

static void *by_realloc(void)
{
	return labyrinth_heap_realloc(NULL, object_size);
}

static void *by_reallocarray(void)
{
	return labyrinth_heap_reallocarray(NULL, 1, object_size);
}

static void *by_memalign(void)
{
	return labyrinth_heap_memalign(256, object_size);
}

static void *by_aligned(void)
{
	return labyrinth_heap_aligned_alloc(8192, object_size);
}

static void *by_posix(void)
{
	void *ptr = NULL;

	assert_int_equal(labyrinth_heap_posix_memalign(&ptr, 64, object_size), 0);
	return ptr;
}

static void *by_valloc(void)
{
	return labyrinth_heap_valloc(object_size);
}

static void *by_pvalloc(void)
{
	return labyrinth_heap_pvalloc(object_size);
}

static void *by_kmalloc(void)
{
	return labyrinth_malloc(object_size, KERNEL);
}

static void *by_kzalloc(void)
{
	return labyrinth_malloc(object_size, KERNEL | LABYRINTH_GFP_ZERO);
}

static void *by_atomic(void)
{
	return labyrinth_malloc(object_size, ATOMIC);
}

static void *in_section(void)
{
	unsigned int flags = labyrinth_gfp_save();
	void *ptr = labyrinth_heap_malloc(object_size);

	labyrinth_gfp_restore(flags);
	return ptr;
}

static void by_free_sized(void *ptr)
{
	labyrinth_free_sized(ptr, object_size);
}

static void by_free_aligned(void *ptr)
{
	labyrinth_free_aligned_sized(ptr, 16, object_size);
}

static void by_realloc_zero(void *ptr)
{
	assert_null(labyrinth_heap_realloc(ptr, 0));
}

static void free_in_section(void *ptr)
{
	unsigned int flags = labyrinth_gfp_save();

	labyrinth_free(ptr);
	labyrinth_gfp_restore(flags);
}

static void *(*const allocs[])(void) = { by_malloc,   by_calloc,  by_realloc, by_reallocarray,
					 by_memalign, by_aligned, by_posix,   by_valloc,
					 by_pvalloc,  by_kmalloc, by_kzalloc };
static void (*const frees[])(void *) = { labyrinth_free, by_free_sized, by_free_aligned,
					 by_realloc_zero, free_in_section };

static void check_object(void *(*alloc)(void), void (*give_back)(void *))
{
	size_t before = count(NULL).all;
	void *ptr = alloc();
	struct count now = count(ptr);

	assert_non_null(ptr);
	assert_int_equal(now.here, 1);
	assert_int_equal(now.all, before + 1);
	assert_int_equal(now.last.order, -1);
	assert_true(now.last.sampled);
	assert_int_equal(now.last.bytes, labyrinth_malloc_usable_size(ptr));
	assert_int_equal(now.last.tgid, (uint32_t)getpid());
	give_back(ptr);
	now = count(ptr);
	assert_int_equal(now.here, 0);
	assert_int_equal(now.all, before);
}

static void test_objects_are_seen_once(void **state)
{
	static const size_t sizes[] = { 1,    24,   100,   128,	  600,	  2000,	  3900,
					4096, 5000, 32768, 40000, 300000, 5 << 20 };

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		object_size = sizes[s];
		for (size_t a = 0; a < sizeof(allocs) / sizeof(*allocs); a++)
			for (size_t f = 0; f < sizeof(frees) / sizeof(*frees); f++)
				check_object(allocs[a], frees[f]);
		if (object_size <= 40000)
			for (size_t f = 0; f < sizeof(frees) / sizeof(*frees); f++) {
				check_object(by_atomic, frees[f]);
				check_object(in_section, frees[f]);
			}
	}
}

/* more than any stack holds: they come from the bitmaps and go back there */
static void test_many_objects(void **state)
{
	enum { MANY = 3000 };
	static void *ptr[MANY];
	size_t before = count(NULL).all;

	(void)state;
	for (unsigned int turn = 0; turn < 3; turn++) {
		for (size_t i = 0; i < MANY; i++)
			ptr[i] = labyrinth_heap_malloc(turn == 2 ? 4096 : 48 + 16 * turn);
		assert_int_equal(count(NULL).all, before + MANY);
		for (size_t i = 0; i < MANY; i++)
			labyrinth_free(ptr[i]);
		assert_int_equal(count(NULL).all, before);
	}
}

/* a move is one freed and one allocated; what stays keeps its record */
static void test_moves(void **state)
{
	static const size_t sizes[] = { 10,    12,    100,     4096,	4000, 50000,
					80000, 45000, 3 << 20, 6 << 20, 200,  1 };
	size_t before = count(NULL).all;
	void *ptr = NULL;

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		ptr = labyrinth_heap_realloc(ptr, sizes[s]);
		assert_int_equal(count(ptr).here, 1);
		assert_int_equal(count(ptr).all, before + 1);
		assert_int_equal(count(ptr).last.bytes, labyrinth_malloc_usable_size(ptr));
	}
	labyrinth_free(ptr);
	assert_int_equal(count(NULL).all, before);
}

/* ---- pages ---- */

static void check_pages(void *pages, unsigned int order, size_t before)
{
	struct count now = count(pages);

	assert_non_null(pages);
	assert_int_equal(now.here, 1);
	assert_int_equal(now.all, before + 1);
	assert_int_equal(now.last.order, order);
	assert_int_equal(now.last.bytes, LAB_PAGE_BYTES << order);
	labyrinth_free_pages(pages, order);
	assert_int_equal(count(pages).all, before);
}

static void test_pages_are_seen_once(void **state)
{
	static const labyrinth_gfp_t flags[] = { ATOMIC, KERNEL, LABYRINTH_GFP_NOWAIT,
						 ATOMIC | LABYRINTH_GFP_ZERO,
						 KERNEL | LABYRINTH_GFP_EXCLUSIVE };
	size_t before = count(NULL).all;

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		for (unsigned int order = 0; order < 4; order++)
			if (order < 2 || !(flags[i] & LABYRINTH_GFP_EXCLUSIVE))
				check_pages(labyrinth_alloc_pages(flags[i], order), order, before);
	check_pages(labyrinth_alloc_page(ATOMIC), 0, before);
	check_pages(labyrinth_get_zeroed_page(KERNEL), 0, before);
	check_pages(labyrinth_alloc_pages_nolock(0), 0, before);
	check_pages(labyrinth_void_alloc_page_gfp_atomic_exclusive(), 0, before);
}

static void check_bulk(labyrinth_gfp_t gfp, size_t n)
{
	void *pages[64] = { NULL };
	size_t before = count(NULL).all, got = labyrinth_alloc_pages_bulk(gfp, n, pages);

	/* of a zone that is low there is one, or none of the exclusive zone */
	assert_true(got >= 2 && got <= n);
	n = got;
	assert_int_equal(count(NULL).all, before + n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(count(pages[i]).here, 1);
	labyrinth_free_pages_bulk(n, pages);
	assert_int_equal(count(NULL).all, before);
}

static void test_bulk(void **state)
{
	(void)state;
	for (unsigned int turn = 0; turn < 32; turn++)
		lab_reserve_refill(LAB_ZONE_RESERVE);
	check_bulk(KERNEL, 40);
	check_bulk(ATOMIC, 10);
	check_bulk(EXCLUSIVE, 4);
}

static void check_split(labyrinth_gfp_t gfp, unsigned int order)
{
	size_t before = count(NULL).all;
	char *pages = labyrinth_alloc_pages(gfp, order);

	assert_non_null(pages);
	labyrinth_split_page(pages, order);
	assert_int_equal(count(NULL).all, before + (1u << order));
	for (unsigned int i = 0; i < 1u << order; i++) {
		struct count now = count(pages + i * LAB_PAGE_BYTES);

		assert_int_equal(now.here, 1);
		assert_int_equal(now.last.order, 0);
		assert_int_equal(now.last.bytes, LAB_PAGE_BYTES);
	}
	for (unsigned int i = 0; i < 1u << order; i++)
		labyrinth_free_page(pages + i * LAB_PAGE_BYTES);
	assert_int_equal(count(NULL).all, before);
}

static void test_split_and_exact(void **state)
{
	size_t before = count(NULL).all;
	void *pages = labyrinth_alloc_pages_exact(3 * LAB_PAGE_BYTES, KERNEL);

	(void)state;
	assert_non_null(pages);
	assert_int_equal(count(pages).all, before + 3);
	labyrinth_free_pages_exact(pages, 3 * LAB_PAGE_BYTES);
	assert_int_equal(count(NULL).all, before);
	check_split(KERNEL, 3);
	check_split(ATOMIC, 1);
	check_split(KERNEL | LABYRINTH_GFP_EXCLUSIVE, 1);
}

/* a free that is refused takes no record away */
static void test_refused_free_keeps_the_record(void **state)
{
	void *page = labyrinth_alloc_pages(KERNEL, 1);

	(void)state;
	labyrinth_free_pages(page, 0);
	assert_int_equal(count(page).here, 1);
	labyrinth_free_pages(page, 1);
	assert_int_equal(count(page).here, 0);
	page = labyrinth_void_alloc_page_gfp_atomic_exclusive();
	labyrinth_free_pages(page, 1);
	assert_int_equal(count(page).here, 1);
	labyrinth_free_page(page);
	assert_int_equal(count(page).here, 0);
}

/* ---- the figures ---- */

/* an interior or second free of a sampled object is still found out */
static void test_misuse_is_still_reported(void **state)
{
	(void)state;
	for (unsigned int what = 0; what < 3; what++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			char *ptr = labyrinth_heap_malloc(100);

			(void)close(2);
			labyrinth_free(what == 0 ? ptr + 1 : what == 1 ? ptr + 16 : ptr);
			labyrinth_free(ptr);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

static void test_sums_follow(void **state)
{
	uint64_t before[3] = { 0 }, now[3] = { 0 };
	void *a, *b;

	(void)state;
	lab_depot_each(see_sums, before);
	a = labyrinth_heap_malloc(100);
	b = labyrinth_alloc_pages(KERNEL, 2);
	labyrinth_split_page(b, 2);
	lab_depot_each(see_sums, now);
	assert_int_equal(now[0], before[0] + 5);
	assert_int_equal(now[1], before[1] + 112 + 4 * LAB_PAGE_BYTES);
	labyrinth_free(a);
	for (unsigned int i = 0; i < 4; i++)
		labyrinth_free_page((char *)b + i * LAB_PAGE_BYTES);
	memset(now, 0, sizeof(now));
	lab_depot_each(see_sums, now);
	assert_int_equal(now[0], before[0]);
	assert_int_equal(now[1], before[1]);
	assert_true(now[2] >= before[2] + 2);
}

static bool stop_threads;

static void *churn(void *arg)
{
	void *held[64] = { NULL };
	unsigned int seed = (unsigned int)(uintptr_t)arg, i;

	while (!__atomic_load_n(&stop_threads, __ATOMIC_RELAXED)) {
		i = (unsigned int)rand_r(&seed) % 64;
		labyrinth_free(held[i]);
		held[i] = labyrinth_heap_malloc((size_t)rand_r(&seed) % 6000);
	}
	for (i = 0; i < 64; i++)
		labyrinth_free(held[i]);
	return NULL;
}

/* what threads have allocated and freed leaves nothing behind */
static void test_threads(void **state)
{
	size_t before = count(NULL).all;
	pthread_t threads[NR_THREADS];

	(void)state;
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	usleep(STRESS_MS * 1000);
	__atomic_store_n(&stop_threads, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(count(NULL).all, before);
	assert_int_equal(lab_owner_lost(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: malloc()'s pages come from the reserve as well, and stay on its stacks */
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_objects_are_seen_once),
		cmocka_unit_test(test_many_objects),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_pages_are_seen_once),
		cmocka_unit_test(test_split_and_exact),
		cmocka_unit_test(test_refused_free_keeps_the_record),
		cmocka_unit_test(test_misuse_is_still_reported),
		cmocka_unit_test(test_sums_follow),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("watch", tests, start, NULL);
}
