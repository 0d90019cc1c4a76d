/* SPDX-License-Identifier: MIT */
#include "gfp/alloc.h"
#include "base/probe.h"
#include "gfp/flags.h"
#include "gfp/reclaim.h"
#include "gfp/scope.h"
#include "gfp/warn.h"
#include "os/os.h"
#include "page/event.h"
#include "page/highatomic.h"
#include "pcp/pcp.h"
#include "slab/atomic.h"

/* pages that one refill of a stack takes while there is plenty */
enum { BATCH = 16 };

/* rounds of reclaim without progress before __GFP_RETRY_MAYFAIL gives up, as in the kernel */
enum { MAX_RECLAIM_RETRIES = 16 };

lab_word_t lab_stall_ms = 10000;

static bool may_wait(labyrinth_gfp_t gfp)
{
	return gfp & LABYRINTH___GFP_DIRECT_RECLAIM;
}

/* __GFP_NOMEMALLOC wins */
static bool is_memalloc(labyrinth_gfp_t gfp)
{
	return (gfp & (LABYRINTH___GFP_MEMALLOC | LABYRINTH___GFP_NOMEMALLOC)) ==
	       LABYRINTH___GFP_MEMALLOC;
}

/* ALLOC_NON_BLOCK with ALLOC_MIN_RESERVE: the rights of GFP_ATOMIC */
static bool is_atomic(labyrinth_gfp_t gfp)
{
	return gfp & LABYRINTH___GFP_HIGH &&
	       !(gfp & (LABYRINTH___GFP_DIRECT_RECLAIM | LABYRINTH___GFP_NOMEMALLOC));
}

uint64_t lab_gfp_floor(enum lab_zone_id id, labyrinth_gfp_t gfp)
{
	uint64_t min = lab_word_get(&lab_zone_at(id)->min);

	if (is_memalloc(gfp))
		return 0;
	if (gfp & LABYRINTH___GFP_HIGH)
		min -= min / 2;
	if (is_atomic(gfp))
		min -= min / 4;
	return min;
}

labyrinth_gfp_t lab_gfp_effective(labyrinth_gfp_t gfp)
{
	static LAB_RESIDENT lab_word_t told;

	if (LAB_LIKELY(!may_wait(gfp)) || !lab_scope_is_atomic())
		return gfp;
	lab_event_add(LAB_EV_MIGHT_SLEEP, 1);
	lab_warn_once(&told, gfp, 0,
		      "a request that may wait was made in an atomic section, and is treated "
		      "as GFP_NOWAIT; use GFP_ATOMIC or GFP_NOWAIT there");
	gfp &= ~(LABYRINTH_GFP_KERNEL | LABYRINTH___GFP_HIGH | LABYRINTH___GFP_MEMALLOC);
	return gfp | LABYRINTH_GFP_NOWAIT;
}

void lab_gfp_crossed(enum lab_zone_id id, labyrinth_gfp_t gfp)
{
	lab_word_t *below = &lab_zone_at(id)->below;

	/* a request without the right to wake leaves the crossing to the next one */
	if (gfp & LABYRINTH___GFP_KSWAPD_RECLAIM && !lab_word_get(below) &&
	    lab_word_swap(below, 0, 1)) {
		LAB_PROBE1(zone_low, id);
		lab_kswapd_wake(id);
	}
}

static void crossed_up(enum lab_zone_id id)
{
	lab_word_t *below = &lab_zone_at(id)->below;

	if (LAB_UNLIKELY(lab_word_get(below))) {
		LAB_PROBE1(zone_above_low, id);
		lab_word_set(below, 0);
	}
}

/* ---- attempts ---- */

struct request {
	labyrinth_gfp_t gfp;
	unsigned int order;
	enum lab_zone_id id;
};

static unsigned int take_run(const struct request *r, uint64_t floor, struct lab_frames *out)
{
	void *pages;

	if (r->id == LAB_ZONE_EXCLUSIVE) {
		pages = lab_excl_take(r->order, floor);
		if (!pages)
			return 0;
		out->pfn = lab_pfn_of(pages);
		out->nclean = 0;
	} else if (!lab_reserve_take(r->id, r->order, floor, out)) {
		return 0;
	}
	out->mask = 1;
	return 1u << r->order;
}

/* get_page_from_freelist() at ALLOC_WMARK_LOW: with single pages some more for the stack */
static unsigned int above_low(const struct request *r, struct lab_frames *out)
{
	uint64_t low = lab_word_get(&lab_zone_at(r->id)->low);
	unsigned int want = lab_pcp_is_usable(LAB_PCP_API) ? BATCH : 1, got = 0;

	if (r->order || r->id != LAB_ZONE_RESERVE)
		return take_run(r, low, out);
	if (r->gfp & LABYRINTH___GFP_ZERO && lab_reserve_has_zeroed())
		got = lab_reserve_take_zeroed(want, low, out);
	return got ? got : lab_reserve_take_some(r->id, want, low, out);
}

/*
 * At ALLOC_WMARK_MIN, with the dips that the flags allow.  What is set aside for
 * atomic runs counts for those who may have it: such runs first, single pages
 * when all else is gone.
 */
static unsigned int above_floor(const struct request *r, struct lab_frames *out)
{
	struct lab_zone *zone = lab_zone_at(r->id);
	uint64_t floor = lab_gfp_floor(r->id, r->gfp), free, aside = 0;
	unsigned int got;

	if (r->id == LAB_ZONE_RESERVE &&
	    (is_atomic(r->gfp) || (r->order == 0 && is_memalloc(r->gfp))))
		aside = lab_highatomic_frames();
	free = lab_word_get(&zone->free) + aside;
	if (aside && r->order && r->order <= LAB_ASIDE_ORDER && free >= floor + (1u << r->order) &&
	    lab_highatomic_take(r->order, out)) {
		lab_event_add(LAB_EV_HIGHATOMIC_HIT, 1);
		return 1u << r->order;
	}
	got = take_run(r, floor > aside ? floor - aside : 0, out);
	/* a slab without objects is a page too */
	if (!got && r->id == LAB_ZONE_RESERVE && lab_atomic_shrink_some())
		got = take_run(r, floor > aside ? floor - aside : 0, out);
	if (got && r->order && is_atomic(r->gfp) && r->id == LAB_ZONE_RESERVE)
		lab_highatomic_reserve();
	if (!got && !r->order && aside && free >= floor + 1 && lab_highatomic_take(0, out)) {
		lab_event_add(LAB_EV_HIGHATOMIC_HIT, 1);
		out->mask = 1;
		got = 1;
	}
	return got;
}

static unsigned int from_heap(const struct request *r, struct lab_frames *out)
{
	if (r->id != LAB_ZONE_RESERVE || !lab_heap_take_run(1u << r->order, r->order, out))
		return 0;
	out->mask = 1;
	return 1u << r->order;
}

/* ---- requests that may wait ---- */

static unsigned int after_reclaim(const struct request *r, struct lab_frames *out)
{
	unsigned int got = above_floor(r, out);

	if (!got)
		got = from_heap(r, out);
	if (!got && r->gfp & LABYRINTH___GFP_NOFAIL) {
		struct request last = *r;

		/* the last resort of __GFP_NOFAIL: ALLOC_MIN_RESERVE */
		last.gfp |= LABYRINTH___GFP_HIGH;
		got = above_floor(&last, out);
	}
	return got;
}

/* __alloc_pages_slowpath(): reclaim, look again, nap */
static unsigned int reclaim_and_wait(const struct request *r, struct lab_frames *out)
{
	uint64_t start = lab_os_clock_ms(), waited, limit = lab_word_get(&lab_stall_ms);
	/* __GFP_NOFAIL wins over the flags that give up */
	const labyrinth_gfp_t ends = r->gfp & LABYRINTH___GFP_NOFAIL ? 0 : r->gfp;
	unsigned int got, turn, idle = 0, stalls = 0;

	for (turn = 0;; turn++) {
		idle = lab_reclaim(r->id, r->order) ? 0 : idle + 1;
		got = after_reclaim(r, out);
		if (got || ends & LABYRINTH___GFP_NORETRY)
			return got;
		waited = lab_os_clock_ms() - start;
		if (ends & LABYRINTH___GFP_RETRY_MAYFAIL) {
			if (idle >= MAX_RECLAIM_RETRIES || waited >= limit)
				return 0;
			continue;
		}
		if (waited >= limit * (stalls + 1ull)) {
			stalls++;
			lab_warn_stall(r->gfp, r->order, waited / 1000);
			if (!(r->gfp & LABYRINTH___GFP_NOFAIL))
				return 0;
		}
		lab_reclaim_wait(turn);
	}
}

static unsigned int failed(const struct request *r)
{
	lab_word_add(&lab_zone_at(r->id)->failed, 1);
	lab_gfp_check_failed(r->gfp, r->order);
	/* counts it, by its class */
	lab_warn_alloc(r->gfp, r->order);
	return 0;
}

unsigned int lab_gfp_alloc(labyrinth_gfp_t gfp, unsigned int order, struct lab_frames *out)
{
	const struct request r = { .gfp = gfp, .order = order, .id = lab_gfp_zone(gfp) };
	unsigned int got;

	LAB_PROBE2(page_alloc, gfp, order);
	/* first: a refill gives the reserve what those who count on it need */
	if (r.id == LAB_ZONE_RESERVE)
		lab_reserve_draw();
	/* only who may make system calls refills, or revives the zone in a child */
	if (may_wait(gfp)) {
		lab_warn_poll();
		if (r.id == LAB_ZONE_EXCLUSIVE && lab_excl_revive())
			lab_pcp_touch_exclusive();
		lab_refill();
	}
	/* without such a zone there is the heap, or nothing to wait for */
	if (!lab_gfp_is_ours(r.id) && (r.id == LAB_ZONE_EXCLUSIVE || !may_wait(gfp)))
		return failed(&r);
	got = above_low(&r, out);
	if (LAB_LIKELY(got)) {
		crossed_up(r.id);
		return got;
	}
	lab_gfp_crossed(r.id, gfp);
	if (may_wait(gfp))
		got = from_heap(&r, out);
	if (!got)
		got = above_floor(&r, out);
	if (!got && may_wait(gfp))
		got = reclaim_and_wait(&r, out);
	return got ? got : failed(&r);
}
