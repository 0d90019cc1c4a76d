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
 * costs more (measured: 0.3 ns) than the check itself (2.95 instead of 2.70 ns a
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
 * @gate: lab_hot_gate, or lab_rseq_gate for who has looked for atomic sections
 * @size: 0 .. LAB_HOT_MAX
 */
static LAB_ALWAYS_INLINE bool lab_heap_pop(const lab_word_t *gate, size_t size, void **ptr)
{
	const struct lab_hot_size *hot = &lab_hot_size[(size + 15) / 16];
	unsigned int shift = hot->shift;

	if (LAB_UNLIKELY(!lab_pcp_try_pop_by(gate, hot->stack, ptr)))
		return false;
	if (LAB_CHECK_FREE)
		lab_byte_set(lab_live_byte(*ptr, shift), lab_live_value(*ptr));
	return true;
}

/** lab_heap_malloc() - malloc(); once there was an atomic section, the slow path looks for it */
static LAB_ALWAYS_INLINE void *lab_heap_malloc(size_t size)
{
	void *ptr;

	if (LAB_UNLIKELY(size > LAB_HOT_MAX) ||
	    LAB_UNLIKELY(!lab_heap_pop(&lab_hot_gate, size, &ptr)))
		return lab_malloc_slow(size);
	return ptr;
}

/** lab_free_unstacked() - the rest of free(), when one attempt to stack failed */
LAB_NOINLINE void lab_free_unstacked(void *ptr);

/**
 * lab_heap_free() - free(): the kind, the live byte, a push
 *
 * Kinds up to LAB_PCP_PAGE are classes of malloc(), or LAB_KIND_FREE: then no
 * live byte is set there, and the compare sends us the slow way.
 */
static LAB_ALWAYS_INLINE void lab_heap_free(void *ptr)
{
	const struct lab_hot_kind *hot;
	uintptr_t pfn = lab_pfn_wide(ptr);
	lab_byte_t *live;
	uint8_t kind;

	if (LAB_UNLIKELY(!lab_mem_covers_fast(pfn)))
		goto slow;
	kind = lab_byte_own(&lab_mem.kind[pfn]);
	if (LAB_UNLIKELY(kind > LAB_PCP_PAGE))
		goto slow;
	hot = &lab_hot_kind[kind];
	if (LAB_CHECK_FREE) {
		live = lab_live_byte(ptr, hot->shift);
		if (LAB_UNLIKELY(lab_byte_own(live) != lab_live_value(ptr)))
			goto slow;
		lab_byte_set(live, 0);
	} else if (LAB_UNLIKELY(kind == LAB_KIND_FREE)) {
		goto slow;
	}
	if (LAB_UNLIKELY(!lab_pcp_try_push_by(&lab_hot_gate, hot->stack, hot->cap, ptr)))
		lab_free_unstacked(ptr);
	return;
slow:
	lab_free_slow(ptr);
}

#endif /* LAB_API_HEAP_H */
