/* SPDX-License-Identifier: MIT */
/*
 * The figures of a process in the kernel's formats, those of fs/proc, mm/vmstat.c
 * and mm/slab_common.c, for the tools that read them.
 */
#include <stdio.h>
#include <string.h>

#include "tool/snapshot.h"
#include "tool/tool.h"

typedef unsigned long long ull;

/* the process that the one argument names, and its figures */
static int open_one(int argc, char **argv, struct target *t, struct snapshot *s)
{
	int code;

	if (argc != 2)
		return tool_usage(argv[0]);
	code = target_open(t, argv[1], false);
	return code ? code : snapshot_take(s, t);
}

/* ---- slabinfo ---- */

/* Classes without slabs count an object as a slab of its pages. */
static void print_slab(const struct snapshot_class *c)
{
	uint64_t objects = c->f.objects, slabs = c->f.slabs, per_slab = c->per_slab;
	uint64_t pages = c->slab_pages, size = c->row.size;

	if (!per_slab) {
		per_slab = 1;
		slabs = objects;
		size = size ? size : c->f.active ? c->f.bytes / c->f.active : 4096;
		pages = (size + 4095) / 4096;
	}
	printf("%-17s %6llu %6llu %6llu %4llu %4llu : tunables %4llu %4llu %4u : slabdata %6llu "
	       "%6llu %6u\n",
	       c->name, (ull)c->f.active, (ull)objects, (ull)size, (ull)per_slab, (ull)pages,
	       (ull)c->cap, (ull)(c->cap > 128 ? 64 : c->cap / 2), 0u, (ull)slabs, (ull)slabs, 0u);
}

int tool_slabinfo(int argc, char **argv)
{
	static struct snapshot s;
	struct target t;
	unsigned int i;
	int code = open_one(argc, argv, &t, &s);

	if (code)
		return code;
	puts("slabinfo - version: 2.1");
	puts("# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : "
	     "tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> "
	     "<sharedavail>");
	for (i = 0; i < s.nr_classes; i++)
		print_slab(&s.class[i]);
	return TOOL_OK;
}

/* ---- buddyinfo ---- */

int tool_buddyinfo(int argc, char **argv)
{
	uint64_t runs[SNAPSHOT_ZONES][SNAPSHOT_ORDERS];
	static struct snapshot s;
	struct target t;
	unsigned int zone, order;
	int code = open_one(argc, argv, &t, &s);

	if (!code)
		code = snapshot_buddies(&t, runs);
	if (code)
		return code;
	for (zone = 0; zone < SNAPSHOT_ZONES; zone++) {
		printf("Node 0, zone %8s ", s.zone[zone].name);
		for (order = 0; order < SNAPSHOT_ORDERS; order++)
			printf("%6llu ", (ull)runs[zone][order]);
		putchar('\n');
	}
	return TOOL_OK;
}

/* ---- zoneinfo ---- */

/* the stacks of a CPU together, in pages rounded up */
static void print_pagesets(const struct snapshot *s)
{
	struct lab_export_figures one;
	unsigned int cpu, i;
	uint64_t bytes;

	puts("  pagesets");
	for (cpu = 0; cpu < s->view.nr_cpus; cpu++) {
		bytes = 0;
		for (i = 0; i < s->nr_classes; i++) {
			lab_export_cpu(&s->head, &s->view, &s->class[i].row, cpu, &one);
			bytes += one.stacked * s->class[i].row.size;
		}
		printf("    cpu: %u\n"
		       "              count: %llu\n"
		       "              high:  %u\n"
		       "              batch: %u\n",
		       cpu, (ull)(bytes + 4095) / 4096, 0u, 64u);
	}
}

static void print_zone(const struct snapshot *s, const struct snapshot_zone *z)
{
	printf("Node 0, zone %8s\n", z->name);
	printf("  pages free     %llu\n"
	       "        boost    0\n"
	       "        min      %llu\n"
	       "        low      %llu\n"
	       "        high     %llu\n"
	       "        spanned  %llu\n"
	       "        present  %llu\n"
	       "        managed  %llu\n"
	       "        cma      0\n"
	       "        protection: (0, 0, 0)\n",
	       (ull)z->free, (ull)z->min, (ull)z->low, (ull)z->high,
	       (ull)(z->cap > z->managed ? z->cap : z->managed), (ull)z->managed + z->parked,
	       (ull)z->managed);
	printf("      nr_free_pages %llu\n"
	       "      nr_zone_used %llu\n"
	       "      nr_mlock     %llu\n"
	       "      nr_free_dirty %llu\n"
	       "      nr_taken     %llu\n"
	       "      nr_failed    %llu\n",
	       (ull)z->free, (ull)(z->managed > z->free ? z->managed - z->free : 0), (ull)z->locked,
	       (ull)z->dirty, (ull)z->taken, (ull)z->failed);
	/* stacks are not of zones, but of classes: told once */
	if (z == s->zone)
		print_pagesets(s);
	printf("  node_unreclaimable:  0\n"
	       "  start_pfn:           0\n");
}

int tool_zoneinfo(int argc, char **argv)
{
	static struct snapshot s;
	struct target t;
	unsigned int zone;
	int code = open_one(argc, argv, &t, &s);

	if (code)
		return code;
	for (zone = 0; zone < SNAPSHOT_ZONES; zone++)
		print_zone(&s, &s.zone[zone]);
	return TOOL_OK;
}

/* ---- vmstat ---- */

static void print_sums(const struct snapshot *s)
{
	uint64_t slab_pages = 0, active = 0, stacked = 0, taken = 0, given = 0;
	unsigned int i;

	for (i = 0; i < s->nr_classes; i++) {
		const struct snapshot_class *c = &s->class[i];

		slab_pages += c->f.slabs * c->slab_pages;
		active += c->f.bytes;
		stacked += c->f.stacked * c->row.size;
		taken += c->f.taken;
		given += c->f.given;
	}
	printf("nr_slab %llu\n"
	       "active_bytes %llu\n"
	       "pcp_bytes %llu\n"
	       "pcp_refill %llu\n"
	       "pcp_flush %llu\n"
	       "mmap_routed %llu\n"
	       "mmap_passed %llu\n",
	       (ull)slab_pages, (ull)active, (ull)stacked, (ull)taken, (ull)given, (ull)s->routed,
	       (ull)s->passed);
}

int tool_vmstat(int argc, char **argv)
{
	static struct snapshot s;
	uint64_t free = 0, managed = 0, locked = 0;
	struct target t;
	unsigned int i;
	int code = open_one(argc, argv, &t, &s);

	if (code)
		return code;
	for (i = 0; i < SNAPSHOT_ZONES; i++) {
		free += s.zone[i].free;
		managed += s.zone[i].managed;
		locked += s.zone[i].locked;
	}
	printf("nr_free_pages %llu\nnr_managed %llu\nnr_mlock %llu\n", (ull)free, (ull)managed,
	       (ull)locked);
	for (i = 0; i < SNAPSHOT_ZONES; i++)
		printf("pgalloc_%s %llu\nallocfail_%s %llu\n", s.zone[i].name, (ull)s.zone[i].taken,
		       s.zone[i].name, (ull)s.zone[i].failed);
	print_sums(&s);
	for (i = 0; i < s.nr_events; i++)
		printf("%s %llu\n", s.event_name[i], (ull)s.event[i]);
	return TOOL_OK;
}
