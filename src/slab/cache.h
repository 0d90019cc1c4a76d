/* SPDX-License-Identifier: MIT */
/*
 * Slabs of one class together: the active slab of each CPU, the partial list,
 * and the traffic between slabs and the per-CPU stacks.  Mirrors struct
 * kmem_cache, mm/slub.c.
 */
#ifndef LAB_SLAB_CACHE_H
#define LAB_SLAB_CACHE_H

#include "base/export.h"
#include "slab/slab.h"

/**
 * lab_cache_alloc() - an object of a class, when this CPU's stack had none
 * @cls: 1 .. LAB_NR_CLASSES - 1
 *
 * Fills the stack with a batch on the way.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  May make system calls (growth).
 * Return:  the object, not marked live yet; NULL: out of memory.
 */
void *lab_cache_alloc(unsigned int cls);

/**
 * lab_cache_free() - an object, when this CPU's stack would not have it
 * @ptr: an object of @cls, marked free already
 *
 * Empties half of the stack on the way.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, never fails.
 */
void lab_cache_free(unsigned int cls, void *ptr);

/**
 * lab_cache_give() - an object goes back to its slab, past the stacks
 *
 * Slabs that become all free are left to the next ordinary free.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, never fails, bounded work.  No system call,
 *          no page fault.
 */
void lab_cache_give(unsigned int cls, void *ptr);

/** lab_page_give() - the same for one of malloc's single pages */
void lab_page_give(void *ptr);

/**
 * lab_page_alloc(), lab_page_free() - the same for malloc's single pages
 *
 * They come from the reserve while it is above its low watermark, else from
 * the heap.
 */
void *lab_page_alloc(void);
void lab_page_free(void *ptr);

/**
 * lab_cache_trim() - empty stacks and retire slabs without objects, of all CPUs
 * @first, @last: classes, 1 .. LAB_NR_CLASSES - 1
 * @drain: whose stacks, see there
 *
 * Context: MT-Safe, AS-Safe.  What @drain does apart: lock-free, no system call.
 */
void lab_cache_trim(unsigned int first, unsigned int last, lab_pcp_drain_t *drain);

/* A class grows by a 2^-LAB_CLUSTER_SHIFT-th of its slabs at once. */
#define LAB_CLUSTER_SHIFT 4u

/** lab_cache_export() - let readers find what is here; once, at start */
void lab_cache_export(struct lab_export *to);

/** lab_cache_slabs() - slabs of a class that exist now; a figure */
uint64_t lab_cache_slabs(unsigned int cls);

#endif /* LAB_SLAB_CACHE_H */
