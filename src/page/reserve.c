/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "os/os.h"
#include "page/reserve.h"

/* Frames that one refill makes resident: about 30 us of work. */
enum { REFILL_STEP = 16 };

/*
 * The zone begins so many frames into its first block.  The live bytes of the
 * frames before it lie at the start of a page of their map, where programs
 * have the slots that their calls of malloc() go through: a store to the one
 * and a load of the other look alike to the store buffer, which compares
 * twelve bits of an address (measured: 0.5 ns of a pair of 3.1 ns).
 */
enum { ORIGIN = 72 };

static lab_pfn_t zone_pfn(const struct lab_zone *zone, size_t frame)
{
	return (lab_pfn_t)((lab_word_get(&zone->first) - 1) * LAB_BLOCK_FRAMES + ORIGIN + frame);
}

static uintptr_t zone_address(const struct lab_zone *zone, size_t frame)
{
	return (uintptr_t)lab_frame_address(zone_pfn(zone, frame));
}

static size_t blocks_for(uint64_t cap)
{
	return (ORIGIN + cap + LAB_BLOCK_FRAMES - 1) / LAB_BLOCK_FRAMES;
}

static size_t zone_blocks(const struct lab_zone *zone)
{
	return blocks_for(lab_word_get(&zone->cap));
}

/*
 * The kernel's fractions between the marks (delta is a quarter of min), but a
 * min of its own: the kernel's formula, made for gigabytes, leaves a zone of
 * this size next to nothing (a quarter of a small zone is what a handler that
 * finds the program out of memory has to live on).
 */
static void set_watermarks(struct lab_zone *zone)
{
	uint64_t min = lab_word_get(&zone->cap) / 4;

	lab_word_set(&zone->min, min);
	lab_word_set(&zone->low, min + min / 4);
	lab_word_set(&zone->high, min + min / 2);
}

/* ---- residency ---- */

static bool step_populate(uint64_t *raw, uint64_t limit_and_n)
{
	uint64_t limit = limit_and_n >> 16, n = limit_and_n & 0xffff;

	if (*raw >= limit)
		return false;
	*raw = *raw + n < limit ? *raw + n : limit;
	return true;
}

/* what an atomic request writes beside the page has to be resident too */
static void touch_frames(const struct lab_zone *zone, uint64_t from, unsigned int n)
{
	for (; n > 0; n--, from++)
		lab_word_set(&lab_frame_at(zone_pfn(zone, from))->npages, 0);
}

static int populate(enum lab_zone_id id, unsigned int step)
{
	struct lab_zone *zone = &lab_zones[id];
	uint64_t from;
	unsigned int n;
	int err;

	if (!lab_word_step(&zone->populated, &from, step_populate,
			   lab_word_get(&zone->cap) << 16 | step, memory_order_relaxed,
			   memory_order_relaxed))
		return -ENOMEM;
	n = lab_word_get(&zone->cap) - from < step ? (unsigned int)(lab_word_get(&zone->cap) - from)
						   : step;
	err = lab_os_populate(zone_address(zone, from), n * LAB_PAGE_BYTES);
	if (err) {
		/* ours to try again, unless another step came after it */
		(void)lab_word_swap(&zone->populated, from + n, from);
		return err;
	}
	lab_word_add(&zone->managed, n);
	touch_frames(zone, from, n);
	while (n > 0) {
		lab_pfn_t pfn = zone_pfn(zone, from);
		unsigned int room = LAB_BLOCK_FRAMES - pfn % LAB_BLOCK_FRAMES;
		unsigned int now = n < room ? n : room;

		lab_zone_give(pfn, now);
		from += now;
		n -= now;
	}
	return 0;
}

/* One call at start locks all that will ever be resident, as it becomes so. */
static void lock_all(struct lab_zone *zone)
{
	uint64_t cap = lab_word_get(&zone->cap);
	int err = lab_os_lock_on_fault(zone_address(zone, 0), cap * LAB_PAGE_BYTES);

	lab_word_set(&zone->locked, err ? 0 : cap);
}

void lab_reserve_revive(enum lab_zone_id id)
{
	struct lab_zone *zone = &lab_zones[id];
	uint64_t n = lab_word_get(&zone->populated);

	if (!lab_word_get(&zone->epoch) || lab_reserve_is_ours(id))
		return;
	lock_all(zone);
	if (lab_os_populate(zone_address(zone, 0), n * LAB_PAGE_BYTES) == 0)
		lab_word_set((lab_word_t *)(uintptr_t)lab_word_get(&zone->epoch), 1);
}

void lab_reserve_refill(enum lab_zone_id id)
{
	struct lab_zone *zone = &lab_zones[id];

	if (LAB_UNLIKELY(!lab_reserve_is_ours(id)))
		return;
	if (lab_word_get(&zone->free) < lab_word_get(&zone->high) &&
	    lab_word_get(&zone->populated) < lab_word_get(&zone->cap))
		(void)populate(id, REFILL_STEP);
}

/*
 * The wipe-on-fork word lives in the first frame of the exclusive zone, which
 * is never handed out.  The reserve is inherited by a child as all memory is,
 * so its word is its own count of blocks: never zero.
 */
static void set_epoch(enum lab_zone_id id)
{
	struct lab_zone *zone = &lab_zones[id];
	lab_word_t *word =
		id == LAB_ZONE_EXCLUSIVE ? (lab_word_t *)zone_address(zone, 0) : &zone->first;
	struct lab_frames frame;

	if (id == LAB_ZONE_EXCLUSIVE) {
		if (!lab_reserve_take(id, 0, 0, &frame))
			return;
		lab_kind_set(frame.pfn, LAB_KIND_BODY);
		lab_word_set(word, 1);
	}
	lab_word_set(&zone->epoch, (uintptr_t)word);
}

static int claim_blocks(struct lab_zone *zone, enum lab_zone_id id, size_t n)
{
	bool clean;
	size_t first = lab_run_take(n << LAB_BLOCK_SHIFT, 1ul << LAB_BLOCK_SHIFT, &clean), i;

	if (first == SIZE_MAX)
		return -ENOMEM;
	lab_word_sub(&lab_zones[LAB_ZONE_HEAP].managed, n * LAB_BLOCK_FRAMES);
	lab_word_sub(&lab_zones[LAB_ZONE_HEAP].taken, n * LAB_BLOCK_FRAMES);
	for (i = first; i < first + n; i++)
		lab_block_release(i, id, LAB_BLOCK_EMPTY);
	lab_word_set(&zone->first, first + 1);
	return 0;
}

int lab_reserve_init(enum lab_zone_id id, unsigned int cap, unsigned int step)
{
	struct lab_zone *zone = &lab_zones[id];
	size_t nblocks = blocks_for(cap), bytes = cap * LAB_PAGE_BYTES;
	int err;

	if (!cap)
		return 0;
	err = claim_blocks(zone, id, nblocks);
	if (err)
		return err;
	lab_word_set(&zone->cap, cap);
	set_watermarks(zone);
	lab_os_no_huge(zone_address(zone, 0), bytes);
	if (id == LAB_ZONE_EXCLUSIVE) {
		lab_os_wipe_on_fork(zone_address(zone, 0), bytes);
		lab_os_unmergeable(zone_address(zone, 0), bytes);
	}
	lock_all(zone);
	err = populate(id, step < cap ? step : cap);
	if (!err)
		set_epoch(id);
	return err;
}

/* ---- taking ---- */

static bool step_above_floor(uint64_t *raw, uint64_t floor_and_n)
{
	uint64_t floor = floor_and_n >> 16, n = floor_and_n & 0xffff;

	if (*raw < floor + n)
		return false;
	*raw -= n;
	return true;
}

static bool count_take(struct lab_zone *zone, uint64_t floor, unsigned int n)
{
	uint64_t old;

	return lab_word_step(&zone->free, &old, step_above_floor, floor << 16 | n,
			     memory_order_relaxed, memory_order_relaxed);
}

bool lab_reserve_take(enum lab_zone_id id, unsigned int order, uint64_t floor,
		      struct lab_frames *out)
{
	struct lab_zone *zone = &lab_zones[id];
	size_t first = lab_word_get(&zone->first), i;

	if (!first || !count_take(zone, floor, 1u << order))
		goto failed;
	for (i = 0; i < zone_blocks(zone); i++) {
		if (lab_block_take_run(first - 1 + i, id, order, out)) {
			lab_word_add(&zone->taken, 1ull << order);
			return true;
		}
	}
	lab_word_add(&zone->free, 1ull << order);
failed:
	lab_word_add(&zone->failed, 1);
	return false;
}

unsigned int lab_reserve_take_some(enum lab_zone_id id, unsigned int want, uint64_t floor,
				   struct lab_frames *out)
{
	struct lab_zone *zone = &lab_zones[id];
	size_t first = lab_word_get(&zone->first), i;
	unsigned int got = 0;

	if (!first)
		return 0;
	while (want && !count_take(zone, floor, want))
		want /= 2;
	if (!want)
		return 0;
	for (i = 0; !got && i < zone_blocks(zone); i++)
		got = lab_block_take_some(first - 1 + i, id, want, out);
	if (got < want)
		lab_word_add(&zone->free, want - got);
	lab_word_add(&zone->taken, got);
	return got;
}
