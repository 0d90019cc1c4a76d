/* SPDX-License-Identifier: MIT */
/* Requests that fail on purpose: each attribute by itself, exactly. */
#include "harness.h"

#include <sys/auxv.h>
#include <sys/time.h>

#include "api/fault_api.h"
#include "api/options.h"
#include "labyrinth.h"
#include "watched_step.h"

#define ATOMIC LABYRINTH_GFP_ATOMIC
#define KERNEL LABYRINTH_GFP_KERNEL
#define NOFAIL LABYRINTH___GFP_NOFAIL

/* all that is asked for fails, pages and objects */
static const struct labyrinth_fault_attr all = {
	.probability = 100, .interval = 1, .times = -1, .verbose = 1
};

static void set(enum labyrinth_fault fault, struct labyrinth_fault_attr attr)
{
	must(labyrinth_fault_set(fault, &attr) == 0);
}

static struct labyrinth_fault_attr get(enum labyrinth_fault fault)
{
	struct labyrinth_fault_attr attr;

	must(labyrinth_fault_get(fault, &attr) == 0);
	return attr;
}

static bool page_fails(labyrinth_gfp_t gfp, unsigned int order)
{
	void *pages = labyrinth_alloc_pages(gfp, order);

	labyrinth_free_pages(pages, order);
	return !pages;
}

static bool object_fails(size_t size)
{
	void *ptr = labyrinth_heap_malloc(size);

	labyrinth_free(ptr);
	return !ptr;
}

/* a bit for each of 64 requests */
static uint64_t pattern(void)
{
	uint64_t bits = 0;
	int i;

	for (i = 0; i < 64; i++)
		bits |= (uint64_t)object_fails(64) << i;
	return bits;
}

/* ---- attributes ---- */

/* A process begins with the kernel's attributes, and with them nothing fails. */
static void test_initial_attributes_are_the_kernels(void **state)
{
	(void)state;
	for (int i = 0; i < LABYRINTH_NR_FAULTS; i++) {
		struct labyrinth_fault_attr attr = get((enum labyrinth_fault)i);

		assert_int_equal(attr.probability, 0);
		assert_int_equal(attr.interval, 1);
		assert_int_equal(attr.times, 1);
		assert_int_equal(attr.space, 0);
		assert_int_equal(attr.verbose, 2);
		assert_int_equal(attr.task_filter, 0);
		assert_int_equal(attr.ignore_gfp_wait, 1);
		assert_int_equal(attr.ignore_gfp_highmem, 1);
		assert_int_equal(attr.min_order, 1);
		assert_int_equal(attr.injected, 0);
	}
	assert_int_equal(
		labyrinth_fault_get(LABYRINTH_NR_FAULTS, &(struct labyrinth_fault_attr){ 0 }),
		-EINVAL);
	assert_false(page_fails(ATOMIC, 3));
	assert_false(object_fails(100));
}

static void set_bad(void *unused)
{
	static const char *const bad[] = { "",		"1",	    "1/2/3",   "1/2/3/4/5",
					   "1/101/0/1", "1/-1/0/1", "a/1/0/1", "1/1/-1/1",
					   "1/1/0/-2",	"1/1/0/ 1" };
	struct labyrinth_fault_attr attr = all;
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		must(labyrinth_fault_setup(LABYRINTH_FAILSLAB, bad[i]) == -EINVAL);
	attr.probability = 101;
	must(labyrinth_fault_set(LABYRINTH_FAILSLAB, &attr) == -EINVAL);
	attr = all;
	attr.times = -2;
	must(labyrinth_fault_set(LABYRINTH_FAILSLAB, &attr) == -EINVAL);
	attr = all;
	attr.min_order = 11;
	must(labyrinth_fault_set(LABYRINTH_FAILSLAB, &attr) == -EINVAL);
	must(labyrinth_fault_set(LABYRINTH_NR_FAULTS, &all) == -EINVAL);
	must(get(LABYRINTH_FAILSLAB).probability == 0);
	must(labyrinth_fault_setup(LABYRINTH_FAILSLAB, "3/50/1000/-1") == 0);
	attr = get(LABYRINTH_FAILSLAB);
	must(attr.interval == 3 && attr.probability == 50 && attr.space == 1000);
	must(attr.times == -1 && attr.ignore_gfp_wait == 1);
	must(labyrinth_fault_setup(LABYRINTH_FAIL_PAGE_ALLOC, "4,51,1001,7") == 0);
	attr = get(LABYRINTH_FAIL_PAGE_ALLOC);
	must(attr.interval == 4 && attr.probability == 51 && attr.space == 1001 && attr.times == 7);
}

/* The kernel's text sets four attributes; what is no such text sets none. */
static void test_setup_takes_the_kernels_text(void **state)
{
	(void)state;
	assert_child_succeeds(set_bad, NULL);
}

static void draw(void *unused)
{
	struct labyrinth_fault_attr attr = all;
	uint64_t first, n = 0;
	int i;

	(void)unused;
	attr.verbose = 0;
	attr.probability = 30;
	set(LABYRINTH_FAILSLAB, attr);
	labyrinth_fault_seed(4711);
	for (i = 0; i < 10000; i++)
		n += object_fails(64);
	/* 5 standard deviations of 46 */
	must(n > 3000 - 230 && n < 3000 + 230);
	labyrinth_fault_seed(4711);
	first = pattern();
	labyrinth_fault_seed(4711);
	must(pattern() == first && first && ~first);
	labyrinth_fault_seed(4712);
	must(pattern() != first);
	attr.probability = 100;
	set(LABYRINTH_FAILSLAB, attr);
	must(pattern() == UINT64_MAX);
	attr.probability = 0;
	set(LABYRINTH_FAILSLAB, attr);
	must(pattern() == 0);
}

/* As many fail as the probability says; the same ones with the same seed. */
static void test_probability_is_met_and_can_be_repeated(void **state)
{
	(void)state;
	assert_child_succeeds(draw, NULL);
}

static void count_off(void *unused)
{
	struct labyrinth_fault_attr attr = all;
	int i;

	(void)unused;
	attr.interval = 3;
	set(LABYRINTH_FAILSLAB, attr);
	must(pattern() == 0x4924924924924924ull);
	attr = all;
	attr.times = 5;
	set(LABYRINTH_FAILSLAB, attr);
	must(pattern() == 0x1f);
	must(get(LABYRINTH_FAILSLAB).times == 0);
	attr.times = 0;
	set(LABYRINTH_FAILSLAB, attr);
	must(pattern() == 0);
	/* 64 bytes each: while more than that is left */
	attr = all;
	attr.space = 640;
	set(LABYRINTH_FAILSLAB, attr);
	for (i = 0; i < 9; i++)
		must(!object_fails(64) && get(LABYRINTH_FAILSLAB).space == 640 - 64 * (i + 1));
	must(object_fails(64) && object_fails(64) && get(LABYRINTH_FAILSLAB).space == 64);
	must(!object_fails(63));
	/* pages */
	attr.space = 10;
	set(LABYRINTH_FAIL_PAGE_ALLOC, attr);
	for (i = 0; i < 4; i++)
		must(!page_fails(ATOMIC, 1));
	must(page_fails(ATOMIC, 1) && get(LABYRINTH_FAIL_PAGE_ALLOC).space == 2);
}

/* interval, times and space count exactly. */
static void test_interval_times_and_space_are_exact(void **state)
{
	(void)state;
	assert_child_succeeds(count_off, NULL);
}

static void filter(void *unused)
{
	struct labyrinth_fault_attr attr = all;

	(void)unused;
	attr.min_order = 2;
	set(LABYRINTH_FAIL_PAGE_ALLOC, attr);
	must(!page_fails(ATOMIC, 0) && !page_fails(ATOMIC, 1));
	must(page_fails(ATOMIC, 2) && page_fails(ATOMIC, 3));
	attr = all;
	attr.ignore_gfp_wait = 1;
	set(LABYRINTH_FAIL_PAGE_ALLOC, attr);
	set(LABYRINTH_FAILSLAB, attr);
	must(!page_fails(KERNEL, 0) && page_fails(LABYRINTH_GFP_NOWAIT, 0));
	must(!object_fails(64) && !labyrinth_malloc(64, ATOMIC));
	attr = all;
	attr.ignore_gfp_highmem = 1;
	set(LABYRINTH_FAIL_PAGE_ALLOC, attr);
	must(!page_fails(ATOMIC | LABYRINTH___GFP_HIGHMEM, 0) && page_fails(ATOMIC, 0));
	set(LABYRINTH_FAIL_PAGE_ALLOC, all);
	must(page_fails(ATOMIC | LABYRINTH___GFP_HIGHMEM, 0));
}

/* min-order, ignore-gfp-wait and ignore-gfp-highmem let pass what they name. */
static void test_filters_let_pass_what_they_name(void **state)
{
	(void)state;
	assert_child_succeeds(filter, NULL);
}

static void insist(void *unused)
{
	void *ptr;

	(void)unused;
	set(LABYRINTH_FAIL_PAGE_ALLOC, all);
	set(LABYRINTH_FAILSLAB, all);
	labyrinth_fail_nth(1);
	alarm(20);
	must(!page_fails(KERNEL | NOFAIL, 0) && !page_fails(KERNEL | NOFAIL, 1));
	ptr = labyrinth_malloc(100, KERNEL | NOFAIL);
	must(ptr);
	labyrinth_free(ptr);
	ptr = labyrinth_malloc(100, KERNEL | NOFAIL | LABYRINTH___GFP_ZERO);
	must(ptr && is_zero(ptr, 100));
	ptr = labyrinth_malloc(1 << 20, KERNEL | NOFAIL | LABYRINTH___GFP_ZERO);
	must(ptr && is_zero(ptr, 1 << 20));
	must(get(LABYRINTH_FAILSLAB).injected == 0 && labyrinth_fail_nth_left() == 1);
	must(!labyrinth_malloc(100, KERNEL) && get(LABYRINTH_FAILSLAB).injected == 1);
}

/* __GFP_NOFAIL never fails, not for fail-nth either, and does not loop. */
static void test_nofail_never_fails(void **state)
{
	(void)state;
	assert_child_succeeds(insist, NULL);
}

/* ---- threads ---- */

static void marked_or_not(unsigned int id, void *unused)
{
	(void)unused;
	must(labyrinth_make_it_fail(0) == 0);
	if (id % 2)
		must(labyrinth_make_it_fail(7) == 0 && labyrinth_make_it_fail(1) == 1);
	must(pattern() == (id % 2 ? UINT64_MAX : 0));
}

static void nth_of_each(unsigned int id, void *unused)
{
	uint64_t want = 1ull << (id * 7);

	(void)unused;
	must(labyrinth_fail_nth_left() == 0);
	labyrinth_fail_nth(id * 7 + 1);
	must(pattern() == want && labyrinth_fail_nth_left() == 0);
	labyrinth_fail_nth(100);
	must(pattern() == 0 && labyrinth_fail_nth_left() == 36);
}

static void in_threads(void *unused)
{
	struct labyrinth_fault_attr attr = all;

	(void)unused;
	attr.task_filter = 1;
	set(LABYRINTH_FAILSLAB, attr);
	run_threads(NR_THREADS, marked_or_not, NULL);
	attr.probability = 0;
	attr.task_filter = 0;
	set(LABYRINTH_FAILSLAB, attr);
	run_threads(NR_THREADS, nth_of_each, NULL);
}

/* make-it-fail and fail-nth are the thread's own. */
static void test_threads_fail_by_themselves(void **state)
{
	(void)state;
	assert_child_succeeds(in_threads, NULL);
}

static lab_word_t failed;

static void fail_much(unsigned int id, void *unused)
{
	int i;

	(void)id;
	(void)unused;
	for (i = 0; i < 5000; i++)
		lab_word_add(&failed, object_fails(48));
}

static void at_once(void *unused)
{
	struct labyrinth_fault_attr attr = all;

	(void)unused;
	attr.times = 7000;
	attr.verbose = 0;
	attr.space = 48 * 1000 + 1;
	attr.interval = 2;
	set(LABYRINTH_FAILSLAB, attr);
	run_threads(4, fail_much, NULL);
	must(lab_word_get(&failed) == 7000 && get(LABYRINTH_FAILSLAB).injected == 7000);
	must(get(LABYRINTH_FAILSLAB).space == 1 && get(LABYRINTH_FAILSLAB).times == 0);
}

/* Of threads at once exactly so many fail. */
static void test_counts_are_exact_among_threads(void **state)
{
	(void)state;
	assert_child_succeeds(at_once, NULL);
}

/* ---- every call ---- */

static bool sets_enomem(void *ptr)
{
	bool ok = !ptr && errno == ENOMEM;

	errno = 0;
	return ok;
}

static void call_each(void *unused)
{
	void *pages[4] = { NULL }, *block = labyrinth_heap_malloc(100), *out = pages;

	(void)unused;
	must(block);
	fill(block, 5, 96);
	set(LABYRINTH_FAILSLAB, all);
	errno = 0;
	must(sets_enomem(labyrinth_heap_malloc(1)) && sets_enomem(labyrinth_heap_malloc(100000)));
	must(sets_enomem(labyrinth_heap_malloc(8 << 20)));
	must(sets_enomem(labyrinth_heap_calloc(10, 10)));
	must(sets_enomem(labyrinth_heap_calloc(1000, 1000)));
	must(sets_enomem(labyrinth_heap_realloc(NULL, 10)));
	must(sets_enomem(labyrinth_heap_realloc(block, 100000)) && is_filled(block, 5, 96));
	must(sets_enomem(labyrinth_heap_reallocarray(block, 100, 100)) && is_filled(block, 5, 96));
	/* to shrink is no request */
	must(labyrinth_heap_realloc(block, 10) == block);
	must(sets_enomem(labyrinth_heap_memalign(64, 64)));
	must(sets_enomem(labyrinth_heap_aligned_alloc(1 << 20, 64)));
	must(sets_enomem(labyrinth_heap_valloc(64)) && sets_enomem(labyrinth_heap_pvalloc(64)));
	must(labyrinth_heap_posix_memalign(&out, 4096, 10) == ENOMEM && out == pages);
	must(sets_enomem(labyrinth_malloc(10, KERNEL)));
	errno = 4711;
	must(!labyrinth_malloc(10, ATOMIC) && !labyrinth_malloc(10, LABYRINTH_GFP_NOWAIT));
	must(!page_fails(ATOMIC, 0));
	set(LABYRINTH_FAIL_PAGE_ALLOC, all);
	must(page_fails(ATOMIC, 0) && page_fails(ATOMIC, 4));
	must(!labyrinth_get_zeroed_page(ATOMIC) && !labyrinth_alloc_pages_nolock(0));
	must(!labyrinth_void_alloc_page_gfp_atomic_exclusive());
	must(!labyrinth_alloc_pages_exact(9000, ATOMIC));
	must(labyrinth_alloc_pages_bulk(ATOMIC, 4, pages) == 0 && !pages[0]);
	must(errno == 4711);
	must(page_fails(KERNEL, 0) && errno == ENOMEM);
	labyrinth_free(block);
}

/* Each call fails as if there were no memory, and leaves what it was given. */
static void test_each_call_fails_cleanly(void **state)
{
	(void)state;
	assert_child_succeeds(call_each, NULL);
}

static void keep_promise(void *unused)
{
	labyrinth_mempool_t *pool = labyrinth_mempool_create_kmalloc_pool(4, 100);
	int i;

	(void)unused;
	must(pool);
	set(LABYRINTH_FAILSLAB, all);
	for (i = 0; i < 4; i++)
		must(labyrinth_mempool_alloc(pool, ATOMIC));
	must(!labyrinth_mempool_alloc(pool, ATOMIC));
}

/* A pool of elements gives what it has set aside. */
static void test_mempool_gives_its_own(void **state)
{
	(void)state;
	assert_child_succeeds(keep_promise, NULL);
}

/* ---- messages and counts ---- */

static void say(void *unused)
{
	/* the emulators of other machines have no vDSO: what waits knows no time */
	const bool has_clock = getauxval(AT_SYSINFO_EHDR) != 0;
	struct capture capture;
	char want[400];

	(void)unused;
	labyrinth_fault_seed(17);
	set(LABYRINTH_FAILSLAB, all);
	errno = 4711;
	capture_start(&capture);
	must(!labyrinth_malloc(1000, ATOMIC));
	must(lseek(capture.file, 0, SEEK_END) == 0);
	must(!labyrinth_malloc(1000, ATOMIC));
	must(lseek(capture.file, 0, SEEK_END) == 0);
	/* whoever may write writes what waits, and has no turn of its own then */
	must(!labyrinth_malloc(1000, KERNEL));
	must(lseek(capture.file, 0, SEEK_END) > 0);
	must(labyrinth_flush_reports() == 0);
	must(page_fails(ATOMIC, 2) == false);
	capture_end(&capture);
	snprintf(want, sizeof(want),
		 "labyrinth[%d]: test_fault: FAULT_INJECTION: forcing a failure.\n"
		 "name failslab, interval 1, probability 100, space 0, times -1, bytes 1000, "
		 "seed 17, mode:0x820(GFP_ATOMIC), thread=0x%lx%s",
		 (int)getpid(), (unsigned long)__builtin_thread_pointer(),
		 has_clock ? ",ago=" : "\n");
	must(strncmp(capture.said, want, strlen(want)) == 0);
	must(strchr(strchr(capture.said, '\n') + 1, '\n')[1] == '\0');
	must(get(LABYRINTH_FAILSLAB).injected == 3 && get(LABYRINTH_FAILSLAB).times == -1);
	must(labyrinth_event_count(LABYRINTH_EV_FAULT_INJECTED) == 3);
	/* they are no failures of memory */
	must(labyrinth_event_count(LABYRINTH_EV_FAIL_ATOMIC_MALLOC) == 0);
	must(labyrinth_event_count(LABYRINTH_EV_FAIL_MALLOC) == 0);
	must(labyrinth_event_count(LABYRINTH_EV_WARN) == 0);
}

static void be_silent(void *verbose)
{
	struct labyrinth_fault_attr attr = all;
	struct capture capture;

	attr.verbose = *(uint64_t *)verbose;
	set(LABYRINTH_FAILSLAB, attr);
	capture_start(&capture);
	must(!labyrinth_malloc(1000, KERNEL | LABYRINTH___GFP_NOWARN));
	if (!attr.verbose)
		must(!labyrinth_malloc(1000, KERNEL) && !labyrinth_malloc(1000, ATOMIC));
	must(labyrinth_flush_reports() == 0);
	must(!*capture_end(&capture));
	if (!attr.verbose)
		return;
	capture_start(&capture);
	must(!labyrinth_malloc(1000, KERNEL));
	must(strstr(capture_end(&capture), "FAULT_INJECTION: forcing a failure.\n"));
}

/* One message each 10 s, deferred where the request may not wait; none with __GFP_NOWARN. */
static void test_message_is_the_kernels(void **state)
{
	static uint64_t verbose[] = { 0, 1 };

	(void)state;
	assert_child_succeeds(say, NULL);
	assert_child_succeeds(be_silent, &verbose[0]);
	assert_child_succeeds(be_silent, &verbose[1]);
}

/* ---- in a handler ---- */

static volatile sig_atomic_t runs;

static void ask(int signo)
{
	(void)signo;
	must(!labyrinth_alloc_page(ATOMIC) && !labyrinth_malloc(10, ATOMIC));
	runs++;
}

static void storm(void *unused)
{
	struct itimerval tick = { { 0, 100 }, { 0, 100 } };
	struct sigaction action = { .sa_handler = ask, .sa_flags = SA_RESTART };
	uint64_t before, n = 0;

	(void)unused;
	set(LABYRINTH_FAILSLAB, all);
	set(LABYRINTH_FAIL_PAGE_ALLOC, all);
	must(sigaction(SIGALRM, &action, NULL) == 0);
	must(setitimer(ITIMER_REAL, &tick, NULL) == 0);
	before = now_ms();
	while (now_ms() - before < 500)
		n += object_fails(100);
	tick = (struct itimerval){ 0 };
	must(setitimer(ITIMER_REAL, &tick, NULL) == 0);
	must(runs > 100);
	must(get(LABYRINTH_FAILSLAB).injected == n + (uint64_t)runs);
	must(get(LABYRINTH_FAIL_PAGE_ALLOC).injected == (uint64_t)runs);
}

/* A handler may be refused while the code that it interrupts is. */
static void test_handlers_are_refused_too(void **state)
{
	(void)state;
	assert_child_succeeds(storm, NULL);
}

static void fail_later(void)
{
	labyrinth_fail_nth(1000);
}

static void fail_now(void)
{
	labyrinth_fail_nth(1);
	must(!labyrinth_heap_malloc(64));
}

static void start_while_starting(void *unused)
{
	(void)unused;
	/* so that the hot path has one */
	labyrinth_free(labyrinth_heap_malloc(64));
	lab_options.fail_ignore_gfp_wait = false;
	lab_fault_options();
	must(!lab_is_watched());
	at_watched_step(fail_later, fail_now);
}

/* Who starts a watcher while another is about to does not rely on that one. */
static void test_handler_starts_what_is_being_started(void **state)
{
	(void)state;
	assert_child_succeeds(start_while_starting, NULL);
}

static void marked_by_option(void *unused)
{
	(void)unused;
	lab_options.make_it_fail = true;
	lab_options.fail_task_filter = true;
	lab_fault_options();
	must(get(LABYRINTH_FAILSLAB).task_filter == 1);
	must(labyrinth_make_it_fail(0) == 1 && labyrinth_make_it_fail(0) == 0);
}

/* The option marks the thread that starts the program. */
static void test_option_marks_the_first_thread(void **state)
{
	(void)state;
	assert_child_succeeds(marked_by_option, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_initial_attributes_are_the_kernels),
		cmocka_unit_test(test_setup_takes_the_kernels_text),
		cmocka_unit_test(test_probability_is_met_and_can_be_repeated),
		cmocka_unit_test(test_interval_times_and_space_are_exact),
		cmocka_unit_test(test_filters_let_pass_what_they_name),
		cmocka_unit_test(test_nofail_never_fails),
		cmocka_unit_test(test_threads_fail_by_themselves),
		cmocka_unit_test(test_counts_are_exact_among_threads),
		cmocka_unit_test(test_each_call_fails_cleanly),
		cmocka_unit_test(test_mempool_gives_its_own),
		cmocka_unit_test(test_message_is_the_kernels),
		cmocka_unit_test(test_handlers_are_refused_too),
		cmocka_unit_test(test_handler_starts_what_is_being_started),
		cmocka_unit_test(test_option_marks_the_first_thread),
	};

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
