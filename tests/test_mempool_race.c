/* SPDX-License-Identifier: MIT */
/*
 * Pools under threads and handlers: every instruction of every call is
 * interrupted by every other call, abandoned, and frozen.
 */
#include "mempool_backing.h"

#include <sys/time.h>
#include <ucontext.h>

enum { MIN = 4, HELD = 64, SPARE = 32 };

/* ---- threads ---- */

struct race {
	labyrinth_mempool_t *pool;
	uint64_t until;
	unsigned int least; /* calls of each thread */
	atomic_int held;
	atomic_uint turns;
	bool resizing;
};

static void use_pool(unsigned int id, void *arg)
{
	struct element *mine[HELD];
	struct race *race = arg;
	uint64_t random = 88172645463325252ull + id;
	unsigned int n = 0, turns = 0;

	pin_by_id(id);
	while (turns < race->least || now_ms() < race->until) {
		if (race->resizing && id == 0)
			must(labyrinth_mempool_resize(race->pool,
						      1 + (int)random_below(&random, 300)) == 0);
		turns++;
		switch (n == HELD ? 3 : n == 0 ? 0 : random_below(&random, 4)) {
		case 0:
			mine[n] = owned(labyrinth_mempool_alloc_preallocated(race->pool));
			n += !!mine[n];
			break;
		case 1:
			mine[n] = owned(labyrinth_mempool_alloc(race->pool, LABYRINTH_GFP_ATOMIC));
			n += !!mine[n];
			break;
		default:
			give(race->pool, mine[--n]);
		}
	}
	atomic_fetch_add(&race->held, (int)n);
	atomic_fetch_add(&race->turns, turns);
	while (n > 0)
		give(race->pool, mine[--n]);
}

/* fill the pool up, then count what it gives */
static void check_full(labyrinth_mempool_t *pool, int min_nr)
{
	static struct element *got[MAX_ELEMENTS];
	int n, i;

	backing_fail(0, 0);
	for (n = 0; n < min_nr + 2; n++)
		must((got[n] = owned(labyrinth_mempool_alloc(pool, LABYRINTH_GFP_ATOMIC))));
	while (n > 0)
		give(pool, got[--n]);
	must(labyrinth_mempool_curr_nr(pool) == min_nr);
	n = drain(pool, got, MAX_ELEMENTS);
	must(n == min_nr);
	must(labyrinth_mempool_curr_nr(pool) == 0);
	for (i = 0; i < n; i++)
		give(pool, got[i]);
	must(labyrinth_mempool_curr_nr(pool) == min_nr);
}

static void test_threads_share_exactly_what_there_is(void **state)
{
	struct race race = { 0 };

	(void)state;
	backing_reset();
	race.pool = backing_pool(30);
	/* what alloc() makes is not enough either */
	backing_fail(50, 1 << 30);
	race.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, use_pool, &race);
	print_message("%u calls, %d held at the end\n", race.turns, race.held);
	assert_int_equal(backing.live, labyrinth_mempool_curr_nr(race.pool));
	check_full(race.pool, 30);
	assert_int_equal(backing.live, 30);
	labyrinth_mempool_destroy(race.pool);
	assert_int_equal(backing.live, 0);
}

static void test_resize_while_threads_use_the_pool(void **state)
{
	struct race race = { .resizing = true };

	(void)state;
	backing_reset();
	race.pool = backing_pool(30);
	race.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, use_pool, &race);
	print_message("%u calls, %d held at the end\n", race.turns, race.held);
	assert_int_equal(labyrinth_mempool_resize(race.pool, 100), 0);
	assert_int_equal(backing.live, labyrinth_mempool_curr_nr(race.pool));
	check_full(race.pool, 100);
	assert_int_equal(backing.live, 100);
	labyrinth_mempool_destroy(race.pool);
	assert_int_equal(backing.live, 0);
}

/* what threads hold together is never more than there is: no more than min_nr succeed */
static void take_all(unsigned int id, void *arg)
{
	struct race *race = arg;

	pin_by_id(id);
	while (owned(labyrinth_mempool_alloc(race->pool, LABYRINTH_GFP_ATOMIC)))
		atomic_fetch_add(&race->held, 1);
}

static void test_threads_get_exactly_the_minimum(void **state)
{
	struct race race;
	int turn, i;

	(void)state;
	for (turn = 0; turn < 100; turn++) {
		backing_reset();
		race = (struct race){ .pool = backing_pool(100 + turn) };
		backing_fail(0, 1 << 30);
		run_threads(NR_THREADS, take_all, &race);
		assert_int_equal(race.held, 100 + turn);
		assert_int_equal(labyrinth_mempool_curr_nr(race.pool), 0);
		for (i = 0; i < MAX_ELEMENTS; i++)
			if (backing.element[i].user)
				give(race.pool, &backing.element[i]);
		assert_int_equal(labyrinth_mempool_curr_nr(race.pool), 100 + turn);
		labyrinth_mempool_destroy(race.pool);
		assert_int_equal(backing.live, 0);
	}
}

/* ---- a handler ---- */

static struct race storm;
static volatile sig_atomic_t signals;

static void on_alarm(int sig)
{
	static struct element *kept[8];
	static unsigned int n;
	int before = errno;

	(void)sig;
	signals++;
	if (n < 8) {
		kept[n] = owned(n & 1 ? labyrinth_mempool_alloc_preallocated(storm.pool)
				      : labyrinth_mempool_alloc(storm.pool, LABYRINTH_GFP_ATOMIC));
		n += !!kept[n];
	}
	if (signals % 3 == 0)
		while (n > 0)
			give(storm.pool, kept[--n]);
	errno = before;
}

static void run_storm(void *arg)
{
	struct itimerval fast = { { 0, 60 }, { 0, 60 } }, off = { { 0, 0 }, { 0, 0 } };

	(void)arg;
	backing_reset();
	storm.pool = backing_pool(40);
	backing_fail(10, 1 << 30);
	signal(SIGALRM, on_alarm);
	storm.until = now_ms() + 2 * STRESS_MS;
	setitimer(ITIMER_REAL, &fast, NULL);
	use_pool(1, &storm);
	setitimer(ITIMER_REAL, &off, NULL);
	do {
		on_alarm(0);
	} while (signals % 3);
	printf("%d signals in %d ms, %u calls\n", (int)signals, 2 * STRESS_MS, storm.turns);
	fflush(stdout);
	must(signals > 1000);
	must(backing.live == labyrinth_mempool_curr_nr(storm.pool));
	check_full(storm.pool, 40);
	labyrinth_mempool_destroy(storm.pool);
	must(backing.live == 0);
}

static void test_handler_uses_the_pool_of_what_it_interrupts(void **state)
{
	(void)state;
	assert_child_succeeds(run_storm, NULL);
}

/* ---- every instruction ---- */

/* ThreadSanitizer puts handlers off; AddressSanitizer makes the steps too many */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define CAN_STEP 1
#else
#define CAN_STEP 0
#endif

#if CAN_STEP

enum { TRAP_FLAG = 0x100 };

enum call { ALLOC, ALLOC_NONE, PREALLOCATED, FREE, FREE_LAST, FREE_FULL, NR_CALLS };
enum act { NEST, ABANDON, FREEZE };

static struct {
	enum act act;
	enum call nested;
	labyrinth_mempool_t *pool;
	volatile unsigned int steps, target;
	volatile bool counting, over, done;
	sigjmp_buf out;
} step;
static atomic_int frozen;

/* elements that the program has before each injection */
static struct element *mine[HELD];
static int nr_mine;

static void call_take(bool preallocated)
{
	struct element *e =
		owned(preallocated ? labyrinth_mempool_alloc_preallocated(step.pool)
				   : labyrinth_mempool_alloc(step.pool, LABYRINTH_GFP_ATOMIC));

	if (e)
		mine[nr_mine++] = e;
}

/* nested calls come in twos: one that undoes itself hides the bug */
static void nest(enum call call)
{
	switch (call) {
	case ALLOC:
		call_take(false);
		call_take(true);
		break;
	case PREALLOCATED:
		call_take(true);
		break;
	case FREE:
		give(step.pool, mine[--nr_mine]);
		break;
	case FREE_LAST:
		give(step.pool, mine[--nr_mine]);
		give(step.pool, mine[--nr_mine]);
		break;
	case FREE_FULL:
		give(step.pool, mine[--nr_mine]);
		call_take(true);
		call_take(true);
		give(step.pool, mine[--nr_mine]);
		break;
	default:
		break;
	}
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	if (step.over) {
		regs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
		return;
	}
	if (!step.counting || ++step.steps != step.target)
		return;
	regs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	step.done = true;
	switch (step.act) {
	case NEST:
		nest(step.nested);
		break;
	case ABANDON:
		siglongjmp(step.out, 1);
	case FREEZE:
		frozen = 1;
		for (;;)
			pause();
	}
}

static void on_start(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void step_init(void)
{
	struct sigaction trap = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	struct sigaction start = { .sa_sigaction = on_start, .sa_flags = SA_SIGINFO };

	sigaction(SIGTRAP, &trap, NULL);
	sigaction(SIGUSR1, &start, NULL);
}

/* the call, stepped through; what it takes or gives is accounted for here */
static void run_call(enum call call)
{
	struct element *volatile target = NULL;
	void *volatile result = NULL;

	if (call == FREE || call == FREE_LAST || call == FREE_FULL) {
		target = mine[--nr_mine];
		must(atomic_exchange(&target->user, 0) == 1);
	}
	step.steps = 0;
	step.over = step.done = step.counting = false;
	if (!sigsetjmp(step.out, 1)) {
		raise(SIGUSR1);
		step.counting = true;
		if (target)
			labyrinth_mempool_free(target, step.pool);
		else if (call == PREALLOCATED)
			result = labyrinth_mempool_alloc_preallocated(step.pool);
		else
			result = labyrinth_mempool_alloc(step.pool, LABYRINTH_GFP_ATOMIC);
	}
	step.counting = false;
	step.over = true;
	if (result)
		mine[nr_mine++] = owned(result);
}

/* a pool of MIN, alloc() failing, so many kept, and four in the program's hands */
static void set_up(enum call call)
{
	int keep = call == ALLOC_NONE  ? 0
		   : call == FREE_FULL ? MIN
		   : call == FREE_LAST ? MIN - 1
				       : 2;

	backing_reset();
	step.pool = backing_pool(MIN);
	for (nr_mine = 0; nr_mine < 8; nr_mine++)
		mine[nr_mine] = owned(labyrinth_mempool_alloc(step.pool, LABYRINTH_GFP_ATOMIC));
	backing_fail(0, 1 << 30);
	while (labyrinth_mempool_curr_nr(step.pool) > keep)
		mine[nr_mine++] = owned(labyrinth_mempool_alloc_preallocated(step.pool));
}

/* @lost: elements that may be nowhere */
static void check_and_destroy(int lost)
{
	int curr = labyrinth_mempool_curr_nr(step.pool);

	must(curr <= MIN);
	must(backing.live >= curr + nr_mine && backing.live <= curr + nr_mine + lost);
	while (nr_mine > 0)
		give(step.pool, mine[--nr_mine]);
	check_full(step.pool, MIN);
	must(backing.live >= MIN && backing.live <= MIN + lost);
	labyrinth_mempool_destroy(step.pool);
	must(backing.live >= 0 && backing.live <= lost);
}

static void nest_everywhere(void *arg)
{
	unsigned int injections = 0, call, nested;

	(void)arg;
	alarm(60);
	step_init();
	step.act = NEST;
	for (call = 0; call < NR_CALLS; call++) {
		for (nested = 0; nested < NR_CALLS; nested++) {
			step.nested = nested;
			for (step.target = 1;; step.target++) {
				set_up(call);
				run_call(call);
				check_and_destroy(0);
				if (!step.done)
					break;
				injections++;
			}
			must(step.target > 8);
		}
	}
	printf("%u injections\n", injections);
	fflush(stdout);
}

static void test_every_instruction_may_be_interrupted_by_every_call(void **state)
{
	(void)state;
	assert_child_succeeds(nest_everywhere, NULL);
}

static void abandon_everywhere(void *arg)
{
	unsigned int call, injections = 0;

	(void)arg;
	alarm(60);
	step_init();
	step.act = ABANDON;
	for (call = 0; call < NR_CALLS; call++) {
		for (step.target = 1;; step.target++) {
			set_up(call);
			run_call(call);
			check_and_destroy(step.done);
			if (!step.done)
				break;
			injections++;
		}
		must(step.target > 8);
	}
	printf("%u abandoned\n", injections);
	fflush(stdout);
}

/* An abandoned call costs an element; the guarantee stays whole. */
static void test_every_instruction_may_be_the_last(void **state)
{
	(void)state;
	assert_child_succeeds(abandon_everywhere, NULL);
}

/* One slot each: all the spare ones may go, and more; a resize brings them back. */
static void abandon_many(void *arg)
{
	int n, k, curr = MIN, worst;

	(void)arg;
	alarm(60);
	step_init();
	step.act = ABANDON;
	set_up(FREE_LAST);
	for (n = 0; n < 1000; n++) {
		step.target = 1 + (unsigned int)n % 100;
		while (nr_mine < 4) {
			backing_fail(0, 0);
			mine[nr_mine++] =
				owned(labyrinth_mempool_alloc(step.pool, LABYRINTH_GFP_ATOMIC));
		}
		run_call(n & 1 ? PREALLOCATED : FREE_LAST);
		for (k = 0; k < MIN; k++) {
			backing_fail(0, 0);
			give(step.pool,
			     owned(labyrinth_mempool_alloc(step.pool, LABYRINTH_GFP_ATOMIC)));
		}
		curr = labyrinth_mempool_curr_nr(step.pool);
		must(curr <= MIN);
		if (n < SPARE)
			must(curr == MIN);
	}
	worst = curr;
	must(worst < MIN);
	must(labyrinth_mempool_resize(step.pool, MIN) == 0);
	must(labyrinth_mempool_curr_nr(step.pool) == MIN);
	printf("%d of %d kept after 1000 calls, most abandoned\n", worst, MIN);
	fflush(stdout);
	check_and_destroy(2000);
}

static void test_many_abandoned_calls(void **state)
{
	(void)state;
	assert_child_succeeds(abandon_many, NULL);
}

/* ---- a thread that stays where it is ---- */

static atomic_int finished;

static void *freeze(void *arg)
{
	run_call(*(enum call *)arg);
	finished = 1;
	return NULL;
}

static void freeze_one(void *arg)
{
	struct race race = { 0 };
	pthread_t thread;

	alarm(20);
	step_init();
	step.act = FREEZE;
	set_up(*(enum call *)arg);
	must(pthread_create(&thread, NULL, freeze, arg) == 0);
	while (!frozen && !finished)
		sched_yield();
	race.pool = step.pool;
	race.least = 1000;
	run_threads(NR_THREADS, use_pool, &race);
	must(race.turns >= NR_THREADS * 1000);
	while (nr_mine > 0)
		give(step.pool, mine[--nr_mine]);
	check_full(step.pool, MIN);
	must(backing.live >= MIN && backing.live <= MIN + 1);
	_exit(frozen ? 0 : 7);
}

static void test_a_frozen_thread_stops_nobody(void **state)
{
	unsigned int injections = 0;
	struct outcome out;
	enum call call;

	(void)state;
	for (call = 0; call < NR_CALLS; call++) {
		/* each third instruction, other ones for each call */
		for (step.target = 1 + call % 3;; step.target += 3) {
			out = in_child(freeze_one, &call);
			if (WIFEXITED(out.status) && WEXITSTATUS(out.status) == 7)
				break;
			if (!WIFEXITED(out.status) || WEXITSTATUS(out.status))
				fail_msg("call %d, step %u: status %#x: %s", (int)call, step.target,
					 (unsigned int)out.status, out.said);
			injections++;
		}
	}
	print_message("%u frozen\n", injections);
	assert_true(injections > 100);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_share_exactly_what_there_is),
		cmocka_unit_test(test_resize_while_threads_use_the_pool),
		cmocka_unit_test(test_threads_get_exactly_the_minimum),
		cmocka_unit_test(test_handler_uses_the_pool_of_what_it_interrupts),
#if CAN_STEP
		cmocka_unit_test(test_every_instruction_may_be_interrupted_by_every_call),
		cmocka_unit_test(test_every_instruction_may_be_the_last),
		cmocka_unit_test(test_many_abandoned_calls),
		cmocka_unit_test(test_a_frozen_thread_stops_nobody),
#endif
	};

	if (!CAN_STEP)
		print_message("no single steps here: 4 of 8 tests are left out\n");
	return cmocka_run_group_tests_name("mempool_race", tests, NULL, NULL);
}
