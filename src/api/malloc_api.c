/* SPDX-License-Identifier: MIT */
/* The malloc family: glibc's semantics, checks and errno, then the layers. */
#include <errno.h>

#include "api/heap.h"
#include "api/report.h"
#include "base/probe.h"
#include "diag/watch.h"
#include "gfp/alloc.h"
#include "gfp/reclaim.h"
#include "gfp/scope.h"
#include "gfp/warn.h"
#include "labyrinth.h"
#include "map/map.h"
#include "os/os.h"
#include "page/event.h"
#include "pcp/flow.h"
#include "slab/atomic.h"

void *lab_no_memory(void)
{
	lab_event_add(LAB_EV_FAIL_MALLOC, 1);
	LAB_PROBE0(malloc_failure);
	lab_os_set_errno(ENOMEM);
	return NULL;
}

/* a request inside an atomic section: resident memory, or none */
void *lab_alloc_atomic(size_t size, size_t align)
{
	void *ptr = lab_object_atomic(size, align, LABYRINTH_GFP_ATOMIC);

	return ptr ? ptr : lab_no_memory();
}

/* classes whose stacks are still to be emptied, as a burst is over */
static lab_word_t to_trim;
static lab_word_t to_shrink; /* 1: the reserve has steps to take after that */

/*
 * A few at a time: what a free() does besides is bounded.  Of the stacks this CPU's alone:
 * the system calls that it takes to empty others would end a program in a sandbox.
 */
static LAB_NOINLINE void trim_some(uint64_t left)
{
	enum { PIECE = 4 };
	uint64_t rest = left > PIECE ? left - PIECE : 0;

	if (!lab_word_swap(&to_trim, left, rest))
		return;
	lab_cache_trim((unsigned int)rest + 1, (unsigned int)left, lab_pcp_drain_here);
	if (!rest) {
		(void)lab_pages_drain(lab_pcp_drain_here);
		lab_word_set(&to_shrink, 1);
	}
}

/* what frees are also for; inside a section they make no system call */
static void upkeep(void)
{
	uint64_t left;

	if (lab_scope_is_atomic())
		return;
	if (LAB_UNLIKELY(lab_heap_decay()))
		lab_word_set(&to_trim, LAB_NR_CLASSES - 1);
	left = lab_word_get(&to_trim);
	if (LAB_UNLIKELY(left))
		trim_some(left);
	else if (LAB_UNLIKELY(lab_word_get(&to_shrink)) && !lab_zones_shrink())
		lab_word_set(&to_shrink, 0);
}

/* ---- malloc, free ---- */

/* an object of a class, live; the one attempt of the hot path has failed */
static void *class_alloc(unsigned int cls)
{
	void *ptr = lab_pcp_pop(cls);

	if (!ptr)
		ptr = cls == LAB_PCP_PAGE ? lab_page_alloc() : lab_cache_alloc(cls);
	if (ptr)
		lab_byte_set(lab_live_byte(ptr, lab_live_shift(cls)), lab_live_value(ptr));
	return ptr;
}

/* any size up to PTRDIFF_MAX; @clean receives whether it reads as zero; keeps errno */
static void *alloc_clean(size_t size, bool *clean)
{
	*clean = false;
	if (size <= LAB_CLASS_MAX)
		return class_alloc(lab_class_of(size));
	if (size > PTRDIFF_MAX)
		return NULL;
	return lab_large_alloc(size, LAB_PAGE_BYTES, clean);
}

static LAB_NOINLINE void *malloc_slow(size_t size)
{
	bool clean;
	void *ptr;

	if (lab_is_aside())
		return lab_libc.realloc(NULL, size);
	if (lab_scope_is_atomic())
		return lab_alloc_atomic(size, LAB_MALLOC_ALIGN);
	lab_warn_poll();
	ptr = alloc_clean(size, &clean);
	return ptr ? ptr : lab_no_memory();
}

/*
 * The hot path again: its own gate is closed where there are sections, and watchers, and
 * where its table could not be filled in, so that one is not used here.
 */
void *lab_malloc_any(size_t align, size_t size)
{
	unsigned int cls;
	void *ptr;

	(void)align;
	if (size <= LAB_HOT_MAX && !lab_scope_is_atomic()) {
		cls = lab_class_of(size);
		if (LAB_LIKELY(lab_pcp_try_pop(lab_pcp_class[cls].stack, &ptr))) {
			lab_byte_set(lab_live_byte(ptr, lab_live_shift(cls)), lab_live_value(ptr));
			return ptr;
		}
	}
	return malloc_slow(size);
}

/*
 * Inside a section: to the bitmaps, which are resident as the object was in use.
 * This CPU's stack may lie on pages that nobody has touched so far.
 */
static LAB_NOINLINE void free_atomic(unsigned int cls, void *ptr)
{
	if (cls == LAB_PCP_PAGE)
		lab_page_give(ptr);
	else
		lab_cache_give(cls, ptr);
}

/* an object of a class, not live any more */
static void class_free(unsigned int cls, void *ptr)
{
	if (lab_scope_is_atomic()) {
		free_atomic(cls, ptr);
		return;
	}
	/* the hot path again: its own gate is closed where there are sections */
	if (lab_pcp_try_push(lab_pcp_class[cls].stack, lab_pcp_class[cls].cap, ptr) ||
	    lab_pcp_push(cls, ptr))
		return;
	if (cls == LAB_PCP_PAGE)
		lab_page_free(ptr);
	else
		lab_cache_free(cls, ptr);
	upkeep();
}

/* a large or huge object; false: another context has freed it in this moment */
static bool large_free(void *ptr)
{
	/* a handler may free what came from the reserve: no system call then */
	bool heap = lab_zone_of(lab_pfn_of(ptr)) == LAB_ZONE_HEAP;

	if (!lab_large_free(ptr))
		return false;
	if (heap)
		upkeep();
	return true;
}

static void give_back(void *ptr)
{
	unsigned int kind = lab_mem_kind(ptr);

	if (kind <= LAB_PCP_PAGE)
		class_free(kind, ptr);
	else if (!(lab_is_atomic_class(kind) ? lab_atomic_free(ptr, kind) : large_free(ptr)))
		lab_report_block(ptr, LAB_VERB_FREE);
}

/* what the watchers let go in place of @ptr, of which there are @bytes */
static LAB_NOINLINE void watched_free(void *ptr, size_t bytes)
{
	ptr = lab_watch_free(ptr, bytes);
	do {
		if (ptr)
			give_back(ptr);
		ptr = lab_watch_next(false);
	} while (ptr);
}

/* memory is short: what the watchers keep is better than nothing */
static LAB_COLD bool give_back_all(void)
{
	bool any = false;
	void *ptr;

	while (!lab_scope_is_atomic() && (ptr = lab_watch_next(true))) {
		give_back(ptr);
		any = true;
	}
	return any;
}

/* what a request of malloc() is in the kernel's terms */
labyrinth_gfp_t lab_malloc_gfp(void)
{
	return lab_scope_is_atomic() ? LABYRINTH_GFP_ATOMIC : LABYRINTH_GFP_KERNEL;
}

void *lab_malloc_watched(size_t align, size_t size, labyrinth_gfp_t gfp, lab_malloc_fn *how)
{
	const struct lab_request request = { .bytes = size, .gfp = gfp, .order = LAB_OBJECT };
	void *ptr;

	if (lab_watch_refuses(&request)) {
		lab_os_set_errno(ENOMEM);
		return NULL;
	}
	size += lab_watch_pad(size);
	ptr = how(align, size);
	if (!ptr && give_back_all())
		ptr = how(align, size);
	if (ptr)
		lab_watch_alloc(ptr, &request);
	return ptr;
}

static LAB_NOINLINE void *malloc_rest(size_t size)
{
	if (!lab_is_watched())
		return lab_malloc_any(LAB_MALLOC_ALIGN, size);
	return lab_malloc_watched(LAB_MALLOC_ALIGN, size, lab_malloc_gfp(), lab_malloc_any);
}

/* lab_heap_pop() where samples are taken: while none is due */
static LAB_ALWAYS_INLINE bool pop_metered(size_t size, void **ptr)
{
	unsigned int cls = lab_class_of(size);

	/* malloc()'s own gate is closed because of us; free()'s is as it was before */
	if (LAB_UNLIKELY(!lab_bound_is_open(&lab_hot_gates.frames)) ||
	    LAB_UNLIKELY(
		    !lab_pcp_try_pop_metered(&lab_rseq_gate, lab_pcp_class[cls].stack, cls, ptr)))
		return false;
	lab_byte_set(lab_live_byte(*ptr, lab_live_shift(cls)), lab_live_value(*ptr));
	return true;
}

LAB_HOT void *lab_malloc_slow(size_t size)
{
	void *ptr;

	if (lab_is_sampled_alone() && LAB_LIKELY(size <= LAB_HOT_MAX) && pop_metered(size, &ptr))
		return ptr;
	return malloc_rest(size);
}

void lab_free_unstacked(void *ptr)
{
	/* looked up again: to keep it costs the hot path an instruction */
	unsigned int cls = lab_mem_kind(ptr);

	if (lab_is_watched())
		watched_free(ptr, lab_class_bytes(cls));
	else
		class_free(cls, ptr);
}

/* is it an object that no stack of malloc() takes */
static bool is_unstacked(const void *ptr, unsigned int kind)
{
	return lab_is_atomic_class(kind) || ((kind == LAB_KIND_LARGE || kind == LAB_KIND_HUGE) &&
					     (uintptr_t)ptr % LAB_PAGE_BYTES == 0);
}

/* NULL, what is large, what is misused, and sections out of line */
void lab_free_slow(void *ptr)
{
	uint8_t kind = lab_mem_kind(ptr);

	if (!ptr)
		return;
	if (kind != LAB_KIND_FREE && kind <= LAB_PCP_PAGE) {
		(void)lab_block_bytes(ptr, LAB_VERB_FREE);
		lab_byte_set(lab_live_byte(ptr, lab_live_shift(kind)), 0);
		lab_free_unstacked(ptr);
		return;
	}
	if (is_unstacked(ptr, kind)) {
		if (lab_is_watched()) {
			watched_free(ptr, lab_block_bytes(ptr, LAB_VERB_FREE));
			return;
		}
		if (lab_is_atomic_class(kind) ? lab_atomic_free(ptr, kind) : large_free(ptr))
			return;
	}
	if (lab_is_aside() && !lab_mem_covers(ptr)) {
		lab_libc.free(ptr);
		return;
	}
	/* its realloc() was abandoned half-way: nobody can say where it is */
	if (kind == LAB_KIND_MOVING)
		return;
	lab_report_block(ptr, LAB_VERB_FREE);
}

LAB_PUBLIC LAB_HOT void *labyrinth_heap_malloc(size_t size)
{
	return lab_heap_malloc(size);
}

LAB_PUBLIC LAB_HOT void labyrinth_free(void *ptr)
{
	lab_heap_free(ptr);
}

LAB_PUBLIC LAB_HOT void labyrinth_free_sized(void *ptr, size_t size)
{
	(void)size;
	lab_heap_free(ptr);
}

LAB_PUBLIC void labyrinth_free_aligned_sized(void *ptr, size_t align, size_t size)
{
	(void)align;
	(void)size;
	lab_heap_free(ptr);
}

/* ---- calloc ---- */

/* more than a page: it may be clean already */
static LAB_NOINLINE void *calloc_large(size_t bytes)
{
	bool clean = false;
	void *ptr;

	if (lab_is_aside() || lab_scope_is_atomic() || lab_is_watched_closely()) {
		ptr = lab_heap_malloc(bytes);
	} else {
		ptr = alloc_clean(bytes, &clean);
		if (!ptr)
			return lab_no_memory();
		if (lab_is_sampled())
			lab_watch_object(ptr, bytes);
	}
	if (ptr && !clean)
		lab_large_clear(ptr, bytes);
	return ptr;
}

LAB_PUBLIC void *labyrinth_heap_calloc(size_t n, size_t size)
{
	size_t bytes;
	void *ptr;

	if (__builtin_mul_overflow(n, size, &bytes))
		return lab_no_memory();
	if (LAB_UNLIKELY(bytes > LAB_PAGE_BYTES))
		return calloc_large(bytes);
	ptr = lab_heap_malloc(bytes);
	return ptr ? lab_os_clear(ptr, bytes) : NULL;
}

/* ---- sizes and realloc ---- */

static bool is_live(const void *ptr, uint8_t kind)
{
	uint8_t live = lab_byte_get(lab_live_byte(ptr, lab_live_shift(kind)));

	return live == lab_live_value(ptr) ||
	       (live == lab_live_marked(ptr) && (uintptr_t)ptr % LAB_MALLOC_ALIGN == 0);
}

size_t lab_block_bytes(void *ptr, enum lab_verb verb)
{
	uint8_t kind = lab_mem_kind(ptr);

	if (kind != LAB_KIND_FREE && kind <= LAB_PCP_PAGE) {
		if (LAB_LIKELY(is_live(ptr, kind)) || !LAB_CHECK_FREE)
			return lab_class_bytes(kind);
	} else if (lab_is_atomic_class(kind)) {
		if (lab_atomic_is_live(ptr, kind))
			return lab_class_bytes(kind);
	} else if ((uintptr_t)ptr % LAB_PAGE_BYTES == 0 &&
		   (kind == LAB_KIND_LARGE || kind == LAB_KIND_HUGE)) {
		return lab_large_bytes(ptr);
	}
	lab_report_block(ptr, verb);
}

LAB_PUBLIC size_t labyrinth_malloc_usable_size(void *ptr)
{
	if (!ptr)
		return 0;
	if (lab_is_aside() && !lab_mem_covers(ptr))
		return lab_libc.usable(ptr);
	return lab_watch_usable(ptr, lab_block_bytes(ptr, LAB_VERB_USABLE));
}

/* a block may stay where it is if another would not save a quarter */
static bool fits(size_t have, size_t size)
{
	return size <= have &&
	       (size > have - have / 4 ||
		(have <= LAB_CLASS_MAX && lab_class_of(size) == lab_class_of(have)));
}

/* inside a section: where it is if it fits, else a copy in resident memory */
static LAB_NOINLINE void *realloc_atomic(void *ptr, size_t have, size_t size)
{
	void *to;

	if (size <= have) {
		/* what a run has too much goes back, without a system call */
		if (size > LAB_CLASS_MAX && !lab_is_watched())
			(void)lab_large_resize(ptr, size);
		return ptr;
	}
	to = lab_heap_malloc(size);
	if (!to)
		return NULL;
	lab_os_copy(to, ptr, have);
	lab_heap_free(ptr);
	return to;
}

LAB_PUBLIC void *labyrinth_heap_realloc(void *ptr, size_t size)
{
	size_t have;
	bool clean;
	void *to;

	if (!ptr)
		return lab_heap_malloc(size);
	if (lab_is_aside() && !lab_mem_covers(ptr))
		return lab_libc.realloc(ptr, size);
	if (size == 0) {
		(void)lab_block_bytes(ptr, LAB_VERB_REALLOC);
		lab_heap_free(ptr);
		return NULL;
	}
	if (size > PTRDIFF_MAX)
		return lab_no_memory();
	have = lab_watch_usable(ptr, lab_block_bytes(ptr, LAB_VERB_REALLOC));
	if (lab_scope_is_atomic())
		return realloc_atomic(ptr, have, size);
	/* watchers see a move as what it is */
	if (have > LAB_CLASS_MAX && size > LAB_CLASS_MAX && !lab_is_watched_closely()) {
		/* the old address may be another's in a moment */
		if (lab_is_sampled())
			lab_watch_forget(ptr);
		to = lab_large_resize(ptr, size);
		if (to && lab_is_sampled())
			lab_watch_object(to, size);
		if (to)
			return to;
	}
	if (fits(have, size))
		return ptr;
	/* a smaller block is a favour: never fail for want of it */
	to = size < have && !lab_is_watched() ? alloc_clean(size, &clean) : lab_heap_malloc(size);
	if (!to)
		return size < have ? ptr : NULL;
	lab_os_copy(to, ptr, size < have ? size : have);
	lab_heap_free(ptr);
	return to;
}

LAB_PUBLIC void *labyrinth_heap_reallocarray(void *ptr, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return lab_no_memory();
	return labyrinth_heap_realloc(ptr, bytes);
}

LAB_PUBLIC int labyrinth_malloc_trim(size_t pad)
{
	(void)pad;
	if (lab_scope_is_atomic())
		return 0;
	lab_cache_trim(1, LAB_NR_CLASSES - 1, lab_pcp_drain_here);
	(void)lab_pages_drain(lab_pcp_drain_here);
	(void)lab_atomic_shrink();
	while (lab_zones_shrink())
		;
	lab_map_trim();
	return lab_heap_purge(false) > 0;
}
