/* SPDX-License-Identifier: MIT */
#include "page/watermark.h"

enum { KB_PER_PAGE = 4, MIN_KBYTES = 128, MAX_KBYTES = 262144 };

static lab_word_t tuned_kbytes; /* 0: computed */
static lab_word_t tuned_factor; /* 0: LAB_SCALE_FACTOR */

static uint64_t managed(enum lab_zone_id id)
{
	return lab_word_get(&lab_zone_at(id)->managed);
}

static uint64_t cap(enum lab_zone_id id)
{
	return lab_word_get(&lab_zone_at(id)->cap);
}

static uint64_t square_root(uint64_t x)
{
	uint64_t root = 0, bit;

	for (bit = 1ull << 31; bit; bit >>= 1)
		if ((root + bit) * (root + bit) <= x)
			root += bit;
	return root;
}

static uint64_t computed_kbytes(uint64_t pages)
{
	uint64_t kbytes = square_root(pages * KB_PER_PAGE * 16);

	return kbytes < MIN_KBYTES ? MIN_KBYTES : kbytes > MAX_KBYTES ? MAX_KBYTES : kbytes;
}

static uint64_t min_free_pages(uint64_t total)
{
	uint64_t kbytes = lab_word_get(&tuned_kbytes);

	return (kbytes ? kbytes : computed_kbytes(total)) / KB_PER_PAGE;
}

struct marks {
	uint64_t min, low, high;
};

/* the marks of a zone of @pages, where both zones have @total */
static struct marks marks_of(uint64_t pages, uint64_t total)
{
	uint64_t floor = pages / 2 < LAB_MIN_FLOOR ? pages / 2 : LAB_MIN_FLOOR, delta, scaled;
	struct marks marks = { .min = total ? min_free_pages(total) * pages / total : 0 };

	if (!lab_word_get(&tuned_kbytes)) {
		marks.min = marks.min < pages / 2 ? marks.min : pages / 2;
		marks.min = marks.min > floor ? marks.min : floor;
	}
	delta = marks.min / 4;
	scaled = pages * lab_watermark_scale_factor() / 10000;
	delta = delta > scaled ? delta : scaled;
	marks.low = marks.min + delta;
	marks.high = marks.low + delta;
	return marks;
}

static void update(enum lab_zone_id id, uint64_t total, uint64_t total_cap)
{
	struct lab_zone *zone = lab_zone_at(id);
	struct marks marks = marks_of(managed(id), total);

	lab_word_set(&zone->min, marks.min);
	lab_word_set(&zone->low, marks.low);
	lab_word_set(&zone->high, marks.high);
	/* a zone grows until this many are free: high, as it will be when it is full-grown */
	lab_word_set(&zone->goal, marks_of(cap(id), total_cap).high);
}

/* looks again whether a zone has grown meanwhile, by another context with newer marks */
enum { TURNS = 4 };

void lab_watermarks_update(void)
{
	uint64_t total, total_cap;
	unsigned int turn = 0;

	do {
		total = managed(LAB_ZONE_RESERVE) + managed(LAB_ZONE_EXCLUSIVE);
		total_cap = cap(LAB_ZONE_RESERVE) + cap(LAB_ZONE_EXCLUSIVE);
		update(LAB_ZONE_RESERVE, total, total_cap);
		update(LAB_ZONE_EXCLUSIVE, total, total_cap);
	} while (total != managed(LAB_ZONE_RESERVE) + managed(LAB_ZONE_EXCLUSIVE) &&
		 ++turn < TURNS);
}

void lab_watermarks_tune(uint64_t min_free_kbytes, uint64_t scale_factor)
{
	lab_word_set(&tuned_kbytes, min_free_kbytes);
	lab_word_set(&tuned_factor, scale_factor);
	lab_watermarks_update();
}

uint64_t lab_min_free_kbytes(void)
{
	uint64_t kbytes = lab_word_get(&tuned_kbytes);

	return kbytes ? kbytes
		      : computed_kbytes(managed(LAB_ZONE_RESERVE) + managed(LAB_ZONE_EXCLUSIVE));
}

uint64_t lab_min_free_tuned(void)
{
	return lab_word_get(&tuned_kbytes);
}

uint64_t lab_watermark_scale_factor(void)
{
	uint64_t factor = lab_word_get(&tuned_factor);

	return factor ? factor : LAB_SCALE_FACTOR;
}
