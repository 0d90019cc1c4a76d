/* SPDX-License-Identifier: MIT */
/* glibc's extras: figures of the heap in its forms, and the knobs it has. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "labyrinth.h"

#define EXPORT __attribute__((visibility("default")))

/* The classes summed up, in glibc's terms: a chunk is an object. */
struct sums {
	size_t in_use;		 /* bytes of all objects that the program has, huge ones aside */
	size_t free, free_bytes; /* objects in slabs that nobody has */
	size_t stacked, stacked_bytes; /* those on per-CPU stacks: glibc's fast bins */
	size_t huge, huge_bytes;       /* more than 2 MiB: glibc's mmapped chunks */
	size_t system;		       /* bytes of the zones, huge objects aside */
	size_t trim;		       /* of these, free pages of the heap */
};

static size_t free_of(const struct labyrinth_class_info *info)
{
	uint64_t used = info->active + info->stacked;

	return info->objects > used ? info->objects - used : 0;
}

static void add_class(struct sums *sums, const struct labyrinth_class_info *info)
{
	if (strcmp(info->name, "huge") == 0) {
		sums->huge += info->active;
		sums->huge_bytes += info->bytes;
		return;
	}
	sums->in_use += info->bytes;
	sums->stacked += info->stacked;
	sums->stacked_bytes += info->stacked * info->size;
	sums->free += free_of(info);
	sums->free_bytes += free_of(info) * info->size;
}

static struct sums sum_up(void)
{
	struct labyrinth_class_info info;
	struct labyrinth_zone_info zone;
	struct sums sums = { 0 };
	unsigned int i;
	int id;

	for (i = 0; labyrinth_class_info(i, &info) == 0; i++)
		add_class(&sums, &info);
	for (id = 0; id < LABYRINTH_NR_ZONES; id++) {
		(void)labyrinth_zone_info((enum labyrinth_zone)id, &zone);
		sums.system += zone.managed * LABYRINTH_PAGE_SIZE;
		if (id == LABYRINTH_ZONE_HEAP)
			sums.trim = zone.free * LABYRINTH_PAGE_SIZE;
		/* what has no class: in use, or on a stack */
		if (id == LABYRINTH_ZONE_EXCLUSIVE)
			sums.in_use += (zone.managed - zone.free) * LABYRINTH_PAGE_SIZE;
	}
	sums.system -= sums.huge_bytes < sums.system ? sums.huge_bytes : sums.system;
	return sums;
}

/*
 * usmblks stays 0, as in glibc.  keepcost is what malloc_trim() could give back at
 * most: pages that were given back already are among them.
 */
EXPORT struct mallinfo2 mallinfo2(void)
{
	struct sums sums = sum_up();
	struct mallinfo2 info = { .arena = sums.system,
				  .ordblks = sums.free,
				  .smblks = sums.stacked,
				  .hblks = sums.huge,
				  .hblkhd = sums.huge_bytes,
				  .fsmblks = sums.stacked_bytes,
				  .uordblks = sums.in_use,
				  .keepcost = sums.trim };

	/* free, on stacks or lost to rounding up: the rest */
	info.fordblks = sums.system > sums.in_use ? sums.system - sums.in_use : 0;
	return info;
}

/* the old form wraps above 2 GiB, as glibc's does */
EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 wide = mallinfo2();
	struct mallinfo info = { .arena = (int)wide.arena,
				 .ordblks = (int)wide.ordblks,
				 .smblks = (int)wide.smblks,
				 .hblks = (int)wide.hblks,
				 .hblkhd = (int)wide.hblkhd,
				 .fsmblks = (int)wide.fsmblks,
				 .uordblks = (int)wide.uordblks,
				 .fordblks = (int)wide.fordblks,
				 .keepcost = (int)wide.keepcost };

	return info;
}

/*
 * The knobs are accepted and have no effect: they are those of another allocator, and
 * glibc's own tests want to hear that all went well, M_PERTURB included, although no
 * memory is filled here.  What glibc refuses is refused.
 */
EXPORT int mallopt(int param, int value)
{
	enum { MXFAST_MAX = 160, MMAP_THRESHOLD_MAX = 32 << 20 };

	if (param == M_MXFAST)
		return value >= 0 && value <= MXFAST_MAX;
	if (param == M_MMAP_THRESHOLD)
		return value >= 0 && value <= MMAP_THRESHOLD_MAX;
	return 1;
}

EXPORT void malloc_stats(void)
{
	(void)labyrinth_stats_print(2);
}

/* glibc's: objects that are free, by size */
static void print_sizes(FILE *fp)
{
	struct labyrinth_class_info info;
	size_t below = 0, n;
	unsigned int i;

	fputs("<sizes>\n", fp);
	for (i = 0; labyrinth_class_info(i, &info) == 0; i++) {
		if (strncmp(info.name, "malloc-", 7) != 0)
			continue;
		n = free_of(&info) + info.stacked;
		if (n)
			fprintf(fp,
				"  <size from=\"%zu\" to=\"%zu\" total=\"%zu\" count=\"%zu\"/>\n",
				info.per_slab ? below + 1 : (size_t)info.size, (size_t)info.size,
				n * (size_t)info.size, n);
		below = info.size;
	}
	fputs("</sizes>\n", fp);
}

static void print_totals(FILE *fp, const struct sums *sums)
{
	size_t pages = sums->trim / LABYRINTH_PAGE_SIZE;

	fprintf(fp,
		"<total type=\"fast\" count=\"%zu\" size=\"%zu\"/>\n"
		"<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n",
		sums->stacked, sums->stacked_bytes, sums->free + pages,
		sums->free_bytes + sums->trim);
}

static void print_system(FILE *fp, const struct sums *sums)
{
	fprintf(fp,
		"<system type=\"current\" size=\"%zu\"/>\n"
		"<aspace type=\"total\" size=\"%zu\"/>\n"
		"<aspace type=\"mprotect\" size=\"%zu\"/>\n",
		sums->system, sums->system, sums->system);
}

/* glibc's elements but <system type="max">: the largest size so far is not kept */
EXPORT int malloc_info(int options, FILE *fp)
{
	struct sums sums = sum_up();

	if (options)
		return EINVAL;
	fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n", fp);
	print_sizes(fp);
	print_totals(fp, &sums);
	print_system(fp, &sums);
	fputs("</heap>\n", fp);
	print_totals(fp, &sums);
	fprintf(fp, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n", sums.huge,
		sums.huge_bytes);
	print_system(fp, &sums);
	fputs("</malloc>\n", fp);
	return 0;
}
