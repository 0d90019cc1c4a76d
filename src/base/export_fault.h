/* SPDX-License-Identifier: MIT */
/*
 * How labyrinth(1) lets the requests of another process fail, which may be stopped:
 * struct lab_export leads here, and all are words that it may write.
 *
 * First attr, then the gates, so that all requests take the slow path, then the bit watcher
 * in *watchers, for which it asks.  The gate of pages by GATE_CLOSED, odd, the bounds of malloc()
 * and free() by BOUND_CLOSED, below zero: whatever they held.  Both count more who keep them
 * closed than there can be children of vfork(), so that they stay so when those that were
 * there, or came in between, are gone.
 */
#ifndef LAB_BASE_EXPORT_FAULT_H
#define LAB_BASE_EXPORT_FAULT_H

#include "labyrinth_fault.h"

#define LAB_EXPORT_FAULT_VERSION 2u
#define LAB_EXPORT_MANY		 (1ull << 24)
#define LAB_EXPORT_GATE_CLOSED	 (LAB_EXPORT_MANY << 1 | 1)
#define LAB_EXPORT_BOUND_CLOSED	 (1ull << 63 | LAB_EXPORT_MANY << 32)

struct lab_export_fault {
	uint64_t version, bytes; /* of this structure */
	uintptr_t watchers;	 /* addresses of words */
	uintptr_t gate, bound[2];
	uint64_t watcher;
	uint64_t seed, drawn;		      /* of the random numbers, and how many there were */
	uint64_t passed[LABYRINTH_NR_FAULTS]; /* requests that came as far as interval */
	struct labyrinth_fault_attr attr[LABYRINTH_NR_FAULTS];
};

#endif /* LAB_BASE_EXPORT_FAULT_H */
