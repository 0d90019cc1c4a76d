/* SPDX-License-Identifier: MIT */
/*
 * Stacks and their figures as labyrinth(1) reads them in another process, which may
 * be stopped: struct lab_export leads to struct lab_export_depot.
 */
#ifndef LAB_BASE_EXPORT_DEPOT_H
#define LAB_BASE_EXPORT_DEPOT_H

#include <stdint.h>

#define LAB_EXPORT_DEPOT_VERSION 1u
#define LAB_DEPOT_HEADS		 (1u << 14)
#define LAB_DEPOT_BYTES		 (32ul << 20)
/* A handle is a place in the memory, in units of so many bytes; 0: no stack. */
#define LAB_DEPOT_UNIT 8u
#define LAB_STACK_MAX  32u

/* One stack.  Figures are sums over the objects that were sampled. */
struct lab_export_stack_sums {
	uint32_t next; /* handle of the next one of the same head */
	uint32_t hash;
	uint64_t n; /* of ips, LAB_STACK_MAX at most */
	uint64_t live, live_bytes, total, total_bytes;
	uint64_t ips[]; /* return addresses, the innermost first */
};

/* All are words.  The memory begins with LAB_DEPOT_HEADS words, a handle each. */
struct lab_export_depot {
	uint64_t version, bytes; /* of this structure */
	uint64_t memory;	 /* address; 0: not started */
	uint64_t used;		 /* units that are given out */
	uint64_t rate;		 /* bytes between two samples, on average */
	uint64_t refused;	 /* stacks that found no room */
	uint64_t nstacks;
};

#endif /* LAB_BASE_EXPORT_DEPOT_H */
