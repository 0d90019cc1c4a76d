/* SPDX-License-Identifier: MIT */
/* Pages of the exclusive zone, as the page calls use them. */
#ifndef LAB_API_EXCLUSIVE_API_H
#define LAB_API_EXCLUSIVE_API_H

#include "labyrinth.h"
#include "page/exclusive.h"
#include "pcp/pcp.h"

/**
 * lab_excl_page_alloc() - a page off this CPU's stack, or of the zone while it is
 *	above low
 * @gfp:   checked flags, effective
 * @order: 0; for runs it does nothing
 *
 * Says once if the zone lacks something, such as locked memory.  No system call, no
 * page fault, after fork() neither.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Errno:   preserved.
 * Return:  the page; NULL: ask lab_gfp_alloc().
 */
void *lab_excl_page_alloc(labyrinth_gfp_t gfp, unsigned int order);

/**
 * lab_excl_page_free() - give back what lies in a frame of kind LAB_KIND_EXCL
 *
 * Pages of a parent process are counted and left alone; misuse is reported.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, no system call but the report's write(2).
 */
LAB_NOINLINE void lab_excl_page_free(void *page, unsigned int order);

/** lab_excl_unstacked() - the rest of lab_excl_shelve(), when one attempt to stack failed */
LAB_NOINLINE void lab_excl_unstacked(void *page);

/**
 * lab_excl_shelve() - labyrinth_free_page(), if it is a live single page of this zone
 * @page: the start of any frame of ours: no kind need be looked at
 *
 * Return: false: it is none, nothing was done.
 */
static LAB_ALWAYS_INLINE bool lab_excl_shelve(void *page)
{
	lab_byte_t *owner = lab_excl_owner(page);

	if (LAB_UNLIKELY(lab_byte_own(owner) != LAB_EXCL_LIVE))
		return false;
	lab_byte_set(owner, LAB_EXCL_STACKED);
	if (LAB_UNLIKELY(!lab_pcp_try_push_by(&lab_page_gate, LAB_PCP_STACK(LAB_PCP_EXCL),
					      LAB_PCP_CAP(LAB_PCP_EXCL), page)))
		lab_excl_unstacked(page);
	return true;
}

#endif /* LAB_API_EXCLUSIVE_API_H */
