/* SPDX-License-Identifier: MIT */
/* init_on_alloc, init_on_free, page_poison, the quarantine and red zones. */
#include "harness.h"

#include <sys/resource.h>
#include <sys/time.h>

#include "diag/fill.h"
#include "diag/quarantine.h"
#include "diag/redzone.h"
#include "labyrinth.h"

#define ATOMIC LABYRINTH_GFP_ATOMIC
#define ZERO   LABYRINTH___GFP_ZERO

static bool holds(const void *ptr, unsigned char what, size_t bytes)
{
	const unsigned char *at = ptr;

	while (bytes > 0 && at[bytes - 1] == what)
		bytes--;
	return bytes == 0;
}

/* sizes of each kind of object */
static const size_t sizes[] = { 1, 100, 4000, 5000, 100000, 3 << 20 };
enum { NR_SIZES = sizeof(sizes) / sizeof(*sizes) };

static void soil(void)
{
	void *ptr[8];
	size_t i, n;

	for (i = 0; i < NR_SIZES; i++) {
		for (n = 0; n < 8; n++) {
			ptr[n] = labyrinth_heap_malloc(sizes[i]);
			must(ptr[n]);
			memset(ptr[n], 0x5a, labyrinth_malloc_usable_size(ptr[n]));
		}
		while (n-- > 0)
			labyrinth_free(ptr[n]);
	}
}

static void on_alloc(void *unused)
{
	char *ptr;
	size_t i;

	(void)unused;
	soil();
	lab_fill_start(LAB_FILL_ON_ALLOC);
	for (i = 0; i < NR_SIZES; i++) {
		ptr = labyrinth_heap_malloc(sizes[i]);
		must(ptr && is_zero(ptr, labyrinth_malloc_usable_size(ptr)));
		ptr = labyrinth_heap_memalign(256, sizes[i]);
		must(ptr && is_zero(ptr, labyrinth_malloc_usable_size(ptr)));
		ptr = labyrinth_malloc(sizes[i] % 20000, ATOMIC);
		must(ptr && is_zero(ptr, labyrinth_malloc_usable_size(ptr)));
		memset(ptr, 1, sizes[i] % 20000);
		labyrinth_free(ptr);
	}
	for (i = 0; i < 100; i++) {
		ptr = labyrinth_alloc_pages(ATOMIC, i % 3);
		must(ptr && is_zero(ptr, 4096ul << i % 3));
		memset(ptr, 1, 4096ul << i % 3);
		labyrinth_free_pages(ptr, i % 3);
	}
}

/* All that is handed out reads as zero, to its last usable byte. */
static void test_init_on_alloc_zeroes_all(void **state)
{
	(void)state;
	assert_child_succeeds(on_alloc, NULL);
}

/* a child of fork() has an exclusive zone once it has asked for one */
static void revive(void)
{
	labyrinth_free_page(labyrinth_alloc_page(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE));
}

static void on_free(void *unused)
{
	char *ptr;
	size_t i;

	(void)unused;
	revive();
	lab_fill_start(LAB_FILL_ON_FREE);
	/* not the huge one, which is unmapped */
	for (i = 0; i < NR_SIZES - 1; i++) {
		ptr = labyrinth_heap_malloc(sizes[i]);
		memset(ptr, 0x5a, sizes[i]);
		labyrinth_free(ptr);
		must(is_zero(ptr, sizes[i]));
	}
	ptr = labyrinth_alloc_pages(ATOMIC, 1);
	memset(ptr, 0x5a, 8192);
	labyrinth_free_pages(ptr, 1);
	must(is_zero(ptr, 8192));
	ptr = labyrinth_void_alloc_page_gfp_atomic_exclusive();
	memset(ptr, 0x5a, 4096);
	labyrinth_free_page(ptr);
	must(is_zero(ptr, 4096));
}

/* All that is given back reads as zero. */
static void test_init_on_free_zeroes_all(void **state)
{
	(void)state;
	assert_child_succeeds(on_free, NULL);
}

/* ---- page_poison ---- */

static void *page_of(int kind)
{
	void *page = NULL;

	switch (kind) {
	case 0:
		return labyrinth_alloc_page(ATOMIC);
	case 1:
		return labyrinth_void_alloc_page_gfp_atomic_exclusive();
	case 2:
		return labyrinth_alloc_page(ATOMIC | ZERO);
	case 3:
		must(labyrinth_alloc_pages_bulk(ATOMIC | ZERO, 1, &page) == 1);
		return page;
	default:
		return labyrinth_alloc_pages(ATOMIC, 2);
	}
}

static void corrupt(void *kind)
{
	const int which = *(int *)kind;
	const unsigned int order = which == 4 ? 2 : 0;
	struct capture capture;
	char *page, *last, want[200];
	int i;

	/* the page is on the stack of this CPU */
	(void)pin_to_one_cpu();
	revive();
	lab_fill_start(LAB_FILL_PAGES);
	page = page_of(which);
	must(page);
	last = page + (4096ul << order) - 4096;
	memset(page, 0x5a, 4096ul << order);
	labyrinth_free_pages(page, order);
	must(holds(page, 0xaa, 4096ul << order));
	last[4094] = 1;
	last[4095] = 2;
	capture_start(&capture);
	for (i = 0; i < 20; i++) {
		page = page_of(which);
		must(!page || (which != 2 && which != 3) || is_zero(page, 4096));
	}
	snprintf(want, sizeof(want),
		 "labyrinth[%d]: BUG: pagealloc: memory corruption\n%p: 01 02\n", getpid(),
		 (void *)(last + 4094));
	if (strcmp(capture_end(&capture), want) != 0) {
		dprintf(2, "kind %d: %s, not %s", which, capture.said, want);
		_exit(1);
	}
}

/* A write to a free page is found, whoever asks for the page next. */
static void test_page_poison_finds_writes(void **state)
{
	static int kinds[] = { 0, 1, 2, 3, 4 };

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_child_succeeds(corrupt, &kinds[i]);
}

static void corrupt_many(void *unused)
{
	enum { MANY = 15, MOST = 10 };
	char *pages[MANY];
	int i;

	(void)unused;
	(void)pin_to_one_cpu();
	revive();
	lab_fill_start(LAB_FILL_PAGES);
	for (i = 0; i < MANY; i++)
		must((pages[i] = labyrinth_alloc_page(ATOMIC)));
	for (i = 0; i < MANY; i++) {
		labyrinth_free_page(pages[i]);
		pages[i][i] = 1;
	}
	for (i = 0; i < MANY; i++)
		must(labyrinth_alloc_page(ATOMIC));
}

/* A process says it so often, and no more. */
static void test_page_poison_ends_its_reports(void **state)
{
	struct outcome out = in_child(corrupt_many, NULL);
	const char *at = out.said;
	int n;

	(void)state;
	assert_int_equal(out.status, 0);
	for (n = 0; (at = strstr(at, "pagealloc: memory corruption\n")); n++)
		at++;
	assert_int_equal(n, 10);
}

static void churn(unsigned int id, void *unused)
{
	uint64_t seed = id * 7919 + 1, before = now_ms();
	void *ptr[16] = { NULL };
	unsigned int order[16] = { 0 }, i;

	(void)unused;
	while (now_ms() - before < STRESS_MS) {
		i = (unsigned int)random_below(&seed, 16);
		if (ptr[i] && order[i] < 8)
			labyrinth_free_pages(ptr[i], order[i]);
		else
			labyrinth_free(ptr[i]);
		order[i] = (unsigned int)random_below(&seed, 12);
		if (order[i] >= 8) {
			ptr[i] = labyrinth_malloc(1ul << order[i], ATOMIC | LABYRINTH___GFP_NOWARN);
			if (ptr[i])
				memset(ptr[i], 0x77, 1ul << order[i]);
			continue;
		}
		order[i] %= 3;
		ptr[i] = labyrinth_alloc_pages((id % 2 ? LABYRINTH_GFP_KERNEL : ATOMIC) |
						       LABYRINTH___GFP_NOWARN |
						       (random_below(&seed, 2) ? ZERO : 0),
					       order[i]);
		if (ptr[i])
			memset(ptr[i], 0x77, 4096ul << order[i]);
		if (random_below(&seed, 64) == 0)
			(void)labyrinth_malloc_trim(0);
	}
}

static void fork_too(void *unused)
{
	(void)unused;
	churn(3, NULL);
}

static void churn_all(void *unused)
{
	struct capture capture;
	struct outcome child;

	(void)unused;
	capture_start(&capture);
	lab_fill_start(LAB_FILL_PAGES);
	run_threads(NR_THREADS, churn, NULL);
	child = in_child(fork_too, NULL);
	must(WIFEXITED(child.status) && !WEXITSTATUS(child.status) && !*child.said);
	must(!*capture_end(&capture));
}

/* Pages that change their use, are cleared ahead, trimmed or inherited are no corruption. */
static void test_page_poison_says_nothing_of_good_programs(void **state)
{
	(void)state;
	assert_child_succeeds(churn_all, NULL);
}

/* ---- quarantine ---- */

static void wait_in_line(void *unused)
{
	void *first, *ptr;
	size_t n;

	(void)unused;
	(void)pin_to_one_cpu();
	must(lab_quarantine_start(1 << 20) == 0);
	first = labyrinth_heap_malloc(1000);
	labyrinth_free(first);
	must(holds(first, 0x6b,
		   labyrinth_malloc_usable_size(ptr = labyrinth_heap_malloc(1000)) - 1));
	labyrinth_free(ptr);
	/* two wait already; classes of 1024 bytes */
	for (n = 2; n < 1024; n++) {
		ptr = labyrinth_heap_malloc(1000);
		must(ptr != first);
		labyrinth_free(ptr);
	}
	must(*(unsigned char *)first == 0x6b);
	for (; n < 4096 && labyrinth_heap_malloc(1000) != first; n++)
		labyrinth_free(labyrinth_heap_malloc(1000));
	must(n < 4096);
	/* and again */
	labyrinth_free(first);
	for (n = 0; n < 500; n++) {
		ptr = labyrinth_heap_malloc(1000);
		must(ptr != first);
		labyrinth_free(ptr);
	}
	/* what is larger than all of it does not wait */
	first = labyrinth_heap_malloc(2000000);
	memset(first, 1, 2000000);
	labyrinth_free(first);
	labyrinth_free(labyrinth_heap_malloc(2000000));
}

/* An object waits until so many bytes have been freed after it, and then is used again. */
static void test_quarantine_is_a_queue_of_so_many_bytes(void **state)
{
	(void)state;
	assert_child_succeeds(wait_in_line, NULL);
}

static void run_short(void *unused)
{
	const struct rlimit limit = { 300 << 20, 300 << 20 };
	int i;

	(void)unused;
	must(lab_quarantine_start(1 << 30) == 0);
	must(setrlimit(RLIMIT_AS, &limit) == 0);
	for (i = 0; i < 1000; i++) {
		char *ptr = labyrinth_heap_malloc((size_t)(i % 7 + 1) << 20);

		must(ptr);
		labyrinth_free(ptr);
	}
}

/* Where memory is short what waits is given back, before a request fails. */
static void test_quarantine_makes_room(void **state)
{
	(void)state;
	if (HARNESS_SANITIZER[0])
		skip();
	assert_child_succeeds(run_short, NULL);
}

/* objects so small that the ring has no place for as many bytes as may wait */
static void come_round(void *unused)
{
	enum { SLOTS = 1 << 14, MORE = 1000 };
	static void *ptrs[SLOTS + MORE];
	unsigned int i;

	(void)unused;
	must(lab_quarantine_start(1 << 20) == 0);
	for (i = 0; i < SLOTS + MORE; i++)
		must((ptrs[i] = labyrinth_heap_malloc(16)));
	/* each comes out in its turn, once: when another has its place, or when asked for */
	for (i = 0; i < SLOTS + MORE; i++)
		must(lab_quarantine_put(ptrs[i], 16) == (i < SLOTS ? NULL : ptrs[i - SLOTS]));
	must(lab_quarantine_next(false) == NULL);
	for (i = MORE; i < SLOTS + MORE; i++)
		must(lab_quarantine_next(true) == ptrs[i]);
	must(lab_quarantine_next(true) == NULL);
}

/* Where the ring is full the oldest one leaves, though fewer bytes wait than may. */
static void test_quarantine_comes_round(void **state)
{
	(void)state;
	assert_child_succeeds(come_round, NULL);
}

static void no_ring(void *unused)
{
	void *ptr = labyrinth_heap_malloc(1000);

	(void)unused;
	(void)pin_to_one_cpu();
	lab_os_fail_from(1, 1);
	must(lab_quarantine_start(1 << 20) == -ENOMEM);
	lab_os_fail_from(0, 0);
	must(lab_quarantine_put(ptr, 1024) == ptr);
	labyrinth_free(ptr);
	must(labyrinth_heap_malloc(1000) == ptr);
}

/* Without memory for its ring nothing waits. */
static void test_quarantine_without_memory_holds_nothing(void **state)
{
	(void)state;
	assert_child_succeeds(no_ring, NULL);
}

static void in_section(void *unused)
{
	uintptr_t saved = labyrinth_gfp_save();
	void *ptr, *again = NULL;
	int i;

	(void)unused;
	(void)pin_to_one_cpu();
	must(lab_quarantine_start(1 << 20) == 0);
	ptr = labyrinth_malloc(512, ATOMIC);
	labyrinth_free(ptr);
	for (i = 0; i < 64 && again != ptr; i++)
		again = labyrinth_malloc(512, ATOMIC);
	must(again == ptr);
	labyrinth_gfp_restore(saved);
}

/* Nothing waits that is freed in an atomic section. */
static void test_quarantine_is_not_for_sections(void **state)
{
	(void)state;
	assert_child_succeeds(in_section, NULL);
}

static void handle(int signo)
{
	void *ptr = labyrinth_heap_malloc(100), *atomic = labyrinth_malloc(50, ATOMIC);

	(void)signo;
	must(ptr);
	labyrinth_free(ptr);
	labyrinth_free(atomic);
}

static lab_word_t shared[64];

/* blocks go from thread to thread by way of shared[] */
static void trade(unsigned int id, void *unused)
{
	uint64_t seed = id * 104729 + 1, before = now_ms();

	(void)unused;
	while (now_ms() - before < STRESS_MS) {
		size_t size = 1ul << random_below(&seed, 18), i;
		char *ptr = labyrinth_heap_malloc(size);

		must(ptr);
		ptr[0] = ptr[size - 1] = 'x';
		i = random_below(&seed, 64);
		ptr = (void *)(uintptr_t)atomic_exchange(&shared[i], (uintptr_t)ptr);
		must(!ptr || *ptr == 'x');
		labyrinth_free(ptr);
	}
}

static void trade_all(void *unused)
{
	struct itimerval tick = { { 0, 200 }, { 0, 200 } };
	struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };

	(void)unused;
	must(lab_quarantine_start(1 << 20) == 0);
	must(lab_redzone_start() == 0);
	lab_fill_start(LAB_FILL_ON_ALLOC | LAB_FILL_ON_FREE | LAB_FILL_PAGES);
	must(sigaction(SIGALRM, &action, NULL) == 0);
	must(setitimer(ITIMER_REAL, &tick, NULL) == 0);
	run_threads(NR_THREADS, trade, NULL);
	tick = (struct itimerval){ 0 };
	must(setitimer(ITIMER_REAL, &tick, NULL) == 0);
	lab_quarantine_check();
}

/* Threads that free each other's blocks, and handlers, find nothing wrong. */
static void test_quarantine_under_threads_and_signals(void **state)
{
	(void)state;
	assert_child_succeeds(trade_all, NULL);
}

/* ---- red zones ---- */

static void use_all(void *ptr, size_t size)
{
	must(ptr && labyrinth_malloc_usable_size(ptr) == size);
	memset(ptr, 0x5a, size);
}

static void use_and_free(void *ptr, size_t size)
{
	use_all(ptr, size);
	labyrinth_free(ptr);
}

static void keep_inside(void *unused)
{
	void *before[64], *ptr;
	size_t i, size;

	(void)unused;
	for (i = 0; i < 64; i++) {
		before[i] = labyrinth_heap_malloc(sizes[i % NR_SIZES] + i);
		must(before[i]);
		memset(before[i], 0xff, labyrinth_malloc_usable_size(before[i]));
	}
	must(lab_redzone_start() == 0);
	for (i = 0; i < 64; i += 2)
		labyrinth_free(before[i]);
	must(holds(labyrinth_heap_realloc(before[1], 5000), 0xff, sizes[1] + 1));
	for (size = 0; size < 3000; size++)
		use_and_free(labyrinth_heap_malloc(size), size);
	for (i = 0; i < NR_SIZES; i++) {
		size = sizes[i];
		use_and_free(labyrinth_heap_calloc(1, size), size);
		for (size_t align = 8; align <= 1 << 22; align *= 4) {
			ptr = labyrinth_heap_memalign(align, size);
			must((uintptr_t)ptr % align == 0);
			use_and_free(ptr, size);
		}
		use_and_free(labyrinth_malloc(size % 8000, ATOMIC), size % 8000);
		use_and_free(labyrinth_malloc(size, LABYRINTH_GFP_KERNEL), size);
		ptr = labyrinth_heap_malloc(size);
		use_all(ptr, size);
		ptr = labyrinth_heap_realloc(ptr, size * 3 + 1);
		must(holds(ptr, 0x5a, size));
		use_all(ptr, size * 3 + 1);
		ptr = labyrinth_heap_realloc(ptr, size);
		must(holds(ptr, 0x5a, size));
		labyrinth_free(ptr);
	}
	must(!labyrinth_heap_malloc(SIZE_MAX) && !labyrinth_heap_malloc(PTRDIFF_MAX));
}

/* The bytes that were asked for are the program's, and no more; older objects are left alone. */
static void test_redzone_says_nothing_of_good_programs(void **state)
{
	(void)state;
	assert_child_succeeds(keep_inside, NULL);
}

static void step_over(void *arg)
{
	const size_t size = *(size_t *)arg;
	char *ptr;

	must(lab_redzone_start() == 0);
	ptr = labyrinth_heap_malloc(size);
	ptr[size] = 0;
	labyrinth_free(ptr);
}

static void step_over_atomic(void *arg)
{
	const size_t size = *(size_t *)arg % 5000;
	char *ptr;

	must(lab_redzone_start() == 0);
	ptr = labyrinth_malloc(size, ATOMIC | ZERO);
	ptr[size + 7] = 0;
	labyrinth_free(ptr);
}

/* One byte past the end of any size is found. */
static void test_redzone_finds_one_byte(void **state)
{
	(void)state;
	for (size_t size = 0; size < 80; size++)
		assert_child_aborts(step_over, &size, "Right Redzone overwritten, 0x0 instead");
	for (size_t i = 0; i < NR_SIZES; i++) {
		size_t size = sizes[i];

		assert_child_aborts(step_over, &size, "Right Redzone overwritten, 0x0 instead");
		assert_child_aborts(step_over_atomic, &size, "Right Redzone overwritten, 0x0");
	}
}

static void too_late(void *unused)
{
	char *ptr;
	int i;

	(void)unused;
	for (i = 0; i < 3000; i++)
		must(labyrinth_heap_malloc(40));
	must(lab_redzone_start() == -ENOSPC);
	/* nothing is looked at */
	ptr = labyrinth_heap_malloc(40);
	must(labyrinth_malloc_usable_size(ptr) == 48);
	memset(ptr, 0, 48);
	labyrinth_free(ptr);
}

/* Where too many objects have none it is not begun. */
static void test_redzone_after_many_objects_is_refused(void **state)
{
	(void)state;
	assert_child_succeeds(too_late, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_init_on_alloc_zeroes_all),
		cmocka_unit_test(test_init_on_free_zeroes_all),
		cmocka_unit_test(test_page_poison_finds_writes),
		cmocka_unit_test(test_page_poison_ends_its_reports),
		cmocka_unit_test(test_page_poison_says_nothing_of_good_programs),
		cmocka_unit_test(test_quarantine_is_a_queue_of_so_many_bytes),
		cmocka_unit_test(test_quarantine_makes_room),
		cmocka_unit_test(test_quarantine_comes_round),
		cmocka_unit_test(test_quarantine_without_memory_holds_nothing),
		cmocka_unit_test(test_quarantine_is_not_for_sections),
		cmocka_unit_test(test_quarantine_under_threads_and_signals),
		cmocka_unit_test(test_redzone_says_nothing_of_good_programs),
		cmocka_unit_test(test_redzone_finds_one_byte),
		cmocka_unit_test(test_redzone_after_many_objects_is_refused),
	};

	return cmocka_run_group_tests_name("fill", tests, NULL, NULL);
}
