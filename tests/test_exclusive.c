/* SPDX-License-Identifier: MIT */
/*
 * A child of fork() has no exclusive zone, so most tests run in one and set up a
 * zone of the size they want.
 */
#include "harness.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "base/fail.h"
#include "gfp/warn.h"
#include "labyrinth.h"
#include "page/event.h"
#include "page/exclusive.h"
#include "pcp/pcp.h"

enum { MANY = 2048 };

static const labyrinth_gfp_t ATOMIC = LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE;
static const labyrinth_gfp_t KERNEL = LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE;
static void *pages[MANY];

static struct lab_zone *zone(void)
{
	return lab_zone_at(LAB_ZONE_EXCLUSIVE);
}

/* a zone of this process, all of it resident */
static void fresh_zone(unsigned int cap)
{
	must(lab_excl_init(cap, cap, false) == 0);
	must(lab_excl_is_ours() && lab_word_get(&zone()->free) == cap);
}

static void *founding(void)
{
	return labyrinth_void_alloc_page_gfp_atomic_exclusive();
}

/* all pages of the zone that no floor keeps back */
static unsigned int take_all(void)
{
	unsigned int n = 0;

	while (n < MANY && (pages[n] = lab_excl_take(0, 0)))
		n++;
	return n;
}

static void give_all(unsigned int n)
{
	while (n-- > 0)
		must(lab_excl_give(pages[n], 0) == LAB_EXCL_GIVEN);
}

/* ---- what the kernel says ---- */

static uint64_t pagemap(const void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	must(fd >= 0);
	must(pread(fd, &entry, 8, (off_t)((uintptr_t)page / LAB_PAGE_BYTES * 8)) == 8);
	close(fd);
	return entry;
}

/* present, and mapped exactly once */
static bool is_exclusive(const void *page)
{
	return (pagemap(page) >> 63 & 1) && (pagemap(page) >> 56 & 1);
}

static void *stack_of(unsigned int cpu)
{
	return (char *)&lab_pcp_area[cpu] + lab_pcp_class[LAB_PCP_EXCL].stack;
}

/* on all CPUs that we may run on */
static bool stacks_are_exclusive(void)
{
	unsigned int cpu;
	cpu_set_t ours;

	must(sched_getaffinity(0, sizeof(ours), &ours) == 0);
	for (cpu = 0; cpu < LAB_NR_CPUS; cpu++)
		if (CPU_ISSET(cpu, &ours) && !is_exclusive(stack_of(cpu)))
			return false;
	return true;
}

static void all_exclusive(void *unused)
{
	struct lab_excl *excl;
	unsigned int n, i;

	(void)unused;
	fresh_zone(300);
	excl = lab_excl_now();
	n = take_all();
	must(n == 300);
	for (i = 0; i < n; i++) {
		must(is_exclusive(pages[i]));
		must(is_exclusive(lab_excl_owner(pages[i])));
	}
	give_all(n);
	for (i = 0; i < excl->meta_pages; i++)
		must(is_exclusive((char *)excl + i * LAB_PAGE_BYTES));
}

/* Every page of the zone is present and mapped once, and so is all that describes it. */
static void test_pages_of_the_zone_are_resident_and_exclusive(void **state)
{
	(void)state;
	assert_true(stacks_are_exclusive());
	pages[0] = founding();
	assert_non_null(pages[0]);
	assert_true(is_exclusive(pages[0]));
	labyrinth_free_page(pages[0]);
	assert_child_succeeds(all_exclusive, NULL);
}

/* the flags and the first line of the mapping that holds @addr */
static void smaps(const void *addr, char flags[256], char head[256])
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long from, to;
	bool here = false;
	char line[256];

	must(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			here = from <= (uintptr_t)addr && (uintptr_t)addr < to;
			if (here)
				strcpy(head, line);
		} else if (here && !strncmp(line, "VmFlags:", 8)) {
			strcpy(flags, line);
			break;
		}
	}
	fclose(file);
}

static bool has_flag(const void *addr, const char *flag)
{
	char flags[256] = "", head[256], word[8];

	smaps(addr, flags, head);
	snprintf(word, sizeof(word), " %s ", flag);
	return strstr(flags, word) != NULL;
}

static bool kernel_names_mappings(void)
{
	char *page = mmap(NULL, LAB_PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char flags[256], head[256] = "";

	lab_os_name((uintptr_t)page, LAB_PAGE_BYTES, "a test");
	smaps(page, flags, head);
	munmap(page, LAB_PAGE_BYTES);
	return strstr(head, "a test") != NULL;
}

static void flags(void *dontdump)
{
	char some[256], head[256] = "";
	struct lab_excl *excl;

	must(lab_excl_init(64, 16, dontdump != NULL) == 0);
	excl = lab_excl_now();
	must(has_flag((void *)excl->base, "nh") && has_flag((void *)excl->base, "wf"));
	must(has_flag((void *)excl->base, "lo") == (lab_word_get(&zone()->locked) == 64));
	must(has_flag((void *)excl->base, "dd") == (dontdump != NULL));
	must(has_flag(excl, "wf") && has_flag(excl, "nh"));
	must(has_flag(lab_excl_owner((void *)excl->base), "wf"));
	must(has_flag(stack_of(0), "wf") && has_flag(stack_of(LAB_NR_CPUS - 1), "wf"));
	smaps((void *)excl->base, some, head);
	if (kernel_names_mappings())
		must(strstr(head, "labyrinth exclusive"));
	else
		printf("this kernel does not name mappings: left out\n");
}

/* The mappings have the flags they should have: locked, not huge, wiped by fork. */
static void test_mappings_show_their_flags(void **state)
{
	(void)state;
	assert_child_succeeds(flags, NULL);
	assert_child_succeeds(flags, (void *)1);
	if (!getuid())
		assert_true(has_flag((void *)lab_excl_now()->base, "lo"));
	assert_false(has_flag((void *)lab_excl_now()->base, "dd"));
}

static void touch(void *at)
{
	*(volatile char *)at = 1;
}

/* Whoever writes before the first page or after the last one gets SIGSEGV. */
static void test_neighbours_of_the_pages_are_guarded(void **state)
{
	char *base = (char *)lab_excl_now()->base, *end = base + lab_excl_now()->bytes;
	char *meta = (char *)lab_excl_now();
	char *const bad[] = { base - 1, base - LAB_PAGE_BYTES, end, end + 100, meta - 1 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct outcome out = in_child(touch, bad[i]);

		assert_true(WIFSIGNALED(out.status) && WTERMSIG(out.status) == SIGSEGV);
	}
	assert_child_succeeds(touch, base);
	assert_child_succeeds(touch, end - 1);
}

/* ---- no page fault ---- */

/* requests that fail are reported; anything else that is said is not */
static bool is_complaint(const char *said)
{
	return strstr(said, "BUG") || strstr(said, "must hold");
}

static struct {
	volatile long faults;
	volatile unsigned int pages, runs;
} measured;

static long minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt;
}

/* all there is, written to and given back, by single pages and by runs */
static void use_zone(void)
{
	unsigned int n, i, runs = 0;
	char *run;

	for (n = 0; n < MANY && (pages[n] = founding()); n++)
		*(volatile char *)pages[n] = 1;
	for (i = 0; i < n; i++) {
		((volatile char *)pages[i])[100] = 1;
		labyrinth_free_page(pages[i]);
	}
	for (i = 1; i <= 5; i++) {
		run = labyrinth_alloc_pages(ATOMIC, i);
		if (!run)
			continue;
		runs++;
		memset(run, 1, LAB_PAGE_BYTES << i);
		must(lab_excl_split(run, i));
		for (unsigned int k = 0; k < 1u << i; k++)
			labyrinth_free_page(run + k * LAB_PAGE_BYTES);
	}
	measured.pages = n;
	measured.runs = runs;
}

/* the program's own memory, which fork() has write-protected: stack, data, thread */
static LAB_NOINLINE void touch_ours(void)
{
	volatile char deep[32768];
	unsigned int i;

	for (i = 0; i < sizeof(deep); i += 1024)
		deep[i] = 0;
	for (i = 0; i < MANY; i++)
		((void *volatile *)pages)[i] = NULL;
	measured.faults = 0;
	/* the kernel's word for restartable sequences is part of the thread */
	labyrinth_free_page(labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC));
}

static void measure(int signo)
{
	long before;

	(void)signo;
	touch_ours();
	before = minor_faults();
	use_zone();
	measured.faults = minor_faults() - before;
}

static void must_not_fault(const char *when)
{
	raise(SIGUSR1);
	must(measured.pages > 32 && measured.runs >= 4);
	if (!harness_touches()[0] && measured.faults) {
		dprintf(2, "%ld page faults %s\n", (long)measured.faults, when);
		_exit(98);
	}
}

static pid_t raw_clone(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void reap(pid_t pid, int want)
{
	int status;

	must(waitpid(pid, &status, 0) == pid && status == want);
}

/* a child that lives until it is killed; it has write-protected all that is shared */
static pid_t living_child(pid_t (*make)(void))
{
	pid_t pid = make();

	if (pid == 0)
		for (;;)
			pause();
	must(pid > 0);
	return pid;
}

static void no_fault(void *unused)
{
	pid_t (*const makes[])(void) = { fork, raw_clone };
	unsigned int i, turn;
	pid_t pid;

	(void)unused;
	pin_to_one_cpu();
	fresh_zone(128);
	lab_pcp_touch_exclusive();
	signal(SIGUSR1, measure);
	raise(SIGUSR1); /* binds what is bound at the first call */
	must_not_fault("plainly");
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < 2; i++) {
			pid = makes[i]();
			if (pid == 0)
				_exit(0);
			reap(pid, 0);
			must_not_fault("after a child");
			pid = living_child(makes[i]);
			must_not_fault("while a child lives");
			kill(pid, SIGKILL);
			reap(pid, SIGKILL);
			must_not_fault("after a child was killed");
		}
	}
}

/*
 * A thread that allocates all pages, writes to them and frees them, in a signal
 * handler, takes no page fault: plainly, after a child of fork() or clone() has been
 * reaped, and while one lives.  Its own stack and data aside.
 */
static void test_exclusive_calls_take_no_page_fault(void **state)
{
	(void)state;
	assert_child_succeeds(no_fault, NULL);
}

/* ---- in a child ---- */

/* What a generation leaves to the next one. */
static struct {
	char *single, *run, *stacked;
	uintptr_t base[4];
	unsigned int n;
} inherited;

static bool is_inherited(const void *page)
{
	unsigned int i;

	for (i = 0; i < inherited.n; i++)
		if ((uintptr_t)page - inherited.base[i] < 64 * LAB_PAGE_BYTES)
			return true;
	return false;
}

static void leave_pages(void)
{
	inherited.single = founding();
	inherited.run = labyrinth_alloc_pages(ATOMIC, 2);
	inherited.stacked = founding();
	must(inherited.single && inherited.run && inherited.stacked);
	fill(inherited.single, 1, LAB_PAGE_BYTES);
	fill(inherited.run, 2, 4 * LAB_PAGE_BYTES);
	labyrinth_free_page(inherited.stacked);
	inherited.base[inherited.n++] = lab_excl_now()->base;
}

static uint64_t inherited_frees(void)
{
	return labyrinth_event_count(LABYRINTH_EV_INHERITED_FREE);
}

static void free_inherited(void)
{
	uint64_t before = inherited_frees();

	labyrinth_free_page(inherited.single);
	labyrinth_free_page(inherited.single);
	labyrinth_free_pages(inherited.run, 2);
	labyrinth_free_page(inherited.run + LAB_PAGE_BYTES);
	labyrinth_free_page(inherited.stacked);
	must(lab_excl_split(inherited.run, 2));
	must(inherited_frees() == before + 5);
}

static void next_generation(void *depth)
{
	struct labyrinth_zone_info info;
	unsigned int n, i;
	uint64_t calls;

	must(!lab_excl_is_ours());
	calls = lab_os_calls();
	must(!founding() && !labyrinth_alloc_page(ATOMIC));
	must(!labyrinth_alloc_pages(ATOMIC, 2) && !labyrinth_alloc_pages(ATOMIC, 0));
	lab_excl_refill();
	free(malloc(100));
	must(lab_os_calls() == calls && !founding());
	must(labyrinth_zone_info(LABYRINTH_ZONE_EXCLUSIVE, &info) == 0);
	must(info.managed == 0 && info.free == 0 && info.locked == 0 && info.cap == 64);
	must(is_zero(inherited.single, LAB_PAGE_BYTES));
	must(is_zero(inherited.run, 4 * LAB_PAGE_BYTES));
	free_inherited();
	must(!founding());
	/* here it comes to be again */
	pages[0] = labyrinth_alloc_page(KERNEL);
	must(pages[0] && lab_excl_is_ours() && !is_inherited(pages[0]));
	must(stacks_are_exclusive());
	must(lab_word_get(&zone()->locked) == 0 || has_flag(pages[0], "lo"));
	free_inherited();
	for (n = 1; n < MANY && (pages[n] = founding()); n++)
		memset(pages[n], 1, LAB_PAGE_BYTES);
	must(n > 32);
	for (i = 0; i < n; i++)
		must(!is_inherited(pages[i]));
	free_inherited();
	while (n-- > 0)
		labyrinth_free_page(pages[n]);
	if ((uintptr_t)depth < 3) {
		leave_pages();
		assert_child_succeeds(next_generation, (char *)depth + 1);
		must(is_filled(inherited.run, 2, 4 * LAB_PAGE_BYTES));
		labyrinth_free_pages(inherited.run, 2);
		labyrinth_free_page(inherited.single);
	}
}

static void first_generation(void *unused)
{
	struct outcome out;

	(void)unused;
	fresh_zone(64);
	leave_pages();
	/* not a word is said of pages that a parent had */
	out = in_child(next_generation, NULL);
	if (out.status || is_complaint(out.said)) {
		dprintf(2, "%s", out.said);
		_exit(97);
	}
	must(is_filled(inherited.single, 1, LAB_PAGE_BYTES));
	must(is_filled(inherited.run, 2, 4 * LAB_PAGE_BYTES));
	labyrinth_free_pages(inherited.run, 2);
	labyrinth_free_page(inherited.single);
	must(inherited_frees() == 0);
}

/*
 * A child has no exclusive zone until a request that may sleep; its parent's pages
 * read as zero and their frees do nothing.  So it is with its own children.
 */
static void test_children_begin_without_and_get_a_zone_of_their_own(void **state)
{
	(void)state;
	assert_child_succeeds(first_generation, NULL);
}

static void *page_of_thread[8];

static void revive_thread(unsigned int id, void *unused)
{
	uint64_t until = now_ms() + 5000;

	(void)unused;
	/* "not now", while others have the pages in hand or the stack */
	while (!(page_of_thread[id] = labyrinth_alloc_page(KERNEL)))
		must(now_ms() < until && sched_yield() == 0);
	memset(page_of_thread[id], (int)id, LAB_PAGE_BYTES);
}

/* blocks of exclusive zones, this process's and its ancestors' */
static unsigned int exclusive_blocks(void)
{
	size_t block, end = lab_nr_sections() * LAB_SECTION_BLOCKS;
	unsigned int n = 0;

	for (block = 0; block < end; block++)
		n += lab_section_is_ready(block / LAB_SECTION_BLOCKS) &&
		     block_word(block).zone == LAB_ZONE_EXCLUSIVE;
	return n;
}

static void revive_at_once(void *unused)
{
	unsigned int blocks = exclusive_blocks();
	uint64_t used = heap_in_use();
	unsigned int i, k;

	(void)unused;
	must(!lab_excl_is_ours());
	run_threads(8, revive_thread, NULL);
	for (i = 0; i < 8; i++) {
		must(lab_excl_contains(page_of_thread[i]));
		for (k = 0; k < i; k++)
			must(page_of_thread[i] != page_of_thread[k]);
	}
	for (i = 0; i < 8; i++)
		labyrinth_free_page(page_of_thread[i]);
	must(heap_in_use() == used);
	must(exclusive_blocks() == blocks + 1);
}

/* Whoever was to compute the watermarks was abandoned: the next one does. */
static void abandoned_before_the_marks(void *unused)
{
	(void)unused;
	fresh_zone(64);
	lab_word_set(&lab_excl_now()->marked, 0);
	lab_word_set(&zone()->min, 64);
	lab_word_set(&zone()->low, 64);
	must(!labyrinth_alloc_page(LABYRINTH_GFP_NOWAIT | LABYRINTH_GFP_EXCLUSIVE));
	must(labyrinth_alloc_page(KERNEL));
	must(labyrinth_alloc_page(LABYRINTH_GFP_NOWAIT | LABYRINTH_GFP_EXCLUSIVE));
}

static void wait_for_bits(unsigned int id, void *unused)
{
	void *page;

	(void)unused;
	if (id == 0) {
		/* more is counted than there are bits, as by whoever is wiped half-way */
		must(lab_excl_take_some(1, 0, &page) == 0);
	} else {
		usleep(20000);
		/* what fork() does to a child */
		memset((void *)lab_excl_now(), 0, LAB_PAGE_BYTES);
	}
}

/* A context that fork() has left without bits to take does not look for ever. */
static void wiped_half_way(void *unused)
{
	(void)unused;
	fresh_zone(64);
	must(take_all() == 64);
	lab_word_set(&zone()->free, 1);
	run_threads(2, wait_for_bits, NULL);
}

static void odd_stack(void *unused)
{
	void *live;

	(void)unused;
	fresh_zone(64);
	live = founding();
	must(live && lab_pcp_push(LAB_PCP_EXCL, live));
	must(founding() != live);
	must(lab_pcp_push(LAB_PCP_EXCL, live));
	must(labyrinth_alloc_page(KERNEL) != live);
}

/* What handlers that fork or jump may leave half-done harms nobody. */
static void test_what_is_left_half_done_is_recovered_from(void **state)
{
	(void)state;
	assert_child_succeeds(abandoned_before_the_marks, NULL);
	assert_child_succeeds(odd_stack, NULL);
	if (strcmp(HARNESS_SANITIZER, "tsan"))
		assert_child_succeeds(wiped_half_way, NULL);
	else
		print_message("tsan forbids threads in a child of fork()\n");
}

/* Of many that set the zone up at once one wins, all are served, nothing is lost. */
static void test_concurrent_revivers_leave_one_zone(void **state)
{
	unsigned int turn;

	(void)state;
	if (!strcmp(HARNESS_SANITIZER, "tsan")) {
		print_message("tsan forbids threads in a child of fork()\n");
		return;
	}
	for (turn = 0; turn < 40; turn++)
		assert_child_succeeds(revive_at_once, NULL);
}

/* ---- any instruction ---- */

static volatile sig_atomic_t in_the_child, forks_left;
static volatile pid_t last_child;

/* the same once more, in a child that is about to set up its zone */
static void fork_again(void)
{
	last_child = raw_clone();
	if (last_child == 0)
		in_the_child++;
}

static void fork_here(int signo)
{
	pid_t pid;

	(void)signo;
	if (in_the_child == 1 && !last_child) {
		fork_again();
		return;
	}
	if (in_the_child || forks_left <= 0 || last_child)
		return;
	forks_left--;
	pid = raw_clone();
	if (pid == 0)
		in_the_child = 1;
	else
		last_child = pid;
}

/* the zone is whole, and what is taken is nobody else's */
static void check_zone(void)
{
	unsigned int n, i;

	for (n = 0; n < MANY && (pages[n] = labyrinth_alloc_page(KERNEL)); n++)
		*(uint64_t *)pages[n] = n;
	must(n >= 16);
	for (i = 0; i < n; i++)
		must(*(uint64_t *)pages[i] == i);
	while (n-- > 0)
		labyrinth_free_page(pages[n]);
}

static void await(void)
{
	int status;

	while (waitpid(last_child, &status, 0) != last_child)
		must(errno == EINTR);
	must(status == 0);
	last_child = 0;
}

static void some_calls(uint64_t *seed)
{
	void *mine[12] = { 0 };
	unsigned int i, order[12];

	for (i = 0; i < 12; i++) {
		order[i] = (unsigned int)random_below(seed, 3) / 2 * (i % 3);
		mine[i] = i % 4 ? labyrinth_alloc_pages(ATOMIC, order[i]) : founding();
		order[i] = i % 4 ? order[i] : 0;
	}
	for (i = 0; i < 12; i++)
		labyrinth_free_pages(mine[i], order[i]);
}

static void be_a_child(uint64_t *seed)
{
	struct itimerval soon = { { 0, 0 }, { 0, 1 + (suseconds_t)random_below(seed, 60) } };
	unsigned int i;

	for (i = 0; i < 4; i++)
		some_calls(seed);
	if (in_the_child == 1) {
		last_child = 0;
		setitimer(ITIMER_REAL, &soon, NULL);
	}
	check_zone();
	some_calls(seed);
	if (in_the_child == 1 && last_child)
		await();
	_exit(0);
}

static void forks_anywhere(void *unused)
{
	struct itimerval often = { { 0, 150 }, { 0, 150 } }, never = { { 0, 0 }, { 0, 0 } };
	uint64_t seed = new_seed("exclusive");

	(void)unused;
	fresh_zone(128);
	signal(SIGALRM, fork_here);
	forks_left = 600;
	setitimer(ITIMER_REAL, &often, NULL);
	while (forks_left > 0 || last_child) {
		some_calls(&seed);
		if (in_the_child)
			be_a_child(&seed);
		if (last_child)
			await();
	}
	setitimer(ITIMER_REAL, &never, NULL);
	check_zone();
}

/* A handler may fork at any instruction: parent and child go on, each with its own. */
static void test_fork_by_a_handler_anywhere_breaks_nothing(void **state)
{
	struct outcome out;

	(void)state;
	out = in_child(forks_anywhere, NULL);
	/* requests that fail are reported, and nothing else is */
	if (out.status || is_complaint(out.said))
		fail_msg("status %#x: %s", (unsigned int)out.status, out.said);
}

/* ---- taking and giving ---- */

static void floors(void *unused)
{
	unsigned int n, got, i;
	uint64_t floor;
	void *some[64];

	(void)unused;
	fresh_zone(200);
	for (floor = 0; floor <= 200; floor++) {
		for (n = 0; (pages[n] = lab_excl_take(0, floor)); n++)
			;
		must(n == 200 - floor && lab_word_get(&zone()->free) == floor);
		must(!lab_excl_take_some(64, floor, some));
		give_all(n);
		for (n = 0; (got = lab_excl_take_some(1 + floor % 64, floor, some)); n += got)
			for (i = 0; i < got; i++)
				pages[n + i] = some[i];
		must(n == 200 - floor && lab_word_get(&zone()->free) == floor);
		while (n-- > 0)
			lab_excl_unstack(pages[n]);
	}
	must(lab_word_get(&zone()->free) == 200);
}

/* Down to every floor, and not one page further. */
static void test_every_floor_is_exact(void **state)
{
	(void)state;
	assert_child_succeeds(floors, NULL);
}

static void runs(void *unused)
{
	unsigned int order, n, i;

	(void)unused;
	fresh_zone(1800);
	for (order = 0; order <= 9; order++) {
		size_t bytes = LAB_PAGE_BYTES << order;

		for (n = 0; (pages[n] = lab_excl_take(order, 0)); n++) {
			must((uintptr_t)pages[n] % bytes == 0);
			must(lab_excl_contains(pages[n]));
			must(lab_excl_contains((char *)pages[n] + bytes - 1));
			fill(pages[n], n, bytes);
		}
		must(n >= (order < 9 ? 1800u / (1u << order) - 2 : 2));
		must(lab_word_get(&zone()->free) == 1800 - ((uint64_t)n << order));
		for (i = 0; i < n; i++)
			must(is_filled(pages[i], i, bytes));
		while (n-- > 0)
			must(lab_excl_give(pages[n], order) == LAB_EXCL_GIVEN);
		must(lab_word_get(&zone()->free) == 1800);
	}
	must(!lab_excl_take(10, 0));
	/* the default size has a run of every order up to 5 */
	fresh_zone(32);
	for (order = 0; order <= 5; order++) {
		pages[0] = lab_excl_take(order, 0);
		must(pages[0] && lab_excl_give(pages[0], order) == LAB_EXCL_GIVEN);
	}
}

/* Runs of every order are aligned to their size, whole, and come back. */
static void test_runs_of_every_order_are_aligned_and_whole(void **state)
{
	(void)state;
	assert_child_succeeds(runs, NULL);
}

static void split(void *unused)
{
	char *run, *other;
	unsigned int i;

	(void)unused;
	fresh_zone(64);
	run = lab_excl_take(3, 0);
	other = lab_excl_take(2, 0);
	must(!lab_excl_split(run, 2) && !lab_excl_split(run + LAB_PAGE_BYTES, 0));
	must(!lab_excl_split(run + 8, 3) && !lab_excl_split(run, 12));
	must(lab_excl_split(run, 3) && !lab_excl_split(run, 3));
	for (i = 0; i < 8; i++)
		must(lab_excl_give(run + i * LAB_PAGE_BYTES, 0) == LAB_EXCL_GIVEN);
	must(lab_excl_give(run, 3) == LAB_EXCL_REFUSED);
	must(lab_excl_give(other + LAB_PAGE_BYTES, 0) == LAB_EXCL_REFUSED);
	must(lab_excl_give(other, 0) == LAB_EXCL_REFUSED);
	must(lab_excl_give(other, 3) == LAB_EXCL_REFUSED);
	must(lab_excl_give(other + 16, 2) == LAB_EXCL_REFUSED);
	must(lab_word_get(&zone()->free) == 60);
	must(lab_excl_give(other, 2) == LAB_EXCL_GIVEN);
	must(lab_excl_give(other, 2) == LAB_EXCL_REFUSED);
	must(lab_word_get(&zone()->free) == 64);
	lab_excl_unstack(run);
	must(lab_word_get(&zone()->free) == 64);
	/* what is in use, and so on no stack, stays in use */
	other = lab_excl_take(0, 0);
	must(other);
	lab_excl_unstack(other);
	must(lab_word_get(&zone()->free) == 63);
	must(lab_excl_give(other, 0) == LAB_EXCL_GIVEN);
}

/* A run is split into pages of their own; what is not in use so is refused, untouched. */
static void test_split_and_misuse_keep_the_books(void **state)
{
	(void)state;
	assert_child_succeeds(split, NULL);
}

static void refill(void *unused)
{
	uint64_t managed;
	unsigned int n = 0;

	(void)unused;
	must(lab_excl_init(250, 16, false) == 0);
	must(lab_word_get(&zone()->managed) == 16);
	lab_os_fail_from(1, 1);
	lab_excl_refill();
	must(lab_word_get(&zone()->managed) == 16);
	do {
		managed = lab_word_get(&zone()->managed);
		lab_excl_refill();
		must(lab_word_get(&zone()->managed) <= managed + 16);
	} while (lab_word_get(&zone()->managed) != managed);
	must(managed >= lab_word_get(&zone()->high) && managed < 250);
	while (n < MANY && (pages[n] = lab_excl_take(0, 0))) {
		touch(pages[n++]);
		lab_excl_refill();
	}
	must(n == 250 && lab_word_get(&zone()->managed) == 250);
	give_all(n);
	must(lab_word_get(&zone()->free) == 250);
}

/* Refills add a step at a time, also after one that failed, and never pass the cap. */
static void test_refill_stops_at_high_and_at_the_cap(void **state)
{
	(void)state;
	assert_child_succeeds(refill, NULL);
}

/* is there a heap block whose live bytes fork() wipes */
static bool heap_is_wiped(void)
{
	size_t block;

	for (block = 0; block < LAB_SECTION_BLOCKS; block++)
		if (block_word(block).zone == LAB_ZONE_HEAP &&
		    has_flag(lab_live_byte((char *)block_address(block) + 192 * LAB_PAGE_BYTES,
					   LAB_LIVE128_SHIFT),
			     "wf"))
			return true;
	return false;
}

/* which calls fail, and is the heap's free memory dirty */
struct refusal {
	uint64_t nth, times;
	bool dirty;
};

static void dirty_the_heap(void)
{
	bool clean;
	size_t run = lab_run_take(8ul << LAB_BLOCK_SHIFT, 1ul << LAB_BLOCK_SHIFT, &clean);

	must(run != SIZE_MAX);
	memset(block_address(run), 1, 8ul << LAB_BLOCK_SHIFT);
	lab_run_give(run, 8);
}

static void init_fails(void *arg)
{
	const struct refusal *refusal = arg;
	const struct lab_zone *heap = &lab_zones[LAB_ZONE_HEAP];
	uint64_t nth = refusal->nth, calls, managed, free;

	if (refusal->dirty)
		dirty_the_heap();
	calls = lab_os_calls();
	managed = lab_word_get(&heap->managed);
	free = lab_word_get(&heap->free);
	lab_os_fail_from(nth, refusal->times);
	if (lab_excl_init(64, 16, true)) {
		must(!refusal->dirty || nth > 1 || lab_word_get(&heap->free) == free);
		must(!heap_is_wiped());
		must(!lab_excl_is_ours() && !founding() && !lab_excl_take(0, 0));
		must(!lab_excl_take_some(1, 0, pages));
		lab_excl_refill();
		/* free blocks it took may have gone unmapped */
		must(lab_word_get(&heap->managed) + (refusal->dirty ? 2 * LAB_BLOCK_FRAMES : 0) -
			     managed <=
		     2 * LAB_BLOCK_FRAMES);
	} else {
		must(lab_excl_is_ours() && lab_word_get(&zone()->free) == 16);
	}
	if (lab_os_calls() - calls < nth)
		_exit(77); /* nothing failed any more */
	/* what did not come to be is made good by a request that may sleep */
	must(labyrinth_alloc_page(KERNEL) && lab_word_get(&zone()->cap) == 64);
}

static void each_call_fails(uint64_t times, bool dirty)
{
	struct refusal refusal = { .nth = 1, .times = times, .dirty = dirty };

	for (; refusal.nth < 40; refusal.nth++) {
		struct outcome out = in_child(init_fails, &refusal);

		if (WIFEXITED(out.status) && WEXITSTATUS(out.status) == 77 && refusal.nth > 8)
			return;
		if (out.status)
			fail_msg("call %d: status %#x: %s", (int)refusal.nth,
				 (unsigned int)out.status, out.said);
	}
	fail_msg("never came to an end");
}

/*
 * A set-up that fails at any system call leaves no zone or a whole one, also where the next
 * fails, by which that is undone, and where what the heap has free was used.
 */
static void test_init_with_any_failing_call_is_empty_or_whole(void **state)
{
	(void)state;
	each_call_fails(1, false);
	each_call_fails(2, false);
	each_call_fails(1, true);
}

/* ---- RLIMIT_MEMLOCK ---- */

static void unlocked(void *atomic_first)
{
	struct rlimit none = { 0, 0 };
	struct capture capture;
	const char *said;
	unsigned int n;

	must(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	if (getuid() == 0)
		must(setgid(65534) == 0 && setuid(65534) == 0);
	/* so that it may still read its own page map */
	must(prctl(PR_SET_DUMPABLE, 1) == 0);
	capture_start(&capture);
	fresh_zone(64);
	must(lab_word_get(&zone()->locked) == 0);
	if (atomic_first) {
		uint64_t calls = lab_os_calls();

		labyrinth_free_page(founding());
		must(lab_os_calls() == calls && lseek(2, 0, SEEK_CUR) == 0);
	}
	for (n = 0; n < 30 && (pages[n] = labyrinth_alloc_page(KERNEL)); n++)
		memset(pages[n], 1, LAB_PAGE_BYTES);
	must(n == 30);
	must(is_exclusive(pages[0]) && !has_flag(pages[0], "lo") && has_flag(pages[0], "wf"));
	while (n-- > 0)
		labyrinth_free_page(pages[n]);
	(void)lab_warn_flush();
	said = capture_end(&capture);
	must(strstr(said, "exclusive zone: its pages are not locked in memory"));
	must(strstr(said, "RLIMIT_MEMLOCK, which is 0;"));
	must(strchr(said, '\n') && !strchr(said, '\n')[1]);
}

/* Where locking is refused the zone works unlocked, and says so once. */
static void test_zone_without_memlock_works_and_complains_once(void **state)
{
	(void)state;
	assert_child_succeeds(unlocked, NULL);
	assert_child_succeeds(unlocked, (void *)1);
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
	lab_byte_t owned[512];
} stress;

static size_t index_of(const void *page)
{
	return ((uintptr_t)page - lab_excl_now()->base) / LAB_PAGE_BYTES;
}

static void own(const char *run, unsigned int order, unsigned int from, unsigned int to)
{
	size_t i;

	for (i = 0; i < 1ul << order; i++)
		must(atomic_exchange(&stress.owned[index_of(run) + i], (uint8_t)to) == from);
}

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919;
	char *mine[16];
	unsigned int order[16], n = 0;

	(void)unused;
	pin_by_id(id);
	while (now_ms() < stress.until || n) {
		bool take = n == 0 || (n < 16 && random_below(&seed, 2) && now_ms() < stress.until);

		if (take) {
			order[n] =
				random_below(&seed, 3) ? 0 : (unsigned int)random_below(&seed, 4);
			mine[n] = order[n] ? labyrinth_alloc_pages(ATOMIC, order[n]) : founding();
			if (!mine[n])
				mine[n] = labyrinth_alloc_pages(KERNEL, order[n]);
			if (!mine[n])
				continue;
			own(mine[n], order[n], 0, id + 1);
			n++;
		} else {
			n--;
			own(mine[n], order[n], id + 1, 0);
			labyrinth_free_pages(mine[n], order[n]);
		}
	}
}

static void threads_own(void *unused)
{
	unsigned int n;
	void *page;

	(void)unused;
	fresh_zone(300);
	run_threads(8, stress_thread, NULL);
	for (n = 0; n < 2 * LAB_NR_CPUS; n++)
		if (pin_to(n % LAB_NR_CPUS))
			while ((page = lab_pcp_pop(LAB_PCP_EXCL)))
				lab_excl_unstack(page);
	must(lab_word_get(&zone()->free) == 300);
	must(take_all() == 300);
}

/* No page has two owners among threads, and none is lost. */
static void test_pages_among_threads_have_one_owner(void **state)
{
	struct outcome out;

	(void)state;
	if (!strcmp(HARNESS_SANITIZER, "tsan")) {
		print_message("tsan forbids threads in a child of fork()\n");
		return;
	}
	stress.seed = new_seed("exclusive");
	stress.until = now_ms() + STRESS_MS;
	out = in_child(threads_own, NULL);
	if (out.status || is_complaint(out.said))
		fail_msg("status %#x: %s", (unsigned int)out.status, out.said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_of_the_zone_are_resident_and_exclusive),
		cmocka_unit_test(test_mappings_show_their_flags),
		cmocka_unit_test(test_neighbours_of_the_pages_are_guarded),
		cmocka_unit_test(test_exclusive_calls_take_no_page_fault),
		cmocka_unit_test(test_children_begin_without_and_get_a_zone_of_their_own),
		cmocka_unit_test(test_concurrent_revivers_leave_one_zone),
		cmocka_unit_test(test_what_is_left_half_done_is_recovered_from),
		cmocka_unit_test(test_fork_by_a_handler_anywhere_breaks_nothing),
		cmocka_unit_test(test_every_floor_is_exact),
		cmocka_unit_test(test_runs_of_every_order_are_aligned_and_whole),
		cmocka_unit_test(test_split_and_misuse_keep_the_books),
		cmocka_unit_test(test_refill_stops_at_high_and_at_the_cap),
		cmocka_unit_test(test_init_with_any_failing_call_is_empty_or_whole),
		cmocka_unit_test(test_zone_without_memlock_works_and_complains_once),
		cmocka_unit_test(test_pages_among_threads_have_one_owner),
	};

	/* what may wait fails after one round of reclaim */
	if (labyrinth_sysctl("stall_ms", NULL, &(uint64_t){ 0 }))
		return 1;
	return cmocka_run_group_tests_name("exclusive", tests, NULL, NULL);
}
