/* SPDX-License-Identifier: MIT */
/* Entries need not be memory: a stack only keeps them. */
#include "harness.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include "labyrinth.h"
#include "os/cpu.h"
#include "pcp/flow.h"

/* main() stays on this one; only the stress tests use others */
static unsigned int here;

static struct lab_pcp_stack *stack_on(unsigned int cpu, unsigned int cls)
{
	return (void *)((char *)&lab_pcp_area[cpu] + lab_pcp_class[cls].stack);
}

static bool is_gate_open(void)
{
	bool open = !(lab_word_get(&lab_rseq_gate) & 1);

	/* nobody watches here, so those of malloc() and free() are as this one is */
	assert_int_equal(open, lab_bound_is_open(&lab_hot_gates.sizes));
	assert_int_equal(open, lab_bound_is_open(&lab_hot_gates.frames));
	return open;
}

static void *entry(uintptr_t n)
{
	return (void *)(n * 16);
}

/* Every class holds exactly its capacity, on the CPU that runs us, last in first out. */
static void test_stack_of_every_class_is_lifo_up_to_its_capacity(void **state)
{
	unsigned int cls, i;

	(void)state;
	for (cls = 1; cls < LAB_PCP_NR; cls++) {
		unsigned int cap = lab_pcp_class[cls].cap;

		assert_null(lab_pcp_pop(cls));
		for (i = 1; i <= cap; i++) {
			assert_true(lab_pcp_push(cls, entry(cls * 1000u + i)));
			assert_int_equal(stack_on(here, cls)->count, i);
		}
		assert_false(lab_pcp_push(cls, entry(1)));
		assert_int_equal(stack_on(here, cls)->count, cap);
	}
	/* all are full at once: none reaches into another */
	for (cls = 1; cls < LAB_PCP_NR; cls++) {
		for (i = lab_pcp_class[cls].cap; i > 0; i--)
			assert_ptr_equal(lab_pcp_pop(cls), entry(cls * 1000u + i));
		assert_null(lab_pcp_pop(cls));
	}
}

static uint32_t stack_end(unsigned int cls)
{
	return lab_pcp_class[cls].stack + 8 * (lab_pcp_class[cls].cap + 1);
}

/* The tables say what the formulas say, and a batch fits a stack and a bitmap word. */
static void test_class_table_agrees_with_the_formulas(void **state)
{
	unsigned int cls, other;

	(void)state;
	for (cls = 1; cls < LAB_PCP_NR; cls++) {
		assert_int_equal(lab_pcp_class[cls].stack, LAB_PCP_STACK(cls));
		assert_int_equal(lab_pcp_class[cls].cap, LAB_PCP_CAP(cls));
		assert_in_range(lab_pcp_batch(cls), 1, 64);
		assert_true(lab_pcp_batch(cls) <= lab_pcp_class[cls].cap);
		assert_int_equal(lab_pcp_class[cls].stack % 8, 0);
		/* no two overlap */
		for (other = 1; other < cls; other++)
			assert_true(stack_end(other) <= lab_pcp_class[cls].stack ||
				    stack_end(cls) <= lab_pcp_class[other].stack);
	}
}

/*
 * Of a mask as much is stacked as finds room, the highest first, so that they are popped
 * by rising addresses; the rest is returned.
 */
static void test_push_mask_into_partial_room_returns_the_rest(void **state)
{
	static const uint64_t masks[] = { 1, ~0ull, 0x8000000000000001ull, 0x00ff00ff00ff00ffull };
	static const unsigned int classes[] = { 1, 30, 72, LAB_PCP_EXCL };

	(void)state;
	for (unsigned int c = 0; c < 4; c++) {
		unsigned int cls = classes[c], cap = lab_pcp_class[cls].cap, room, i;

		for (unsigned int m = 0; m < 4; m++) {
			for (room = 0; room <= cap && room <= 70; room++) {
				const char *first = (char *)entry(100000);
				uint64_t rest, want = masks[m], stacked;
				unsigned int n;

				for (i = 0; i < cap - room; i++)
					assert_true(lab_pcp_push(cls, entry(7)));
				rest = lab_pcp_push_mask(cls, first, 48, want);
				n = lab_popcount(want);
				stacked = want & ~lab_lowest(want, n > room ? n - room : 0);
				assert_true(rest == (want & ~stacked));
				assert_int_equal(stack_on(here, cls)->count,
						 cap - room + lab_popcount(stacked));
				for (; stacked; stacked &= stacked - 1)
					assert_ptr_equal(lab_pcp_pop(cls),
							 first + lab_ctz(stacked) * 48);
				for (i = 0; i < cap - room; i++)
					assert_ptr_equal(lab_pcp_pop(cls), entry(7));
				assert_null(lab_pcp_pop(cls));
			}
		}
	}
}

/* The top ones are popped, in the order in which they lie, and no more than there are. */
static void test_pop_many_takes_the_top_ones_in_order(void **state)
{
	void *to[70];
	unsigned int have, want, got, i;

	(void)state;
	for (have = 0; have <= 70; have += 7) {
		for (want = 1; want <= 70; want += 3) {
			memset(to, 0, sizeof(to));
			for (i = 1; i <= have; i++)
				assert_true(lab_pcp_push(3, entry(i)));
			got = lab_pcp_pop_many(3, to, want);
			assert_int_equal(got, want < have ? want : have);
			for (i = 0; i < got; i++)
				assert_ptr_equal(to[i], entry(have - got + 1 + i));
			if (got < 70)
				assert_null(to[got]);
			for (i = have - got; i > 0; i--)
				assert_ptr_equal(lab_pcp_pop(3), entry(i));
			assert_null(lab_pcp_pop(3));
		}
	}
}

/* As many are pushed as find room, in order; the others stay the caller's. */
static void test_push_many_fills_the_stack_in_order(void **state)
{
	unsigned int cap = LAB_PCP_CAP(40), have, want, got, i;
	void *from[70];

	(void)state;
	for (i = 0; i < 70; i++)
		from[i] = entry(100 + i);
	for (have = 0; have <= cap; have += 3) {
		for (want = 0; want <= 70; want++) {
			for (i = 1; i <= have; i++)
				assert_true(lab_pcp_push(40, entry(i)));
			got = lab_pcp_push_many(40, from, want);
			assert_int_equal(got, want < cap - have ? want : cap - have);
			for (i = got; i > 0; i--)
				assert_ptr_equal(lab_pcp_pop(40), entry(99 + i));
			for (i = have; i > 0; i--)
				assert_ptr_equal(lab_pcp_pop(40), entry(i));
			assert_null(lab_pcp_pop(40));
		}
	}
}

static void assert_refuses_at_once(unsigned int cls)
{
	void *to[4];

	assert_null(lab_pcp_pop(cls));
	assert_false(lab_pcp_push(cls, entry(1)));
	assert_true(lab_pcp_push_mask(cls, entry(1), 16, 0xf0) == 0xf0);
	assert_int_equal(lab_pcp_pop_many(cls, to, 4), 0);
}

/* A stack that somebody is at work on, or frozen on, refuses at once; others serve. */
static void test_busy_stack_refuses_and_keeps_its_entries(void **state)
{
	(void)state;
	if (lab_pcp_backend() != LAB_PCP_TRYLOCK) {
		print_message("busy bytes exist under trylock only; rseq: see the closed gate\n");
		return;
	}
	assert_true(lab_pcp_push(9, entry(5)));
	lab_byte_set(&stack_on(here, 9)->busy, 1);
	assert_refuses_at_once(9);
	assert_true(lab_pcp_push(10, entry(6)));
	assert_ptr_equal(lab_pcp_pop(10), entry(6));
	lab_byte_set(&stack_on(here, 9)->busy, 0);
	assert_ptr_equal(lab_pcp_pop(9), entry(5));
	assert_null(lab_pcp_pop(9));
}

/* While children of vfork() live no sequence runs; the last one that ends opens the gate. */
static void test_gate_with_vfork_children_refuses_sequences(void **state)
{
	void *out = NULL;

	(void)state;
	if (lab_pcp_backend() != LAB_PCP_RSEQ) {
		lab_vfork_enter();
		assert_false(is_gate_open());
		lab_vfork_leave();
		assert_false(is_gate_open());
		print_message("no sequences here: the gate stays closed\n");
		return;
	}
	assert_true(lab_pcp_push(9, entry(5)));
	assert_true(is_gate_open());
	lab_vfork_enter();
	assert_false(is_gate_open());
	assert_refuses_at_once(9);
	assert_false(lab_pcp_try_pop(LAB_PCP_STACK(9u), &out));
	lab_vfork_enter();
	lab_vfork_leave();
	assert_false(is_gate_open());
	assert_refuses_at_once(9);
	lab_vfork_leave();
	assert_true(is_gate_open());
	assert_true(lab_pcp_try_pop(LAB_PCP_STACK(9u), &out));
	assert_ptr_equal(out, entry(5));
	assert_false(lab_pcp_try_pop(LAB_PCP_STACK(9u), &out));
}

/* A bound lets through what is below it, never less than before, and nothing while it is closed. */
static void test_a_closed_bound_is_below_every_number(void **state)
{
	lab_word_t bound = 7;

	(void)state;
	assert_true(lab_bound_is_above(&bound, 0) && lab_bound_is_above(&bound, 6));
	assert_false(lab_bound_is_above(&bound, 7) || lab_bound_is_above(&bound, UINT64_MAX >> 1));
	lab_bound_raise(&bound, 9);
	lab_bound_raise(&bound, 3);
	assert_true(lab_bound_is_above(&bound, 8));
	assert_false(lab_bound_is_above(&bound, 9));
	lab_word_set(&bound, 9 | LAB_BOUND_CLOSED | LAB_BOUND_ONE);
	assert_false(lab_bound_is_above(&bound, 0));
	lab_bound_raise(&bound, 12);
	assert_false(lab_bound_is_above(&bound, 0));
	assert_int_equal(lab_word_get(&bound), 12 | LAB_BOUND_CLOSED | LAB_BOUND_ONE);
	/* malloc() looks at (size - 1) / 16: no size is below zero there */
	lab_word_set(&bound, 4096 / 16);
	assert_false(lab_bound_is_above(&bound, ((size_t)0 - 1) / 16));
	assert_false(lab_bound_is_above(&bound, ((size_t)-1 - 1) / 16));
}

/* ---- a drain and sequences that are under way ---- */

static lab_word_t barriers;

static void on_barrier(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
#ifdef __x86_64__
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 0;
#else
	(void)context;
#endif
	lab_word_add(&barriers, 1);
}

/* what a drain gives back, and how many barriers there were by then */
static uint64_t barriers_then;

static void note_barriers(void *const *entries, unsigned int n)
{
	must(n == 1 && entries[0] == entry(5));
	barriers_then = lab_word_get(&barriers);
}

static void drain_with_barriers_counted(void *unused)
{
	struct sigaction action = { .sa_sigaction = on_barrier, .sa_flags = SA_SIGINFO };
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	(void)unused;
	must(lab_pcp_push(9, entry(5)));
	must(sigaction(SIGSYS, &action, NULL) == 0);
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	/* one asks whether it is possible at all */
	must(lab_pcp_drain_all(9, 9, note_barriers) == 1);
	must(barriers_then == 2);
}

/*
 * Stacks are taken over after every sequence was restarted, not before: one that had
 * read the count would store it over the drainer's.  Such a store comes too seldom to
 * wait for it, so the barriers are counted.
 */
static void test_drain_restarts_sequences_before_it_takes(void **state)
{
	(void)state;
	if (lab_pcp_backend() != LAB_PCP_RSEQ) {
		print_message("no sequences here\n");
		return;
	}
	assert_child_succeeds(drain_with_barriers_counted, NULL);
}

/* The hot path refuses to push beyond the capacity it is told. */
static void test_try_push_to_full_stack_is_refused(void **state)
{
	void *out;

	(void)state;
	if (lab_pcp_backend() != LAB_PCP_RSEQ) {
		assert_false(lab_pcp_try_push(LAB_PCP_STACK(9u), 2, entry(1)));
		print_message("no sequences here: the hot path always refuses\n");
		return;
	}
	assert_true(lab_pcp_try_push(LAB_PCP_STACK(9u), 2, entry(1)));
	assert_true(lab_pcp_try_push(LAB_PCP_STACK(9u), 2, entry(2)));
	assert_false(lab_pcp_try_push(LAB_PCP_STACK(9u), 2, entry(3)));
	assert_true(lab_pcp_try_pop(LAB_PCP_STACK(9u), &out) && out == entry(2));
	assert_true(lab_pcp_try_pop(LAB_PCP_STACK(9u), &out) && out == entry(1));
}

/* It takes while the meter is above 1, counts what it takes and nothing else. */
static void test_metered_pop_ends_at_its_meter(void **state)
{
	lab_word_t *meter = lab_pcp_meter(9);
	void *out;

	(void)state;
	if (lab_pcp_backend() != LAB_PCP_RSEQ) {
		assert_false(lab_pcp_try_pop_metered(&lab_rseq_gate, LAB_PCP_STACK(9u), 9, &out));
		print_message("no sequences here: the hot path always refuses\n");
		return;
	}
	assert_true(lab_pcp_push(9, entry(1)) && lab_pcp_push(9, entry(2)));
	assert_false(lab_pcp_try_pop_metered(&lab_rseq_gate, LAB_PCP_STACK(9u), 9, &out));
	lab_word_set(meter, 2);
	assert_true(lab_pcp_try_pop_metered(&lab_rseq_gate, LAB_PCP_STACK(9u), 9, &out));
	assert_ptr_equal(out, entry(2));
	assert_int_equal(lab_word_get(meter), 1);
	assert_false(lab_pcp_try_pop_metered(&lab_rseq_gate, LAB_PCP_STACK(9u), 9, &out));
	lab_word_set(meter, 5);
	assert_true(lab_pcp_try_pop_metered(&lab_rseq_gate, LAB_PCP_STACK(9u), 9, &out));
	assert_ptr_equal(out, entry(1));
	/* empty: not counted */
	assert_false(lab_pcp_try_pop_metered(&lab_rseq_gate, LAB_PCP_STACK(9u), 9, &out));
	assert_int_equal(lab_word_get(meter), 4);
	assert_int_equal(lab_word_get(lab_pcp_meter(8)), 0);
	assert_int_equal(lab_word_get(lab_pcp_meter(10)), 0);
	lab_word_set(meter, 0);
}

/* the system call of a thread that begins or ends; as libc makes it */
static long rseq_call(int flags)
{
	return syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, flags,
		       RSEQ_SIG);
}

/*
 * A thread whose restartable sequences are at an end already, as libc's own last steps
 * are, or one on a CPU beyond ours: no stack is touched, and what is counted is counted.
 */
static void test_a_thread_without_sequences_is_refused(void **state)
{
	void *from[4] = { entry(1), entry(2), entry(3), entry(4) }, *out;
	lab_word_t *taken = &lab_flow_others[LAB_FLOW_ORDER].taken;
	uint64_t before = lab_word_get(taken);

	(void)state;
	if (lab_pcp_backend() != LAB_PCP_RSEQ) {
		print_message("no sequences here\n");
		return;
	}
	assert_true(lab_pcp_push(40, entry(5)) && lab_pcp_push(40, entry(6)));
	lab_word_set(lab_pcp_meter(40), 5);
	assert_int_equal(rseq_call(RSEQ_FLAG_UNREGISTER), 0);
	assert_refuses_at_once(40);
	assert_int_equal(lab_pcp_push_many(40, from, 4), 0);
	assert_false(lab_pcp_try_pop(LAB_PCP_STACK(40u), &out));
	assert_false(lab_pcp_try_push(LAB_PCP_STACK(40u), LAB_PCP_CAP(40u), entry(1)));
	assert_false(lab_pcp_try_pop_metered(&lab_rseq_gate, LAB_PCP_STACK(40u), 40, &out));
	lab_flow_took(LAB_FLOW_ORDER, 7);
	/* the hot paths */
	out = labyrinth_heap_malloc(100);
	assert_non_null(out);
	labyrinth_free(out);
	assert_int_equal(rseq_call(0), 0);
	assert_int_equal(lab_word_get(taken), before + 7);
	assert_int_equal(lab_word_get(lab_pcp_meter(40)), 5);
	lab_word_set(lab_pcp_meter(40), 0);
	assert_ptr_equal(lab_pcp_pop(40), entry(6));
	assert_ptr_equal(lab_pcp_pop(40), entry(5));
	assert_null(lab_pcp_pop(40));
	lab_word_sub(taken, 7);
}

static void end_backend(void *unused)
{
	(void)unused;
	must(lab_pcp_push(9, entry(5)));
	lab_pcp_fini();
	must(lab_pcp_backend() == LAB_PCP_NONE);
	must(lab_pcp_pop(9) == NULL);
	must(!lab_pcp_push(9, entry(6)));
	must(lab_pcp_push_mask(9, entry(1), 16, 3) == 3);
	must(lab_pcp_cpu() == 0);
}

/* After the end there are no stacks: every call refuses. */
static void test_fini_leaves_no_stacks(void **state)
{
	(void)state;
	assert_child_succeeds(end_backend, NULL);
}

/* ---- threads and handlers ---- */

enum { TOKENS = 4000, CLS = 2 };

static struct {
	uint64_t seed, until;
	/* 1: in somebody's hand or in the bag */
	lab_byte_t out[TOKENS + 1];
	lab_word_t refused;
} stress;

static void token_taken(void *token)
{
	uintptr_t n = (uintptr_t)token / 16;

	must(n >= 1 && n <= TOKENS);
	must(atomic_exchange(&stress.out[n], 1) == 0);
}

static bool token_stack(uintptr_t n)
{
	must(atomic_exchange(&stress.out[n], 0) == 1);
	if (lab_pcp_push(CLS, entry(n)))
		return true;
	must(atomic_exchange(&stress.out[n], 1) == 0);
	return false;
}

/* keeps two more than it frees, now and then: a handler that only puts back hides bugs */
static void on_timer(int signo)
{
	void *tokens[3];
	unsigned int n = 0, i;
	int saved = errno;

	(void)signo;
	while (n < 3 && (tokens[n] = lab_pcp_pop(CLS)))
		token_taken(tokens[n++]);
	/* the other way round than they came */
	for (i = 0; i < n; i++)
		if (!token_stack((uintptr_t)tokens[i] / 16))
			lab_word_add(&stress.refused, 1);
	errno = saved;
}

static void token_turn(uintptr_t *mine, unsigned int *n, uint64_t *seed)
{
	void *many[16];
	unsigned int got, i;
	void *token;

	switch (random_below(seed, 4)) {
	case 0:
		got = lab_pcp_pop_many(CLS, many, 1 + (unsigned int)random_below(seed, 16));
		for (i = 0; i < got; i++) {
			token_taken(many[i]);
			mine[(*n)++] = (uintptr_t)many[i] / 16;
		}
		break;
	case 1:
		token = lab_pcp_pop(CLS);
		if (token) {
			token_taken(token);
			mine[(*n)++] = (uintptr_t)token / 16;
		}
		break;
	default:
		for (i = (unsigned int)random_below(seed, 9); i > 0 && *n; i--)
			if (token_stack(mine[*n - 1]))
				--*n;
	}
}

static void stress_thread(unsigned int id, void *unused)
{
	static uintptr_t hands[NR_THREADS][TOKENS + 32];
	uintptr_t *mine = hands[id];
	uint64_t seed = stress.seed + id * 7919;
	unsigned int n = 0, i;

	(void)unused;
	(void)sched_setaffinity(0, sizeof(cpu_set_t), &(cpu_set_t){ { ~0ul } });
	for (i = 1 + id; i <= TOKENS; i += NR_THREADS)
		mine[n++] = i;
	while (now_ms() < stress.until)
		for (i = 0; i < 200; i++)
			token_turn(mine, &n, &seed);
	/* what is in hand is out, by definition */
	for (i = 0; i < n; i++)
		must(lab_byte_get(&stress.out[mine[i]]) == 1);
}

static unsigned int count_stacked(void)
{
	unsigned int cpu, n = 0, i;

	for (cpu = 0; cpu < LAB_NR_CPUS; cpu++) {
		struct lab_pcp_stack *stack = stack_on(cpu, CLS);

		for (i = 0; i < stack->count; i++)
			must(lab_byte_get(&stress.out[(uintptr_t)stack->slot[i] / 16]) == 0);
		n += stack->count;
		stack->count = 0;
	}
	return n;
}

static unsigned int count_not_out(void)
{
	unsigned int i, n = 0;

	for (i = 1; i <= TOKENS; i++)
		n += lab_byte_get(&stress.out[i]) == 0;
	return n;
}

/* Among threads and handlers that move, no entry is lost, doubled or invented. */
static void test_entries_among_threads_and_handlers_are_conserved(void **state)
{
	struct itimerval fast = { { 0, 97 }, { 0, 97 } }, off = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	unsigned int i;

	(void)state;
	stress.seed = new_seed("pcp");
	stress.until = now_ms() + 2 * STRESS_MS;
	for (i = 1; i <= TOKENS; i++)
		lab_byte_set(&stress.out[i], 1);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &fast, NULL);
	run_threads(NR_THREADS, stress_thread, NULL);
	setitimer(ITIMER_REAL, &off, NULL);
	assert_int_equal(count_stacked(), count_not_out());
	print_message("%s: a handler kept %u entries that nothing had room for\n",
		      lab_pcp_backend() == LAB_PCP_RSEQ ? "rseq" : "trylock",
		      (unsigned int)lab_word_get(&stress.refused));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_of_every_class_is_lifo_up_to_its_capacity),
		cmocka_unit_test(test_class_table_agrees_with_the_formulas),
		cmocka_unit_test(test_push_mask_into_partial_room_returns_the_rest),
		cmocka_unit_test(test_pop_many_takes_the_top_ones_in_order),
		cmocka_unit_test(test_push_many_fills_the_stack_in_order),
		cmocka_unit_test(test_busy_stack_refuses_and_keeps_its_entries),
		cmocka_unit_test(test_gate_with_vfork_children_refuses_sequences),
		cmocka_unit_test(test_a_closed_bound_is_below_every_number),
		cmocka_unit_test(test_drain_restarts_sequences_before_it_takes),
		cmocka_unit_test(test_try_push_to_full_stack_is_refused),
		cmocka_unit_test(test_metered_pop_ends_at_its_meter),
		cmocka_unit_test(test_a_thread_without_sequences_is_refused),
		cmocka_unit_test(test_fini_leaves_no_stacks),
		cmocka_unit_test(test_entries_among_threads_and_handlers_are_conserved),
	};

	here = pin_to_one_cpu();
	return cmocka_run_group_tests_name("pcp", tests, NULL, NULL);
}
