/* SPDX-License-Identifier: MIT */
#include "page/highatomic.h"
#include "page/reserve.h"

/* 1 + first frame of a unit; 0: none.  Who exchanges it for 0 owns the unit. */
static LAB_RESIDENT lab_word_t units[LAB_ASIDE_UNITS];

/* 1 % of the zone, at least one unit if it is not tiny */
static unsigned int allowed(const struct lab_zone *zone)
{
	uint64_t managed = lab_word_get(&zone->managed);
	uint64_t n = managed / 100 >> LAB_ASIDE_ORDER;

	if (managed < LAB_ASIDE_MIN)
		return 0;
	return n < 1 ? 1 : n < LAB_ASIDE_UNITS ? (unsigned int)n : LAB_ASIDE_UNITS;
}

uint64_t lab_highatomic_frames(void)
{
	uint64_t frames = 0;
	unsigned int i;

	for (i = 0; i < LAB_ASIDE_UNITS; i++)
		frames += lab_word_get(&units[i]) ? 1u << LAB_ASIDE_ORDER : 0;
	return frames;
}

void lab_highatomic_reserve(void)
{
	struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);
	unsigned int n = allowed(zone), i;
	struct lab_frames run;
	uint64_t none = 0;

	for (i = 0; i < n; i++) {
		if (lab_word_get(&units[i]))
			continue;
		if (!lab_reserve_take(LAB_ZONE_RESERVE, LAB_ASIDE_ORDER, 0, &run))
			return;
		lab_word_sub(&zone->taken, 1u << LAB_ASIDE_ORDER);
		/* release: pairs with take_unit() [aside.unit] */
		if (atomic_compare_exchange_strong_explicit(&units[i], &none, run.pfn + 1ull,
							    memory_order_release,
							    memory_order_relaxed))
			return;
		/* another came first */
		none = 0;
		lab_zone_give(run.pfn, 1u << LAB_ASIDE_ORDER);
	}
}

/* a unit is ours; false: there is none */
static bool take_unit(lab_pfn_t *pfn)
{
	unsigned int i;
	uint64_t unit;

	for (i = 0; i < LAB_ASIDE_UNITS; i++) {
		unit = lab_word_get(&units[i]);
		/* acquire: pairs with lab_highatomic_reserve() [aside.unit] */
		if (!unit || !atomic_compare_exchange_strong_explicit(&units[i], &unit, 0,
								      memory_order_acquire,
								      memory_order_relaxed))
			continue;
		*pfn = (lab_pfn_t)(unit - 1);
		return true;
	}
	return false;
}

bool lab_highatomic_take(unsigned int order, struct lab_frames *out)
{
	unsigned int n = 1u << order;

	if (!take_unit(&out->pfn))
		return false;
	out->mask = 0;
	out->nclean = 0;
	if (order < LAB_ASIDE_ORDER)
		lab_zone_give(out->pfn + n, (1u << LAB_ASIDE_ORDER) - n);
	lab_word_add(&lab_zone_at(LAB_ZONE_RESERVE)->taken, n);
	return true;
}

size_t lab_highatomic_release(void)
{
	size_t frames = 0;
	lab_pfn_t pfn;

	while (take_unit(&pfn)) {
		lab_zone_give(pfn, 1u << LAB_ASIDE_ORDER);
		frames += 1u << LAB_ASIDE_ORDER;
	}
	return frames;
}
