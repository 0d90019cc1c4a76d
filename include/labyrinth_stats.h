/* SPDX-License-Identifier: MIT */
/* Figures and tunables: zones, events, sysctl. */
#ifndef LABYRINTH_STATS_H
#define LABYRINTH_STATS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct labyrinth_zone_info - a zone's figures; all counts are pages */
struct labyrinth_zone_info {
	uint64_t managed;	      /* resident pages that the zone owns */
	uint64_t free;		      /* of these, not handed out nor in a per-CPU stack */
	uint64_t min, low, high;      /* watermarks */
	uint64_t locked;	      /* of managed, locked in memory by mlock(2) */
	uint64_t taken;		      /* pages ever taken out of the zone */
	uint64_t failed;	      /* requests that the zone refused */
	uint64_t cap;		      /* managed may grow to this; 0: the heap, without bound */
	uint64_t reserved_highatomic; /* pages set aside for atomic requests of several */
	uint64_t free_zeroed;	      /* of free, those that read as zero */
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

/** labyrinth_zone_name() - "heap", "reserve", "exclusive"; NULL if there is no such zone */
const char *labyrinth_zone_name(enum labyrinth_zone zone);

/**
 * enum labyrinth_event - what is counted, always; exact at quiescence
 *
 * labyrinth_event_name() gives the name that the statistics print, the kernel's
 * of /proc/vmstat where it has one.
 */
enum labyrinth_event {
	LABYRINTH_EV_FAIL_KERNEL,	 /* page requests that might wait and got NULL */
	LABYRINTH_EV_FAIL_NOWAIT,	 /* neither may wait nor dip below min */
	LABYRINTH_EV_FAIL_HIGH,		 /* __GFP_HIGH, and forbidden or able to do more */
	LABYRINTH_EV_FAIL_ATOMIC,	 /* __GFP_HIGH and may not wait */
	LABYRINTH_EV_FAIL_MEMALLOC,	 /* even without any floor */
	LABYRINTH_EV_FAIL_EXCLUSIVE,	 /* of all those, in the exclusive zone */
	LABYRINTH_EV_FAIL_ORDER,	 /* of all those, of order 1 and more */
	LABYRINTH_EV_FAIL_MALLOC,	 /* malloc() and its family: ENOMEM */
	LABYRINTH_EV_FAIL_ATOMIC_MALLOC, /* the same, in atomic mode */
	LABYRINTH_EV_BAD_GFP,		 /* flags or orders that were refused or corrected */
	LABYRINTH_EV_MIGHT_SLEEP,	 /* GFP_KERNEL asked for in an atomic section */
	LABYRINTH_EV_ALLOCSTALL,	 /* direct reclaims begun */
	LABYRINTH_EV_PGSTEAL,		 /* pages that direct reclaim gave back */
	LABYRINTH_EV_STALL,		 /* stall reports */
	LABYRINTH_EV_KSWAPD_WAKE,	 /* the refiller was woken, at a crossing of low */
	LABYRINTH_EV_PAGEOUTRUN,	 /* rounds of the refiller */
	LABYRINTH_EV_KSWAPD_LOW_HIT,	 /* woken again during its nap, zone below low */
	LABYRINTH_EV_KSWAPD_HIGH_HIT,	 /* the same, below high */
	LABYRINTH_EV_REFILL,		 /* pages that refills made resident */
	LABYRINTH_EV_ZEROED,		 /* pages that refills cleared ahead */
	LABYRINTH_EV_ZERO_HIT,		 /* atomic __GFP_ZERO served without clearing */
	LABYRINTH_EV_ZERO_MISS,		 /* the same, cleared on the spot */
	LABYRINTH_EV_HIGHATOMIC_HIT,	 /* atomic requests served from what was set aside */
	LABYRINTH_EV_WARN,		 /* failure reports made */
	LABYRINTH_EV_WARN_SUPPRESSED,	 /* not made: one each 10 s */
	LABYRINTH_EV_WARN_LOST,		 /* deferred reports for which there was no room */
	LABYRINTH_EV_INHERITED_FREE,	 /* frees of exclusive pages of a parent process */
	LABYRINTH_EV_FAULT_INJECTED, /* requests that failed on purpose, see labyrinth_fault.h */
	LABYRINTH_NR_EVENTS
};

/** labyrinth_event_count() - how often it happened; 0 if there is no such event */
uint64_t labyrinth_event_count(enum labyrinth_event event);

/** labyrinth_event_name() - its name; NULL if there is no such event */
const char *labyrinth_event_name(enum labyrinth_event event);

/**
 * labyrinth_sysctl() - read or change a tunable at run time
 * @name:  one of
 *           min_free_kbytes         free memory that ordinary requests leave, kB; 0: computed
 *           watermark_scale_factor  low and high above min, in 1/10000 of a zone; 1 .. 3000
 *           reserve                 cap of the reserve, bytes
 *           stall_ms                how long GFP_KERNEL waits before it reports and fails
 * @old:   receives the value before, or NULL
 * @value: the new value, or NULL: only read
 *
 * Context: MT-Safe.  AS-Safe when only reading.  Changing "reserve" makes
 *          system calls; what shrinks is given back as it becomes free.
 * Mirrors: /proc/sys/vm/, Documentation/admin-guide/sysctl/vm.rst.
 * Return:  0, -ENOENT: no such name, -EINVAL: out of range, -ENOMEM, or
 *          -EBUSY: "reserve" is being changed by somebody else.
 */
int labyrinth_sysctl(const char *name, uint64_t *old, const uint64_t *value);

/** labyrinth_stats_print() - labyrinth_stats(fd, LABYRINTH_STATS_TEXT) */
int labyrinth_stats_print(int fd);

/** struct labyrinth_class_info - objects of one size, or of one use */
struct labyrinth_class_info {
	char name[24];	   /* "malloc-64", "large"; see labyrinth_class_info() */
	uint64_t size;	   /* bytes of an object; 0: they differ */
	uint64_t per_slab; /* objects in a slab; 0: there are no slabs */
	uint64_t slab_pages;
	uint64_t slabs;	  /* that exist */
	uint64_t objects; /* in them, in use or not; without slabs: active and stacked */
	uint64_t active;  /* in use by the program */
	uint64_t bytes;	  /* of those */
	uint64_t stacked; /* waiting on per-CPU stacks */
	uint64_t taken;	  /* objects that ever went from the memory below to the stacks */
	uint64_t given;	  /* that went back: active is taken - given - stacked */
};

/**
 * labyrinth_class_info() - read the figures of a class
 * @index: 0 and up; classes of malloc by size, then
 *           malloc-page  malloc()'s single pages
 *           large, huge  up to 2 MiB, and more; bytes are those of their pages
 *           mmap         pages that mmap() got without a system call
 *           page         labyrinth_alloc_page(), of the reserve
 *           pages        labyrinth_alloc_pages(): several, or of the heap
 *           atomic-SIZE  labyrinth_malloc(GFP_ATOMIC), and malloc() in atomic sections
 * @info:  receives the figures; each is exact at quiescence
 *
 * Pages of the exclusive zone have no class: see labyrinth_zone_info().
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call, no lock: a few loads for each
 *          CPU that the machine can have, however many objects there are.
 * Mirrors: a line of /proc/slabinfo.
 * Return:  0, or -EINVAL: there are no more.
 */
int labyrinth_class_info(unsigned int index, struct labyrinth_class_info *info);

/** struct labyrinth_cpu_info - what a CPU has to do with a class; objects */
struct labyrinth_cpu_info {
	uint64_t stacked; /* on its stack */
	uint64_t taken;	  /* ever taken by it from the memory below */
	uint64_t given;	  /* ever given back by it */
};

/**
 * labyrinth_cpu_info() - read the figures of a class on one CPU
 * @cpu:   0 and up, as the kernel numbers them
 * @index: as for labyrinth_class_info()
 * @info:  receives the figures; each is exact at quiescence
 *
 * Of atomic classes all are 0: they are counted for all CPUs together.  So is what could
 * not be told of one CPU: before start-up, amid a storm of signals, while a child of
 * vfork() lives.
 *
 * Context: as labyrinth_class_info().
 * Mirrors: the pagesets of /proc/zoneinfo.
 * Return:  0, or -EINVAL: there is no such class, or there can be no such CPU.
 */
int labyrinth_cpu_info(unsigned int cpu, unsigned int index, struct labyrinth_cpu_info *info);

enum labyrinth_stats_format {
	LABYRINTH_STATS_TEXT = 1, /* lines of words, each a record by itself */
	LABYRINTH_STATS_JSON = 2, /* one object on one line */
	LABYRINTH_STATS_PROM = 3  /* Prometheus' text format, version 0.0.4 */
};

/**
 * labyrinth_stats() - write all figures of the process
 * @fd:     an open file descriptor
 * @format: one of the above
 *
 * Zones, classes, CPUs, events and mmap(); the options stats, stats_signal and
 * stats_file do it at exit and on a signal.  Written in pieces of up to 236 bytes, so
 * what others write to the same pipe may come in between, but not in a line of text.
 *
 * Context: MT-Safe, AS-Safe.  No lock, and no memory but 1 KiB of stack; write(2).
 * Errno:   preserved.
 * Return:  0, -EINVAL: no such format, or a negative error of write(2).
 */
int labyrinth_stats(int fd, enum labyrinth_stats_format format);

/** labyrinth_pcp_backend() - "rseq", "trylock" or "none" (before start-up) */
const char *labyrinth_pcp_backend(void);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_STATS_H */
