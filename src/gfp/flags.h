/* SPDX-License-Identifier: MIT */
/*
 * The flags of a request: which are valid, what they are called, what they
 * allow.  Mirrors include/linux/gfp_types.h and include/trace/events/mmflags.h.
 */
#ifndef LAB_GFP_FLAGS_H
#define LAB_GFP_FLAGS_H

#include "base/fail.h"
#include "labyrinth.h"

/* the kernel's bits 0 to 23, and ours */
#define LAB_GFP_KNOWN (0xffffffu | LABYRINTH___GFP_EXCLUSIVE)

/**
 * lab_gfp_check() - the rules of table A2: warn once, put right or refuse
 * @gfp:   flags of a request that is about to be made; put right where the kernel would
 * @order: log2 of its pages
 *
 * Refused: unknown bits, @order above LABYRINTH_MAX_PAGE_ORDER.  A warning is one
 * line on descriptor 2, made once per rule, none with __GFP_NOWARN; where @gfp may
 * not make system calls it is deferred, see gfp/warn.h.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 * Return:  true; false: the request has to fail with EINVAL.
 */
LAB_NODISCARD bool lab_gfp_check(labyrinth_gfp_t *gfp, unsigned int order);

/** lab_line_gfp() - append flags as "0x820(GFP_ATOMIC)" */
void lab_line_gfp(struct lab_line *line, labyrinth_gfp_t gfp);

#endif /* LAB_GFP_FLAGS_H */
