/* SPDX-License-Identifier: MIT */
#include "mempool_backing.h"

#include <sys/resource.h>

#include "page/event.h"

enum {
	ATOMIC = LABYRINTH_GFP_ATOMIC,
	KERNEL = LABYRINTH_GFP_KERNEL,
	ADDED = LABYRINTH___GFP_NOMEMALLOC | LABYRINTH___GFP_NORETRY | LABYRINTH___GFP_NOWARN,
	OMITTED = LABYRINTH___GFP_DIRECT_RECLAIM | LABYRINTH___GFP_IO,
	FOR_EVER = 1 << 30,
};

static struct element *got[MAX_ELEMENTS];

/* ---- the order of attempts ---- */

/* alloc() comes first; the pool is not touched while it succeeds. */
static void test_alloc_function_comes_first(void **state)
{
	labyrinth_mempool_t *pool;
	struct element *e;

	(void)state;
	backing_reset();
	pool = backing_pool(4);
	assert_non_null(pool);
	assert_int_equal(backing.nseen, 4);
	assert_int_equal(backing.seen[3], KERNEL);
	assert_int_equal(labyrinth_mempool_curr_nr(pool), 4);
	backing.nseen = 0;
	e = owned(labyrinth_mempool_alloc(pool, KERNEL));
	assert_int_equal(backing.live, 5);
	assert_int_equal(labyrinth_mempool_curr_nr(pool), 4);
	/* a full pool: to free() */
	give(pool, e);
	assert_int_equal(backing.live, 4);
	assert_int_equal(labyrinth_mempool_curr_nr(pool), 4);
	labyrinth_mempool_destroy(pool);
	assert_int_equal(backing.live, 0);
}

/* Every attempt carries the kernel's flags: first with less, then with all. */
static void test_attempts_carry_the_kernels_flags(void **state)
{
	static const labyrinth_gfp_t gfps[] = {
		ATOMIC,
		LABYRINTH_GFP_NOWAIT,
		0,
		KERNEL,
		LABYRINTH_GFP_NOIO,
		LABYRINTH_GFP_NOFS,
		LABYRINTH_GFP_USER,
		LABYRINTH___GFP_IO | LABYRINTH___GFP_HIGH,
		KERNEL | LABYRINTH___GFP_MEMALLOC | LABYRINTH_GFP_EXCLUSIVE,
	};
	labyrinth_mempool_t *pool;
	struct element *kept;
	size_t i;

	(void)state;
	backing_reset();
	pool = backing_pool(1);
	for (i = 0; i < sizeof(gfps) / sizeof(gfps[0]); i++) {
		labyrinth_gfp_t all = gfps[i] | ADDED, less = all & ~OMITTED;

		/* the second attempt is the pool: alloc() is not asked again */
		backing_fail(0, FOR_EVER);
		kept = owned(labyrinth_mempool_alloc(pool, gfps[i]));
		assert_non_null(kept);
		assert_int_equal(backing.nseen, 1);
		assert_int_equal(backing.seen[0], less);
		/* the pool is empty: the third is alloc() with everything */
		backing_fail(0, 1);
		got[0] = owned(labyrinth_mempool_alloc(pool, gfps[i]));
		assert_int_equal(!!got[0], less != all);
		assert_int_equal(backing.nseen, less != all ? 2 : 1);
		assert_int_equal(backing.seen[0], less);
		if (less != all)
			assert_int_equal(backing.seen[1], all);
		/* none at all: who may not wait gets NULL */
		if (!labyrinth_gfpflags_allow_blocking(gfps[i])) {
			backing_fail(0, FOR_EVER);
			assert_null(labyrinth_mempool_alloc(pool, gfps[i]));
			assert_int_equal(backing.nseen, less != all ? 2 : 1);
		}
		backing_fail(0, 0);
		give(pool, kept);
		assert_int_equal(labyrinth_mempool_curr_nr(pool), 1);
		give(pool, got[0]);
		assert_int_equal(backing.live, 1);
	}
	labyrinth_mempool_destroy(pool);
}

/* errno is the caller's, whatever alloc() and free() do to it. */
static void test_errno_is_kept(void **state)
{
	labyrinth_mempool_t *pool;
	struct element *e, *f;

	(void)state;
	backing_reset();
	pool = backing_pool(1);
	errno = 4711;
	e = owned(labyrinth_mempool_alloc(pool, ATOMIC));
	assert_int_equal(errno, 4711);
	backing_fail(0, FOR_EVER);
	f = owned(labyrinth_mempool_alloc(pool, KERNEL));
	assert_null(labyrinth_mempool_alloc(pool, ATOMIC));
	assert_null(labyrinth_mempool_alloc_preallocated(pool));
	give(pool, e);
	give(pool, f);
	labyrinth_mempool_free(NULL, pool);
	assert_int_equal(errno, 4711);
	labyrinth_mempool_destroy(pool);
	labyrinth_mempool_destroy(NULL);
}

/* __GFP_ZERO is taken out, with one line for the whole run of the program. */
static void test_zero_is_taken_out_and_told_once(void **state)
{
	uint64_t bad = lab_word_get(&lab_events[LAB_EV_BAD_GFP]);
	labyrinth_mempool_t *pool;
	struct capture capture;
	const char *said;
	int i;

	(void)state;
	backing_reset();
	pool = backing_pool(1);
	backing.nseen = 0;
	capture_start(&capture);
	for (i = 0; i < 3; i++)
		give(pool, owned(labyrinth_mempool_alloc(pool, KERNEL | LABYRINTH_GFP_ZERO)));
	said = capture_end(&capture);
	for (i = 0; i < 3; i++)
		assert_int_equal(backing.seen[i], ((labyrinth_gfp_t)KERNEL | ADDED) & ~OMITTED);
	assert_non_null(strstr(said, "mempool_alloc with __GFP_ZERO"));
	assert_null(strstr(strstr(said, "mempool_alloc") + 1, "mempool_alloc"));
	assert_int_equal(lab_word_get(&lab_events[LAB_EV_BAD_GFP]), bad + 3);
	labyrinth_mempool_destroy(pool);
}

/* In an atomic section nobody waits: GFP_KERNEL may get NULL there. */
static void test_atomic_section_does_not_wait(void **state)
{
	uint64_t told = lab_word_get(&lab_events[LAB_EV_MIGHT_SLEEP]), saved;
	labyrinth_mempool_t *pool;
	struct element *e;

	(void)state;
	backing_reset();
	pool = backing_pool(1);
	backing_fail(0, FOR_EVER);
	saved = labyrinth_gfp_save();
	e = owned(labyrinth_mempool_alloc(pool, KERNEL));
	assert_null(labyrinth_mempool_alloc(pool, KERNEL));
	labyrinth_gfp_restore(saved);
	assert_non_null(e);
	assert_int_equal(lab_word_get(&lab_events[LAB_EV_MIGHT_SLEEP]), told + 2);
	assert_int_equal(backing.seen[1] & LABYRINTH___GFP_DIRECT_RECLAIM, 0);
	give(pool, e);
	labyrinth_mempool_destroy(pool);
}

/* ---- waiting ---- */

struct waiter {
	labyrinth_mempool_t *pool;
	atomic_int served;
};

static void *wait_for_one(void *arg)
{
	struct waiter *w = arg;
	struct element *e = owned(labyrinth_mempool_alloc(w->pool, KERNEL));

	must(e);
	w->served = 1;
	give(w->pool, e);
	return NULL;
}

/* GFP_KERNEL waits while there is none, and is served when one is given back. */
static void test_kernel_request_waits_and_is_served(void **state)
{
	struct waiter w = { 0 };
	pthread_t thread;
	struct element *e;
	uint64_t since;

	(void)state;
	backing_reset();
	w.pool = backing_pool(1);
	backing_fail(0, FOR_EVER);
	e = owned(labyrinth_mempool_alloc(w.pool, KERNEL));
	must(pthread_create(&thread, NULL, wait_for_one, &w) == 0);
	usleep(100000);
	assert_int_equal(w.served, 0);
	/* it asks with less first, then with all, again and again */
	assert_true(backing.nseen >= 4);
	assert_int_equal(backing.seen[1], ((labyrinth_gfp_t)KERNEL | ADDED) & ~OMITTED);
	assert_int_equal(backing.seen[2], (labyrinth_gfp_t)KERNEL | ADDED);
	assert_int_equal(backing.seen[3], (labyrinth_gfp_t)KERNEL | ADDED);
	since = now_ms();
	give(w.pool, e);
	pthread_join(thread, NULL);
	assert_int_equal(w.served, 1);
	assert_true(now_ms() - since < 2000);
	assert_int_equal(labyrinth_mempool_curr_nr(w.pool), 1);
	labyrinth_mempool_destroy(w.pool);
	assert_int_equal(backing.live, 0);
}

/* ---- exactly so many ---- */

struct link {
	struct link *next;
};

/* GFP_ATOMIC finds nothing any more, but in the pool */
static struct link *exhaust(unsigned int order, size_t size)
{
	struct link *all = NULL, *one;

	lab_os_fail_from(1, UINT64_MAX / 2);
	while ((one = size ? labyrinth_malloc(size, ATOMIC)
			   : labyrinth_alloc_pages(ATOMIC, order))) {
		one->next = all;
		all = one;
	}
	return all;
}

static void unexhaust(struct link *all, unsigned int order, size_t size)
{
	struct link *next;

	for (; all; all = next) {
		next = all->next;
		if (size)
			labyrinth_free(all);
		else
			labyrinth_free_pages(all, order);
	}
	lab_os_fail_from(0, 0);
}

/* when nobody gets memory, the pool gives exactly min_nr, again and again */
static void check_exact(labyrinth_mempool_t *pool, int min_nr, unsigned int order, size_t size)
{
	static char *element[200];
	size_t bytes = size ? size : LAB_PAGE_BYTES << order;
	struct link *all = exhaust(order, size < sizeof(*all) && size ? sizeof(*all) : size);
	int turn, n, i;

	for (turn = 0; turn < 3; turn++) {
		for (n = 0; n < 200 && (element[n] = labyrinth_mempool_alloc(pool, ATOMIC)); n++) {
			memset(element[n], n, bytes);
			if (!size)
				must((uintptr_t)element[n] % bytes == 0);
		}
		must(n == min_nr);
		must(labyrinth_mempool_curr_nr(pool) == 0);
		for (i = 0; i < n; i++) {
			must(element[i][0] == (char)i && element[i][bytes - 1] == (char)i);
			labyrinth_mempool_free(element[i], pool);
			must(labyrinth_mempool_curr_nr(pool) == i + 1);
		}
	}
	unexhaust(all, order, size < sizeof(*all) && size ? sizeof(*all) : size);
}

/* and give all back at their end */
static void test_page_pools_are_exact(void **state)
{
	static const unsigned int orders[] = { 0, 1, 3 };
	static const int mins[] = { 1, 2, 31, 32, 33, 64, 65, 130 };
	uint64_t in_use = 0;
	size_t turn, i, k;

	(void)state;
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < 3; i++) {
			for (k = 0; k < 8; k++) {
				labyrinth_mempool_t *pool =
					labyrinth_mempool_create_page_pool(mins[k], orders[i]);

				assert_non_null(pool);
				check_exact(pool, mins[k], orders[i], 0);
				labyrinth_mempool_destroy(pool);
			}
		}
		(void)labyrinth_malloc_trim(0);
		/* slabs of the pools' own memory come and go */
		if (turn)
			assert_true(heap_in_use() <= in_use + 32);
		else
			in_use = heap_in_use();
	}
}

static void test_kmalloc_pools_are_exact(void **state)
{
	static const size_t sizes[] = { 1, 24, 200, 4096, 10000, 100000 };
	static const int mins[] = { 1, 40, 100 };
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (k = 0; k < 3; k++) {
			labyrinth_mempool_t *pool =
				labyrinth_mempool_create_kmalloc_pool(mins[k], sizes[i]);

			assert_non_null(pool);
			check_exact(pool, mins[k], 0, sizes[i]);
			labyrinth_mempool_destroy(pool);
		}
	}
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* What is preallocated costs no system call and no fault, nor does its first use. */
static void test_preallocated_elements_are_resident(void **state)
{
	enum { MIN = 50, ORDER = 3 };
	labyrinth_mempool_t *pool, *odd;
	static char *pages[MIN], *objects[MIN];
	long before, after;
	uint64_t calls;
	int i, k;

	(void)state;
	/* or the pools would be made of what other tests have touched */
	(void)labyrinth_malloc_trim(0);
	pool = labyrinth_mempool_create_page_pool(MIN, ORDER);
	odd = labyrinth_mempool_create_kmalloc_pool(MIN, 9000);
	before = faults();
	before = faults();
	calls = lab_os_calls();
	for (i = 0; i < MIN; i++) {
		pages[i] = labyrinth_mempool_alloc_preallocated(pool);
		objects[i] = labyrinth_mempool_alloc_preallocated(odd);
		for (k = 0; k < 1 << ORDER; k++)
			pages[i][k * LAB_PAGE_BYTES] = 1;
		memset(objects[i], 1, 9000);
	}
	must(!labyrinth_mempool_alloc_preallocated(pool));
	for (i = 0; i < MIN; i++) {
		labyrinth_mempool_free(pages[i], pool);
		labyrinth_mempool_free(objects[i], odd);
	}
	after = faults();
	assert_int_equal(lab_os_calls(), calls);
	assert_int_equal(after, before);
	labyrinth_mempool_destroy(pool);
	labyrinth_mempool_destroy(odd);
}

/* ---- creating and resizing ---- */

static void test_creation_is_all_or_nothing(void **state)
{
	int nth;

	(void)state;
	errno = 0;
	assert_null(backing_pool(0));
	assert_int_equal(errno, EINVAL);
	assert_null(labyrinth_mempool_create_page_pool(-1, 0));
	assert_null(labyrinth_mempool_create_page_pool(1, LABYRINTH_MAX_PAGE_ORDER + 1));
	assert_null(labyrinth_mempool_create(1, NULL, backing_free, NULL));
	assert_int_equal(errno, EINVAL);
	for (nth = 0; nth < 100; nth++) {
		backing_reset();
		backing_fail(nth, 1);
		errno = 0;
		assert_null(backing_pool(100));
		assert_int_equal(errno, ENOMEM);
		assert_int_equal(backing.live, 0);
	}
}

static void test_resize_is_exact(void **state)
{
	static const int mins[] = { 2, 1, 40, 33, 300, 5, 2000, 64, 1 };
	labyrinth_mempool_t *pool;
	size_t i;
	int n;

	(void)state;
	backing_reset();
	pool = backing_pool(1);
	assert_int_equal(labyrinth_mempool_resize(pool, 0), -EINVAL);
	for (i = 0; i < sizeof(mins) / sizeof(mins[0]); i++) {
		assert_int_equal(labyrinth_mempool_resize(pool, mins[i]), 0);
		assert_int_equal(labyrinth_mempool_curr_nr(pool), mins[i]);
		assert_int_equal(backing.live, mins[i]);
		n = drain(pool, got, MAX_ELEMENTS);
		assert_int_equal(n, mins[i]);
		while (n-- > 0)
			give(pool, got[n]);
		assert_int_equal(labyrinth_mempool_curr_nr(pool), mins[i]);
	}
	labyrinth_mempool_destroy(pool);
	assert_int_equal(backing.live, 0);
}

/* A pool that cannot be filled now is filled by what comes back. */
static void test_resize_without_memory_is_filled_by_frees(void **state)
{
	labyrinth_mempool_t *pool;
	int i, n;

	(void)state;
	backing_reset();
	pool = backing_pool(4);
	for (i = 0; i < 10; i++)
		got[i] = owned(labyrinth_mempool_alloc(pool, KERNEL));
	backing_fail(3, FOR_EVER);
	assert_int_equal(labyrinth_mempool_resize(pool, 12), -ENOMEM);
	assert_int_equal(labyrinth_mempool_curr_nr(pool), 7);
	for (i = 0; i < 10; i++)
		give(pool, got[i]);
	assert_int_equal(labyrinth_mempool_curr_nr(pool), 12);
	assert_int_equal(backing.live, 12);
	n = drain(pool, got, MAX_ELEMENTS);
	assert_int_equal(n, 12);
	/* smaller than what is out: frees stop at the new minimum */
	assert_int_equal(labyrinth_mempool_resize(pool, 3), -ENOMEM);
	while (n-- > 0)
		give(pool, got[n]);
	assert_int_equal(labyrinth_mempool_curr_nr(pool), 3);
	assert_int_equal(backing.live, 3);
	labyrinth_mempool_destroy(pool);
	assert_int_equal(backing.live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc_function_comes_first),
		cmocka_unit_test(test_attempts_carry_the_kernels_flags),
		cmocka_unit_test(test_errno_is_kept),
		cmocka_unit_test(test_zero_is_taken_out_and_told_once),
		cmocka_unit_test(test_atomic_section_does_not_wait),
		cmocka_unit_test(test_kernel_request_waits_and_is_served),
		cmocka_unit_test(test_page_pools_are_exact),
		cmocka_unit_test(test_kmalloc_pools_are_exact),
		cmocka_unit_test(test_preallocated_elements_are_resident),
		cmocka_unit_test(test_creation_is_all_or_nothing),
		cmocka_unit_test(test_resize_is_exact),
		cmocka_unit_test(test_resize_without_memory_is_filled_by_frees),
	};

	return cmocka_run_group_tests_name("mempool", tests, NULL, NULL);
}
