/* SPDX-License-Identifier: MIT */
/* Objects by flags: kmalloc(), mm/slub.c. */
#include <errno.h>

#include "api/heap.h"
#include "diag/watch.h"
#include "gfp/alloc.h"
#include "gfp/flags.h"
#include "gfp/reclaim.h"
#include "gfp/warn.h"
#include "os/os.h"
#include "page/event.h"
#include "slab/atomic.h"

/* log2 of the pages that a size takes, for a report */
static unsigned int order_of(size_t size)
{
	size_t pages = (size >> LAB_PAGE_SHIFT) + !!(size % LAB_PAGE_BYTES);

	return lab_order_of(pages + !pages);
}

static void *object_try(size_t size, labyrinth_gfp_t gfp)
{
	void *ptr;

	if (lab_is_watched() && size <= PTRDIFF_MAX) {
		ptr = lab_malloc_watched(LAB_MALLOC_ALIGN, size, gfp, lab_malloc_any);
		if (ptr && gfp & LABYRINTH___GFP_ZERO)
			lab_large_clear(ptr, size);
		return ptr;
	}
	return gfp & LABYRINTH___GFP_ZERO ? labyrinth_heap_calloc(1, size) : lab_heap_malloc(size);
}

/* from the heap: as malloc(), with errno; __GFP_NOFAIL tries until it is there */
static LAB_NOINLINE void *object_wait(size_t size, labyrinth_gfp_t gfp)
{
	int before = lab_os_is_ready() ? errno : 0;
	unsigned int turn = 0;
	void *ptr;

	for (;;) {
		ptr = object_try(size, gfp);
		if (ptr || !(gfp & LABYRINTH___GFP_NOFAIL) || size > PTRDIFF_MAX)
			return ptr;
		lab_os_set_errno(before);
		if (!lab_reclaim(LAB_ZONE_HEAP, order_of(size)))
			lab_reclaim_wait(turn++);
	}
}

static void *object_failed(size_t size, labyrinth_gfp_t gfp)
{
	lab_event_add(LAB_EV_FAIL_ATOMIC_MALLOC, 1);
	lab_warn_alloc(gfp, order_of(size));
	return NULL;
}

void *lab_object_atomic(size_t size, size_t align, labyrinth_gfp_t gfp)
{
	const struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);
	void *ptr = lab_atomic_alloc(size, align, lab_gfp_floor(LAB_ZONE_RESERVE, gfp));

	if (lab_word_get(&zone->free) <= lab_word_get(&zone->low))
		lab_gfp_crossed(LAB_ZONE_RESERVE, gfp);
	if (LAB_LIKELY(ptr)) {
		if (gfp & LABYRINTH___GFP_ZERO)
			lab_os_clear(ptr, size);
		return ptr;
	}
	return object_failed(size, gfp);
}

/* who may wait goes through lab_malloc_watched() */
static LAB_NOINLINE void *object_watched(size_t size, labyrinth_gfp_t gfp)
{
	const struct lab_request request = { .bytes = size, .gfp = gfp, .order = LAB_OBJECT };
	void *ptr;

	if (lab_watch_refuses(&request))
		return NULL;
	ptr = lab_object_atomic(size + lab_watch_pad(size), LAB_MALLOC_ALIGN, gfp);
	if (ptr)
		lab_watch_alloc(ptr, &request);
	return ptr;
}

LAB_PUBLIC void *labyrinth_malloc(size_t size, labyrinth_gfp_t gfp)
{
	if (gfp & LABYRINTH___GFP_EXCLUSIVE) {
		lab_event_add(LAB_EV_BAD_GFP, 1);
		lab_os_set_errno(EINVAL);
		return NULL;
	}
	/* of pages alone there is a largest order */
	if (!lab_gfp_check(&gfp, 0)) {
		lab_os_set_errno(EINVAL);
		return NULL;
	}
	gfp = lab_gfp_effective(gfp);
	if (gfp & LABYRINTH___GFP_DIRECT_RECLAIM)
		return object_wait(size, gfp);
	return lab_is_watched() ? object_watched(size, gfp)
				: lab_object_atomic(size, LAB_MALLOC_ALIGN, gfp);
}
