/* SPDX-License-Identifier: MIT */
/* How an allocation may be made: the kernel's flags, include/linux/gfp_types.h. */
#ifndef LABYRINTH_GFP_H
#define LABYRINTH_GFP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * labyrinth_gfp_t - how an allocation may be made
 *
 * The values of bits 0 to 23 are the kernel's (include/linux/gfp_types.h).
 */
typedef uint32_t labyrinth_gfp_t;

/*
 * Single bits; the kernel's __GFP_x is LABYRINTH___GFP_x here.  Those marked
 * "ignored" have no meaning in user space and are accepted.
 */
#define LABYRINTH___GFP_DMA	       0x1u /* zone modifiers: ignored */
#define LABYRINTH___GFP_HIGHMEM	       0x2u
#define LABYRINTH___GFP_DMA32	       0x4u
#define LABYRINTH___GFP_MOVABLE	       0x8u	   /* ignored */
#define LABYRINTH___GFP_RECLAIMABLE    0x10u	   /* ignored */
#define LABYRINTH___GFP_HIGH	       0x20u	   /* may dip into the reserve below min */
#define LABYRINTH___GFP_IO	       0x40u	   /* ignored */
#define LABYRINTH___GFP_FS	       0x80u	   /* ignored */
#define LABYRINTH___GFP_ZERO	       0x100u	   /* the memory reads as zero */
#define LABYRINTH___GFP_UNUSED	       0x200u	   /* ignored, as in the kernel since 6.3 */
#define LABYRINTH___GFP_DIRECT_RECLAIM 0x400u	   /* may make system calls, reclaim, wait */
#define LABYRINTH___GFP_KSWAPD_RECLAIM 0x800u	   /* may wake the refiller */
#define LABYRINTH___GFP_WRITE	       0x1000u	   /* ignored */
#define LABYRINTH___GFP_NOWARN	       0x2000u	   /* no failure report */
#define LABYRINTH___GFP_RETRY_MAYFAIL  0x4000u	   /* reclaim hard, then fail; never wait */
#define LABYRINTH___GFP_NOFAIL	       0x8000u	   /* never NULL; needs DIRECT_RECLAIM */
#define LABYRINTH___GFP_NORETRY	       0x10000u	   /* one round of reclaim, then fail */
#define LABYRINTH___GFP_MEMALLOC       0x20000u	   /* down to the last page */
#define LABYRINTH___GFP_COMP	       0x40000u	   /* ignored: the order is always kept */
#define LABYRINTH___GFP_NOMEMALLOC     0x80000u	   /* no reserve; wins over MEMALLOC */
#define LABYRINTH___GFP_HARDWALL       0x100000u   /* ignored */
#define LABYRINTH___GFP_THISNODE       0x200000u   /* ignored */
#define LABYRINTH___GFP_ACCOUNT	       0x400000u   /* ignored */
#define LABYRINTH___GFP_ZEROTAGS       0x800000u   /* ignored */
#define LABYRINTH___GFP_EXCLUSIVE      0x80000000u /* ours: the exclusive zone */

/* may reclaim in the caller's context, and wake the refiller */
#define LABYRINTH___GFP_RECLAIM (LABYRINTH___GFP_DIRECT_RECLAIM | LABYRINTH___GFP_KSWAPD_RECLAIM)

/* Composites. */
#define LABYRINTH_GFP_ATOMIC	       (LABYRINTH___GFP_HIGH | LABYRINTH___GFP_KSWAPD_RECLAIM)
#define LABYRINTH_GFP_NOWAIT	       (LABYRINTH___GFP_KSWAPD_RECLAIM | LABYRINTH___GFP_NOWARN)
#define LABYRINTH_GFP_NOIO	       LABYRINTH___GFP_RECLAIM
#define LABYRINTH_GFP_NOFS	       (LABYRINTH___GFP_RECLAIM | LABYRINTH___GFP_IO)
#define LABYRINTH_GFP_KERNEL	       (LABYRINTH_GFP_NOFS | LABYRINTH___GFP_FS)
#define LABYRINTH_GFP_KERNEL_ACCOUNT   (LABYRINTH_GFP_KERNEL | LABYRINTH___GFP_ACCOUNT)
#define LABYRINTH_GFP_USER	       (LABYRINTH_GFP_KERNEL | LABYRINTH___GFP_HARDWALL)
#define LABYRINTH_GFP_DMA	       LABYRINTH___GFP_DMA
#define LABYRINTH_GFP_DMA32	       LABYRINTH___GFP_DMA32
#define LABYRINTH_GFP_HIGHUSER	       (LABYRINTH_GFP_USER | LABYRINTH___GFP_HIGHMEM)
#define LABYRINTH_GFP_HIGHUSER_MOVABLE (LABYRINTH_GFP_HIGHUSER | LABYRINTH___GFP_MOVABLE)
#define LABYRINTH_GFP_TRANSHUGE_LIGHT                                                              \
	((LABYRINTH_GFP_HIGHUSER_MOVABLE | LABYRINTH___GFP_COMP | LABYRINTH___GFP_NOMEMALLOC |     \
	  LABYRINTH___GFP_NOWARN) &                                                                \
	 ~LABYRINTH___GFP_RECLAIM)
#define LABYRINTH_GFP_TRANSHUGE (LABYRINTH_GFP_TRANSHUGE_LIGHT | LABYRINTH___GFP_DIRECT_RECLAIM)
#define LABYRINTH_GFP_ZERO	LABYRINTH___GFP_ZERO
#define LABYRINTH_GFP_EXCLUSIVE LABYRINTH___GFP_EXCLUSIVE

/**
 * labyrinth_gfpflags_allow_blocking() - may a request with these flags wait
 *
 * Mirrors: gfpflags_allow_blocking(), include/linux/gfp.h.
 */
static inline int labyrinth_gfpflags_allow_blocking(labyrinth_gfp_t gfp)
{
	return !!(gfp & LABYRINTH___GFP_DIRECT_RECLAIM);
}

/**
 * labyrinth_gfp_print() - flags as the kernel prints them: 0x820(GFP_ATOMIC)
 * @buf:  receives the text, cut to fit and terminated
 * @size: of @buf, bytes; 0: nothing is written
 *
 * Composites come first, the largest that is contained; single bits follow; what
 * has no name is printed in hexadecimal.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.
 * Mirrors: "%#x(%pGg)", lib/vsprintf.c.
 * Return:  the length of the whole text, as snprintf().
 */
int labyrinth_gfp_print(char *buf, size_t size, labyrinth_gfp_t gfp);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_GFP_H */
