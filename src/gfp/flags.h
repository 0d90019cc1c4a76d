/* SPDX-License-Identifier: MIT */
/*
 * The flags of a request: which are valid, what they are called, what they
 * allow.  Mirrors include/linux/gfp_types.h and include/trace/events/mmflags.h.
 *
 * Accepted in any combination and without effect, for there is one node, one
 * kind of memory, and no file system below us: MOVABLE, RECLAIMABLE (not both),
 * DMA, HIGHMEM, DMA32 (one of them), IO, FS, UNUSED, WRITE, COMP, HARDWALL,
 * THISNODE, ACCOUNT, ZEROTAGS.
 *
 * NORETRY, RETRY_MAYFAIL and NOFAIL together are no fault, as in the kernel,
 * whose tests come in this order: NOFAIL wins over both, NORETRY over
 * RETRY_MAYFAIL.  EXCLUSIVE goes with every flag: it chooses the zone, the
 * others how far down and how patiently; with NOFAIL the request waits for
 * pages of that zone alone.
 */
#ifndef LAB_GFP_FLAGS_H
#define LAB_GFP_FLAGS_H

#include "base/fail.h"
#include "labyrinth.h"

/* the kernel's bits 0 to 23, and ours */
#define LAB_GFP_KNOWN (0xffffffu | LABYRINTH___GFP_EXCLUSIVE)

/**
 * lab_gfp_check() - the rules of a request that is about to be made
 * @gfp:   its flags; put right where the kernel would
 * @order: log2 of its pages
 *
 *   unknown bits (24 to 30)                   refused
 *   @order above LABYRINTH_MAX_PAGE_ORDER     refused; silent with __GFP_NOWARN
 *   two of DMA, DMA32, HIGHMEM                these bits are dropped
 *   MOVABLE and RECLAIMABLE                   both are dropped
 *   NOFAIL, @order above 1                    goes on
 *
 * A warning is one line on descriptor 2, made once per rule in the life of the
 * process; where @gfp may not make system calls it is deferred, see gfp/warn.h.
 * LAB_EV_BAD_GFP counts every time.  As in the kernel, __GFP_NOWARN mutes the
 * rule of the order and no other.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, but for a warning: lock-free.
 * Mirrors: __alloc_pages(), rmqueue(), mm/page_alloc.c; gfp_zone(),
 *          gfp_migratetype(), include/linux/gfp.h.
 * Return:  true; false: the request has to fail with EINVAL.
 */
LAB_NODISCARD bool lab_gfp_check(labyrinth_gfp_t *gfp, unsigned int order);

/**
 * lab_gfp_check_failed() - the rules that a request meets once it has found no page
 *
 *   NOFAIL without DIRECT_RECLAIM             the request fails
 *   NOFAIL in an atomic section               the request fails
 *
 * All else as lab_gfp_check().
 *
 * Mirrors: __alloc_pages_slowpath(), mm/page_alloc.c.
 */
void lab_gfp_check_failed(labyrinth_gfp_t gfp, unsigned int order);

/**
 * lab_gfp_check_exact() - the rule of labyrinth_alloc_pages_exact()
 *
 * COMP and HIGHMEM are dropped with a warning.
 *
 * Mirrors: alloc_pages_exact(), mm/page_alloc.c.
 */
void lab_gfp_check_exact(labyrinth_gfp_t *gfp, unsigned int order);

/** lab_gfp_format() - labyrinth_gfp_print() */
int lab_gfp_format(char *buf, size_t size, labyrinth_gfp_t gfp);

/** lab_line_gfp() - append flags as "0x820(GFP_ATOMIC)" */
void lab_line_gfp(struct lab_line *line, labyrinth_gfp_t gfp);

#endif /* LAB_GFP_FLAGS_H */
