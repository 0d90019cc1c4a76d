/* SPDX-License-Identifier: MIT */
/* The call that the library is named after, and the slow ways of its zone. */
#include "api/exclusive_api.h"
#include "api/report.h"
#include "diag/watch.h"
#include "gfp/warn.h"

enum {
	BATCH = 4,     /* pages that one refill of the stack takes: half of it */
	POP_TURNS = 12 /* entries that one request looks at: a stack, and some */
};

static LAB_RESIDENT lab_word_t complained;

static void complain(labyrinth_gfp_t gfp, unsigned int order)
{
	const char *text = lab_excl_complaint();

	if (LAB_UNLIKELY(text) && !lab_word_get(&complained))
		lab_warn_once(&complained, gfp, order, text);
}

/*
 * A page off the stack is handed out.  fork() may have come into the middle of a
 * push or a pop, by a handler: what lies on the stack then may be of the parent's
 * zone or, under try-lock, not be there any more.  So the owner byte has to agree.
 */
static LAB_ALWAYS_INLINE bool hand_out(const void *page)
{
	lab_byte_t *owner = lab_excl_owner(page);

	if (LAB_UNLIKELY(lab_byte_own(owner) != LAB_EXCL_STACKED))
		return false;
	lab_byte_set(owner, LAB_EXCL_LIVE);
	return true;
}

static void *pop(void)
{
	unsigned int turn;
	void *page;

	for (turn = 0; turn < POP_TURNS; turn++) {
		page = lab_pcp_pop(LAB_PCP_EXCL);
		if (!page || hand_out(page))
			return page;
	}
	return NULL;
}

/* from the zone, and some for the stack, while there is plenty */
static void *from_zone(void)
{
	const struct lab_zone *zone = lab_zone_exclusive();
	bool stacks = lab_pcp_is_usable(LAB_PCP_EXCL);
	void *pages[BATCH];
	unsigned int n;

	n = lab_excl_take_some(stacks ? BATCH : 1, lab_word_get(&zone->low), pages);
	if (!n)
		return NULL;
	while (n-- > 1)
		if (!lab_pcp_push(LAB_PCP_EXCL, pages[n]))
			lab_excl_unstack(pages[n]);
	lab_byte_set(lab_excl_owner(pages[0]), LAB_EXCL_LIVE);
	return pages[0];
}

void *lab_excl_page_alloc(labyrinth_gfp_t gfp, unsigned int order)
{
	void *page;

	complain(gfp, order);
	if (order || !lab_excl_is_ours())
		return NULL;
	page = pop();
	return page ? page : from_zone();
}

LAB_PUBLIC LAB_HOT void *labyrinth_void_alloc_page_gfp_atomic_exclusive(void)
{
	void *page;

	if (LAB_LIKELY(lab_pcp_try_pop_by(&lab_page_gate, LAB_PCP_STACK(LAB_PCP_EXCL), &page)) &&
	    LAB_LIKELY(hand_out(page)))
		return page;
	return labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE);
}

/* ---- giving back ---- */

void lab_excl_unstacked(void *page)
{
	if (lab_is_watched())
		lab_watch_free_pages(page, 0);
	if (!lab_pcp_push(LAB_PCP_EXCL, page))
		lab_excl_unstack(page);
}

void lab_excl_page_free(void *page, unsigned int order)
{
	if (lab_is_watched() && lab_excl_contains(page) &&
	    lab_byte_get(lab_excl_owner(page)) == LAB_EXCL_LIVE + order)
		lab_watch_free_pages(page, order);
	if (lab_excl_give(page, order) == LAB_EXCL_REFUSED)
		lab_report_page(page, order);
}
