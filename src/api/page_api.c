/* SPDX-License-Identifier: MIT */
/* The page calls: flags, watermarks, and what is given back. */
#include <errno.h>

#include "api/report.h"
#include "labyrinth.h"
#include "os/os.h"
#include "page/reserve.h"

/* the kernel's bits 0 to 23, and ours */
#define GFP_KNOWN (0xffffffu | LABYRINTH___GFP_EXCLUSIVE)

/* pages that one atomic refill of the stack takes while there is plenty */
enum { API_BATCH = 16 };

/* Single pages are a class, as objects are; by its zone. */
struct shelf {
	enum lab_zone_id zone;
	uint8_t cls;  /* of the stack, and kind while on it */
	uint8_t kind; /* while handed out */
};

static const struct shelf shelves[2] = {
	{ LAB_ZONE_RESERVE, LAB_PCP_API, LAB_KIND_API },
	{ LAB_ZONE_EXCLUSIVE, LAB_PCP_EXCL, LAB_KIND_EXCL },
};

static const struct shelf *shelf_of(labyrinth_gfp_t gfp)
{
	return &shelves[!!(gfp & LABYRINTH___GFP_EXCLUSIVE)];
}

/*
 * How far down a request may go; the arithmetic of __zone_watermark_ok(),
 * mm/page_alloc.c, integer division included.
 */
static uint64_t floor_of(const struct lab_zone *zone, labyrinth_gfp_t gfp)
{
	uint64_t min = lab_word_get(&zone->min);

	if (gfp & LABYRINTH___GFP_HIGH) {
		min -= min / 2;
		if (!(gfp & LABYRINTH___GFP_DIRECT_RECLAIM))
			min -= min / 4;
	}
	return min;
}

static void *page_ready(void *page, const struct shelf *shelf, labyrinth_gfp_t gfp)
{
	lab_kind_set(lab_pfn_of(page), shelf->kind);
	if (gfp & LABYRINTH___GFP_ZERO)
		lab_os_clear(page, LAB_PAGE_BYTES);
	return page;
}

/* all but one of the frames go on the stack, or back */
static void *stack_pages(const struct shelf *shelf, const struct lab_frames *frames)
{
	uint64_t left = frames->mask & (frames->mask - 1), back;
	void *result = lab_frame_address(frames->pfn + lab_ctz(frames->mask));

	for (back = left; back; back &= back - 1)
		lab_kind_set(frames->pfn + lab_ctz(back), shelf->cls);
	back = left ? lab_pcp_push_mask(shelf->cls, lab_frame_address(frames->pfn), LAB_PAGE_BYTES,
					left)
		    : 0;
	for (left = back; left; left &= left - 1)
		lab_kind_set(frames->pfn + lab_ctz(left), LAB_KIND_FREE);
	if (back)
		lab_zone_give_mask(frames->pfn, back);
	return result;
}

static void *page_from_zone(const struct shelf *shelf, labyrinth_gfp_t gfp)
{
	struct lab_zone *zone = &lab_zones[shelf->zone];
	struct lab_frames frames;
	bool stacks = lab_pcp_is_usable(shelf->cls);

	if (lab_reserve_take_some(shelf->zone, stacks ? API_BATCH : 1, lab_word_get(&zone->low),
				  &frames))
		return stack_pages(shelf, &frames);
	if (!lab_reserve_take(shelf->zone, 0, floor_of(zone, gfp), &frames))
		return NULL;
	return lab_frame_address(frames.pfn);
}

static void *pages_from_heap(labyrinth_gfp_t gfp, unsigned int order)
{
	struct lab_frames frames;

	if (!lab_heap_take_run(1u << order, order, &frames))
		return NULL;
	lab_word_set(&lab_frame_at(frames.pfn)->npages, order);
	lab_kind_fill(frames.pfn + 1, (1ul << order) - 1, LAB_KIND_BODY);
	lab_kind_set(frames.pfn, LAB_KIND_ORDER);
	if (gfp & LABYRINTH___GFP_ZERO && frames.nclean != 1u << order)
		lab_os_clear(lab_frame_address(frames.pfn), LAB_PAGE_BYTES << order);
	return lab_frame_address(frames.pfn);
}

static void *fail(int err)
{
	lab_os_set_errno(err);
	return NULL;
}

static LAB_NOINLINE void *page_slow(labyrinth_gfp_t gfp)
{
	const struct shelf *shelf = shelf_of(gfp);
	void *page;

	if (gfp & ~GFP_KNOWN)
		return fail(EINVAL);
	/* only who may make system calls refills, or revives the zone in a child */
	if (gfp & LABYRINTH___GFP_DIRECT_RECLAIM) {
		lab_reserve_revive(shelf->zone);
		lab_reserve_refill(shelf->zone);
	}
	if (!lab_reserve_is_ours(shelf->zone))
		page = NULL;
	else
		page = page_from_zone(shelf, gfp);
	if (page)
		return page_ready(page, shelf, gfp);
	if (!(gfp & LABYRINTH___GFP_DIRECT_RECLAIM))
		return NULL;
	if (!(gfp & LABYRINTH___GFP_EXCLUSIVE))
		page = pages_from_heap(gfp, 0);
	return page ? page : fail(ENOMEM);
}

static LAB_ALWAYS_INLINE lab_byte_t *page_kind(const void *page)
{
	return lab_live_byte(page, LAB_PAGE_SHIFT);
}

static LAB_NOINLINE void *page_alloc(labyrinth_gfp_t gfp)
{
	const struct shelf *shelf = shelf_of(gfp);
	void *page = NULL;

	if (!(gfp & ~GFP_KNOWN) && lab_reserve_is_ours(shelf->zone))
		page = lab_pcp_pop(shelf->cls);
	return page ? page_ready(page, shelf, gfp) : page_slow(gfp);
}

LAB_PUBLIC LAB_HOT void *labyrinth_void_alloc_page_gfp_atomic_exclusive(void)
{
	void *page;

	if (!lab_reserve_is_ours(LAB_ZONE_EXCLUSIVE) ||
	    !lab_pcp_try_pop(LAB_PCP_STACK(LAB_PCP_EXCL), &page))
		return page_alloc(LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE);
	lab_byte_set(page_kind(page), LAB_KIND_EXCL);
	return page;
}

LAB_PUBLIC LAB_HOT void *labyrinth_alloc_page(labyrinth_gfp_t gfp)
{
	void *page;

	/* the usual flags: no clearing, the reserve, all bits known */
	if (LAB_UNLIKELY(gfp & (LABYRINTH___GFP_ZERO | ~0xffffffu)) ||
	    !lab_pcp_try_pop(LAB_PCP_STACK(LAB_PCP_API), &page))
		return page_alloc(gfp);
	lab_byte_set(page_kind(page), LAB_KIND_API);
	return page;
}

static void *pages_from_zone(const struct shelf *shelf, labyrinth_gfp_t gfp, unsigned int order)
{
	struct lab_zone *zone = &lab_zones[shelf->zone];
	struct lab_frames frames;

	if (!lab_reserve_is_ours(shelf->zone) ||
	    !lab_reserve_take(shelf->zone, order, floor_of(zone, gfp), &frames))
		return NULL;
	lab_word_set(&lab_frame_at(frames.pfn)->npages, order);
	lab_kind_fill(frames.pfn + 1, (1ul << order) - 1, LAB_KIND_BODY);
	lab_kind_set(frames.pfn, LAB_KIND_ORDER);
	if (gfp & LABYRINTH___GFP_ZERO)
		lab_os_clear(lab_frame_address(frames.pfn), LAB_PAGE_BYTES << order);
	return lab_frame_address(frames.pfn);
}

LAB_PUBLIC void *labyrinth_alloc_pages(labyrinth_gfp_t gfp, unsigned int order)
{
	const struct shelf *shelf = shelf_of(gfp);
	void *pages;

	if (order == 0)
		return page_alloc(gfp);
	if (order > LABYRINTH_MAX_PAGE_ORDER || gfp & ~GFP_KNOWN)
		return fail(EINVAL);
	if (gfp & LABYRINTH___GFP_DIRECT_RECLAIM) {
		lab_reserve_revive(shelf->zone);
		lab_reserve_refill(shelf->zone);
	}
	pages = pages_from_zone(shelf, gfp, order);
	if (pages || !(gfp & LABYRINTH___GFP_DIRECT_RECLAIM))
		return pages;
	if (!(gfp & LABYRINTH___GFP_EXCLUSIVE))
		pages = pages_from_heap(gfp, order);
	return pages ? pages : fail(ENOMEM);
}

/* ---- giving back ---- */

static void page_return(void *page)
{
	lab_pfn_t pfn = lab_pfn_of(page);

	lab_kind_set(pfn, LAB_KIND_FREE);
	lab_zone_give(pfn, 1);
}

static LAB_NOINLINE void page_unstacked(void *page, unsigned int cls)
{
	if (!lab_pcp_push(cls, page))
		page_return(page);
}

static LAB_NOINLINE void pages_return(void *page, unsigned int order)
{
	lab_pfn_t pfn = lab_pfn_of(page);

	if (!page)
		return;
	if (lab_mem_kind(page) != LAB_KIND_ORDER || (uintptr_t)page % LAB_PAGE_BYTES ||
	    lab_word_get(&lab_frame_at(pfn)->npages) != order) {
		lab_report_page(page, order);
		return;
	}
	lab_kind_fill(pfn, 1ul << order, LAB_KIND_FREE);
	lab_zone_give(pfn, 1u << order);
}

/* the exclusive zone, several pages, one from the heap, misuse; sections out of line */
static LAB_NOINLINE void page_free_slow(void *page)
{
	uint8_t kind = lab_mem_kind(page);
	const struct shelf *shelf = &shelves[kind == LAB_KIND_EXCL];

	if ((uintptr_t)page % LAB_PAGE_BYTES == 0 && kind == shelf->kind) {
		lab_kind_set(lab_pfn_of(page), shelf->cls);
		page_unstacked(page, shelf->cls);
	} else {
		pages_return(page, 0);
	}
}

/* a live single page goes back on its stack; @cls is a constant */
static LAB_ALWAYS_INLINE void page_shelve(void *page, lab_byte_t *kind, unsigned int cls)
{
	lab_byte_set(kind, (uint8_t)cls);
	if (LAB_UNLIKELY(!lab_pcp_try_push(LAB_PCP_STACK(cls), LAB_PCP_CAP(cls), page)))
		page_unstacked(page, cls);
}

LAB_PUBLIC LAB_HOT void labyrinth_free_page(void *page)
{
	uintptr_t pfn = lab_pfn_exact(page);

	if (LAB_UNLIKELY(!lab_mem_covers_fast(pfn))) {
		page_free_slow(page);
		return;
	}
	if (LAB_LIKELY(lab_byte_own(&lab_mem.kind[pfn]) == LAB_KIND_API)) {
		page_shelve(page, &lab_mem.kind[pfn], LAB_PCP_API);
		return;
	}
	/* one compare with memory each is shorter than a byte kept for two */
	lab_forget();
	if (LAB_LIKELY(lab_byte_own(&lab_mem.kind[pfn]) == LAB_KIND_EXCL))
		page_shelve(page, &lab_mem.kind[pfn], LAB_PCP_EXCL);
	else
		page_free_slow(page);
}

LAB_PUBLIC void labyrinth_free_pages(void *page, unsigned int order)
{
	if (order == 0)
		labyrinth_free_page(page);
	else
		pages_return(page, order);
}
