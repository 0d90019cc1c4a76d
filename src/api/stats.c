/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fail.h"
#include "labyrinth.h"
#include "page/event.h"
#include "page/highatomic.h"
#include "page/reserve.h"
#include "page/zone.h"
#include "pcp/pcp.h"

static_assert(LAB_ZONE_HEAP == (int)LABYRINTH_ZONE_HEAP &&
		      LAB_ZONE_RESERVE == (int)LABYRINTH_ZONE_RESERVE &&
		      LAB_ZONE_EXCLUSIVE == (int)LABYRINTH_ZONE_EXCLUSIVE,
	      "public and internal zones are one enumeration");

static const char *const zone_name[] = { "heap", "reserve", "exclusive" };

/* by enum labyrinth_event; /proc/vmstat's names where it has one */
static const char *const event_name[] = {
	"fail_kernel",
	"fail_nowait",
	"fail_high",
	"fail_atomic",
	"fail_memalloc",
	"fail_exclusive",
	"fail_order",
	"fail_malloc",
	"fail_atomic_malloc",
	"bad_gfp",
	"might_sleep",
	"allocstall",
	"pgsteal_direct",
	"stall",
	"kswapd_wake",
	"pageoutrun",
	"kswapd_low_wmark_hit_quickly",
	"kswapd_high_wmark_hit_quickly",
	"refill",
	"zeroed",
	"zero_hit",
	"zero_miss",
	"highatomic_hit",
	"warn",
	"warn_suppressed",
	"warn_lost",
	"inherited_free",
	"fault_injected",
};
static_assert(sizeof(event_name) / sizeof(*event_name) == LABYRINTH_NR_EVENTS &&
		      LAB_NR_EVENTS == (int)LABYRINTH_NR_EVENTS &&
		      LAB_EV_ALLOCSTALL == (int)LABYRINTH_EV_ALLOCSTALL &&
		      LAB_EV_ZERO_HIT == (int)LABYRINTH_EV_ZERO_HIT,
	      "public and internal events are one enumeration");

LAB_PUBLIC const char *labyrinth_zone_name(enum labyrinth_zone zone)
{
	return (unsigned int)zone < LABYRINTH_NR_ZONES ? zone_name[zone] : NULL;
}

LAB_PUBLIC const char *labyrinth_event_name(enum labyrinth_event event)
{
	return (unsigned int)event < LABYRINTH_NR_EVENTS ? event_name[event] : NULL;
}

LAB_PUBLIC uint64_t labyrinth_event_count(enum labyrinth_event event)
{
	return (unsigned int)event < LABYRINTH_NR_EVENTS ? lab_word_get(&lab_events[event]) : 0;
}

LAB_PUBLIC int labyrinth_zone_info(enum labyrinth_zone id, struct labyrinth_zone_info *info)
{
	const struct lab_zone *zone;

	if ((unsigned int)id >= LABYRINTH_NR_ZONES)
		return -EINVAL;
	zone = lab_zone_at((enum lab_zone_id)id);
	info->managed = lab_word_get(&zone->managed);
	info->free = lab_word_get(&zone->free);
	info->min = lab_word_get(&zone->min);
	info->low = lab_word_get(&zone->low);
	info->high = lab_word_get(&zone->high);
	info->locked = lab_word_get(&zone->locked);
	info->taken = lab_word_get(&zone->taken);
	info->failed = lab_word_get(&zone->failed);
	info->cap = lab_word_get(&zone->cap);
	info->reserved_highatomic = id == LABYRINTH_ZONE_RESERVE ? lab_highatomic_frames() : 0;
	info->free_zeroed = id == LABYRINTH_ZONE_RESERVE ? lab_reserve_free_zeroed() : 0;
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

static LAB_NOINLINE int put_zone(int fd, long pid, enum labyrinth_zone id)
{
	struct labyrinth_zone_info info;
	struct lab_line line;

	(void)labyrinth_zone_info(id, &info);
	start(&line, pid);
	lab_line_str(&line, " zone ");
	lab_line_str(&line, zone_name[id]);
	put(&line, " managed ", info.managed);
	put(&line, " free ", info.free);
	if (id != LABYRINTH_ZONE_HEAP) {
		put(&line, " min ", info.min);
		put(&line, " low ", info.low);
		put(&line, " high ", info.high);
		put(&line, " locked ", info.locked);
		put(&line, " cap ", info.cap);
		put(&line, " highatomic ", info.reserved_highatomic);
		put(&line, " zeroed ", info.free_zeroed);
	}
	put(&line, " taken ", info.taken);
	put(&line, " failed ", info.failed);
	return lab_line_put(&line, fd);
}

/* what never happened is not printed */
static LAB_NOINLINE int put_event(int fd, long pid, enum labyrinth_event event)
{
	uint64_t count = labyrinth_event_count(event);
	struct lab_line line;

	if (!count)
		return 0;
	start(&line, pid);
	lab_line_str(&line, " event ");
	lab_line_str(&line, event_name[event]);
	put(&line, " ", count);
	return lab_line_put(&line, fd);
}

static LAB_NOINLINE int put_mmap(int fd, long pid)
{
	struct labyrinth_mmap_info info;
	struct lab_line line;

	labyrinth_mmap_info(&info);
	start(&line, pid);
	put(&line, " mmap routed ", info.routed);
	put(&line, " passed ", info.passed);
	put(&line, " restored ", info.restored);
	put(&line, " lost ", info.lost);
	return lab_line_put(&line, fd);
}

LAB_PUBLIC int labyrinth_stats_print(int fd)
{
	unsigned int id;
	long pid = lab_getpid();
	struct lab_line line;
	int err;

	start(&line, pid);
	lab_line_str(&line, " pcp ");
	lab_line_str(&line, labyrinth_pcp_backend());
	lab_line_str(&line, ", counts are pages of 4096 bytes");
	err = lab_line_put(&line, fd);
	for (id = 0; !err && id < LABYRINTH_NR_ZONES; id++)
		err = put_zone(fd, pid, (enum labyrinth_zone)id);
	for (id = 0; !err && id < LABYRINTH_NR_EVENTS; id++)
		err = put_event(fd, pid, (enum labyrinth_event)id);
	if (!err)
		err = put_mmap(fd, pid);
	return err;
}
