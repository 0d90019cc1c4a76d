/* SPDX-License-Identifier: MIT */
/*
 * The restartable sequences, and nothing else (Linux rseq(2), x86-64).
 *
 * A sequence reads its CPU number, works on that CPU's stack with plain loads
 * and stores, and commits with one store.  If the thread is preempted,
 * migrated or given a signal between label 1 and label 2, the kernel moves it
 * to label 4 before anything else runs, so nothing else on this CPU ever sees
 * a half-made change, and a handler never runs inside one.  What was written
 * before the commit is invisible: it lies above the stack's count.
 *
 * A stack is a header, whose first 32 bits are the count, and slots from
 * byte 8 on: the top entry lies at header + 8 * count.  A count of LAB_RSEQ_SHUT,
 * less than empty to who takes and more than full to who puts, makes every
 * sequence leave without a store: see pcp/pcp.c.
 */
#ifndef LAB_OS_RSEQ_X86_64_H
#define LAB_OS_RSEQ_X86_64_H

#include "os/cpu.h"

#define LAB_RSEQ_USABLE 1

/*
 * The descriptor of the sequence between labels 1 and 2, aborted at 4.
 *
 * The area begins with two words of 32 bits, cpu_id_start and cpu_id.  Four
 * bytes from offset 2 are the upper half of the first, which is 0, and above it
 * the lower half of the second: the CPU number, shifted by 16 as we need it.  A
 * thread that is not registered has a negative cpu_id: far above the bound.
 */
static_assert(LAB_CPU_SHIFT == 16, "the sequences load the CPU number shifted");
#define LAB_RSEQ_BEGIN                                                                             \
	".pushsection __rseq_cs, \"aw\"\n\t"                                                       \
	".balign 32\n\t"                                                                           \
	"3: .long 0, 0\n\t"                                                                        \
	".quad 1f, 2f - 1f, 4f\n\t"                                                                \
	".popsection\n\t"                                                                          \
	"leaq 3b(%%rip), %[at]\n\t"                                                                \
	"movq %[at], %%fs:8(%[rseq])\n\t"                                                          \
	"1:\n\t"                                                                                   \
	"movl %%fs:2(%[rseq]), %k[at]\n\t"                                                         \
	"cmpl %[ncpu], %k[at]\n\t"                                                                 \
	"ja %l[nocpu]\n\t"                                                                         \
	"addq %[stack], %[at]\n\t"                                                                 \
	"movl (%[at]), %k[count]\n\t"

/* RSEQ_SIG stands before the abort label; 0f b9 3d makes it a valid ud1. */
#define LAB_RSEQ_COMMIT "movl %k[count], (%[at])\n\t" LAB_RSEQ_END
#define LAB_RSEQ_END                                                                               \
	"2:\n\t"                                                                                   \
	".pushsection __rseq_abort, \"ax\"\n\t"                                                    \
	".byte 0x0f, 0xb9, 0x3d\n\t"                                                               \
	".long 0x53053053\n\t"                                                                     \
	"4: jmp %l[aborted]\n\t"                                                                   \
	".popsection\n\t"

#define LAB_RSEQ_INPUT                                                                             \
	[rseq] "r"(gate), [stack] "r"(stack), [ncpu] "i"((LAB_NR_CPUS - 1) << LAB_CPU_SHIFT)

/* The same, with the address of the header, and the capacity, read where they lie. */
#define LAB_RSEQ_INPUT_AT                                                                          \
	[rseq] "r"(gate), [stack] "m"(*stack), [ncpu] "i"((LAB_NR_CPUS - 1) << LAB_CPU_SHIFT)

#define LAB_RSEQ_POP(also)                                                                         \
	LAB_RSEQ_BEGIN                                                                             \
	"subl $1, %k[count]\n\t"                                                                   \
	"jl %l[edge]\n\t"                                                                          \
	"movq 8(%[at], %[count], 8), %[entry]\n\t" also LAB_RSEQ_COMMIT

#define LAB_RSEQ_PUSH(compare)                                                                     \
	LAB_RSEQ_BEGIN compare "jae %l[edge]\n\t"                                                  \
			       "movq %[entry], 8(%[at], %[count], 8)\n\t"                          \
			       "incl %k[count]\n\t" LAB_RSEQ_COMMIT

/* acquire: pairs with stack_reopen(), pcp.c: x86 loads in order [stack.shut] */
enum lab_rseq_result { LAB_RSEQ_DONE, LAB_RSEQ_EDGE, LAB_RSEQ_ABORTED, LAB_RSEQ_NOCPU };

/* The ends of a sequence that may find an edge. */
#define LAB_RSEQ_RETURN                                                                            \
	return LAB_RSEQ_DONE;                                                                      \
	edge:                                                                                      \
	return LAB_RSEQ_EDGE;                                                                      \
	nocpu:                                                                                     \
	return LAB_RSEQ_NOCPU;                                                                     \
	aborted:                                                                                   \
	return LAB_RSEQ_ABORTED

/**
 * lab_rseq_pop() - take the top of this CPU's stack
 * @gate:  what lab_rseq_gate held when it was found open: one look decides, as
 *         the gate may close at any time
 * @stack: header of CPU 0's; that of CPU n lies n << LAB_CPU_SHIFT further
 * @out:   receives the entry
 *
 * Commits by storing count - 1.  An abort leaves everything as it was.
 *
 * Return: DONE; EDGE (empty); ABORTED (try again); NOCPU (not registered).
 */
static LAB_ALWAYS_INLINE enum lab_rseq_result lab_rseq_pop(uint64_t gate, void *stack, void **out)
{
	uintptr_t at, count, entry;

	__asm__ goto volatile(LAB_RSEQ_POP("")
			      : [at] "=&r"(at), [count] "=&r"(count), [entry] "=&a"(entry)
			      : LAB_RSEQ_INPUT
			      : "memory", "cc"
			      : edge, nocpu, aborted);
	*out = (void *)entry;
	LAB_RSEQ_RETURN;
}

/**
 * lab_rseq_pop_metered() - lab_rseq_pop(), while a meter of this CPU stands above 1
 * @meter: bytes from the stack to the meter, a word of 64 bits; it goes down by 1
 *
 * An abort may leave the meter down by 1, and everything else as it was.
 *
 * Return: as lab_rseq_pop(); EDGE if the stack is empty, or the meter at 1 or 0.
 */
static LAB_ALWAYS_INLINE enum lab_rseq_result lab_rseq_pop_metered(uint64_t gate, void *stack,
								   ptrdiff_t meter, void **out)
{
	uintptr_t at, count, entry;

	__asm__ goto volatile(LAB_RSEQ_POP("cmpq $1, (%[at], %[meter])\n\t"
					   "jbe %l[edge]\n\t"
					   "subq $1, (%[at], %[meter])\n\t")
			      : [at] "=&r"(at), [count] "=&r"(count), [entry] "=&a"(entry)
			      : LAB_RSEQ_INPUT, [meter] "r"(meter)
			      : "memory", "cc"
			      : edge, nocpu, aborted);
	*out = (void *)entry;
	LAB_RSEQ_RETURN;
}

/**
 * lab_rseq_push() - put @entry on this CPU's stack
 * @cap: entries that the stack holds
 *
 * Writes the slot above the count, which nobody reads, then commits by
 * storing count + 1.
 *
 * Return: DONE; EDGE (full); ABORTED (try again); NOCPU (not registered).
 */
static LAB_ALWAYS_INLINE enum lab_rseq_result lab_rseq_push(uint64_t gate, void *stack,
							    uint32_t cap, void *entry)
{
	uintptr_t at, count;

	__asm__ goto volatile(LAB_RSEQ_PUSH("cmpl %[cap], %k[count]\n\t")
			      : [at] "=&r"(at), [count] "=&r"(count)
			      : LAB_RSEQ_INPUT, [cap] "ri"(cap), [entry] "r"(entry)
			      : "memory", "cc"
			      : edge, nocpu, aborted);
	LAB_RSEQ_RETURN;
}

/**
 * lab_rseq_pop_at(), lab_rseq_push_at() - the same for who finds the header's address in
 *	a table, and needs no register for it
 *
 * Of a count the lower half is compared: of LAB_RSEQ_SHUT it is above any capacity too.
 */
static LAB_ALWAYS_INLINE enum lab_rseq_result lab_rseq_pop_at(uint64_t gate, char *const *stack,
							      void **out)
{
	uintptr_t at, count, entry;

	__asm__ goto volatile(LAB_RSEQ_POP("")
			      : [at] "=&r"(at), [count] "=&r"(count), [entry] "=&a"(entry)
			      : LAB_RSEQ_INPUT_AT
			      : "memory", "cc"
			      : edge, nocpu, aborted);
	*out = (void *)entry;
	LAB_RSEQ_RETURN;
}

static LAB_ALWAYS_INLINE enum lab_rseq_result lab_rseq_push_at(uint64_t gate, char *const *stack,
							       const uint16_t *cap, void *entry)
{
	uintptr_t at, count;

	__asm__ goto volatile(LAB_RSEQ_PUSH("cmpw %[cap], %w[count]\n\t")
			      : [at] "=&r"(at), [count] "=&r"(count)
			      : LAB_RSEQ_INPUT_AT, [cap] "m"(*cap), [entry] "r"(entry)
			      : "memory", "cc"
			      : edge, nocpu, aborted);
	LAB_RSEQ_RETURN;
}

/**
 * lab_rseq_add() - count on this CPU, without a lock prefix
 * @word: that of CPU 0; those of others lie as stacks do
 *
 * Commits by the addition.
 *
 * Return: DONE; ABORTED (try again); NOCPU (not registered).
 */
static inline enum lab_rseq_result lab_rseq_add(uint64_t gate, void *word, uint64_t n)
{
	uintptr_t at, count;
	void *stack = word;

	__asm__ goto volatile(LAB_RSEQ_BEGIN "addq %[n], (%[at])\n\t" LAB_RSEQ_END
			      : [at] "=&r"(at), [count] "=&r"(count)
			      : LAB_RSEQ_INPUT, [n] "r"(n)
			      : "memory", "cc"
			      : nocpu, aborted);
	return LAB_RSEQ_DONE;
nocpu:
	return LAB_RSEQ_NOCPU;
aborted:
	return LAB_RSEQ_ABORTED;
}

#endif /* LAB_OS_RSEQ_X86_64_H */
