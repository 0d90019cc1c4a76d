/* SPDX-License-Identifier: MIT */
/* glibc's extras: figures of the heap in its forms, and the knobs it has. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "labyrinth.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct labyrinth_zone_info zone;
	struct mallinfo2 info = { 0 };
	int id;

	for (id = 0; id < LABYRINTH_NR_ZONES; id++) {
		(void)labyrinth_zone_info((enum labyrinth_zone)id, &zone);
		info.arena += zone.managed * LABYRINTH_PAGE_SIZE;
		info.fordblks += zone.free * LABYRINTH_PAGE_SIZE;
	}
	info.uordblks = info.arena - info.fordblks;
	return info;
}

/* the old form wraps above 2 GiB, as glibc's does */
EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 wide = mallinfo2();
	struct mallinfo info = { 0 };

	info.arena = (int)wide.arena;
	info.fordblks = (int)wide.fordblks;
	info.uordblks = (int)wide.uordblks;
	return info;
}

/* accepted and without effect: the knobs are those of another allocator */
EXPORT int mallopt(int param, int value)
{
	(void)param;
	(void)value;
	return 1;
}

EXPORT void malloc_stats(void)
{
	(void)labyrinth_stats_print(2);
}

EXPORT int malloc_info(int options, FILE *fp)
{
	struct mallinfo2 info = mallinfo2();

	if (options)
		return EINVAL;
	fprintf(fp,
		"<malloc version=\"1\">\n<heap nr=\"0\">\n"
		"<system type=\"current\" size=\"%zu\"/>\n"
		"<aspace type=\"total\" size=\"%zu\"/>\n</heap>\n"
		"<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
		"<system type=\"current\" size=\"%zu\"/>\n</malloc>\n",
		info.arena, info.arena, info.fordblks, info.arena);
	return 0;
}
