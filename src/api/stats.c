/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fail.h"
#include "labyrinth.h"
#include "page/zone.h"
#include "pcp/pcp.h"

static_assert(LAB_ZONE_HEAP == (int)LABYRINTH_ZONE_HEAP &&
		      LAB_ZONE_RESERVE == (int)LABYRINTH_ZONE_RESERVE &&
		      LAB_ZONE_EXCLUSIVE == (int)LABYRINTH_ZONE_EXCLUSIVE,
	      "public and internal zones are one enumeration");

LAB_PUBLIC int labyrinth_zone_info(enum labyrinth_zone id, struct labyrinth_zone_info *info)
{
	const struct lab_zone *zone;

	if ((unsigned int)id >= LABYRINTH_NR_ZONES)
		return -EINVAL;
	zone = &lab_zones[id];
	info->managed = lab_word_get(&zone->managed);
	info->free = lab_word_get(&zone->free);
	info->min = lab_word_get(&zone->min);
	info->low = lab_word_get(&zone->low);
	info->high = lab_word_get(&zone->high);
	info->locked = lab_word_get(&zone->locked);
	info->taken = lab_word_get(&zone->taken);
	info->failed = lab_word_get(&zone->failed);
	return 0;
}

LAB_PUBLIC const char *labyrinth_pcp_backend(void)
{
	switch (lab_pcp_backend()) {
	case LAB_PCP_RSEQ:
		return "rseq";
	case LAB_PCP_TRYLOCK:
		return "trylock";
	default:
		return "none";
	}
}

static void put(struct lab_line *line, const char *name, uint64_t value)
{
	lab_line_str(line, name);
	lab_line_dec(line, value);
}

static void start(struct lab_line *line, long pid)
{
	lab_line_start(line);
	lab_line_str(line, "labyrinth stats: pid ");
	lab_line_dec(line, (uint64_t)pid);
}

static int put_zone(int fd, long pid, const char *name, enum labyrinth_zone id)
{
	struct labyrinth_zone_info info;
	struct lab_line line;

	(void)labyrinth_zone_info(id, &info);
	start(&line, pid);
	lab_line_str(&line, " zone ");
	lab_line_str(&line, name);
	put(&line, " managed ", info.managed);
	put(&line, " free ", info.free);
	if (id != LABYRINTH_ZONE_HEAP) {
		put(&line, " min ", info.min);
		put(&line, " low ", info.low);
		put(&line, " high ", info.high);
		put(&line, " locked ", info.locked);
	}
	put(&line, " taken ", info.taken);
	put(&line, " failed ", info.failed);
	return lab_line_put(&line, fd);
}

LAB_PUBLIC int labyrinth_stats_print(int fd)
{
	long pid = lab_getpid();
	struct lab_line line;
	int err;

	start(&line, pid);
	lab_line_str(&line, " pcp ");
	lab_line_str(&line, labyrinth_pcp_backend());
	lab_line_str(&line, ", counts are pages of 4096 bytes");
	err = lab_line_put(&line, fd);
	if (!err)
		err = put_zone(fd, pid, "heap", LABYRINTH_ZONE_HEAP);
	if (!err)
		err = put_zone(fd, pid, "reserve", LABYRINTH_ZONE_RESERVE);
	if (!err)
		err = put_zone(fd, pid, "exclusive", LABYRINTH_ZONE_EXCLUSIVE);
	return err;
}
