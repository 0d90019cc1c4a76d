/* SPDX-License-Identifier: MIT */
/*
 * Labyrinth: the malloc you may call from a signal handler.
 *
 * Pages from the reserve and objects, by the kernel's names and flags.  It
 * includes its parts: the flags (labyrinth_gfp.h), pools of elements
 * (labyrinth_mempool.h), figures and tunables (labyrinth_stats.h), and malloc()
 * under names of its own (labyrinth_heap.h).
 *
 * Every call here is MT-Safe, AS-Safe (callable in a signal handler that
 * interrupted any other call of Labyrinth), lock-free, keeps errno unless it
 * says otherwise, and works in a child of fork() at once.
 */
#ifndef LABYRINTH_H
#define LABYRINTH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "labyrinth_fault.h"
#include "labyrinth_gfp.h"
#include "labyrinth_heap.h"
#include "labyrinth_mempool.h"
#include "labyrinth_profile.h"
#include "labyrinth_stats.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LABYRINTH_VERSION_MAJOR 1
#define LABYRINTH_VERSION_MINOR 0

/*
 * Calls that are over in a few nanoseconds go through the GOT, without the
 * detour by the PLT.
 */
#if defined(__has_attribute)
#if __has_attribute(noplt)
#define LABYRINTH_HOT __attribute__((noplt))
#endif
#endif
#ifndef LABYRINTH_HOT
#define LABYRINTH_HOT
#endif

/** Bytes in a page, and the largest order of labyrinth_alloc_pages(). */
#define LABYRINTH_PAGE_SIZE	 4096u
#define LABYRINTH_MAX_PAGE_ORDER 9u

/**
 * labyrinth_void_alloc_page_gfp_atomic_exclusive() - one page, at once, for
 *	the caller alone
 *
 * The page comes from the exclusive zone: resident, locked where
 * RLIMIT_MEMLOCK allows, not shared copy-on-write with a child of fork(), not
 * merged, not collapsed, between pages without access.  The contents are
 * unspecified.  In a child the zone is wiped: the parent's pages read as zero
 * there, to free them does nothing, and there are no others until a request
 * with __GFP_EXCLUSIVE that may wait has set up a zone of the child's own.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, bounded work, no system call, no
 *          page fault, after fork() neither.  (With the option kswapd:1 one
 *          futex(2) wake at a crossing of low, as for all of this header that
 *          has __GFP_KSWAPD_RECLAIM.)
 * Errno:   preserved.
 * Mirrors: alloc_page(GFP_ATOMIC), mm/page_alloc.c.
 * Return:  a page aligned to LABYRINTH_PAGE_SIZE, or NULL when the zone is
 *          down to its atomic floor.
 */
LABYRINTH_HOT void *labyrinth_void_alloc_page_gfp_atomic_exclusive(void);

/**
 * labyrinth_alloc_page() - one page from the reserve
 * @gfp: any of labyrinth_gfp.h; the usual are LABYRINTH_GFP_KERNEL, _NOWAIT and
 *       _ATOMIC, with _ZERO or _EXCLUSIVE
 *
 * What is left for others: min by most; half of it with __GFP_HIGH; 0.375 of it
 * by GFP_ATOMIC; nothing with __GFP_MEMALLOC.  __GFP_NOMEMALLOC takes the last
 * two back.
 *
 * Who may wait (__GFP_DIRECT_RECLAIM) gets pages of the heap while the reserve is
 * below low; then it reclaims, runs shrinkers and waits, up to stall_ms, when a
 * report is made and the request fails.  With __GFP_NORETRY it fails after one
 * round, with __GFP_RETRY_MAYFAIL without waiting, with __GFP_NOFAIL never, but for
 * __GFP_EXCLUSIVE where there is no such zone.  In an atomic section it is reported
 * once and treated as GFP_NOWAIT.
 *
 * Context: MT-Safe, AS-Safe.  Without __GFP_DIRECT_RECLAIM lock-free, no system
 *          call and no page fault (but after fork(), whose copy-on-write
 *          covers the reserve and our tables until they are written again).
 * Errno:   preserved; EINVAL on unknown flags, ENOMEM when a request that may
 *          wait fails.
 * Mirrors: alloc_page(), mm/page_alloc.c.
 * Return:  the page, or NULL: none above the floor that @gfp allows.
 */
LABYRINTH_HOT void *labyrinth_alloc_page(labyrinth_gfp_t gfp);

/**
 * labyrinth_alloc_pages() - 2^order contiguous pages, aligned to their size
 * @gfp:   as for labyrinth_alloc_page()
 * @order: log2 of the number of pages, 0 .. LABYRINTH_MAX_PAGE_ORDER
 *
 * Return: the first byte, or NULL; EINVAL if @order is out of range.
 * All else as labyrinth_alloc_page().
 */
void *labyrinth_alloc_pages(labyrinth_gfp_t gfp, unsigned int order);

/**
 * labyrinth_free_page() - give back what labyrinth_alloc_page() returned
 * @page: a page of order 0, or NULL (a no-op)
 *
 * Misuse (double free, wrong order, not a page of ours) is reported on file
 * descriptor 2, the page is leaked, and the program goes on, as in the kernel.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, never fails, no system call but the
 *          report's write(2).
 * Errno:   preserved.
 * Mirrors: free_page(), mm/page_alloc.c.
 */
LABYRINTH_HOT void labyrinth_free_page(void *page);

/**
 * labyrinth_free_pages() - give back what labyrinth_alloc_pages() returned
 * @page:  its first byte, or NULL (a no-op)
 * @order: the order it was allocated with; another is misuse, see above
 */
void labyrinth_free_pages(void *page, unsigned int order);

/**
 * labyrinth_get_zeroed_page() - labyrinth_alloc_page(@gfp | __GFP_ZERO)
 *
 * Mirrors: get_zeroed_page(), mm/page_alloc.c.
 */
void *labyrinth_get_zeroed_page(labyrinth_gfp_t gfp);

/**
 * labyrinth_alloc_pages_nolock() - pages for any context, not even a report
 * @order: 0 .. LABYRINTH_MAX_PAGE_ORDER
 *
 * One attempt down to min: no refiller is woken, no failure is reported.  The
 * pages read as zero.  NULL means "none": there is no reason to ask again.
 *
 * Mirrors: alloc_pages_nolock(), mm/page_alloc.c.
 */
void *labyrinth_alloc_pages_nolock(unsigned int order);

/**
 * labyrinth_alloc_pages_bulk() - many single pages at once
 * @gfp:   as for labyrinth_alloc_page()
 * @n:     length of @pages
 * @pages: slots that are NULL receive a page each, others are left alone
 *
 * Mirrors: alloc_pages_bulk(), mm/page_alloc.c: a short count is no failure.
 * Return:  how many slots, from the first on, hold a page now.
 */
size_t labyrinth_alloc_pages_bulk(labyrinth_gfp_t gfp, size_t n, void **pages);

/**
 * labyrinth_free_pages_bulk() - give single pages back
 * @n:     length of @pages
 * @pages: pages of order 0, or NULL; all slots are NULL afterwards
 *
 * Context and misuse: as labyrinth_free_page(), for each.
 */
void labyrinth_free_pages_bulk(size_t n, void **pages);

/**
 * labyrinth_alloc_pages_exact() - as many adjacent pages as @size bytes need
 * @size: bytes, 1 .. LABYRINTH_PAGE_SIZE << LABYRINTH_MAX_PAGE_ORDER
 * @gfp:  as for labyrinth_alloc_page(); __GFP_COMP is taken out with a warning
 *
 * Mirrors: alloc_pages_exact(), mm/page_alloc.c.
 * Return:  the first byte, aligned to a page; give it back by
 *          labyrinth_free_pages_exact() alone, or page by page.
 */
void *labyrinth_alloc_pages_exact(size_t size, labyrinth_gfp_t gfp);

/** labyrinth_free_pages_exact() - give back what the call above returned, by its size */
void labyrinth_free_pages_exact(void *pages, size_t size);

/**
 * labyrinth_split_page() - make one block of 2^order pages into single ones
 * @page:  what labyrinth_alloc_pages() returned
 * @order: the order it was allocated with
 *
 * Afterwards each page is given back by itself, by labyrinth_free_page().
 * Misuse is reported, and nothing is split.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free: at most 512 bytes are written.
 * Mirrors: split_page(), mm/page_alloc.c.
 */
void labyrinth_split_page(void *page, unsigned int order);

/* ---- atomic sections ---- */

/**
 * labyrinth_gfp_save() - this thread's malloc() is atomic from here on
 *
 * Until labyrinth_gfp_restore(), every call of malloc() and its family by this
 * thread is made as by GFP_ATOMIC: from resident memory, without a system call,
 * a page fault or a wait, or NULL with ENOMEM.  GFP_KERNEL is reported once, as
 * might_sleep() does, and treated as GFP_NOWAIT.  Sections nest.
 *
 * Context: MT-Safe, AS-Safe: a handler may open and close its own.  Wait-free.
 * Mirrors: memalloc_noreclaim_save(), include/linux/sched/mm.h.
 * Return:  what labyrinth_gfp_restore() needs.
 */
uintptr_t labyrinth_gfp_save(void);

/** labyrinth_gfp_restore() - the thread is as it was before labyrinth_gfp_save() */
void labyrinth_gfp_restore(uintptr_t saved);

/** labyrinth_in_atomic() - 1 inside an atomic section of this thread, else 0 */
int labyrinth_in_atomic(void);

/* ---- objects ---- */

/**
 * labyrinth_malloc() - memory of any size, by flags
 * @size: bytes; with flags that may not wait at most what the reserve holds in one piece
 * @gfp:  LABYRINTH_GFP_KERNEL: as malloc(); LABYRINTH_GFP_ATOMIC, _NOWAIT: from
 *        resident slabs and pages of the reserve, down to the floor of the flags;
 *        with _ZERO it reads as zero.  _EXCLUSIVE is for pages: EINVAL.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free; without __GFP_DIRECT_RECLAIM no system
 *          call and no page fault.
 * Errno:   preserved; EINVAL on bad flags, ENOMEM when GFP_KERNEL fails.
 * Mirrors: kmalloc(), mm/slub.c.
 * Return:  memory aligned to 16 bytes, given back by labyrinth_free(), or NULL.
 */
void *labyrinth_malloc(size_t size, labyrinth_gfp_t gfp);

/**
 * labyrinth_free() - free(): gives back what any call of this header returned
 *	for a size, or malloc() where Labyrinth replaces it
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  Memory of atomic requests: no system call.
 * Errno:   preserved.
 */
void labyrinth_free(void *ptr);

/* ---- reclaim ---- */

/**
 * struct labyrinth_shrinker - a cache of the program that can give memory back
 * @count: objects that could go now; 0: none
 * @scan:  let up to @nr of them go, by labyrinth_free() or the page calls; returns how many
 * @data:  passed to both
 *
 * Both run in the context of a request that may wait, and may themselves make
 * only requests that may not.
 */
struct labyrinth_shrinker {
	size_t (*count)(void *data);
	size_t (*scan)(size_t nr, void *data);
	void *data;
};

/**
 * labyrinth_register_shrinker() - let direct reclaim and the refiller call it
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  A place is free again after
 *          labyrinth_unregister_shrinker(); a call may be under way when it returns.
 * Mirrors: shrinker_register(), mm/shrinker.c.
 * Return:  0, -EINVAL, -EEXIST, or -ENOSPC: all 32 places are taken.
 */
int labyrinth_register_shrinker(struct labyrinth_shrinker *shrinker);
void labyrinth_unregister_shrinker(struct labyrinth_shrinker *shrinker);

/**
 * labyrinth_flush_reports() - write the failure reports that handlers left behind
 *
 * Ordinary calls of malloc() that need more memory do so anyway.
 *
 * Context: MT-Safe, AS-Safe; write(2).
 * Return:  how many were written.
 */
int labyrinth_flush_reports(void);

struct iovec;

/**
 * labyrinth_mmap() and its kin - mappings of a few pages without a system call
 *
 * Semantics and errno are those of libc's functions without the prefix.  A
 * private, anonymous, readable and writable mapping of 1 to 16 pages, at no
 * certain address and without another flag, is routed: it comes from the heap.
 * All else is handed to the kernel, which also answers for what was done to
 * routed pages.  A program that calls any of these on a page calls all of them
 * by these names (or none, preloaded).
 *
 * Where a routed page can be told from the kernel's: it is resident from the
 * start (mincore), and to touch it after munmap() is no fault but an error all
 * the same, as the page may be another's.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free; may make the system calls of its name,
 *          and mmap, munmap.  msync() is a cancellation point, as libc's.
 */
void *labyrinth_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
int labyrinth_munmap(void *addr, size_t len);
void *labyrinth_mremap(void *addr, size_t old_len, size_t new_len, int flags, void *to);
int labyrinth_mprotect(void *addr, size_t len, int prot);
int labyrinth_pkey_mprotect(void *addr, size_t len, int prot, int pkey);
int labyrinth_madvise(void *addr, size_t len, int advice);
int labyrinth_posix_madvise(void *addr, size_t len, int advice);
int labyrinth_mlock(const void *addr, size_t len);
int labyrinth_mlock2(const void *addr, size_t len, unsigned int flags);
int labyrinth_munlock(const void *addr, size_t len);
/* routes nothing any more: what is mapped later may have to be locked */
int labyrinth_mlockall(int flags);
int labyrinth_msync(void *addr, size_t len, int flags);
int labyrinth_mincore(void *addr, size_t len, unsigned char *vec);
ssize_t labyrinth_process_madvise(int pidfd, const struct iovec *vec, size_t n, int advice,
				  unsigned int flags);
int labyrinth_remap_file_pages(void *addr, size_t len, int prot, size_t pgoff, int flags);

/** struct labyrinth_mmap_info - what became of calls of mmap() */
struct labyrinth_mmap_info {
	uint64_t routed;   /* served here */
	uint64_t passed;   /* handed to the kernel */
	uint64_t restored; /* pages mapped afresh, because the program had changed them */
	uint64_t lost;	   /* pages that could not be: never used again */
};

/** labyrinth_mmap_info() - read these figures; each is exact at quiescence
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.
 */
void labyrinth_mmap_info(struct labyrinth_mmap_info *info);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_H */
