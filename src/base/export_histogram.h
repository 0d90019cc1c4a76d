/* SPDX-License-Identifier: MIT */
/*
 * The file that labyrinth histogram makes and the processes of its program map: all
 * add to the same words, so it is complete whatever their end was.
 */
#ifndef LAB_BASE_EXPORT_HISTOGRAM_H
#define LAB_BASE_EXPORT_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define LAB_HISTOGRAM_MAGIC   0x747369682062616cull /* "lab hist" */
#define LAB_HISTOGRAM_VERSION 1u

enum {
	LAB_HISTOGRAM_STEPS = 4,   /* size classes for each doubling */
	LAB_HISTOGRAM_SIZES = 192, /* sizes up to 2^48 */
	LAB_HISTOGRAM_TIMES = 64   /* doublings of a nanosecond */
};

struct lab_histogram_size {
	uint64_t count, bytes; /* asked for, ever */
	uint64_t live, peak;   /* objects in use, now and at most */
	uint64_t time[LAB_HISTOGRAM_TIMES];
};

struct lab_histogram {
	uint64_t magic, version, bytes; /* of this structure */
	uint64_t processes;		/* that began with it; children of fork() are none */
	uint64_t live, live_peak;	/* objects */
	uint64_t held, held_peak;	/* bytes, as asked for */
	uint64_t lost;	  /* objects that were not followed: no room for their birth */
	uint64_t unknown; /* frees of such ones, of a parent's, and of earlier ones */
	struct lab_histogram_size size[LAB_HISTOGRAM_SIZES];
};

/** lab_histogram_index() - the class of a size; up to 4 bytes each its own, 0 with 1 */
static inline unsigned int lab_histogram_index(uint64_t size)
{
	unsigned int log;

	if (size < LAB_HISTOGRAM_STEPS)
		return size ? (unsigned int)size - 1 : 0;
	log = 63 - (unsigned int)__builtin_clzll(size);
	if (log > 47)
		return LAB_HISTOGRAM_SIZES - 1;
	/* the two bits below the first one */
	return (log - 1) * LAB_HISTOGRAM_STEPS + (unsigned int)(size >> (log - 2) & 3) - 1;
}

/** lab_histogram_from() - the smallest size of a class */
static inline uint64_t lab_histogram_from(unsigned int index)
{
	unsigned int log = (index + 1) / LAB_HISTOGRAM_STEPS + 1;

	if (index < LAB_HISTOGRAM_STEPS - 1)
		return index ? index + 1 : 0;
	return (4ull | ((index + 1) % LAB_HISTOGRAM_STEPS)) << (log - 2);
}

#endif /* LAB_BASE_EXPORT_HISTOGRAM_H */
