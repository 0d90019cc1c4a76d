/* SPDX-License-Identifier: MIT */
/* The resident zones follow the size of the heap. */
#include "page/exclusive.h"
#include "page/reserve.h"

static const struct lab_zone *const heap = &lab_zones[LAB_ZONE_HEAP];

/* with so many frames in use, 32 MiB, a resident zone may be as large as its cap */
enum { FULL_GROWN = 8192 };

/* frames of a resident zone, by the size of the heap */
static uint64_t share(const struct lab_zone *zone)
{
	uint64_t free = lab_word_get(&heap->free), in_use = lab_word_get(&heap->managed) - free;

	return lab_word_get(&zone->cap) * in_use / FULL_GROWN;
}

/*
 * A resident zone costs a small process more than a large one.  So it grows with the
 * heap; but whoever draws on it below low gets a step more, whatever the heap is.
 */
static bool is_due(const struct lab_zone *zone)
{
	uint64_t managed = lab_word_get(&zone->managed);

	return managed > lab_word_get(&zone->cap) || managed < share(zone) ||
	       lab_word_get(&zone->below) || lab_word_get(&zone->free) < lab_word_get(&zone->low);
}

void lab_reserve_follow(void)
{
	const struct lab_zone *reserve = &lab_zones[LAB_ZONE_RESERVE];

	if (lab_word_get(&reserve->drawn) || is_due(reserve))
		lab_reserve_refill(LAB_ZONE_RESERVE);
}

void lab_zones_follow(void)
{
	if (is_due(&lab_zones[LAB_ZONE_RESERVE]))
		lab_reserve_refill(LAB_ZONE_RESERVE);
	if (is_due(lab_zone_exclusive()))
		lab_excl_refill();
}

/* to a little more than its share, so that it does not go up and down */
bool lab_zones_shrink(void)
{
	const struct lab_zone *reserve = &lab_zones[LAB_ZONE_RESERVE];
	uint64_t frames = share(reserve);

	return !lab_word_get(&reserve->drawn) && lab_reserve_shrink(frames + frames / 4);
}
