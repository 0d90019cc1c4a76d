/* SPDX-License-Identifier: MIT */
/* Which CPU we run on, and whether restartable sequences protect us there. */
#ifndef LAB_OS_CPU_H
#define LAB_OS_CPU_H

#include "base/word.h"

/* CPUs with a stack of their own; on others the callers use the bitmaps. */
#define LAB_NR_CPUS 128u
/* log2 of the bytes between one CPU's area and the next one's */
#define LAB_CPU_SHIFT 16

/*
 * The gate of the sequences.  Even: the distance from the thread pointer to
 * libc's rseq area.  Odd: they may not be used, because they are not there, or
 * because (gate >> 1) children of vfork() run on the memory of this process:
 * the kernel does not restart sequences of such a child, which looks at the
 * area of its suspended parent.
 *
 * A thread that libc could not register holds a CPU number above LAB_NR_CPUS
 * in its area, so the same compare that bounds the table refuses it.
 */
extern LAB_HIDDEN lab_word_t lab_rseq_gate;

/*
 * The same for the hot paths of the page calls, which pass one gate in any case: odd as
 * well when the layers above want to see every request.
 */
extern LAB_HIDDEN lab_word_t lab_page_gate;

/*
 * And for malloc() and free().  They compare with a bound in any case, so here the bound
 * is the gate: less than any number while it is closed (bit 63), with the number of those
 * who keep it closed above the bound itself.  The distance is read apart; it is there
 * before the first of them opens, and stays.
 */
struct lab_hot_gates {
	lab_word_t sizes;  /* that have a stack, by steps of 16 */
	lab_word_t frames; /* that have their tables */
	uint64_t rseq;	   /* as lab_rseq_gate when it is open */
} LAB_LINE_ALIGNED;
#define LAB_BOUND_CLOSED (1ull << 63)
#define LAB_BOUND_ONE	 (1ull << 32) /* who keeps it closed */

extern LAB_HIDDEN struct lab_hot_gates lab_hot_gates;

/**
 * lab_bound_is_above() - is the gate open, and @n within its bound; one look
 * @n: less than 2^63
 *
 * On x86, where loads are in order, one instruction; the compiler would take two.  Not
 * where atomic accesses are watched by their calls.
 */
static LAB_ALWAYS_INLINE bool lab_bound_is_above(const lab_word_t *gate, uint64_t n)
{
	bool above;

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	__asm__ volatile("cmpq %[gate], %[n]"
			 : "=@ccl"(above)
			 : [gate] "m"(*gate), [n] "r"(n)
			 : "memory");
#else
	/* acquire: pairs with lab_bound_raise(), lab_cpu_init() [gate.bound] */
	above = (int64_t)atomic_load_explicit(gate, memory_order_acquire) > (int64_t)n;
#endif
	return LAB_LIKELY(above);
}

/** lab_bound_raise() - the bound is @n from now on, if it was less; open or closed as it is
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Order:   releases [gate.bound].
 */
void lab_bound_raise(lab_word_t *gate, uint32_t n);

static inline bool lab_bound_is_open(const lab_word_t *gate)
{
	return !(lab_word_get(gate) & LAB_BOUND_CLOSED);
}

/** lab_gate_open() - look at a gate once; @gate receives what it held */
static LAB_ALWAYS_INLINE bool lab_gate_open(const lab_word_t *which, uint64_t *gate)
{
	*gate = lab_word_get(which);
	return LAB_LIKELY(!(*gate & 1));
}

static LAB_ALWAYS_INLINE bool lab_rseq_open(uint64_t *gate)
{
	return lab_gate_open(&lab_rseq_gate, gate);
}

/**
 * lab_hot_close(), lab_page_close() - from now on malloc(), or the page calls, go
 *	their slow path, for good
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 */
void lab_hot_close(void);
void lab_page_close(void);

/** lab_hot_meter() - the same for malloc() alone, so that each request can be counted */
void lab_hot_meter(void);

/**
 * lab_cpu_init() - find libc's rseq registration
 *
 * Context: MT-Safe; once, from the constructor, when relocations are done.
 * Return:  true if sequences may be used.
 */
bool lab_cpu_init(void);

/** lab_cpu_fini() - close the gate for good */
void lab_cpu_fini(void);

/**
 * lab_vfork_enter(), lab_vfork_leave() - around vfork(), by the parent
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 */
void lab_vfork_enter(void);
void lab_vfork_leave(void);

/** lab_vfork_lives() - does a child of vfork() run on our memory; are we one, maybe */
static inline bool lab_vfork_lives(void)
{
	uint64_t gate = lab_word_get(&lab_rseq_gate);

	return gate & 1 && gate >> 1;
}

/* the count of a stack that belongs to who has shut it */
#define LAB_RSEQ_SHUT 0xffffffffu

/**
 * lab_rseq_claim() - become the one who works on the stacks of other CPUs
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call.
 * Order:   acquires [drain.claim].
 * Return:  false: somebody else of this process is at it.
 */
LAB_NODISCARD bool lab_rseq_claim(void);

/** lab_rseq_unclaim() - the end of it; releases [drain.claim] */
void lab_rseq_unclaim(void);

/** lab_rseq_is_claimed() - is somebody of this process at it; a hint */
bool lab_rseq_is_claimed(void);

/**
 * lab_rseq_barrier() - have the kernel restart every sequence that is under way
 *
 * On return those that come see all that the caller stored before, and the caller
 * sees all that they stored.  membarrier(2), 0.5 to 5 us.
 *
 * Return: true; false: not possible here (old kernel, sandbox, a child of vfork()
 *         lives, and may be us).
 */
LAB_NODISCARD bool lab_rseq_barrier(void);

/** lab_cpus_nr() - CPUs from this number on do not exist; at most LAB_NR_CPUS */
unsigned int lab_cpus_nr(void);

/**
 * lab_cpus_possible() - CPUs that there can ever be, at most LAB_NR_CPUS
 *
 * Stacks of CPUs from this number on are never used.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call.
 */
unsigned int lab_cpus_possible(void);

/** lab_cpus_export() - where the number is kept, for readers */
const char *lab_cpus_export(void);

/** lab_cpus_learn() - ask the system for it; once, from the constructor */
void lab_cpus_learn(void);

/** lab_cpus_ours() - for each CPU: may the calling thread run there now */
void lab_cpus_ours(lab_byte_t ours[LAB_NR_CPUS]);

/**
 * lab_cpu_now() - the CPU that runs us, 0 .. LAB_NR_CPUS - 1
 *
 * A hint: it may be another one by the time the caller looks.
 */
unsigned int lab_cpu_now(void);

#endif /* LAB_OS_CPU_H */
