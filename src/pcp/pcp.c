/* SPDX-License-Identifier: MIT */
#include "pcp/pcp.h"
#include "base/bits.h"

/* Aborts in a row before we leave a stack alone: a storm must not hold us. */
enum { RETRIES = 4 };

struct lab_pcp_area lab_pcp_area[LAB_NR_CPUS] __attribute__((aligned(1u << LAB_CPU_SHIFT)));

static enum lab_pcp_backend backend;

static struct lab_pcp_stack *stack_of(unsigned int cpu, unsigned int cls)
{
	return (void *)(lab_pcp_area[cpu].bytes + lab_pcp_class[cls].stack);
}

#define ONE(cls)                                                                                   \
	{                                                                                          \
		LAB_PCP_STACK(cls##u), LAB_PCP_CAP(cls##u)                                         \
	}
#define AT(cls)                                                                                    \
	{                                                                                          \
		LAB_PCP_STACK((cls)), LAB_PCP_CAP((cls))                                           \
	}
#define FOUR(cls)   AT((cls)), AT((cls) + 1u), AT((cls) + 2u), AT((cls) + 3u)
#define TWELVE(cls) FOUR(cls), FOUR((cls) + 4u), FOUR((cls) + 8u)

const struct lab_pcp_class lab_pcp_class[LAB_PCP_NR] = {
	{ 0, 0 },    TWELVE(1u),  TWELVE(13u), TWELVE(25u), TWELVE(37u),
	TWELVE(49u), TWELVE(61u), ONE(73),     ONE(74),	    ONE(75),
};

/* no stack reaches into the next one */
#define END(cls) (LAB_PCP_STACK(cls) + 8u * (LAB_PCP_CAP(cls) + 1u))
static_assert(END(8u) <= LAB_PCP_STACK(9u) && END(24u) <= LAB_PCP_STACK(25u) &&
		      END(40u) <= LAB_PCP_STACK(41u) && END(56u) <= LAB_PCP_STACK(57u) &&
		      END(72u) <= LAB_PCP_STACK(73u) && END(73u) <= LAB_PCP_STACK(74u) &&
		      END(74u) <= LAB_PCP_STACK(75u) && END(75u) <= 1u << LAB_CPU_SHIFT,
	      "stacks overlap");
static_assert(LAB_PCP_STACK(74u) / 4096 == (END(75u) - 1) / 4096,
	      "the stacks of atomic requests lie on one page");

void lab_pcp_init(void)
{
	lab_byte_t ours[LAB_NR_CPUS];
	unsigned int cpu;

	/* atomic requests take no page fault: the stacks they use are touched now */
	lab_cpus_ours(ours);
	for (cpu = 0; cpu < LAB_NR_CPUS; cpu++)
		if (lab_byte_get(&ours[cpu]))
			lab_byte_set(&stack_of(cpu, LAB_PCP_API)->busy, 0);
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
static struct lab_pcp_stack *stack_try(unsigned int cls)
{
	struct lab_pcp_stack *stack = stack_of(lab_cpu_now(), cls);
	uint8_t idle = 0;

	/* acquire: pairs with stack_leave() [stack.busy] */
	if (atomic_compare_exchange_strong_explicit(&stack->busy, &idle, 1, memory_order_acquire,
						    memory_order_relaxed))
		return stack;
	return NULL;
}

static void stack_leave(struct lab_pcp_stack *stack)
{
	/* release: pairs with stack_try() [stack.busy] */
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
		stack->slot[stack->count++] = (void *)(first + lab_ctz(mask) * size);
		mask &= mask - 1;
	}
	stack_leave(stack);
	return mask;
}

static unsigned int trylock_pop_many(unsigned int cls, void **to, unsigned int want)
{
	struct lab_pcp_stack *stack = stack_try(cls);
	unsigned int n = 0;

	if (!stack)
		return 0;
	while (stack->count && n < want)
		to[n++] = stack->slot[--stack->count];
	stack_leave(stack);
	return n;
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
	return lab_pcp_area->bytes + lab_pcp_class[cls].stack;
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
