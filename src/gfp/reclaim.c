/* SPDX-License-Identifier: MIT */
#include "gfp/reclaim.h"
#include "base/probe.h"
#include "gfp/scope.h"
#include "gfp/warn.h"
#include "os/thread.h"
#include "page/event.h"
#include "page/exclusive.h"
#include "page/highatomic.h"
#include "page/reserve.h"
#include "pcp/flow.h"
#include "slab/atomic.h"
#include "slab/cache.h"

/* pages that one step clears ahead: about 3 us of work */
enum { ZERO_STEP = 16 };

void lab_upkeep(void)
{
	lab_reserve_follow();
	lab_excl_refill();
	(void)lab_reserve_zero_some(ZERO_STEP);
	lab_warn_poll();
}

void lab_refill(void)
{
	lab_kswapd_start();
	if (LAB_LIKELY(!lab_kswapd_is_here()))
		lab_upkeep();
}

/* ---- the stacks ---- */

static void give_pages(void *const *pages, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		lab_pfn_t pfn = lab_pfn_of(pages[i]);

		/* fork() by a handler amid a push leaves a child an empty slot */
		if (!pages[i])
			continue;
		if (lab_mem_kind(pages[i]) == LAB_KIND_EXCL) {
			lab_excl_unstack(pages[i]);
			continue;
		}
		/* what reads as zero is a page of labyrinth_alloc_page() as well */
		lab_flow_gave(lab_mem_kind(pages[i]) == LAB_PCP_PAGE ? LAB_PCP_PAGE : LAB_PCP_API,
			      1);
		lab_kind_set(pfn, LAB_KIND_FREE);
		lab_zone_give(pfn, 1);
	}
}

size_t lab_pages_drain(lab_pcp_drain_t *drain)
{
	static_assert(LAB_PCP_PAGE + 1 == LAB_PCP_API && LAB_PCP_API + 1 == LAB_PCP_EXCL &&
			      LAB_PCP_EXCL + 1 == LAB_PCP_ZERO,
		      "the classes of single pages are neighbours");

	return drain(LAB_PCP_PAGE, LAB_PCP_ZERO, give_pages);
}

/* ---- direct reclaim ---- */

/* the figures may be behind one another for a moment, hence signed */
static int64_t heap_used(void)
{
	uint64_t free = lab_word_get(&lab_zone_at(LAB_ZONE_HEAP)->free);

	return (int64_t)(lab_word_get(&lab_zone_at(LAB_ZONE_HEAP)->managed) - free);
}

static size_t gain(int64_t n)
{
	return n > 0 ? (size_t)n : 0;
}

size_t lab_reclaim(enum lab_zone_id zone, unsigned int order)
{
	int64_t free = (int64_t)lab_word_get(&lab_zone_at(zone)->free), used = heap_used();
	size_t released, objects, purged, pages;

	if (lab_scope_is_atomic())
		return 0;
	lab_event_add(LAB_EV_ALLOCSTALL, 1);
	LAB_PROBE2(reclaim_begin, zone, order);
	released = zone == LAB_ZONE_RESERVE ? lab_highatomic_release() : 0;
	objects = lab_shrink();
	/* after the shrinkers: what they freed lies on stacks */
	objects += lab_atomic_shrink();
	lab_cache_trim(1, LAB_NR_CLASSES - 1, lab_pcp_drain_all);
	(void)lab_pages_drain(lab_pcp_drain_all);
	used = used - heap_used();
	/* whoever comes here for the reserve has been refused by the heap as well */
	purged = lab_heap_purge(zone != LAB_ZONE_EXCLUSIVE);
	lab_upkeep();
	free = zone == LAB_ZONE_HEAP ? 0 : (int64_t)lab_word_get(&lab_zone_at(zone)->free) - free;
	/* what came free in the heap and went to the system at once counts once */
	pages = released + gain(free) + (gain(used) > purged ? gain(used) : purged);
	lab_event_add(LAB_EV_PGSTEAL, pages);
	LAB_PROBE1(reclaim_end, pages);
	/* objects may have made room in slabs without a page coming free */
	return pages ? pages : objects > 0;
}

void lab_reclaim_wait(unsigned int turn)
{
	lab_os_nap(turn < 7 ? 1u << turn : 100);
}
