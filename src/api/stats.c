/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "api/export.h"
#include "labyrinth.h"
#include "page/event.h"
#include "page/highatomic.h"
#include "page/reserve.h"
#include "page/zone.h"
#include "pcp/pcp.h"
#include "slab/sizeclass.h"

static_assert(LAB_ZONE_HEAP == (int)LABYRINTH_ZONE_HEAP &&
		      LAB_ZONE_RESERVE == (int)LABYRINTH_ZONE_RESERVE &&
		      LAB_ZONE_EXCLUSIVE == (int)LABYRINTH_ZONE_EXCLUSIVE,
	      "public and internal zones are one enumeration");

static const char *const zone_name[] = { "heap", "reserve", "exclusive" };

/* by enum labyrinth_event; /proc/vmstat's names where it has one */
const char *const lab_event_names[] = {
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
static_assert(sizeof(lab_event_names) / sizeof(*lab_event_names) == LABYRINTH_NR_EVENTS &&
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
	return (unsigned int)event < LABYRINTH_NR_EVENTS ? lab_event_names[event] : NULL;
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

/* ---- classes ---- */

static void add_text(char *to, size_t size, const char *text)
{
	size_t n = 0;

	while (to[n])
		n++;
	for (; *text && n + 1 < size; n++)
		to[n] = *text++;
	to[n] = '\0';
}

/* "malloc" and 64 make "malloc-64" */
static void set_name(char *to, size_t size, const struct lab_export_row *row)
{
	char digits[12];
	unsigned int at = sizeof(digits) - 1;
	uint32_t left = row->size;

	to[0] = '\0';
	add_text(to, size, row->name);
	if (!row->cls)
		return;
	digits[at] = '\0';
	for (; left; left /= 10)
		digits[--at] = (char)('0' + left % 10);
	add_text(to, size, "-");
	add_text(to, size, digits + at);
}

LAB_PUBLIC int labyrinth_class_info(unsigned int index, struct labyrinth_class_info *info)
{
	const struct lab_export_row *row = lab_export_row_at(index);
	struct lab_export_view view = lab_export_self();
	struct lab_export_figures figures;

	if (!row)
		return -EINVAL;
	lab_export_row_read(&lab_export, &view, row, &figures);
	set_name(info->name, sizeof(info->name), row);
	info->size = row->size;
	info->per_slab = row->cls ? lab_class[row->cls].nobj : 0;
	info->slab_pages = row->cls ? 1ull << lab_class[row->cls].order : 0;
	info->slabs = figures.slabs;
	info->objects = figures.objects;
	info->active = figures.active;
	info->bytes = figures.bytes;
	info->stacked = figures.stacked;
	info->taken = figures.taken;
	info->given = figures.given;
	return 0;
}

LAB_PUBLIC int labyrinth_cpu_info(unsigned int cpu, unsigned int index,
				  struct labyrinth_cpu_info *info)
{
	const struct lab_export_row *row = lab_export_row_at(index);
	struct lab_export_view view = lab_export_self();
	struct lab_export_figures figures;

	if (!row || cpu >= view.nr_cpus)
		return -EINVAL;
	lab_export_cpu(&lab_export, &view, row, cpu, &figures);
	info->stacked = figures.stacked;
	info->taken = figures.taken;
	info->given = figures.given;
	return 0;
}
