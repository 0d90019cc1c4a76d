/* SPDX-License-Identifier: MIT */
/*
 * What happened how often; the kernel's vm_event_states, mm/vmstat.c.  Counted
 * on slow paths only, so one word each for all CPUs.
 */
#ifndef LAB_PAGE_EVENT_H
#define LAB_PAGE_EVENT_H

#include "os/wiped.h"

/* The order is that of enum labyrinth_event, labyrinth.h. */
enum lab_event {
	LAB_EV_FAIL_KERNEL,
	LAB_EV_FAIL_NOWAIT,
	LAB_EV_FAIL_HIGH,
	LAB_EV_FAIL_ATOMIC,
	LAB_EV_FAIL_MEMALLOC,
	LAB_EV_FAIL_EXCLUSIVE,
	LAB_EV_FAIL_ORDER,
	LAB_EV_FAIL_MALLOC,
	LAB_EV_FAIL_ATOMIC_MALLOC,
	LAB_EV_BAD_GFP,
	LAB_EV_MIGHT_SLEEP,
	LAB_EV_ALLOCSTALL,
	LAB_EV_PGSTEAL,
	LAB_EV_STALL,
	LAB_EV_KSWAPD_WAKE,
	LAB_EV_PAGEOUTRUN,
	LAB_EV_KSWAPD_LOW_HIT,
	LAB_EV_KSWAPD_HIGH_HIT,
	LAB_EV_REFILL,
	LAB_EV_ZEROED,
	LAB_EV_ZERO_HIT,
	LAB_EV_ZERO_MISS,
	LAB_EV_HIGHATOMIC_HIT,
	LAB_EV_WARN,
	LAB_EV_WARN_SUPPRESSED,
	LAB_EV_WARN_LOST,
	LAB_EV_INHERITED_FREE,
	LAB_EV_FAULT_INJECTED,
	LAB_NR_EVENTS
};

static_assert(LAB_NR_EVENTS <= LAB_WIPED_EVENTS, "all have a place");

/* In a child of fork() all begin anew. */
#define lab_events (lab_wiped.events)

/** lab_event_add() - it happened @n times more; wait-free, ordered with nothing */
static inline void lab_event_add(enum lab_event event, uint64_t n)
{
	lab_word_add(&lab_events[event], n);
}

#endif /* LAB_PAGE_EVENT_H */
