/* SPDX-License-Identifier: MIT */
#include "pcp/pcp.h"
#include "base/bits.h"
#include "os/os.h"
#include "os/thread.h"

/* Aborts in a row before we leave a stack alone: a storm must not hold us. */
enum { RETRIES = 4 };

struct lab_pcp_area lab_pcp_area[2 * LAB_NR_CPUS] __attribute__((aligned(1u << LAB_CPU_SHIFT)));

static enum lab_pcp_backend backend;

static struct lab_pcp_stack *stack_of(unsigned int cpu, unsigned int cls)
{
	return (void *)((char *)&lab_pcp_area[cpu] + lab_pcp_class[cls].stack);
}

/* the page that the stack lies on, by a byte that nobody reads: others may be at work */
static void touch_exclusive(unsigned int cpu)
{
	lab_byte_set((lab_byte_t *)lab_pcp_area[LAB_NR_CPUS + cpu].bytes, 0);
}

void lab_pcp_touch_exclusive(void)
{
	lab_byte_t ours[LAB_NR_CPUS];
	unsigned int cpu;

	lab_cpus_ours(ours);
	for (cpu = 0; cpu < LAB_NR_CPUS; cpu++)
		if (lab_byte_get(&ours[cpu]))
			touch_exclusive(cpu);
}

void lab_pcp_init(void)
{
	lab_byte_t ours[LAB_NR_CPUS];
	unsigned int cpu;

	/*
	 * If it is refused a child finds its parent's exclusive pages on the stacks,
	 * and drops them: they lie in no zone of its own.
	 */
	(void)lab_os_wipe_on_fork((uintptr_t)&lab_pcp_area[LAB_NR_CPUS], sizeof(lab_pcp_area) / 2);
	(void)lab_os_unmergeable((uintptr_t)&lab_pcp_area[LAB_NR_CPUS], sizeof(lab_pcp_area) / 2);
	/* atomic requests take no page fault: the stacks they use are touched now */
	lab_cpus_ours(ours);
	for (cpu = 0; cpu < LAB_NR_CPUS; cpu++) {
		if (!lab_byte_get(&ours[cpu]))
			continue;
		lab_byte_set(&stack_of(cpu, LAB_PCP_API)->busy, 0);
		touch_exclusive(cpu);
	}
	lab_cpus_learn();
	backend = lab_cpu_init() ? LAB_PCP_RSEQ : LAB_PCP_TRYLOCK;
}

void lab_pcp_fini(void)
{
	backend = LAB_PCP_NONE;
	lab_cpu_fini();
}

enum lab_pcp_backend lab_pcp_backend(void)
{
	return backend;
}

unsigned int lab_pcp_cpu(void)
{
	return backend == LAB_PCP_NONE ? 0 : lab_cpu_now();
}

/* ---- trylock ---- */

/*
 * Busy means that somebody is at work: a handler that interrupted them, a
 * thread that was preempted, or one that is frozen for good.  We never wait.
 * NULL: not now.
 */
static struct lab_pcp_stack *stack_try_on(unsigned int cpu, unsigned int cls)
{
	struct lab_pcp_stack *stack = stack_of(cpu, cls);
	uint8_t idle = 0;

	/* acquire: pairs with stack_leave() [stack.busy] */
	if (atomic_compare_exchange_strong_explicit(&stack->busy, &idle, 1, memory_order_acquire,
						    memory_order_relaxed))
		return stack;
	return NULL;
}

static struct lab_pcp_stack *stack_try(unsigned int cls)
{
	return stack_try_on(lab_cpu_now(), cls);
}

static void stack_leave(struct lab_pcp_stack *stack)
{
	/* release: pairs with stack_try_on() [stack.busy] */
	atomic_store_explicit(&stack->busy, 0, memory_order_release);
}

static void *trylock_pop(unsigned int cls)
{
	struct lab_pcp_stack *stack = stack_try(cls);
	void *entry = NULL;

	if (!stack)
		return NULL;
	if (stack->count)
		entry = stack->slot[--stack->count];
	stack_leave(stack);
	return entry;
}

static bool trylock_push(unsigned int cls, void *entry)
{
	struct lab_pcp_stack *stack = stack_try(cls);
	bool room;

	if (!stack)
		return false;
	room = stack->count < lab_pcp_class[cls].cap;
	if (room)
		stack->slot[stack->count++] = entry;
	stack_leave(stack);
	return room;
}

static uint64_t trylock_push_mask(unsigned int cls, const char *first, size_t size, uint64_t mask)
{
	struct lab_pcp_stack *stack = stack_try(cls);

	if (!stack)
		return mask;
	while (mask && stack->count < lab_pcp_class[cls].cap) {
		stack->slot[stack->count++] = (void *)(first + lab_log2(mask) * size);
		mask &= ~(1ull << lab_log2(mask));
	}
	stack_leave(stack);
	return mask;
}

static unsigned int trylock_pop_many(unsigned int cls, void **to, unsigned int want)
{
	struct lab_pcp_stack *stack = stack_try(cls);
	unsigned int n, i;

	if (!stack)
		return 0;
	n = stack->count < want ? stack->count : want;
	stack->count -= n;
	for (i = 0; i < n; i++)
		to[i] = stack->slot[stack->count + i];
	stack_leave(stack);
	return n;
}

static unsigned int trylock_push_many(unsigned int cls, void *const *from, unsigned int n)
{
	struct lab_pcp_stack *stack = stack_try(cls);
	unsigned int i = 0;

	if (!stack)
		return 0;
	while (i < n && stack->count < lab_pcp_class[cls].cap)
		stack->slot[stack->count++] = from[i++];
	stack_leave(stack);
	return i;
}

/* ---- stacks that a drainer has shut ---- */

/*
 * The count of a stack is exchanged for LAB_RSEQ_SHUT, and then the kernel is
 * told to restart every sequence.  Whoever had read the count before has either
 * stored another one by then, and the stack is open again, or starts anew and
 * finds it shut: so a stack that is still shut is ours, and the count was right.
 */

/* Nonzero: some are shut; 1 + the first class and, above, the last one. */
static lab_word_t shut;

static uint32_t stack_seize(struct lab_pcp_stack *stack)
{
	/* the barrier that follows orders it: a sequence's store may still come over it */
	return atomic_exchange_explicit((_Atomic(uint32_t) *)&stack->count, LAB_RSEQ_SHUT,
					memory_order_relaxed);
}

static bool stack_is_shut(const struct lab_pcp_stack *stack)
{
	return *(const volatile uint32_t *)&stack->count == LAB_RSEQ_SHUT;
}

/* the stack holds @count entries, if it is still shut */
static void stack_reopen(struct lab_pcp_stack *stack, uint32_t count)
{
	uint32_t was = LAB_RSEQ_SHUT;

	/* release: pairs with the loads of the sequences, in order on x86 [stack.shut] */
	(void)atomic_compare_exchange_strong_explicit((_Atomic(uint32_t) *)&stack->count, &was,
						      count, memory_order_release,
						      memory_order_relaxed);
}

/*
 * Some are shut and nobody is at it: fork() copied them while another thread of
 * the parent was, and wiped the claim.  (Or the drainer has just finished.)
 */
static LAB_COLD void reopen_orphans(void)
{
	unsigned int cpu, cls, last;
	uint64_t which;

	if (lab_rseq_is_claimed() || !lab_rseq_claim())
		return;
	which = lab_word_get(&shut);
	last = (unsigned int)(which >> 16);
	for (cpu = 0; which && cpu < LAB_NR_CPUS; cpu++) {
		for (cls = (which & 0xffff) - 1; cls <= last; cls++) {
			struct lab_pcp_stack *stack = stack_of(cpu, cls);

			if (stack_is_shut(stack))
				stack_reopen(stack, stack->held ? stack->held - 1 : 0);
		}
	}
	lab_word_set(&shut, 0);
	lab_rseq_unclaim();
}

/* ---- both ---- */

bool lab_pcp_is_usable(unsigned int cls)
{
	uint64_t gate;

	if (backend == LAB_PCP_TRYLOCK)
		return !lab_byte_get(&stack_of(lab_cpu_now(), cls)->busy);
	return lab_rseq_open(&gate);
}

static void *rseq_stack(unsigned int cls)
{
	return (char *)lab_pcp_area + lab_pcp_class[cls].stack;
}

void *lab_pcp_pop(unsigned int cls)
{
	enum lab_rseq_result result = LAB_RSEQ_ABORTED;
	void *entry = NULL;
	uint64_t gate;
	int turn;

	if (backend == LAB_PCP_TRYLOCK)
		return trylock_pop(cls);
	for (turn = 0; turn < RETRIES && result == LAB_RSEQ_ABORTED && lab_rseq_open(&gate); turn++)
		result = lab_rseq_pop(gate, rseq_stack(cls), &entry);
	if (LAB_UNLIKELY(lab_word_get(&shut)))
		reopen_orphans();
	return entry;
}

bool lab_pcp_push(unsigned int cls, void *entry)
{
	enum lab_rseq_result result = LAB_RSEQ_ABORTED;
	uint64_t gate;
	int turn;

	if (backend == LAB_PCP_TRYLOCK)
		return trylock_push(cls, entry);
	for (turn = 0; turn < RETRIES && result == LAB_RSEQ_ABORTED && lab_rseq_open(&gate); turn++)
		result = lab_rseq_push(gate, rseq_stack(cls), lab_pcp_class[cls].cap, entry);
	if (LAB_UNLIKELY(lab_word_get(&shut)))
		reopen_orphans();
	return result == LAB_RSEQ_DONE;
}

uint64_t lab_pcp_push_mask(unsigned int cls, const char *first, size_t size, uint64_t mask)
{
	enum lab_rseq_result result = LAB_RSEQ_ABORTED;
	uint64_t gate;
	int turn;

	if (backend == LAB_PCP_TRYLOCK)
		return trylock_push_mask(cls, first, size, mask);
	for (turn = 0; turn < RETRIES && result == LAB_RSEQ_ABORTED && lab_rseq_open(&gate); turn++)
		result = lab_rseq_push_mask(gate, rseq_stack(cls), lab_pcp_class[cls].cap, first,
					    size, &mask);
	return mask;
}

unsigned int lab_pcp_pop_many(unsigned int cls, void **to, unsigned int want)
{
	enum lab_rseq_result result = LAB_RSEQ_ABORTED;
	uint32_t got = 0;
	uint64_t gate;
	int turn;

	if (backend == LAB_PCP_TRYLOCK)
		return trylock_pop_many(cls, to, want);
	for (turn = 0; turn < RETRIES && result == LAB_RSEQ_ABORTED && lab_rseq_open(&gate); turn++)
		result = lab_rseq_pop_many(gate, rseq_stack(cls), to, want, &got);
	return got;
}

unsigned int lab_pcp_push_many(unsigned int cls, void *const *from, unsigned int n)
{
	enum lab_rseq_result result = LAB_RSEQ_ABORTED;
	uint32_t got = 0;
	uint64_t gate;
	int turn;

	if (backend == LAB_PCP_TRYLOCK)
		return trylock_push_many(cls, from, n);
	for (turn = 0; turn < RETRIES && result == LAB_RSEQ_ABORTED && lab_rseq_open(&gate); turn++)
		result = lab_rseq_push_many(gate, rseq_stack(cls), lab_pcp_class[cls].cap, from, n,
					    &got);
	return got;
}

/* ---- all CPUs ---- */

/*
 * A hint, so that the stacks of CPUs that we never ran on stay untouched: read
 * while their owners may write.
 */
__attribute__((no_sanitize_thread)) static bool seems_empty(const struct lab_pcp_stack *stack)
{
	return *(const volatile uint32_t *)&stack->count == 0;
}

/* the stack is ours: entries 0 .. @left - 1, of which *held keeps account in rseq */
static void empty_stack(struct lab_pcp_stack *stack, unsigned int left, uint16_t *held,
			lab_pcp_sink_t *sink)
{
	void *chunk[LAB_PCP_CHUNK];
	unsigned int n, i;

	for (; left > 0; left -= n) {
		n = left < LAB_PCP_CHUNK ? left : LAB_PCP_CHUNK;
		for (i = 0; i < n; i++)
			chunk[i] = stack->slot[left - 1 - i];
		/* lowered first: a child of fork() must not find what we are giving back */
		if (held)
			*held = (uint16_t)(1 + left - n);
		else
			stack->count = left - n;
		lab_forget();
		sink(chunk, n);
	}
}

static size_t trylock_drain(unsigned int cpu, unsigned int cls, lab_pcp_sink_t *sink)
{
	struct lab_pcp_stack *stack = NULL;
	unsigned int n;

	if (!seems_empty(stack_of(cpu, cls)))
		stack = stack_try_on(cpu, cls);
	if (!stack)
		return 0;
	n = stack->count;
	empty_stack(stack, n, NULL, sink);
	stack_leave(stack);
	return n;
}

static bool rseq_seize(unsigned int cpu, unsigned int cls)
{
	struct lab_pcp_stack *stack = stack_of(cpu, cls);

	if (seems_empty(stack) || stack_is_shut(stack))
		return false;
	stack->held = (uint16_t)(1 + stack_seize(stack));
	return true;
}

/* @ours: the barrier was made, so a stack that is still shut is ours */
static size_t rseq_drain(unsigned int cpu, unsigned int cls, bool ours, lab_pcp_sink_t *sink)
{
	struct lab_pcp_stack *stack = stack_of(cpu, cls);
	unsigned int n = stack->held;
	size_t done = 0;

	if (n == 0)
		return 0;
	n--;
	if (ours && stack_is_shut(stack)) {
		empty_stack(stack, n, &stack->held, sink);
		done = n;
		n = 0;
	}
	/* else some sequence was under way, and its store has opened the stack again */
	stack_reopen(stack, n);
	stack->held = 0;
	return done;
}

/* the claim is ours */
static size_t rseq_drain_all(unsigned int first, unsigned int last, lab_pcp_sink_t *sink)
{
	unsigned int cpu, cls, nr = lab_cpus_nr();
	bool any = false;
	size_t done = 0;

	lab_word_set(&shut, (first + 1) | (uint64_t)last << 16);
	for (cpu = 0; cpu < nr; cpu++)
		for (cls = first; cls <= last; cls++)
			any |= rseq_seize(cpu, cls);
	if (any) {
		bool ours = lab_rseq_barrier();

		for (cpu = 0; cpu < nr; cpu++)
			for (cls = first; cls <= last; cls++)
				done += rseq_drain(cpu, cls, ours, sink);
	}
	lab_word_set(&shut, 0);
	return done;
}

size_t lab_pcp_drain_here(unsigned int first, unsigned int last, lab_pcp_sink_t *sink)
{
	void *chunk[LAB_PCP_CHUNK];
	size_t done = 0;
	unsigned int cls, left, n;

	for (cls = first; cls <= last; cls++) {
		for (left = lab_pcp_class[cls].cap; left > 0; left -= n) {
			n = lab_pcp_pop_many(cls, chunk,
					     left < LAB_PCP_CHUNK ? left : LAB_PCP_CHUNK);
			if (!n)
				break;
			sink(chunk, n);
			done += n;
		}
	}
	return done;
}

size_t lab_pcp_drain_all(unsigned int first, unsigned int last, lab_pcp_sink_t *sink)
{
	unsigned int cpu, cls, nr;
	size_t done = 0;
	uint64_t mask;

	if (backend == LAB_PCP_TRYLOCK) {
		nr = lab_cpus_nr();
		for (cpu = 0; cpu < nr; cpu++)
			for (cls = first; cls <= last; cls++)
				done += trylock_drain(cpu, cls, sink);
		return done;
	}
	/* asked for nothing, to hear whether it is possible */
	if (!lab_rseq_barrier())
		return lab_pcp_drain_here(first, last, sink);
	mask = lab_os_block_signals();
	if (lab_rseq_claim()) {
		done = rseq_drain_all(first, last, sink);
		lab_rseq_unclaim();
	} else {
		done = lab_pcp_drain_here(first, last, sink);
	}
	lab_os_restore_signals(mask);
	return done;
}
