/* SPDX-License-Identifier: MIT */
/*
 * Labyrinth: the malloc you may call from a signal handler.
 *
 * This header is the whole public interface: pages from the reserve, by the
 * kernel's names and flags, and the figures that describe it.  The malloc
 * family itself is declared by <stdlib.h> and <malloc.h> as always.
 *
 * Every call here is MT-Safe, AS-Safe (callable in a signal handler that
 * interrupted any other call of Labyrinth), lock-free, keeps errno unless it
 * says otherwise, and works in a child of fork() at once.
 */
#ifndef LABYRINTH_H
#define LABYRINTH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LABYRINTH_VERSION_MAJOR 0
#define LABYRINTH_VERSION_MINOR 1

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
 * labyrinth_gfp_t - how an allocation may be made
 *
 * The values of bits 0 to 23 are the kernel's (include/linux/gfp_types.h).
 */
typedef uint32_t labyrinth_gfp_t;

/* Single bits; the kernel's __GFP_x is LABYRINTH___GFP_x here. */
#define LABYRINTH___GFP_HIGH	       0x20u	   /* may dip into the reserve below min */
#define LABYRINTH___GFP_ZERO	       0x100u	   /* the memory reads as zero */
#define LABYRINTH___GFP_DIRECT_RECLAIM 0x400u	   /* may make system calls and grow */
#define LABYRINTH___GFP_KSWAPD_RECLAIM 0x800u	   /* may ask for a refill */
#define LABYRINTH___GFP_NOWARN	       0x2000u	   /* no failure report */
#define LABYRINTH___GFP_EXCLUSIVE      0x80000000u /* ours: the exclusive zone */

/* Composites. */
#define LABYRINTH_GFP_ATOMIC	(LABYRINTH___GFP_HIGH | LABYRINTH___GFP_KSWAPD_RECLAIM)
#define LABYRINTH_GFP_NOWAIT	(LABYRINTH___GFP_KSWAPD_RECLAIM | LABYRINTH___GFP_NOWARN)
#define LABYRINTH_GFP_KERNEL	0xcc0u
#define LABYRINTH_GFP_ZERO	LABYRINTH___GFP_ZERO
#define LABYRINTH_GFP_EXCLUSIVE LABYRINTH___GFP_EXCLUSIVE

/**
 * labyrinth_void_alloc_page_gfp_atomic_exclusive() - one page, at once, for
 *	the caller alone
 *
 * The page comes from the exclusive zone: resident, locked where
 * RLIMIT_MEMLOCK allows, not shared copy-on-write with a child of fork().
 * The contents are unspecified.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, bounded work, no system call, no
 *          page fault.
 * Errno:   preserved.
 * Mirrors: alloc_page(GFP_ATOMIC), mm/page_alloc.c.
 * Return:  a page aligned to LABYRINTH_PAGE_SIZE, or NULL when the zone is
 *          down to its atomic floor.
 */
LABYRINTH_HOT void *labyrinth_void_alloc_page_gfp_atomic_exclusive(void);

/**
 * labyrinth_alloc_page() - one page from the reserve
 * @gfp: LABYRINTH_GFP_KERNEL, _NOWAIT or _ATOMIC, with any of _ZERO, _EXCLUSIVE
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  _ATOMIC and _NOWAIT make no system
 *          call and take no page fault (but after fork(), whose copy-on-write
 *          covers the reserve and our tables until they are written again);
 *          _KERNEL may grow the heap.
 * Errno:   preserved; EINVAL on unknown flags, ENOMEM when _KERNEL fails.
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

/** struct labyrinth_zone_info - a zone's figures; all counts are pages */
struct labyrinth_zone_info {
	uint64_t managed;	 /* resident pages that the zone owns */
	uint64_t free;		 /* of these, not handed out nor in a per-CPU stack */
	uint64_t min, low, high; /* watermarks */
	uint64_t locked;	 /* of managed, locked in memory by mlock(2) */
	uint64_t taken;		 /* pages ever taken out of the zone */
	uint64_t failed;	 /* requests that the zone refused */
};

enum labyrinth_zone {
	LABYRINTH_ZONE_HEAP,
	LABYRINTH_ZONE_RESERVE,
	LABYRINTH_ZONE_EXCLUSIVE,
	LABYRINTH_NR_ZONES
};

/**
 * labyrinth_zone_info() - read a zone's figures
 * @zone: which
 * @info: receives the figures; each is exact at quiescence
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.
 * Return:  0, or -EINVAL if there is no such zone.
 */
int labyrinth_zone_info(enum labyrinth_zone zone, struct labyrinth_zone_info *info);

/**
 * labyrinth_stats_print() - the figures of all zones as text
 * @fd: an open file descriptor
 *
 * Context: MT-Safe, AS-Safe.  Wait-free but for write(2).
 * Return:  0, or a negative error of write(2).
 */
int labyrinth_stats_print(int fd);

/** labyrinth_pcp_backend() - "rseq", "trylock" or "none" (before start-up) */
const char *labyrinth_pcp_backend(void);

/**
 * labyrinth_malloc() and its family - the heap under names of its own
 *
 * Semantics are those of glibc 2.36's functions without the prefix; errno is
 * set to ENOMEM or EINVAL as theirs.  Link with -llabyrinth for these beside
 * the system's malloc; link or preload liblabyrinth-preload.so to replace it.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free; may make mmap, munmap, mremap,
 *          madvise system calls.
 */
void *labyrinth_malloc(size_t size);
void *labyrinth_calloc(size_t n, size_t size);
void *labyrinth_realloc(void *ptr, size_t size);
void *labyrinth_reallocarray(void *ptr, size_t n, size_t size);
void *labyrinth_memalign(size_t align, size_t size);
void *labyrinth_aligned_alloc(size_t align, size_t size);
int labyrinth_posix_memalign(void **out, size_t align, size_t size);
void *labyrinth_valloc(size_t size);
void *labyrinth_pvalloc(size_t size);
void labyrinth_free(void *ptr);
void labyrinth_free_sized(void *ptr, size_t size);
void labyrinth_free_aligned_sized(void *ptr, size_t align, size_t size);
size_t labyrinth_malloc_usable_size(void *ptr);
int labyrinth_malloc_trim(size_t pad);

/**
 * struct labyrinth_libc - the allocator that a preloaded Labyrinth hides
 *
 * For the preload object alone, which hands it over when the executable
 * brings a malloc of its own.
 */
struct labyrinth_libc {
	void (*free)(void *ptr);
	void *(*realloc)(void *ptr, size_t size);
	void *(*memalign)(size_t align, size_t size);
	size_t (*usable)(void *ptr);
};

/** labyrinth_step_aside() - serve nothing new; forward, but free what is ours */
void labyrinth_step_aside(const struct labyrinth_libc *libc);

/**
 * labyrinth_vfork_gate() - tell of a child that shares our memory
 * @enter: 1 before vfork(), 0 in the parent when it has returned
 *
 * The preload object does so for vfork().  A program that calls clone() with
 * CLONE_VM but not CLONE_SETTLS, and allocates in the child, has to call it.
 */
void labyrinth_vfork_gate(int enter);

/** labyrinth_option_deepbind() - 1 if the option deepbind:1 was given, else 0 */
int labyrinth_option_deepbind(void);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_H */
