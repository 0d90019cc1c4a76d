/* SPDX-License-Identifier: MIT */
/*
 * The hot paths of malloc and free, and their slow continuations.  Inline, so
 * that the symbols that programs call contain them: at a few nanoseconds a
 * pair, one more jump is seen.
 */
#ifndef LAB_API_HEAP_H
#define LAB_API_HEAP_H

#include "api/init.h"
#include "labyrinth.h"
#include "slab/cache.h"
#include "slab/large.h"

/*
 * Every free is held against the live byte.  The option check_free:0 is another
 * build of this layer, liblabyrinth-preload-nocheck.so: a branch on the hot paths
 * costs as much (measured: 0.3 ns) as the check itself (2.65 instead of 2.34 ns a
 * pair, calls included).
 */
#ifndef LAB_CHECK_FREE
#define LAB_CHECK_FREE 1
#endif

/* what the ABI demands of every block */
enum { LAB_MALLOC_ALIGN = 16 };

/**
 * lab_object_atomic() - memory of resident slabs, or NULL, counted and reported
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, no system call but the wake of the refiller.
 * Errno:   preserved.
 */
LAB_NOINLINE void *lab_object_atomic(size_t size, size_t align, labyrinth_gfp_t gfp);

/** lab_malloc_slow() - every size, when the stacks had nothing; sets ENOMEM */
LAB_NOINLINE void *lab_malloc_slow(size_t size);

/** lab_malloc_any() - the same, without watchers; @align is LAB_MALLOC_ALIGN */
typedef void *lab_malloc_fn(size_t align, size_t size);
lab_malloc_fn lab_malloc_any;

/**
 * lab_malloc_watched() - an object by @how, while requests are watched
 * @gfp: how it was asked for, for the watchers; lab_malloc_gfp() of malloc()
 */
LAB_NOINLINE void *lab_malloc_watched(size_t align, size_t size, labyrinth_gfp_t gfp,
				      lab_malloc_fn *how);
labyrinth_gfp_t lab_malloc_gfp(void);

/** lab_alloc_atomic() - a request inside an atomic section: resident memory, or none */
LAB_NOINLINE void *lab_alloc_atomic(size_t size, size_t align);

/** lab_no_memory() - count it, set ENOMEM; returns NULL */
void *lab_no_memory(void);

/** lab_free_slow() - NULL, large, API pages, foreign pointers and misuse */
LAB_NOINLINE void lab_free_slow(void *ptr);

/* Whose call a report names. */
enum lab_verb { LAB_VERB_FREE, LAB_VERB_REALLOC, LAB_VERB_USABLE };

/** lab_block_bytes() - usable bytes of a live block; reports and dies if it is none */
size_t lab_block_bytes(void *ptr, enum lab_verb verb);

/** lab_heap_pop() - a table look-up, a pop, a byte
 * @gate: distance to the area of the sequences
 * @step: 0 .. LAB_HOT_MAX / 16 - 1
 */
static LAB_ALWAYS_INLINE bool lab_heap_pop(uint64_t gate, size_t step, void **ptr)
{
	const struct lab_hot *hot = &lab_hot;
	lab_byte_t *live;

	if (LAB_UNLIKELY(lab_rseq_pop_at(gate, &hot->pop[step], ptr) != LAB_RSEQ_DONE))
		return false;
	if (LAB_CHECK_FREE) {
		live = lab_hot_live(hot, *ptr, hot->shift_of_size[step]);
		lab_byte_set(live, lab_live_value(*ptr));
	}
	return true;
}

/**
 * lab_heap_malloc() - malloc()
 *
 * Once there was an atomic section, the slow path looks for it.  It serves size 0, too.
 */
static LAB_ALWAYS_INLINE void *lab_heap_malloc(size_t size)
{
	size_t step = (size - 1) / 16;
	void *ptr;

	if (LAB_UNLIKELY(!lab_bound_is_above(&lab_hot_gates.sizes, step)) ||
	    LAB_UNLIKELY(!lab_heap_pop(lab_hot_gates.rseq, step, &ptr)))
		return lab_malloc_slow(size);
	return ptr;
}

/** lab_free_unstacked() - the rest of free(), when one attempt to stack failed */
LAB_NOINLINE void lab_free_unstacked(void *ptr);

/**
 * lab_heap_free() - free(): the kind, the live byte, a push
 *
 * Kinds up to LAB_PCP_PAGE are classes of malloc(); of no other frame, nor of one that
 * is free, does a live byte have LAB_LIVE, so the compare sends all others the slow way.
 */
static LAB_ALWAYS_INLINE void lab_heap_free(void *ptr)
{
	const struct lab_hot *hot = &lab_hot;
	uintptr_t pfn = lab_pfn_wide(ptr);
	lab_byte_t *live;
	size_t kind;

	if (LAB_UNLIKELY(!lab_bound_is_above(&lab_hot_gates.frames, pfn)))
		goto slow;
	kind = lab_byte_own(&lab_mem.kind[pfn]);
	if (LAB_CHECK_FREE) {
		live = lab_hot_live(hot, ptr, hot->shift_of_kind[kind]);
		if (LAB_UNLIKELY(lab_byte_own(live) != lab_live_value(ptr)))
			goto slow;
		lab_byte_set(live, 0);
	} else if (LAB_UNLIKELY(kind - 1 >= LAB_PCP_PAGE)) {
		goto slow;
	}
	if (LAB_UNLIKELY(lab_rseq_push_at(lab_hot_gates.rseq, &hot->push[kind], &hot->cap[kind],
					  ptr) != LAB_RSEQ_DONE))
		lab_free_unstacked(ptr);
	return;
slow:
	lab_free_slow(ptr);
}

#endif /* LAB_API_HEAP_H */
