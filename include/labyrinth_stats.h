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

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_STATS_H */
