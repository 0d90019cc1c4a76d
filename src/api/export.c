/* SPDX-License-Identifier: MIT */
/* What base/export.h promises to readers, filled in. */
#include "api/export.h"
#include "api/init.h"
#include "diag/fault.h"
#include "diag/stackdepot.h"
#include "map/map.h"
#include "os/cpu.h"
#include "page/event.h"
#include "page/exclusive.h"
#include "pcp/flow.h"
#include "slab/atomic.h"
#include "slab/cache.h"

#ifndef LABYRINTH_VERSION
#define LABYRINTH_VERSION "unknown"
#endif

struct lab_export lab_export;

/* The note that leads there: namesz, descsz, type, name, distance. */
__asm__(".pushsection .note.labyrinth, \"a\", @note\n\t"
	".balign 4\n\t"
	".long 10, 8, 1\n\t"
	".asciz \"Labyrinth\"\n\t"
	".balign 4\n\t"
	".quad lab_export - .\n\t"
	".popsection\n\t");
static_assert(LAB_EXPORT_NOTE == 1, "the note above says so");

/* ---- the rows ---- */

#define MALLOC(c)                                                                                  \
	{                                                                                          \
		.name = "malloc", .size = LAB_CLASS_SIZE(c), .cls = (c), .flow = (c),              \
		.stack = (c), .nstacks = 1                                                         \
	}
#define ATOMIC(i, bytes)                                                                           \
	{                                                                                          \
		.name = "atomic", .size = (bytes), .cls = LAB_CLASS_ATOMIC + (i), .atomic = 1      \
	}
#define M4(c)  MALLOC(c), MALLOC((c) + 1u), MALLOC((c) + 2u), MALLOC((c) + 3u)
#define M12(c) M4(c), M4((c) + 4u), M4((c) + 8u)

static const struct lab_export_row rows[] = {
	M12(1u),
	M12(13u),
	M12(25u),
	M12(37u),
	M12(49u),
	M12(61u),
	{ .name = "malloc-page",
	  .size = LAB_PAGE_BYTES,
	  .flow = LAB_PCP_PAGE,
	  .stack = LAB_PCP_PAGE,
	  .nstacks = 1 },
	{ .name = "large", .flow = LAB_FLOW_LARGE, .pages = LAB_FLOW_LARGE_PAGES },
	{ .name = "huge", .flow = LAB_FLOW_HUGE, .pages = LAB_FLOW_HUGE_PAGES },
	{ .name = "mmap",
	  .size = LAB_PAGE_BYTES,
	  .flow = LAB_PCP_MAP,
	  .stack = LAB_PCP_MAP,
	  .nstacks = LAB_MAP_MAX },
	{ .name = "page",
	  .size = LAB_PAGE_BYTES,
	  .flow = LAB_PCP_API,
	  .stack = LAB_PCP_API,
	  .nstacks = 1,
	  .also = LAB_PCP_ZERO },
	{ .name = "pages", .flow = LAB_FLOW_ORDER, .pages = LAB_FLOW_ORDER_PAGES },
	ATOMIC(0u, 16u),
	ATOMIC(1u, 32u),
	ATOMIC(2u, 48u),
	ATOMIC(3u, 64u),
	ATOMIC(4u, 96u),
	ATOMIC(5u, 128u),
	ATOMIC(6u, 192u),
	ATOMIC(7u, 256u),
	ATOMIC(8u, 336u),
	ATOMIC(9u, 400u),
	ATOMIC(10u, 512u),
	ATOMIC(11u, 672u),
	ATOMIC(12u, 816u),
	ATOMIC(13u, 1024u),
	ATOMIC(14u, 1360u),
	ATOMIC(15u, LAB_ATOMIC_MAX),
};

const struct lab_export_row *lab_export_row_at(unsigned int index)
{
	return index < sizeof(rows) / sizeof(*rows) ? &rows[index] : NULL;
}

struct lab_export_view lab_export_self(void)
{
	return (struct lab_export_view){ .classes = lab_export.classes.at,
					 .stacks = lab_export.stacks.at,
					 .cpus = lab_export.cpus.at,
					 .others = lab_export.others.at,
					 .caches = lab_export.caches.at,
					 .atomics = lab_export.atomics.at,
					 .nr_cpus = lab_cpus_possible() };
}

/* ---- the head ---- */

#define ARRAY(what, count)                                                                         \
	(struct lab_export_array)                                                                  \
	{                                                                                          \
		(const char *)(what), (count), sizeof(*(what))                                     \
	}

static_assert(offsetof(struct lab_class, nobj) == offsetof(struct lab_export_class, nobj) &&
		      offsetof(struct lab_class, order) ==
			      offsetof(struct lab_export_class, order) &&
		      sizeof(struct lab_class) == sizeof(struct lab_export_class),
	      "readers know a class");
static_assert(offsetof(struct lab_pcp_class, cap) == offsetof(struct lab_export_stack, cap) &&
		      sizeof(struct lab_pcp_class) == sizeof(struct lab_export_stack),
	      "readers know where stacks are");

static void fill_zone(struct lab_export_zone *zone)
{
	zone->free = offsetof(struct lab_zone, free);
	zone->managed = offsetof(struct lab_zone, managed);
	zone->dirty = offsetof(struct lab_zone, dirty);
	zone->taken = offsetof(struct lab_zone, taken);
	zone->failed = offsetof(struct lab_zone, failed);
	zone->min = offsetof(struct lab_zone, min);
	zone->low = offsetof(struct lab_zone, low);
	zone->high = offsetof(struct lab_zone, high);
	zone->locked = offsetof(struct lab_zone, locked);
	zone->cap = offsetof(struct lab_zone, cap);
	zone->parked = offsetof(struct lab_zone, parked);
}

static void fill_pages(struct lab_export *to)
{
	to->zones = ARRAY(lab_zones, LAB_ZONE_EXCLUSIVE);
	fill_zone(&to->zone);
	to->exclusive = (const char *)&lab_excl_current;
	to->excl_born = offsetof(struct lab_excl, born);
	to->excl_zone = offsetof(struct lab_excl, zone);
	to->excl_nwords = offsetof(struct lab_excl, nwords);
	to->excl_origin = offsetof(struct lab_excl, origin);
	to->excl_bits = offsetof(struct lab_excl, bits);
	to->fault = (const char *)&lab_fault;
	to->depot = (const char *)&lab_depot;
	to->mem_base = (const char *)&lab_mem.base;
	to->mem_block = (const char *)&lab_mem.block;
	to->ready = ARRAY(lab_section_ready, LAB_NR_SECTIONS);
	to->block_bytes = sizeof(struct lab_block);
	to->block_bits = offsetof(struct lab_block, bits);
	to->block_clean = offsetof(struct lab_block, clean);
}

LAB_STARTUP void lab_export_init(void)
{
	static const char magic[] = LAB_EXPORT_MAGIC, release[] = LABYRINTH_VERSION;
	struct lab_export *to = &lab_export;
	unsigned int i;

	to->version = LAB_EXPORT_VERSION;
	to->bytes = sizeof(*to);
	to->page_bytes = LAB_PAGE_BYTES;
	for (i = 0; i < sizeof(release) && i + 1 < sizeof(to->release); i++)
		to->release[i] = release[i];
	to->rows = ARRAY(rows, sizeof(rows) / sizeof(*rows));
	to->classes = ARRAY(lab_class, LAB_CLASS_END);
	to->first_atomic = LAB_CLASS_ATOMIC;
	to->stacks = ARRAY(lab_pcp_class, LAB_PCP_NR);
	to->cpus = ARRAY(lab_pcp_area, LAB_NR_CPUS);
	to->flow_at = LAB_FLOW_AT;
	to->others = ARRAY(lab_flow_others, LAB_NR_FLOWS);
	to->possible = lab_cpus_export();
	to->backend = lab_pcp_backend();
	lab_cache_export(to);
	lab_atomic_export(to);
	fill_pages(to);
	to->events = ARRAY(lab_events, LAB_NR_EVENTS);
	to->event_names = ARRAY(lab_event_names, LAB_NR_EVENTS);
	to->routed = ARRAY(lab_map.routed, LAB_MAP_SHARDS);
	to->passed = (const char *)&lab_map.passed;
	to->aside = lab_is_aside();
	for (i = 0; i < sizeof(to->magic); i++)
		to->magic[i] = magic[i];
}
