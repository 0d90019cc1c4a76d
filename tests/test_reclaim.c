/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <sys/time.h>

#include "base/bits.h"
#include "gfp/reclaim.h"
#include "gfp/scope.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "page/event.h"
#include "page/exclusive.h"
#include "page/reserve.h"
#include "pcp/pcp.h"

enum { NR_CPUS_MAX = 64 };
static unsigned int cpus[NR_CPUS_MAX], nr_cpus;

static struct lab_pcp_stack *stack_on(unsigned int cpu, unsigned int cls)
{
	return (void *)(lab_pcp_area[cpu].bytes + lab_pcp_class[cls].stack);
}

static void find_cpus(void)
{
	unsigned int cpu;

	for (cpu = 0; cpu < NR_CPUS_MAX; cpu++)
		if (pin_to(cpu))
			cpus[nr_cpus++] = cpu;
	must(nr_cpus > 0 && pin_to(cpus[0]));
}

static void pin_anywhere(void)
{
	cpu_set_t set;
	unsigned int i;

	CPU_ZERO(&set);
	for (i = 0; i < nr_cpus; i++)
		CPU_SET(cpus[i], &set);
	must(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static bool is_rseq(void)
{
	return lab_pcp_backend() == LAB_PCP_RSEQ;
}

static uint64_t free_pages(enum lab_zone_id id)
{
	return lab_word_get(&lab_zone_at(id)->free);
}

static unsigned int stacked(void)
{
	unsigned int cpu, cls, n = 0;

	for (cpu = 0; cpu < LAB_NR_CPUS; cpu++)
		for (cls = LAB_PCP_PAGE; cls <= LAB_PCP_EXCL; cls++)
			n += stack_on(cpu, cls)->count;
	return n;
}

static void *take(unsigned int cls)
{
	if (cls == LAB_PCP_PAGE)
		return labyrinth_heap_malloc(4096);
	return labyrinth_alloc_page(cls == LAB_PCP_API
					    ? LABYRINTH_GFP_ATOMIC
					    : LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE);
}

static void give(unsigned int cls, void *page)
{
	if (cls == LAB_PCP_PAGE)
		labyrinth_free(page);
	else
		labyrinth_free_page(page);
}

static void *last_page[3]; /* by class from LAB_PCP_PAGE */

/* one page of each class on the stacks of each CPU; returns how many lie there in all */
static unsigned int stack_on_all(void)
{
	unsigned int i, cls;

	for (i = 0; i < nr_cpus; i++) {
		must(pin_to(cpus[i]));
		for (cls = LAB_PCP_PAGE; cls <= LAB_PCP_EXCL; cls++) {
			void *page = take(cls);

			must(page);
			last_page[cls - LAB_PCP_PAGE] = page;
			give(cls, page);
			must(stack_on(cpus[i], cls)->count > 0);
		}
	}
	must(pin_to(cpus[0]));
	return stacked();
}

/* ---- the stacks of all CPUs ---- */

/* What lies on the stacks of any CPU is free in its zone afterwards, to the page. */
static void test_drain_from_one_cpu_empties_all(void **state)
{
	uint64_t before, after = 0;
	unsigned int n, id;

	(void)state;
	(void)lab_pages_drain(lab_pcp_drain_all);
	assert_int_equal(stacked(), 0);
	n = stack_on_all();
	assert_true(n >= 3 * nr_cpus);
	before = free_pages(0) + free_pages(1) + free_pages(2);
	assert_int_equal(lab_pages_drain(lab_pcp_drain_all), n);
	for (id = 0; id < LAB_NR_ZONES; id++)
		after += free_pages(id);
	assert_int_equal(after - before, n);
	assert_int_equal(stacked(), 0);
	assert_int_equal(lab_mem_kind(last_page[0]), LAB_KIND_FREE);
	assert_int_equal(lab_mem_kind(last_page[1]), LAB_KIND_FREE);
	assert_int_equal(lab_byte_get(lab_excl_owner(last_page[2])), LAB_EXCL_FREE);
	/* and everything works on, stacks included */
	n = stack_on_all();
	assert_true(n >= 3 * nr_cpus);
	assert_int_equal(lab_pages_drain(lab_pcp_drain_all), n);
	assert_int_equal(lab_pages_drain(lab_pcp_drain_all), 0);
}

static uint64_t mask_in_sink;
static unsigned int nr_sunk;

static void sink_look(void *const *entries, unsigned int n)
{
	(void)entries;
	mask_in_sink = lab_os_signals_blocked();
	nr_sunk += n;
}

static void *entry(uintptr_t n)
{
	return (void *)(n * 16);
}

static void fill_class(unsigned int cls, unsigned int n)
{
	while (n > 0)
		must(lab_pcp_push(cls, entry(n--)));
}

/* Under rseq no handler runs while stacks are shut; the mask and errno are as before. */
static void test_drain_blocks_signals_and_restores_them(void **state)
{
	uint64_t before;
	sigset_t some;

	(void)state;
	sigemptyset(&some);
	sigaddset(&some, SIGUSR2);
	sigprocmask(SIG_BLOCK, &some, NULL);
	before = lab_os_signals_blocked();
	fill_class(5, 100);
	nr_sunk = 0;
	errno = 4711;
	assert_int_equal(lab_pcp_drain_all(5, 5, sink_look), 100);
	assert_int_equal(nr_sunk, 100);
	assert_int_equal(errno, 4711);
	assert_true(lab_os_signals_blocked() == before);
	if (is_rseq()) {
		assert_true(mask_in_sink >> (SIGUSR1 - 1) & 1);
		assert_true(mask_in_sink >> (SIGUSR2 - 1) & 1);
		assert_true(mask_in_sink >> (SIGALRM - 1) & 1);
		assert_false(mask_in_sink >> (SIGSEGV - 1) & 1);
		assert_false(mask_in_sink >> (SIGTRAP - 1) & 1);
	} else {
		assert_true(mask_in_sink == before);
	}
	sigprocmask(SIG_UNBLOCK, &some, NULL);
	assert_null(lab_pcp_pop(5));
}

/* Somebody else drains: only what is on this CPU goes, and nothing waits. */
static void test_second_drainer_empties_its_own_cpu(void **state)
{
	(void)state;
	if (!is_rseq()) {
		fill_class(5, 10);
		lab_byte_set(&stack_on(cpus[0], 5)->busy, 1);
		assert_int_equal(lab_pcp_drain_all(5, 5, sink_look), 0);
		lab_byte_set(&stack_on(cpus[0], 5)->busy, 0);
		assert_int_equal(lab_pcp_drain_all(5, 5, sink_look), 10);
		return;
	}
	fill_class(5, 10);
	if (nr_cpus > 1) {
		must(pin_to(cpus[1]));
		fill_class(5, 7);
	}
	must(pin_to(cpus[0]));
	assert_true(lab_rseq_claim());
	assert_false(lab_rseq_claim());
	assert_int_equal(lab_pcp_drain_all(5, 5, sink_look), 10);
	lab_rseq_unclaim();
	assert_int_equal(lab_pcp_drain_all(5, 5, sink_look), nr_cpus > 1 ? 7 : 0);
}

/* While a child of vfork() lives, or may be us, stacks are left alone. */
static void test_drain_with_vfork_child_does_nothing(void **state)
{
	(void)state;
	assert_false(lab_vfork_lives());
	fill_class(5, 10);
	lab_vfork_enter();
	assert_true(lab_vfork_lives());
	lab_vfork_enter();
	lab_vfork_leave();
	assert_true(lab_vfork_lives());
	if (is_rseq())
		assert_int_equal(lab_pcp_drain_all(5, 5, sink_look), 0);
	lab_vfork_leave();
	assert_false(lab_vfork_lives());
	assert_int_equal(lab_pcp_drain_all(5, 5, sink_look), 10);
}

/* ---- a drainer that stands still ---- */

static _Atomic unsigned int frozen, thaw;

static void sink_freeze(void *const *entries, unsigned int n)
{
	(void)entries;
	nr_sunk += n;
	frozen = 1;
	while (!thaw)
		usleep(100);
}

static void *drainer(void *arg)
{
	(void)arg;
	(void)lab_pcp_drain_all(5, 5, sink_freeze);
	return NULL;
}

static pthread_t freeze_drainer(unsigned int n)
{
	pthread_t thread;

	fill_class(5, n);
	nr_sunk = frozen = thaw = 0;
	must(pthread_create(&thread, NULL, drainer, NULL) == 0);
	while (!frozen)
		usleep(100);
	return thread;
}

/* A drainer frozen in the middle stops nobody: the stack refuses, others serve. */
static void test_frozen_drainer_stops_nobody(void **state)
{
	pthread_t thread = freeze_drainer(40);
	void *to[4];

	(void)state;
	assert_null(lab_pcp_pop(5));
	assert_false(lab_pcp_push(5, entry(99)));
	assert_true(lab_pcp_push_mask(5, entry(1), 16, 0xf0) == 0xf0);
	assert_int_equal(lab_pcp_pop_many(5, to, 4), 0);
	assert_true(lab_pcp_push(6, entry(6)));
	assert_ptr_equal(lab_pcp_pop(6), entry(6));
	assert_int_equal(lab_pcp_drain_all(5, 5, sink_look), 0);
	thaw = 1;
	pthread_join(thread, NULL);
	assert_int_equal(nr_sunk, 40);
	assert_null(lab_pcp_pop(5));
	assert_true(lab_pcp_push(5, entry(7)));
	assert_ptr_equal(lab_pcp_pop(5), entry(7));
}

/* the parent's drainer has taken the first chunk of 40, of entries 1 .. 40 in order */
static void in_child_of_drain(void *arg)
{
	unsigned int n = 0;
	void *got;

	(void)arg;
	/* the first may be refused, and finds out that the drainer is not of this process */
	(void)lab_pcp_pop(5);
	must(!lab_rseq_is_claimed());
	while ((got = lab_pcp_pop(5))) {
		must((uintptr_t)got / 16 >= 1 && (uintptr_t)got / 16 <= 40);
		n++;
	}
	/* what the drainer had in hand is lost to the child, and nothing else */
	must(n == 40 - LAB_PCP_CHUNK);
	must(lab_pcp_push(5, entry(7)) && lab_pcp_pop(5) == entry(7));
	must(lab_pcp_push(5, entry(8)));
	must(lab_pcp_drain_all(5, 5, sink_look) == 1);
}

/* fork() in the middle of another thread's drain: the child's stacks work again. */
static void test_child_of_fork_amid_drain_reopens_stacks(void **state)
{
	pthread_t thread;

	(void)state;
	if (!is_rseq()) {
		print_message("trylock: a busy byte stays busy in the child, as for any user\n");
		return;
	}
	thread = freeze_drainer(40);
	assert_child_succeeds(in_child_of_drain, NULL);
	thaw = 1;
	pthread_join(thread, NULL);
	assert_int_equal(nr_sunk, 40);
	assert_true(lab_pcp_push(5, entry(7)));
	assert_ptr_equal(lab_pcp_pop(5), entry(7));
}

/* ---- sequences against the drainer ---- */

enum { TOKENS = 127, HAMMER_CLS = 5 };

static struct {
	uint64_t until;
	lab_byte_t out[TOKENS + 1]; /* 1: in somebody's hand or in the bag */
	lab_word_t bag[2];	    /* by number of token */
	lab_word_t drained, ops;
} hammer;

static void to_bag(uintptr_t n)
{
	must(n >= 1 && n <= TOKENS);
	lab_word_add(&hammer.bag[n / 64], 1ull << n % 64);
}

static void must_swap_out(void *token, uint8_t to)
{
	uintptr_t n = (uintptr_t)token / 16;

	must(n >= 1 && n <= TOKENS);
	must(atomic_exchange(&hammer.out[n], to) == !to);
}

static void sink_to_bag(void *const *entries, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		must_swap_out(entries[i], 1);
		to_bag((uintptr_t)entries[i] / 16);
	}
	lab_word_add(&hammer.drained, n);
}

/* what the drainer took is stacked again, by one long sequence */
static void hammer_restack(unsigned int half)
{
	uint64_t word = atomic_exchange(&hammer.bag[half], 0), left;

	for (left = word; left; left &= left - 1)
		must_swap_out(entry(half * 64u + lab_ctz(left)), 0);
	left = word ? lab_pcp_push_mask(HAMMER_CLS, entry(half * 64u), 16, word) : 0;
	for (; left; left &= left - 1) {
		must_swap_out(entry(half * 64u + lab_ctz(left)), 1);
		to_bag(half * 64u + lab_ctz(left));
	}
}

/* short sequences and long ones */
static void hammer_cpu(void)
{
	unsigned int turn, i, n;
	void *many[64];

	for (turn = 0; turn < 1000; turn++) {
		hammer_restack(turn % 2);
		n = lab_pcp_pop_many(HAMMER_CLS, many, turn % 8 ? 1 : 64);
		for (i = 0; i < n; i++)
			must_swap_out(many[i], 1);
		for (i = 0; i < n; i++) {
			must_swap_out(many[i], 0);
			if (lab_pcp_push(HAMMER_CLS, many[i]))
				continue;
			must_swap_out(many[i], 1);
			to_bag((uintptr_t)many[i] / 16);
		}
		lab_word_add(&hammer.ops, n + 2);
	}
}

static void hammer_thread(unsigned int id, void *unused)
{
	(void)unused;
	must(pin_to(cpus[id % nr_cpus]));
	while (now_ms() < hammer.until) {
		if (id == 0)
			(void)lab_pcp_drain_all(HAMMER_CLS, HAMMER_CLS, sink_to_bag);
		else
			hammer_cpu();
	}
}

/* A sequence under way on another CPU is never undone, nor undoes what the drainer did. */
static void test_sequences_and_drainer_share_no_entry(void **state)
{
	unsigned int n, in_bag;

	(void)state;
	for (n = 1; n <= TOKENS; n++) {
		lab_byte_set(&hammer.out[n], 1);
		to_bag(n);
	}
	hammer.until = now_ms() + 2 * STRESS_MS;
	run_threads(nr_cpus < 2 ? 2 : nr_cpus < 16 ? nr_cpus : 16, hammer_thread, NULL);
	(void)lab_pcp_drain_all(HAMMER_CLS, HAMMER_CLS, sink_to_bag);
	in_bag = lab_popcount(lab_word_get(&hammer.bag[0])) +
		 lab_popcount(lab_word_get(&hammer.bag[1]));
	assert_int_equal(in_bag, TOKENS);
	print_message("%llu sequences, %llu entries drained\n",
		      (unsigned long long)lab_word_get(&hammer.ops),
		      (unsigned long long)lab_word_get(&hammer.drained));
	assert_true(lab_word_get(&hammer.drained) > 0);
}

/* ---- the storm ---- */

enum { STORM_THREADS = 8, HELD_MAX = 24 };

static struct {
	uint64_t seed, until;
	lab_byte_t *owned; /* by frame: 1 while somebody has it */
	lab_word_t drained, drains, taken;

} storm;

static void own(void *page, uint64_t tag)
{
	must(atomic_exchange(&storm.owned[lab_pfn_of(page)], 1) == 0);
	*(uint64_t *)page = tag;
	((uint64_t *)page)[511] = ~tag;
}

static void disown(void *page, uint64_t tag)
{
	must(*(uint64_t *)page == tag && ((uint64_t *)page)[511] == ~tag);
	must(atomic_exchange(&storm.owned[lab_pfn_of(page)], 0) == 1);
}

/* takes and keeps a few; gives what it took the last time: never undoes itself */
static void storm_tick(int signo)
{
	static __thread void *kept[2];
	static __thread volatile int busy;
	int saved = errno, i;

	(void)signo;
	if (busy++ == 0) {
		for (i = 0; i < 2; i++) {
			if (kept[i]) {
				disown(kept[i], 77);
				give(LAB_PCP_API, kept[i]);
			}
			kept[i] = storm.until ? take(LAB_PCP_API) : NULL;
			if (kept[i])
				own(kept[i], 77);
		}
	}
	busy--;
	errno = saved;
}

static void storm_pages(unsigned int id)
{
	void *held[HELD_MAX] = { NULL };
	uint8_t cls[HELD_MAX];
	uint64_t seed = storm.seed + id * 7919;
	unsigned int i;

	while (now_ms() < storm.until) {
		i = (unsigned int)random_below(&seed, HELD_MAX);
		if (held[i]) {
			disown(held[i], id * 100 + i);
			give(cls[i], held[i]);
			held[i] = NULL;
			continue;
		}
		cls[i] = (uint8_t)(LAB_PCP_PAGE + random_below(&seed, 3));
		held[i] = take(cls[i]);
		if (held[i]) {
			own(held[i], id * 100 + i);
			lab_word_add(&storm.taken, 1);
		}
	}
	for (i = 0; i < HELD_MAX; i++) {
		if (held[i]) {
			disown(held[i], id * 100 + i);
			give(cls[i], held[i]);
		}
	}
}

static void storm_thread(unsigned int id, void *unused)
{
	(void)unused;
	pin_anywhere();
	if (id < STORM_THREADS) {
		storm_pages(id);
	} else {
		while (now_ms() < storm.until) {
			lab_word_add(&storm.drained, lab_pages_drain(lab_pcp_drain_all));
			lab_word_add(&storm.drains, 1);
		}
	}
}

/* Pages among threads while others drain: none is lost, doubled or handed out twice. */
static void test_pages_are_conserved_while_others_drain(void **state)
{
	uint64_t used;

	(void)state;
	storm.seed = new_seed("reclaim");
	storm.owned = calloc(1u << 20, 1);
	assert_non_null(storm.owned);
	(void)lab_pages_drain(lab_pcp_drain_all);
	used = heap_in_use();
	storm.until = now_ms() + 3 * STRESS_MS;
	run_threads(STORM_THREADS + 2, storm_thread, NULL);
	(void)lab_pages_drain(lab_pcp_drain_all);
	assert_int_equal(stacked(), 0);
	assert_int_equal(heap_in_use(), used);
	assert_int_equal(free_pages(LAB_ZONE_RESERVE),
			 lab_word_get(&lab_zones[LAB_ZONE_RESERVE].managed));
	print_message("%llu pages taken, %llu drained by %llu drains\n",
		      (unsigned long long)lab_word_get(&storm.taken),
		      (unsigned long long)lab_word_get(&storm.drained),
		      (unsigned long long)lab_word_get(&storm.drains));
	assert_true(lab_word_get(&storm.drained) > 0);
	free(storm.owned);
}

/* The same among handlers, on one thread: no page is handed out twice. */
static void test_handlers_interrupt_the_drainer(void **state)
{
	struct itimerval fast = { { 0, 53 }, { 0, 53 } }, off = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = storm_tick, .sa_flags = SA_RESTART };

	(void)state;
	storm.owned = calloc(1u << 20, 1);
	assert_non_null(storm.owned);
	(void)lab_pages_drain(lab_pcp_drain_all);
	storm.until = now_ms() + STRESS_MS;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &fast, NULL);
	while (now_ms() < storm.until)
		(void)lab_pages_drain(lab_pcp_drain_all);
	setitimer(ITIMER_REAL, &off, NULL);
	storm.until = 0;
	storm_tick(0);
	(void)lab_pages_drain(lab_pcp_drain_all);
	assert_int_equal(stacked(), 0);
	assert_int_equal(free_pages(LAB_ZONE_RESERVE),
			 lab_word_get(&lab_zones[LAB_ZONE_RESERVE].managed));
	free(storm.owned);
}

/* ---- shrinkers ---- */

static struct {
	size_t has, gives, calls, largest, smallest, asked;
	bool saw_section, recursed;
} cache;

static size_t cache_count(void *data)
{
	must(data == &cache);
	return cache.has;
}

static size_t cache_scan(size_t nr, void *data)
{
	must(data == &cache);
	cache.calls++;
	cache.asked += nr;
	cache.largest = nr > cache.largest ? nr : cache.largest;
	cache.smallest = !cache.smallest || nr < cache.smallest ? nr : cache.smallest;
	cache.saw_section = lab_scope_is_atomic();
	cache.recursed = lab_reclaim(LAB_ZONE_RESERVE, 0) != 0;
	if (cache.gives > nr)
		return nr;
	return cache.gives;
}

static struct labyrinth_shrinker shrinker = { cache_count, cache_scan, &cache };

static size_t shrink(size_t has, size_t gives)
{
	memset(&cache, 0, sizeof(cache));
	cache.has = has;
	cache.gives = gives;
	return lab_shrink();
}

/* A quarter of what there is, in portions of 128, at least one; none if there is nothing. */
static void test_shrinker_is_asked_in_portions(void **state)
{
	(void)state;
	assert_int_equal(labyrinth_register_shrinker(&shrinker), 0);
	assert_int_equal(shrink(0, 1000), 0);
	assert_int_equal(cache.calls, 0);
	assert_int_equal(shrink(5, 1000), 5);
	assert_int_equal(cache.calls, 1);
	assert_int_equal(cache.asked, 5);
	assert_int_equal(shrink(200, 1000), 128);
	assert_int_equal(cache.calls, 1);
	assert_int_equal(shrink(1200, 1000), 300);
	assert_int_equal(cache.calls, 3);
	assert_int_equal(cache.largest, 128);
	assert_int_equal(cache.smallest, 44);
	/* it gives nothing, or says that it cannot now: not asked again */
	assert_int_equal(shrink(4000, 0), 0);
	assert_int_equal(cache.calls, 1);
	assert_int_equal(shrink(4000, 2), 16);
	assert_int_equal(cache.calls, 8);
	labyrinth_unregister_shrinker(&shrinker);
	assert_int_equal(shrink(1000, 1000), 0);
	assert_int_equal(cache.calls, 0);
}

/* A shrinker runs in an atomic section, in which reclaim does not recurse. */
static void test_shrinker_does_not_recurse(void **state)
{
	uint64_t stalls = lab_word_get(&lab_events[LAB_EV_ALLOCSTALL]);

	(void)state;
	assert_int_equal(labyrinth_register_shrinker(&shrinker), 0);
	memset(&cache, 0, sizeof(cache));
	cache.has = cache.gives = 10;
	assert_true(lab_reclaim(LAB_ZONE_RESERVE, 0) > 0);
	assert_int_equal(cache.calls, 1);
	assert_true(cache.saw_section);
	assert_false(cache.recursed);
	assert_false(lab_scope_is_atomic());
	assert_int_equal(lab_word_get(&lab_events[LAB_EV_ALLOCSTALL]), stalls + 1);
	labyrinth_unregister_shrinker(&shrinker);
}

static void test_register_refuses_what_it_must(void **state)
{
	static struct labyrinth_shrinker many[LAB_NR_SHRINKERS + 1];
	struct labyrinth_shrinker half = { cache_count, NULL, NULL };
	unsigned int i;

	(void)state;
	assert_int_equal(labyrinth_register_shrinker(NULL), -EINVAL);
	assert_int_equal(labyrinth_register_shrinker(&half), -EINVAL);
	half = (struct labyrinth_shrinker){ NULL, cache_scan, NULL };
	assert_int_equal(labyrinth_register_shrinker(&half), -EINVAL);
	labyrinth_unregister_shrinker(NULL);
	labyrinth_unregister_shrinker(&half);
	for (i = 0; i <= LAB_NR_SHRINKERS; i++)
		many[i] = shrinker;
	for (i = 0; i < LAB_NR_SHRINKERS; i++) {
		assert_int_equal(labyrinth_register_shrinker(&many[i]), 0);
		assert_int_equal(labyrinth_register_shrinker(&many[i]), -EEXIST);
	}
	assert_int_equal(labyrinth_register_shrinker(&many[32]), -ENOSPC);
	/* a place that came free serves again; who is known is known wherever it lies */
	labyrinth_unregister_shrinker(&many[3]);
	assert_int_equal(labyrinth_register_shrinker(&many[31]), -EEXIST);
	assert_int_equal(labyrinth_register_shrinker(&many[32]), 0);
	for (i = 0; i <= LAB_NR_SHRINKERS; i++)
		labyrinth_unregister_shrinker(&many[i]);
	assert_int_equal(shrink(10, 10), 0);
}

static struct {
	uint64_t until;
	lab_word_t holders, won;
} race;

/* first places come and go, so that those who race choose different ones */
static void race_churn(unsigned int id)
{
	static struct labyrinth_shrinker others[2];

	others[id % 2] = shrinker;
	while (now_ms() < race.until) {
		must(labyrinth_register_shrinker(&others[id % 2]) == 0);
		labyrinth_unregister_shrinker(&others[id % 2]);
	}
}

static void race_thread(unsigned int id, void *unused)
{
	(void)unused;
	pin_anywhere();
	if (id < 2) {
		race_churn(id);
		return;
	}
	while (now_ms() < race.until) {
		int err = labyrinth_register_shrinker(&shrinker);

		/* counting and checking slow down those who look, so that others are always faster */
		must(err == 0 || err == -EEXIST || (err == -ENOSPC && harness_touches()[0]));
		if (err)
			continue;
		/* who has registered it holds it alone, until it is taken out again */
		must(lab_word_add(&race.holders, 1) == 0);
		lab_word_add(&race.won, 1);
		lab_word_sub(&race.holders, 1);
		labyrinth_unregister_shrinker(&shrinker);
	}
}

/* Threads that register the same one at the same time: one wins, never two. */
static void test_race_of_registrations_has_one_winner(void **state)
{
	(void)state;
	race.until = now_ms() + 2 * STRESS_MS;
	run_threads(NR_THREADS + 2, race_thread, NULL);
	assert_int_equal(shrink(8, 8), 0);
	print_message("%llu registrations\n", (unsigned long long)lab_word_get(&race.won));
	assert_true(lab_word_get(&race.won) > 0);
}

/* ---- a round of reclaim ---- */

/* What came back is counted, and a round after which nothing changed says so. */
static void test_reclaim_reports_progress_truthfully(void **state)
{
	unsigned int n;
	size_t first;
	uint64_t stolen, before;

	(void)state;
	while (lab_reclaim(LAB_ZONE_RESERVE, 0))
		;
	n = stack_on_all();
	assert_true(n > 0);
	before = free_pages(LAB_ZONE_RESERVE);
	stolen = lab_word_get(&lab_events[LAB_EV_PGSTEAL]);
	first = lab_reclaim(LAB_ZONE_RESERVE, 0);
	assert_true(first >= free_pages(LAB_ZONE_RESERVE) - before);
	assert_true(first > 0);
	assert_int_equal(lab_word_get(&lab_events[LAB_EV_PGSTEAL]), stolen + first);
	assert_int_equal(stacked(), 0);
	assert_int_equal(lab_reclaim(LAB_ZONE_RESERVE, 0), 0);
	assert_int_equal(lab_reclaim(LAB_ZONE_EXCLUSIVE, 0), 0);
	assert_int_equal(lab_reclaim(LAB_ZONE_HEAP, 0), 0);
}

/* Idle heap memory goes to the system, address space too for want of it. */
static void test_reclaim_gives_idle_heap_back(void **state)
{
	void *block[2];
	uint64_t managed;
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		block[i] = labyrinth_heap_malloc(1 << 20);
		assert_non_null(block[i]);
		memset(block[i], 1, 1 << 20);
	}
	/* idle memory may go with the first one, but not so soon again with the other */
	labyrinth_free(block[0]);
	labyrinth_free(block[1]);
	managed = lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed);
	assert_true(lab_reclaim(LAB_ZONE_EXCLUSIVE, 0) >= 200);
	assert_int_equal(lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed), managed);
	assert_true(lab_reclaim(LAB_ZONE_HEAP, 0) >= LAB_BLOCK_FRAMES);
	assert_true(lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed) < managed);
}

static uint64_t wait_us(unsigned int turn)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	lab_reclaim_wait(turn);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (uint64_t)(b.tv_sec - a.tv_sec) * 1000000 +
	       (uint64_t)((b.tv_nsec - a.tv_nsec) / 1000);
}

/* 1 ms, doubled, at most 100 ms; errno is kept. */
static void test_wait_doubles_up_to_100_ms(void **state)
{
	static const unsigned int turns[] = { 0, 1, 4, 6, 7, 8, 1000 };
	static const unsigned int ms[] = { 1, 2, 16, 64, 100, 100, 100 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 7; i++) {
		uint64_t us = 0, best = UINT64_MAX;
		unsigned int try;

		/* on a busy machine some come late */
		for (try = 0; try < 20 && best > ms[i] * 1000 + 10000; try++) {
			errno = 4711;
			us = wait_us(turns[i]);
			assert_int_equal(errno, 4711);
			assert_true(us >= ms[i] * 1000);
			best = us < best ? us : best;
		}
		assert_in_range(best, ms[i] * 1000, ms[i] * 1000 + 10000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain_from_one_cpu_empties_all),
		cmocka_unit_test(test_drain_blocks_signals_and_restores_them),
		cmocka_unit_test(test_second_drainer_empties_its_own_cpu),
		cmocka_unit_test(test_drain_with_vfork_child_does_nothing),
		cmocka_unit_test(test_frozen_drainer_stops_nobody),
		cmocka_unit_test(test_child_of_fork_amid_drain_reopens_stacks),
		cmocka_unit_test(test_sequences_and_drainer_share_no_entry),
		cmocka_unit_test(test_pages_are_conserved_while_others_drain),
		cmocka_unit_test(test_handlers_interrupt_the_drainer),
		cmocka_unit_test(test_shrinker_is_asked_in_portions),
		cmocka_unit_test(test_shrinker_does_not_recurse),
		cmocka_unit_test(test_register_refuses_what_it_must),
		cmocka_unit_test(test_race_of_registrations_has_one_winner),
		cmocka_unit_test(test_reclaim_reports_progress_truthfully),
		cmocka_unit_test(test_reclaim_gives_idle_heap_back),
		cmocka_unit_test(test_wait_doubles_up_to_100_ms),
	};

	find_cpus();
	return cmocka_run_group_tests_name("reclaim", tests, NULL, NULL);
}
