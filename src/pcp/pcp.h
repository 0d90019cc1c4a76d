/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU stacks of free objects, one per class.  Mirrors struct
 * per_cpu_pages, include/linux/mmzone.h.
 *
 * A stack is an optimisation and nothing else: whenever it cannot be used at
 * once (empty, full, busy, a storm of signals, an unknown CPU, before the
 * constructor) the caller goes to the bitmaps below, which always work.
 *
 * Back ends, chosen once, by the constructor; "none" until then:
 *   rseq      restartable sequences: plain stores, made atomic by the kernel
 *   trylock   a lock byte per stack, only ever tried
 */
#ifndef LAB_PCP_PCP_H
#define LAB_PCP_PCP_H

#include "base/word.h"
#include "os/rseq.h"

/* Classes 1 .. LAB_PCP_SLABS are the slab layer's; then pages. */
#define LAB_PCP_SLABS 72u
#define LAB_PCP_PAGE  73u /* pages that malloc hands out, heap's and reserve's */
#define LAB_PCP_API   74u /* pages of the reserve, for labyrinth_alloc_page() */
#define LAB_PCP_EXCL  75u /* pages of the exclusive zone */
#define LAB_PCP_ZERO  76u /* pages of the reserve that read as zero */
#define LAB_PCP_MAP   77u /* pages of mmap(), one at a time; then runs of 2 .. 16 of them */
#define LAB_PCP_NR    93u

/*
 * Entries per stack: at most 32 KiB of objects up to 128 bytes and from 576 to 2048,
 * 64 KiB of those between, 256 KiB of larger ones, 2 MiB of pages.  Of the small
 * exclusive zone a quarter, as a thread that is frozen at a stack keeps all of it.
 */
#define LAB_PCP_CAP(cls)                                                                           \
	((cls) <= 4u ? 512u : /* 16 .. 64 bytes */                                                 \
		 (cls) <= 8u ? 256u                                                                \
			     : /* 80 .. 128 */                                                     \
		 (cls) <= 24u ? 128u                                                               \
			      : /* 144 .. 512 */                                                   \
		 (cls) <= 32u ? 32u                                                                \
			      : /* 576 .. 1024 */                                                  \
		 (cls) <= 56u ? 16u                                                                \
			      : /* 1152 .. 8192 */                                                 \
		 (cls) <= 72u ? 8u                                                                 \
			      : /* 9216 .. 32768 */                                                \
		 (cls) == 73u ? 510u                                                               \
	 : (cls) == 74u	      ? 64u                                                                \
	 : (cls) == 75u	      ? 8u                                                                 \
	 : (cls) == 76u	      ? 16u                                                                \
	 : (cls) == 77u	      ? 64u                                                                \
			      : 4u)

#define LAB_PCP_GROUP(cls, first, start)                                                           \
	((start) + ((cls) - (first)) * 8u * (LAB_PCP_CAP(first) + 1u))
/* Bytes from a CPU's area to a stack; of pages 0x208 modulo 4096, see ORIGIN in page/reserve.c. */
#define LAB_PCP_STACK(cls)                                                                         \
	((cls) <= 4u	? LAB_PCP_GROUP(cls, 1u, 64u)                                              \
	 : (cls) <= 8u	? LAB_PCP_GROUP(cls, 5u, 16512u)                                           \
	 : (cls) <= 24u ? LAB_PCP_GROUP(cls, 9u, 24832u)                                           \
	 : (cls) <= 32u ? LAB_PCP_GROUP(cls, 25u, 41408u)                                          \
	 : (cls) <= 56u ? LAB_PCP_GROUP(cls, 33u, 43520u)                                          \
	 : (cls) <= 72u ? LAB_PCP_GROUP(cls, 57u, 47936u)                                          \
	 : (cls) == 73u ? 49672u                                                                   \
	 : (cls) == 74u ? 53768u                                                                   \
	 : (cls) == 75u ? LAB_PCP_WIPED + 1048u                                                    \
	 : (cls) == 76u ? 54296u                                                                   \
	 : (cls) == 77u ? 54432u                                                                   \
			: LAB_PCP_GROUP(cls, 78u, 54952u))

/*
 * Exclusive pages have their stacks in areas of their own, a second row of them,
 * which fork() wipes: a child finds them empty, and no stack is write-protected
 * in the parent.
 */
#define LAB_PCP_WIPED (LAB_NR_CPUS << LAB_CPU_SHIFT)

struct lab_pcp_class {
	uint32_t stack; /* LAB_PCP_STACK */
	uint32_t cap;	/* LAB_PCP_CAP */
};

/* The head of a stack; entry i of its slots lies at 8 * (i + 1) from here. */
struct lab_pcp_stack {
	uint32_t count;
	lab_byte_t busy; /* trylock: 1 while somebody works on it */
	uint16_t held;	 /* rseq: 1 + entries of a stack that is being drained, else 0 */
	void *slot[];
};
static_assert(offsetof(struct lab_pcp_stack, slot) == 8, "the sequences know this layout");

/* One CPU's stacks; all zero is all empty. */
struct lab_pcp_area {
	char bytes[1u << LAB_CPU_SHIFT];
};

extern LAB_HIDDEN struct lab_pcp_area lab_pcp_area[2 * LAB_NR_CPUS];
extern LAB_HIDDEN const struct lab_pcp_class lab_pcp_class[LAB_PCP_NR];

enum lab_pcp_backend { LAB_PCP_NONE, LAB_PCP_RSEQ, LAB_PCP_TRYLOCK };

/**
 * lab_pcp_init() - choose the back end
 *
 * Context: once, from the constructor, before the program's threads.
 */
void lab_pcp_init(void);

/**
 * lab_pcp_touch_exclusive() - make the stacks of exclusive pages resident again
 *
 * After lab_excl_revive(): fork() has wiped them.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  A system call (sched_getaffinity).
 */
void lab_pcp_touch_exclusive(void);

/** lab_pcp_fini() - back to no stacks at all; what they hold stays there */
void lab_pcp_fini(void);
enum lab_pcp_backend lab_pcp_backend(void);

/**
 * lab_pcp_try_pop_by(), lab_pcp_try_pop() - one attempt, under rseq alone: the hot path
 * @by:    the gate to pass: lab_rseq_gate, or lab_page_gate
 * @stack: LAB_PCP_STACK of the class
 * @entry: receives the object
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call.
 * Return:  false: call lab_pcp_pop() before giving up.
 */
LAB_NODISCARD static LAB_ALWAYS_INLINE bool lab_pcp_try_pop_by(const lab_word_t *by, size_t stack,
							       void **entry)
{
	uint64_t gate;

	return lab_gate_open(by, &gate) &&
	       LAB_LIKELY(lab_rseq_pop(gate, (char *)lab_pcp_area + stack, entry) == LAB_RSEQ_DONE);
}

LAB_NODISCARD static LAB_ALWAYS_INLINE bool lab_pcp_try_pop(size_t stack, void **entry)
{
	return lab_pcp_try_pop_by(&lab_rseq_gate, stack, entry);
}

/** lab_pcp_try_push_by(), lab_pcp_try_push() - the same; false: call lab_pcp_push() */
LAB_NODISCARD static LAB_ALWAYS_INLINE bool lab_pcp_try_push_by(const lab_word_t *by, size_t stack,
								uint32_t cap, void *entry)
{
	uint64_t gate;

	return lab_gate_open(by, &gate) &&
	       LAB_LIKELY(lab_rseq_push(gate, (char *)lab_pcp_area + stack, cap, entry) ==
			  LAB_RSEQ_DONE);
}

LAB_NODISCARD static LAB_ALWAYS_INLINE bool lab_pcp_try_push(size_t stack, uint32_t cap,
							     void *entry)
{
	return lab_pcp_try_push_by(&lab_rseq_gate, stack, cap, entry);
}

/**
 * lab_pcp_pop() - take an object from this CPU's stack
 * @cls: 1 .. LAB_PCP_NR - 1
 *
 * Context: MT-Safe, AS-Safe.  Bounded: a few retries, then gives up.  No
 *          system call but getcpu(2) under trylock, where the vDSO lacks it.
 * Return:  the object, or NULL: empty, or not now.
 */
void *lab_pcp_pop(unsigned int cls);

/**
 * lab_pcp_push() - put an object on this CPU's stack
 *
 * Context: as lab_pcp_pop().
 * Return:  false: full, or not now; the caller still owns the object.
 */
LAB_NODISCARD bool lab_pcp_push(unsigned int cls, void *entry);

/**
 * lab_pcp_push_mask() - put objects on this CPU's stack, the lowest on top
 * @first: address of the object of bit 0 of @mask
 * @size:  bytes from one object to the next
 *
 * Return: those of @mask that found no room; the caller still owns them.
 */
LAB_NODISCARD uint64_t lab_pcp_push_mask(unsigned int cls, const char *first, size_t size,
					 uint64_t mask);

/**
 * lab_pcp_pop_many() - take up to @want entries off the top, the top one last
 *
 * @to may have been written beyond those that are returned.
 *
 * Return: how many; 0: empty, or not now.
 */
unsigned int lab_pcp_pop_many(unsigned int cls, void **to, unsigned int want);

/**
 * lab_pcp_push_many() - put entries on this CPU's stack, the first of them first
 *
 * Return: how many of @n found room; the caller still owns the others.
 */
LAB_NODISCARD unsigned int lab_pcp_push_many(unsigned int cls, void *const *from, unsigned int n);

/**
 * lab_pcp_sink_t - takes entries that were on a stack
 * @n: 1 .. LAB_PCP_CHUNK
 */
typedef void lab_pcp_sink_t(void *const *entries, unsigned int n);
#define LAB_PCP_CHUNK 16u

/**
 * lab_pcp_drain_all() - empty the stacks of all CPUs
 * @first: class; those up to @last are emptied at one go
 * @sink:  gives the entries back to where they came from; must not use stacks
 *
 * Best effort, nobody waits: a stack that somebody is at work on is left out, and one
 * that we are at work on is empty and full to everybody else.  Under rseq one thread
 * drains at a time, others their own CPU's; so where there is no membarrier(2) for it.
 *
 * Under rseq signals are blocked meanwhile, but those that our own instructions
 * raise.  A handler of these that leaves by a jump, and a thread that is frozen
 * here, leave the stacks that had entries shut: their CPUs use the bitmaps for
 * these classes from there on.  fork() meanwhile: the child reopens them.
 *
 * Context: MT-Safe, AS-Safe, but for ordinary calls: system calls under rseq.
 * Mirrors: drain_all_pages(), mm/page_alloc.c.
 * Return:  how many entries went to @sink.
 */
size_t lab_pcp_drain_all(unsigned int first, unsigned int last, lab_pcp_sink_t *sink);

/** lab_pcp_drain_here() - of this CPU alone, without a system call: for a sandbox, too */
size_t lab_pcp_drain_here(unsigned int first, unsigned int last, lab_pcp_sink_t *sink);

typedef size_t lab_pcp_drain_t(unsigned int first, unsigned int last, lab_pcp_sink_t *sink);

/** lab_pcp_is_usable() - could this CPU's stack take anything now; a hint */
bool lab_pcp_is_usable(unsigned int cls);

/** lab_pcp_batch() - objects to move between a stack and the bitmaps at once */
static inline unsigned int lab_pcp_batch(unsigned int cls)
{
	return lab_pcp_class[cls].cap > 128 ? 64 : lab_pcp_class[cls].cap / 2;
}

/** lab_pcp_cpu() - the CPU whose stacks we would use; a hint */
unsigned int lab_pcp_cpu(void);

#endif /* LAB_PCP_PCP_H */
