/* SPDX-License-Identifier: MIT */
/*
 * The kernel's names for Labyrinth's calls, so that code which was written for
 * include/linux/gfp.h, slab.h and mempool.h compiles in user space.
 *
 * A struct page is never looked into: it stands for the page's address, and
 * page_address() takes that back.  What has no meaning here (nodes, zones by
 * physical address, highmem) is accepted and ignored.
 */
#ifndef LABYRINTH_EXAMPLES_KERNEL_GFP_H
#define LABYRINTH_EXAMPLES_KERNEL_GFP_H

#include <labyrinth.h>

typedef labyrinth_gfp_t gfp_t;
struct page;

#ifndef PAGE_SIZE
#define PAGE_SIZE  ((unsigned long)LABYRINTH_PAGE_SIZE)
#define PAGE_SHIFT 12
#endif
#define MAX_PAGE_ORDER		     LABYRINTH_MAX_PAGE_ORDER

#define __GFP_HIGH		     LABYRINTH___GFP_HIGH
#define __GFP_ZERO		     LABYRINTH___GFP_ZERO
#define __GFP_NOWARN		     LABYRINTH___GFP_NOWARN
#define __GFP_NORETRY		     LABYRINTH___GFP_NORETRY
#define __GFP_RETRY_MAYFAIL	     LABYRINTH___GFP_RETRY_MAYFAIL
#define __GFP_NOFAIL		     LABYRINTH___GFP_NOFAIL
#define __GFP_MEMALLOC		     LABYRINTH___GFP_MEMALLOC
#define __GFP_NOMEMALLOC	     LABYRINTH___GFP_NOMEMALLOC
#define __GFP_COMP		     LABYRINTH___GFP_COMP
#define __GFP_DIRECT_RECLAIM	     LABYRINTH___GFP_DIRECT_RECLAIM
#define __GFP_KSWAPD_RECLAIM	     LABYRINTH___GFP_KSWAPD_RECLAIM
#define GFP_ATOMIC		     LABYRINTH_GFP_ATOMIC
#define GFP_KERNEL		     LABYRINTH_GFP_KERNEL
#define GFP_NOWAIT		     LABYRINTH_GFP_NOWAIT
#define GFP_NOIO		     LABYRINTH_GFP_NOIO
#define GFP_NOFS		     LABYRINTH_GFP_NOFS
#define GFP_USER		     LABYRINTH_GFP_USER

#define gfpflags_allow_blocking(gfp) (labyrinth_gfpflags_allow_blocking(gfp) != 0)

/* ---- pages ---- */

static inline void *page_address(const struct page *page)
{
	return (void *)page;
}

static inline struct page *virt_to_page(const void *address)
{
	return (struct page *)((uintptr_t)address & ~(uintptr_t)(PAGE_SIZE - 1));
}

static inline struct page *alloc_pages(gfp_t gfp, unsigned int order)
{
	return (struct page *)labyrinth_alloc_pages(gfp, order);
}

static inline struct page *alloc_page(gfp_t gfp)
{
	return (struct page *)labyrinth_alloc_page(gfp);
}

static inline void __free_pages(struct page *page, unsigned int order)
{
	labyrinth_free_pages(page, order);
}

static inline void __free_page(struct page *page)
{
	labyrinth_free_page(page);
}

static inline unsigned long __get_free_pages(gfp_t gfp, unsigned int order)
{
	return (unsigned long)labyrinth_alloc_pages(gfp, order);
}

static inline unsigned long __get_free_page(gfp_t gfp)
{
	return (unsigned long)labyrinth_alloc_page(gfp);
}

static inline unsigned long get_zeroed_page(gfp_t gfp)
{
	return (unsigned long)labyrinth_get_zeroed_page(gfp);
}

static inline void free_pages(unsigned long address, unsigned int order)
{
	labyrinth_free_pages((void *)address, order);
}

static inline void free_page(unsigned long address)
{
	labyrinth_free_page((void *)address);
}

static inline unsigned long alloc_pages_bulk(gfp_t gfp, unsigned long n, struct page **pages)
{
	return labyrinth_alloc_pages_bulk(gfp, n, (void **)pages);
}

static inline void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	return labyrinth_alloc_pages_exact(size, gfp);
}

static inline void free_pages_exact(void *pages, size_t size)
{
	labyrinth_free_pages_exact(pages, size);
}

static inline void split_page(struct page *page, unsigned int order)
{
	labyrinth_split_page(page, order);
}

/* ---- objects ---- */

static inline void *kmalloc(size_t size, gfp_t gfp)
{
	return labyrinth_malloc(size, gfp);
}

static inline void *kzalloc(size_t size, gfp_t gfp)
{
	return labyrinth_malloc(size, gfp | __GFP_ZERO);
}

static inline void *kmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : labyrinth_malloc(bytes, gfp);
}

static inline void *kcalloc(size_t n, size_t size, gfp_t gfp)
{
	return kmalloc_array(n, size, gfp | __GFP_ZERO);
}

static inline void kfree(const void *object)
{
	labyrinth_free((void *)object);
}

/* ---- mempools ---- */

typedef labyrinth_mempool_t mempool_t;
typedef labyrinth_mempool_alloc_t mempool_alloc_t;
typedef labyrinth_mempool_free_t mempool_free_t;

#define mempool_create		    labyrinth_mempool_create
#define mempool_create_page_pool    labyrinth_mempool_create_page_pool
#define mempool_create_kmalloc_pool labyrinth_mempool_create_kmalloc_pool
#define mempool_alloc		    labyrinth_mempool_alloc
#define mempool_free		    labyrinth_mempool_free
#define mempool_resize		    labyrinth_mempool_resize
#define mempool_destroy		    labyrinth_mempool_destroy

/* ---- sections ---- */

static inline uintptr_t memalloc_noreclaim_save(void)
{
	return labyrinth_gfp_save();
}

static inline void memalloc_noreclaim_restore(uintptr_t flags)
{
	labyrinth_gfp_restore(flags);
}

#define in_atomic() labyrinth_in_atomic()

#endif /* LABYRINTH_EXAMPLES_KERNEL_GFP_H */
