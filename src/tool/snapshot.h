/* SPDX-License-Identifier: MIT */
/* All figures of a process at one moment, in our own memory. */
#ifndef LAB_TOOL_SNAPSHOT_H
#define LAB_TOOL_SNAPSHOT_H

#include "tool/target.h"

enum { SNAPSHOT_ZONES = 3, SNAPSHOT_CLASSES = 160, SNAPSHOT_EVENTS = 128, SNAPSHOT_ORDERS = 11 };

struct snapshot_zone {
	const char *name;
	uint64_t free, managed, dirty, taken, failed, min, low, high, locked, cap, parked;
};

struct snapshot_class {
	char name[32];
	struct lab_export_row row;
	struct lab_export_figures f;
	uint64_t per_slab, slab_pages;
	uint64_t cap; /* of the stack of each CPU */
};

struct snapshot {
	double at; /* seconds, of a clock that only goes on */
	struct snapshot_zone zone[SNAPSHOT_ZONES];
	unsigned int nr_classes;
	struct snapshot_class class[SNAPSHOT_CLASSES];
	unsigned int nr_events;
	uint64_t event[SNAPSHOT_EVENTS];
	char event_name[SNAPSHOT_EVENTS][40];
	uint64_t routed, passed; /* mmap() */
	unsigned long rss_kb;
	struct lab_export head; /* with strides of the copies below */
	struct lab_export_view view;
	char *copies; /* what the view points into */
};

/**
 * snapshot_take() - read all of it
 * @s: all zero at first; may hold an earlier one
 *
 * Return: TOOL_OK, or an exit code whose message was printed.
 */
int snapshot_take(struct snapshot *s, const struct target *target);

/** snapshot_event() - how often an event of this name has happened; 0: there is none */
uint64_t snapshot_event(const struct snapshot *s, const char *name);

/**
 * snapshot_buddies() - free pages of each zone as aligned runs, greatest first
 * @runs: by zone and order
 */
int snapshot_buddies(const struct target *target, uint64_t runs[SNAPSHOT_ZONES][SNAPSHOT_ORDERS]);

#endif /* LAB_TOOL_SNAPSHOT_H */
