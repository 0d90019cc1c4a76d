/* SPDX-License-Identifier: MIT */
/* The page calls: flags, watermarks, and what is given back. */
#include <errno.h>

#include "api/exclusive_api.h"
#include "api/report.h"
#include "base/probe.h"
#include "diag/watch.h"
#include "gfp/alloc.h"
#include "gfp/flags.h"
#include "os/os.h"
#include "page/event.h"
#include "page/reserve.h"
#include "pcp/flow.h"

static void *fail(int err)
{
	lab_os_set_errno(err);
	return NULL;
}

static void *hand_out(void *page)
{
	lab_kind_set(lab_pfn_of(page), LAB_KIND_API);
	return page;
}

/* all frames but the first go on the stack of @cls, or back */
static void stack_others(unsigned int cls, const struct lab_frames *frames)
{
	uint64_t left = frames->mask & (frames->mask - 1), back;

	for (back = left; back; back &= back - 1)
		lab_kind_set(frames->pfn + lab_ctz(back), (uint8_t)cls);
	back = left ? lab_pcp_push_mask(cls, lab_frame_address(frames->pfn), LAB_PAGE_BYTES, left)
		    : 0;
	for (left = back; left; left &= left - 1)
		lab_kind_set(frames->pfn + lab_ctz(left), LAB_KIND_FREE);
	if (back) {
		lab_zone_give_mask(frames->pfn, back);
		lab_flow_gave(LAB_PCP_API, lab_popcount(back));
	}
}

/* @n frames from @pfn on are one block of pages, or single ones of the heap */
static void mark_order(lab_pfn_t pfn, unsigned int order)
{
	lab_word_set(&lab_frame_at(pfn)->npages, order);
	lab_kind_fill(pfn + 1, (1ul << order) - 1, LAB_KIND_BODY);
	lab_kind_set(pfn, LAB_KIND_ORDER);
	lab_flow_took(LAB_FLOW_ORDER, 1);
	lab_flow_took(LAB_FLOW_ORDER_PAGES, 1ull << order);
}

static void clear_unless(bool clean, labyrinth_gfp_t gfp, void *pages, unsigned int order)
{
	if (!(gfp & LABYRINTH___GFP_ZERO))
		return;
	if (!clean)
		lab_os_clear(pages, LAB_PAGE_BYTES << order);
	if (gfp & LABYRINTH___GFP_DIRECT_RECLAIM)
		return;
	lab_event_add(clean ? LAB_EV_ZERO_HIT : LAB_EV_ZERO_MISS, 1);
	/* pages are cleared ahead in the reserve alone */
	if (!clean && !(gfp & LABYRINTH___GFP_EXCLUSIVE))
		lab_reserve_zero_miss();
}

static void *page_from_stacks(labyrinth_gfp_t gfp)
{
	const struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);
	/* more free pages than low: stacks need not be searched for the last one */
	bool plenty = lab_word_get(&zone->free) > lab_word_get(&zone->low);
	bool zero = gfp & LABYRINTH___GFP_ZERO, clean = false;
	void *page = NULL;

	if (zero) {
		page = lab_pcp_pop(LAB_PCP_ZERO);
		clean = page;
	}
	/* while there is plenty, pages that read as zero are taken from the zone */
	if (!page && !(zero && plenty && lab_reserve_has_zeroed()))
		page = lab_pcp_pop(LAB_PCP_API);
	if (!page && !plenty)
		page = lab_pcp_pop(LAB_PCP_ZERO);
	if (page)
		clear_unless(clean, gfp, page, 0);
	return page;
}

static void *page_slow(labyrinth_gfp_t gfp)
{
	struct lab_frames frames;
	unsigned int got = lab_gfp_alloc(gfp, 0, &frames);
	bool clean;
	void *page;

	if (!got)
		return gfp & LABYRINTH___GFP_DIRECT_RECLAIM ? fail(ENOMEM) : NULL;
	clean = frames.nclean == got;
	page = lab_frame_address(frames.pfn + lab_ctz(frames.mask));
	clear_unless(clean, gfp, page, 0);
	if (lab_zone_of(frames.pfn) == LAB_ZONE_HEAP) {
		mark_order(lab_pfn_of(page), 0);
		return page;
	}
	lab_flow_took(LAB_PCP_API, got);
	stack_others(clean && gfp & LABYRINTH___GFP_ZERO ? LAB_PCP_ZERO : LAB_PCP_API, &frames);
	return hand_out(page);
}

/* the owner bytes of these pages are the zone's business */
static void *exclusive(labyrinth_gfp_t gfp, unsigned int order)
{
	void *pages = lab_excl_page_alloc(gfp, order);
	struct lab_frames frames;

	if (!pages && lab_gfp_alloc(gfp, order, &frames))
		pages = lab_frame_address(frames.pfn);
	if (pages)
		clear_unless(false, gfp, pages, order);
	return pages || !(gfp & LABYRINTH___GFP_DIRECT_RECLAIM) ? pages : fail(ENOMEM);
}

/* flags of GFP_ATOMIC and GFP_NOWAIT: a page off the stack satisfies them as it is */
#define PLAIN (LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_NOWAIT)

static LAB_ALWAYS_INLINE lab_byte_t *page_kind(const void *page)
{
	return lab_live_byte(page, LAB_PAGE_SHIFT);
}

/* @gfp checked and effective */
static void *page_alloc(labyrinth_gfp_t gfp)
{
	void *page = NULL;

	if (lab_reserve_is_ours(LAB_ZONE_RESERVE))
		page = page_from_stacks(gfp);
	return page ? hand_out(page) : page_slow(gfp);
}

/* several pages; @gfp checked and effective */
static void *run_alloc(labyrinth_gfp_t gfp, unsigned int order)
{
	struct lab_frames frames;
	void *pages;

	if (!lab_gfp_alloc(gfp, order, &frames))
		return gfp & LABYRINTH___GFP_DIRECT_RECLAIM ? fail(ENOMEM) : NULL;
	pages = lab_frame_address(frames.pfn);
	mark_order(frames.pfn, order);
	clear_unless(frames.nclean == 1u << order, gfp, pages, order);
	return pages;
}

static void *pages_any(labyrinth_gfp_t gfp, unsigned int order)
{
	if (gfp & LABYRINTH___GFP_EXCLUSIVE)
		return exclusive(gfp, order);
	return order ? run_alloc(gfp, order) : page_alloc(gfp);
}

static LAB_NOINLINE void *pages_watched(labyrinth_gfp_t gfp, unsigned int order)
{
	const struct lab_request request = { .bytes = LAB_PAGE_BYTES << order,
					     .gfp = gfp,
					     .order = (int)order };
	void *pages;

	if (lab_watch_refuses(&request))
		return gfp & LABYRINTH___GFP_DIRECT_RECLAIM ? fail(ENOMEM) : NULL;
	/* who looks at what pages hold does so before they are cleared */
	pages = pages_any(lab_watch_fills() ? gfp & ~LABYRINTH___GFP_ZERO : gfp, order);
	if (!pages)
		return NULL;
	lab_watch_alloc(pages, &request);
	if (lab_watch_fills())
		clear_unless(false, gfp, pages, order);
	return pages;
}

static LAB_NOINLINE void *pages_alloc(labyrinth_gfp_t gfp, unsigned int order)
{
	if (!lab_gfp_check(&gfp, order))
		return fail(EINVAL);
	gfp = lab_gfp_effective(gfp);
	return lab_is_watched() ? pages_watched(gfp, order) : pages_any(gfp, order);
}

LAB_PUBLIC LAB_HOT void *labyrinth_alloc_page(labyrinth_gfp_t gfp)
{
	void *page;

	/* what has no rule of its own; the rest is looked at whoever serves it */
	if (LAB_UNLIKELY(gfp & ~PLAIN) ||
	    !lab_pcp_try_pop_by(&lab_page_gate, LAB_PCP_STACK(LAB_PCP_API), &page))
		return pages_alloc(gfp, 0);
	lab_byte_set(page_kind(page), LAB_KIND_API);
	return page;
}

LAB_PUBLIC void *labyrinth_alloc_pages(labyrinth_gfp_t gfp, unsigned int order)
{
	return pages_alloc(gfp, order);
}

LAB_PUBLIC void *labyrinth_get_zeroed_page(labyrinth_gfp_t gfp)
{
	return pages_alloc(gfp | LABYRINTH___GFP_ZERO, 0);
}

/* the flags are the kernel's: no refiller, no report, no reserve below min */
LAB_PUBLIC void *labyrinth_alloc_pages_nolock(unsigned int order)
{
	return labyrinth_alloc_pages(LABYRINTH___GFP_NOWARN | LABYRINTH___GFP_ZERO |
					     LABYRINTH___GFP_NOMEMALLOC | LABYRINTH___GFP_COMP,
				     order);
}

/* ---- giving back ---- */

static void page_return(void *page)
{
	lab_pfn_t pfn = lab_pfn_of(page);

	lab_kind_set(pfn, LAB_KIND_FREE);
	lab_zone_give(pfn, 1);
	lab_flow_gave(LAB_PCP_API, 1);
}

static LAB_NOINLINE void page_unstacked(void *page, unsigned int cls)
{
	if (lab_is_watched())
		lab_watch_free_pages(page, 0);
	if (!lab_pcp_push(cls, page))
		page_return(page);
}

static LAB_NOINLINE void pages_return(void *page, unsigned int order)
{
	lab_pfn_t pfn = lab_pfn_of(page);

	if (!page)
		return;
	if (lab_mem_kind(page) == LAB_KIND_EXCL) {
		lab_excl_page_free(page, order);
		return;
	}
	if (lab_mem_kind(page) != LAB_KIND_ORDER || (uintptr_t)page % LAB_PAGE_BYTES ||
	    lab_word_get(&lab_frame_at(pfn)->npages) != order) {
		lab_report_page(page, order);
		return;
	}
	LAB_PROBE2(page_free, page, order);
	if (lab_is_watched())
		lab_watch_free_pages(page, order);
	lab_kind_fill(pfn, 1ul << order, LAB_KIND_FREE);
	lab_zone_give(pfn, 1u << order);
	lab_flow_gave(LAB_FLOW_ORDER, 1);
	lab_flow_gave(LAB_FLOW_ORDER_PAGES, 1ull << order);
}

/* several pages, one from the heap, misuse; sections out of line */
static LAB_NOINLINE void page_free_slow(void *page)
{
	if ((uintptr_t)page % LAB_PAGE_BYTES == 0 && lab_mem_kind(page) == LAB_KIND_API) {
		lab_kind_set(lab_pfn_of(page), LAB_PCP_API);
		page_unstacked(page, LAB_PCP_API);
	} else {
		pages_return(page, 0);
	}
}

/* a live single page goes back on its stack; @cls is a constant */
static LAB_ALWAYS_INLINE void page_shelve(void *page, lab_byte_t *kind, unsigned int cls)
{
	lab_byte_set(kind, (uint8_t)cls);
	if (LAB_UNLIKELY(!lab_pcp_try_push_by(&lab_page_gate, LAB_PCP_STACK(cls), LAB_PCP_CAP(cls),
					      page)))
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
	if (LAB_UNLIKELY(!lab_excl_shelve(page)))
		page_free_slow(page);
}

LAB_PUBLIC void labyrinth_free_pages(void *page, unsigned int order)
{
	if (order == 0)
		labyrinth_free_page(page);
	else
		pages_return(page, order);
}
