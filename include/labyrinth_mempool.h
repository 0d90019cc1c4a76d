/* SPDX-License-Identifier: MIT */
/* Pools that guarantee some elements: the kernel's mempool_t, mm/mempool.c. */
#ifndef LABYRINTH_MEMPOOL_H
#define LABYRINTH_MEMPOOL_H

#include "labyrinth_gfp.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An element of a pool, by flags; @data as given to labyrinth_mempool_create() */
typedef void *labyrinth_mempool_alloc_t(labyrinth_gfp_t gfp, void *data);
typedef void labyrinth_mempool_free_t(void *element, void *data);
typedef struct labyrinth_mempool labyrinth_mempool_t;

/**
 * labyrinth_mempool_create() - a pool that guarantees @min_nr elements
 * @min_nr: elements kept, at least 1
 * @alloc:  makes an element; has to be AS-Safe if the pool is used in handlers
 * @free:   the inverse, never fails
 * @data:   passed to both
 *
 * Context: MT-Safe.  Ordinary calls: allocates @min_nr elements with GFP_KERNEL.
 * Errno:   EINVAL, ENOMEM.
 * Mirrors: mempool_create(), mm/mempool.c.
 * Return:  the pool, or NULL.
 */
labyrinth_mempool_t *labyrinth_mempool_create(int min_nr, labyrinth_mempool_alloc_t *alloc,
					      labyrinth_mempool_free_t *free, void *data);

/** labyrinth_mempool_create_page_pool() - elements are 2^order pages */
labyrinth_mempool_t *labyrinth_mempool_create_page_pool(int min_nr, unsigned int order);

/** labyrinth_mempool_create_kmalloc_pool() - elements are labyrinth_malloc(@size) */
labyrinth_mempool_t *labyrinth_mempool_create_kmalloc_pool(int min_nr, size_t size);

/**
 * labyrinth_mempool_alloc() - an element
 * @gfp: first tried without waiting nor warning; then the pool's elements; then,
 *       with __GFP_DIRECT_RECLAIM, again with all of @gfp, waiting until somebody
 *       gives one back.  __GFP_ZERO is taken out with a warning.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free without __GFP_DIRECT_RECLAIM.
 * Mirrors: mempool_alloc(), mm/mempool.c.
 * Return:  an element; NULL only without __GFP_DIRECT_RECLAIM.
 */
void *labyrinth_mempool_alloc(labyrinth_mempool_t *pool, labyrinth_gfp_t gfp);

/** labyrinth_mempool_alloc_preallocated() - one of the kept elements, or NULL */
void *labyrinth_mempool_alloc_preallocated(labyrinth_mempool_t *pool);

/**
 * labyrinth_mempool_free() - give an element back: first to the pool, then to free()
 * @element: from this pool, or NULL (a no-op)
 */
void labyrinth_mempool_free(void *element, labyrinth_mempool_t *pool);

/**
 * labyrinth_mempool_resize() - keep @min_nr elements from now on
 *
 * Context: MT-Safe; an ordinary call, as labyrinth_mempool_create().  The pool
 *          may be in use meanwhile.
 * Return:  0, -EINVAL, or -ENOMEM: fewer are kept for now, frees fill it up.
 */
int labyrinth_mempool_resize(labyrinth_mempool_t *pool, int min_nr);

/** labyrinth_mempool_destroy() - free the kept elements and the pool; NULL: a no-op */
void labyrinth_mempool_destroy(labyrinth_mempool_t *pool);

/** labyrinth_mempool_curr_nr() - elements kept now; a figure */
int labyrinth_mempool_curr_nr(const labyrinth_mempool_t *pool);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_MEMPOOL_H */
