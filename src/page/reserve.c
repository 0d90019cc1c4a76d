/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/probe.h"
#include "os/os.h"
#include "os/wiped.h"
#include "page/event.h"
#include "page/piece.h"
#include "page/reserve.h"
#include "page/watermark.h"

/* Frames that one refill makes resident: about 30 us of work. */
enum { REFILL_STEP = 16 };

static uintptr_t frame_address(lab_pfn_t pfn)
{
	return (uintptr_t)lab_frame_address(pfn);
}

/* ---- residency ---- */

/* what an atomic request writes beside the page has to be resident too */
static void touch_frames(lab_pfn_t pfn, unsigned int n)
{
	for (; n > 0; n--, pfn++) {
		/* nobody has the frames yet, so each of these values is the right one */
		lab_word_set(&lab_frame_at(pfn)->npages, 0);
		lab_kind_set(pfn, LAB_KIND_FREE);
		lab_byte_set(lab_live_byte(lab_frame_address(pfn), LAB_LIVE16_SHIFT), 0);
		lab_byte_set(lab_live_byte(lab_frame_address(pfn), LAB_LIVE128_SHIFT), 0);
	}
}

/* 0: a search for frames that read as zero found none, and none was added since */
static lab_word_t zeroed_hint;

/* @n adjacent frames of one block are resident from now on, and read as zero */
static void add_frames(enum lab_zone_id id, lab_pfn_t pfn, unsigned int n)
{
	lab_word_add(&lab_zone_at(id)->managed, n);
	lab_event_add(LAB_EV_REFILL, n);
	LAB_PROBE2(zone_grow, id, n);
	touch_frames(pfn, n);
	lab_block_set_clean(pfn / LAB_BLOCK_FRAMES, pfn % LAB_BLOCK_FRAMES, n);
	lab_zone_give(pfn, n);
	lab_word_set(&zeroed_hint, 1);
}

static bool step_populate(uint64_t *raw, uint64_t limit_and_n)
{
	uint64_t limit = limit_and_n >> 16, n = limit_and_n & 0xffff;

	if (*raw >= limit)
		return false;
	*raw = *raw + n < limit ? *raw + n : limit;
	return true;
}

/*
 * Frames never used so far, @step of them or as many as there are.  The caller has looked
 * at the cap; two who do so at once may pass it by a step, which refills park again.
 */
static int populate(enum lab_zone_id id, unsigned int step)
{
	struct lab_zone *zone = lab_zone_at(id);
	uint64_t limit = lab_zone_capacity(id), from;
	unsigned int n;
	int err;

	if (!lab_word_step(&zone->populated, &from, step_populate, limit << 16 | step,
			   memory_order_relaxed, memory_order_relaxed))
		return -ENOMEM;
	for (n = limit - from < step ? (unsigned int)(limit - from) : step; n > 0;) {
		lab_pfn_t pfn = lab_zone_pfn(id, from);
		unsigned int room = LAB_BLOCK_FRAMES - pfn % LAB_BLOCK_FRAMES;
		unsigned int now = n < room ? n : room;

		err = lab_os_populate(frame_address(pfn), now * LAB_PAGE_BYTES);
		if (err) {
			/* ours to try again, unless another step came after it */
			(void)lab_word_swap(&zone->populated, from + n, from);
			return err;
		}
		add_frames(id, pfn, now);
		from += now;
		n -= now;
	}
	return 0;
}

/* ---- frames that were given back ---- */

/*
 * A frame that goes back to the system stays the zone's, by its kind, and is counted
 * after that; who wants some back pays with the count first.  So a call that is abandoned
 * in between loses the frames it has in hand, PARK_STEP at most, and nobody looks for them.
 */
enum { PARK_STEP = 16 };

static lab_word_t unpark_from; /* a hint: the frame of the zone where the last search ended */

/*
 * Up to @n frames go back to the system.  Low stays free, but not more than the cap: low
 * of a small zone may be all of it.
 */
static void park(enum lab_zone_id id, uint64_t n)
{
	struct lab_zone *zone = lab_zone_at(id);
	uint64_t left, floor = lab_word_get(&zone->low), cap = lab_word_get(&zone->cap);
	struct lab_frames frames;
	unsigned int got;

	got = lab_reserve_take_some(id, n < PARK_STEP ? (unsigned int)n : PARK_STEP,
				    floor < cap ? floor : cap, &frames);
	lab_word_sub(&zone->taken, got);
	for (left = got ? frames.mask : 0; left; left &= left - 1) {
		lab_pfn_t pfn = frames.pfn + lab_ctz(left);

		/* one by one: of a row an old kernel may take a part, and say that it took none */
		if (lab_os_discard_locked(frame_address(pfn), LAB_PAGE_BYTES)) {
			lab_zone_give(pfn, 1);
			continue;
		}
		lab_word_sub(&zone->managed, 1);
		lab_kind_set(pfn, LAB_KIND_PARKED);
		lab_word_add(&zone->parked, 1);
	}
}

static bool unmark(lab_pfn_t pfn)
{
	uint8_t kind = LAB_KIND_PARKED;

	return atomic_compare_exchange_strong_explicit(&lab_mem.kind[pfn], &kind, LAB_KIND_FREE,
						       memory_order_relaxed, memory_order_relaxed);
}

/* up to @n adjacent parked frames are the zone's again; how many, 0: refused, or none found */
static unsigned int unpark_row(enum lab_zone_id id, unsigned int n)
{
	uint64_t end = lab_word_get(&lab_zone_at(id)->populated), at, i;
	unsigned int got = 0, k;
	lab_pfn_t pfn = 0;

	at = lab_word_get(&unpark_from) < end ? lab_word_get(&unpark_from) : 0;
	for (i = 0; i < end && got < n; i++, at = at + 1 < end ? at + 1 : 0) {
		lab_pfn_t next = lab_zone_pfn(id, at);

		/* adds to one block at a time */
		if (got && (next != pfn + got || next % LAB_BLOCK_FRAMES == 0))
			break;
		if (unmark(next)) {
			if (!got)
				pfn = next;
			got++;
		} else if (got) {
			break;
		}
	}
	lab_word_set(&unpark_from, at);
	if (got && lab_os_populate(frame_address(pfn), got * LAB_PAGE_BYTES)) {
		for (k = 0; k < got; k++)
			lab_kind_set(pfn + k, LAB_KIND_PARKED);
		return 0;
	}
	if (got)
		add_frames(id, pfn, got);
	return got;
}

/* parked frames are the zone's again, up to @n; how many */
static unsigned int unpark(enum lab_zone_id id, unsigned int n)
{
	struct lab_zone *zone = lab_zone_at(id);
	unsigned int done = 0, got = 1;

	n = (unsigned int)lab_word_pay(&zone->parked, n);
	if (!n)
		return 0;
	for (; done < n && got; done += got)
		got = unpark_row(id, n - done);
	lab_word_add(&zone->parked, n - done);
	return done;
}

/* a step towards the cap */
static void grow(enum lab_zone_id id, uint64_t managed, uint64_t cap)
{
	unsigned int step =
		cap - managed < REFILL_STEP ? (unsigned int)(cap - managed) : REFILL_STEP;

	if (!unpark(id, step))
		(void)populate(id, step);
}

void lab_reserve_refill(enum lab_zone_id id)
{
	struct lab_zone *zone = lab_zone_at(id);
	uint64_t managed = lab_word_get(&zone->managed), cap = lab_word_get(&zone->cap);

	if (LAB_LIKELY(managed == cap && lab_word_get(&zone->free) >= lab_word_get(&zone->low)) ||
	    LAB_UNLIKELY(!lab_reserve_is_ours(id)))
		return;
	if (managed > cap) {
		park(id, managed - cap);
	} else if (managed < cap && lab_word_get(&zone->free) < lab_word_get(&zone->goal)) {
		grow(id, managed, cap);
	}
	if (lab_word_get(&zone->managed) != managed)
		lab_watermarks_update();
}

bool lab_reserve_shrink(uint64_t frames)
{
	struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);
	uint64_t managed = lab_word_get(&zone->managed);

	frames = frames > LAB_RESERVE_LEAST ? frames : LAB_RESERVE_LEAST;
	if (managed <= frames || !lab_reserve_is_ours(LAB_ZONE_RESERVE))
		return false;
	park(LAB_ZONE_RESERVE, managed - frames);
	if (lab_word_get(&zone->managed) >= managed)
		return false;
	/* low goes down with it */
	lab_watermarks_update();
	return true;
}

void lab_reserve_fill(enum lab_zone_id id)
{
	struct lab_zone *zone = lab_zone_at(id);
	const uint64_t first = lab_word_get(&zone->managed), cap = lab_word_get(&zone->cap);
	uint64_t before, now = first;

	if (!lab_reserve_is_ours(id))
		return;
	do {
		before = now;
		if (before < cap)
			grow(id, before, cap);
		now = lab_word_get(&zone->managed);
	} while (now > before);
	if (now != first)
		lab_watermarks_update();
}

/* ---- setting up ---- */

/* One call locks all that will ever be resident, as it becomes so. */
static void lock_from(enum lab_zone_id id, uint64_t from)
{
	struct lab_zone *zone = lab_zone_at(id);
	uint64_t cap = lab_word_get(&zone->cap), skipped = 0, frames;
	unsigned int n;

	for (n = 0; (frames = lab_piece_frames(id, n)); skipped += frames, n++) {
		uint64_t first = from > skipped ? from - skipped : 0;
		uint64_t end = cap - skipped < frames ? cap - skipped : frames;

		if (cap <= skipped || first >= end)
			continue;
		if (lab_os_lock_on_fault(frame_address(lab_piece_pfn(id, n) + (lab_pfn_t)first),
					 (end - first) * LAB_PAGE_BYTES) == 0)
			lab_word_add(&zone->locked, end - first);
	}
}

int lab_reserve_init(enum lab_zone_id id, unsigned int cap, unsigned int step)
{
	struct lab_zone *zone = lab_zone_at(id);
	int err;

	if (!cap)
		return 0;
	err = lab_piece_add(id, 0, cap);
	if (err)
		return err;
	lab_word_set(&zone->cap, cap);
	lock_from(id, 0);
	err = populate(id, step < cap ? step : cap);
	lab_watermarks_update();
	if (!err)
		lab_word_set(&zone->ready, 1);
	return err;
}

int lab_reserve_resize(uint64_t cap)
{
	struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);
	uint64_t old = lab_word_get(&zone->cap), have = lab_zone_capacity(LAB_ZONE_RESERVE);
	unsigned int n = 0;
	int err = 0;

	if (cap > LAB_RESERVE_MAX)
		return -EINVAL;
	/* one at a time; whoever is abandoned in here leaves the size as it is for good */
	if (!lab_word_swap(&lab_wiped.resize, 0, 1))
		return -EBUSY;
	while (lab_piece_frames(LAB_ZONE_RESERVE, n))
		n++;
	if (cap > have)
		err = n < LAB_PIECES ? lab_piece_add(LAB_ZONE_RESERVE, n, cap - have) : -ENOMEM;
	if (!err) {
		lab_reserve_draw();
		lab_word_set(&zone->cap, cap);
		if (!old)
			lab_word_set(&zone->ready, 1);
		if (cap > old && cap > lab_word_get(&zone->locked))
			lock_from(LAB_ZONE_RESERVE, lab_word_get(&zone->locked));
		lab_watermarks_update();
	}
	lab_word_set(&lab_wiped.resize, 0);
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
	struct lab_zone *zone = lab_zone_at(id);
	size_t first, i;
	unsigned int n;

	if (!count_take(zone, floor, 1u << order))
		return false;
	for (n = 0; lab_piece_blocks(id, n, &first); n++) {
		for (i = first; i < first + lab_piece_blocks(id, n, &first); i++) {
			if (lab_block_take_run(i, id, LAB_BLOCK_ALL, order, out)) {
				lab_word_add(&zone->taken, 1ull << order);
				return true;
			}
		}
	}
	lab_word_add(&zone->free, 1ull << order);
	return false;
}

typedef unsigned int take_fn(size_t block, enum lab_zone_id zone, unsigned int want,
			     struct lab_frames *out);

static unsigned int take_some(enum lab_zone_id id, unsigned int want, uint64_t floor, take_fn *take,
			      struct lab_frames *out)
{
	struct lab_zone *zone = lab_zone_at(id);
	unsigned int got = 0, n;
	size_t first, i;

	while (want && !count_take(zone, floor, want))
		want /= 2;
	if (!want)
		return 0;
	for (n = 0; !got && lab_piece_blocks(id, n, &first); n++)
		for (i = first; !got && i < first + lab_piece_blocks(id, n, &first); i++)
			got = take(i, id, want, out);
	if (got < want)
		lab_word_add(&zone->free, want - got);
	lab_word_add(&zone->taken, got);
	return got;
}

unsigned int lab_reserve_take_some(enum lab_zone_id id, unsigned int want, uint64_t floor,
				   struct lab_frames *out)
{
	return take_some(id, want, floor, lab_block_take_some, out);
}

unsigned int lab_reserve_take_zeroed(unsigned int want, uint64_t floor, struct lab_frames *out)
{
	return take_some(LAB_ZONE_RESERVE, want, floor, lab_block_take_clean, out);
}

/* ---- pages that read as zero ---- */

unsigned int lab_reserve_take_dirty(unsigned int want, uint64_t floor, struct lab_frames *out)
{
	return take_some(LAB_ZONE_RESERVE, want, floor, lab_block_take_dirty, out);
}

void lab_reserve_give_zeroed(const struct lab_frames *frames)
{
	uint64_t left;

	for (left = frames->mask; left; left &= left - 1)
		lab_block_set_clean(frames->pfn / LAB_BLOCK_FRAMES,
				    frames->pfn % LAB_BLOCK_FRAMES + lab_ctz(left), 1);
	lab_word_set(&zeroed_hint, 1);
	lab_zone_give_mask(frames->pfn, frames->mask);
}

/* free frames that read as zero; @any: it is enough to find a block with some */
static uint64_t count_zeroed(bool any)
{
	uint64_t sum = 0;
	unsigned int n;
	size_t first, i;

	for (n = 0; lab_piece_blocks(LAB_ZONE_RESERVE, n, &first); n++)
		for (i = first; i < first + lab_piece_blocks(LAB_ZONE_RESERVE, n, &first); i++)
			if ((sum += lab_block_count_clean(i)) && any)
				return sum;
	return sum;
}

uint64_t lab_reserve_free_zeroed(void)
{
	return count_zeroed(false);
}

bool lab_reserve_has_zeroed(void)
{
	if (!lab_word_get(&zeroed_hint))
		return false;
	lab_word_set(&zeroed_hint, 0);
	if (!count_zeroed(true))
		return false;
	lab_word_set(&zeroed_hint, 1);
	return true;
}
