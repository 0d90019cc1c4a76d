/* SPDX-License-Identifier: MIT */
/*
 * Objects for requests that may not wait: slabs of one frame and runs of
 * frames, out of the reserve.  All they touch is resident.  Mirrors kmalloc()
 * with GFP_ATOMIC, mm/slub.c.
 *
 * An object of a slab that exists is served whatever the zone's free count: as
 * in the kernel, watermarks are for pages.  One slab of a class that has become
 * all free is kept for the next request while the zone is above low; it goes
 * back when pages are wanted, see lab_atomic_shrink_some().
 */
#ifndef LAB_SLAB_ATOMIC_H
#define LAB_SLAB_ATOMIC_H

#include "base/export.h"
#include "slab/slab.h"

/** lab_atomic_init() - make the words that atomic requests write resident
 *
 * Context: once, from the constructor.
 */
void lab_atomic_init(void);

/**
 * lab_atomic_alloc() - memory of the reserve, at once
 * @size:  bytes; 0 counts as 1; more than 2 MiB there is not in one piece
 * @align: a power of two; less than 16 counts as 16
 * @floor: frames that must stay free in the zone when a slab or a run is made
 *
 * A run is taken as a power of two of frames, and what is too much given back.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, bounded by the zone's size.  No system
 *          call, no page fault, nor when the memory is first written.  Abandoned,
 *          it leaks one slab or one run.
 * Errno:   preserved.
 * Return:  the first byte, marked live; NULL: the zone is down to @floor, or
 *          has no such run.
 */
void *lab_atomic_alloc(size_t size, size_t align, uint64_t floor);

/** lab_is_atomic_class() - is a frame of this kind a slab of atomic objects */
static LAB_ALWAYS_INLINE bool lab_is_atomic_class(unsigned int kind)
{
	return kind - LAB_CLASS_ATOMIC < LAB_NR_ATOMIC;
}

/**
 * lab_atomic_free() - give back an object of an atomic slab
 * @ptr: points into a frame of class @cls; runs are lab_large_free()'s
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call.
 * Return:  false: no live object begins at @ptr; of two who free at once one wins.
 */
LAB_NODISCARD bool lab_atomic_free(void *ptr, unsigned int cls);

/**
 * lab_atomic_hide(), lab_atomic_show() - an object is freed for all who ask, but
 *	keeps its place; and is as before
 *
 * Return: of hide, false: no live object begins at @ptr.
 */
LAB_NODISCARD bool lab_atomic_hide(void *ptr, unsigned int cls);
void lab_atomic_show(void *ptr, unsigned int cls);

/** lab_atomic_is_live() - does a live object of class @cls begin at @ptr */
bool lab_atomic_is_live(const void *ptr, unsigned int cls);

/**
 * lab_atomic_shrink() - give slabs without an object in use back to the reserve
 *
 * For direct reclaim.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, bounded by the number of slabs.  No
 *          system call.
 * Return:  frames given back.
 */
size_t lab_atomic_shrink(void);

/**
 * lab_atomic_shrink_some() - the same where it is known to be worth while
 *
 * For a request of pages that has failed and may not wait: a bounded piece of
 * each class, none of those in which nothing became free since the last time,
 * so that a request that fails again and again is quick.
 */
size_t lab_atomic_shrink_some(void);

/** lab_atomic_export() - let readers find what is here; once, at start */
void lab_atomic_export(struct lab_export *to);

/** lab_atomic_slabs() - slabs of an atomic class that exist now; a figure */
uint64_t lab_atomic_slabs(unsigned int cls);

#endif /* LAB_SLAB_ATOMIC_H */
