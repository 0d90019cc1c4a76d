/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/probe.h"
#include "os/os.h"
#include "os/wiped.h"
#include "page/event.h"
#include "page/reserve.h"
#include "page/watermark.h"

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

/*
 * A zone's frames, in pieces: the first is there from the start, others are
 * added as the cap is raised at run time.  A piece never goes away.
 */
enum { PIECES = 8 };

struct piece {
	lab_word_t first;  /* its first block */
	lab_word_t frames; /* that it can hold; 0: no such piece, written last */
};

static struct piece pieces[LAB_NR_ZONES][PIECES];
static lab_word_t first_step; /* frames that the reserve began with */

static uint64_t piece_frames(enum lab_zone_id id, unsigned int n)
{
	/* acquire: pairs with add_piece() [zone.piece] */
	return n < PIECES ? atomic_load_explicit(&pieces[id][n].frames, memory_order_acquire) : 0;
}

static lab_pfn_t piece_pfn(enum lab_zone_id id, unsigned int n)
{
	return (lab_pfn_t)(lab_word_get(&pieces[id][n].first) * LAB_BLOCK_FRAMES +
			   (n == 0 ? ORIGIN : 0));
}

/* frame number @frame of a zone; it is below the capacity */
static lab_pfn_t zone_pfn(enum lab_zone_id id, uint64_t frame)
{
	unsigned int n;

	for (n = 0; frame >= piece_frames(id, n); n++)
		frame -= piece_frames(id, n);
	return piece_pfn(id, n) + (lab_pfn_t)frame;
}

static uint64_t capacity(enum lab_zone_id id)
{
	uint64_t frames = 0, n;
	unsigned int i;

	for (i = 0; (n = piece_frames(id, i)); i++)
		frames += n;
	return frames;
}

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

/* frames never used so far; a step may end short, at the end of a block */
static int populate(enum lab_zone_id id, unsigned int step)
{
	struct lab_zone *zone = lab_zone_at(id);
	uint64_t limit = lab_word_get(&zone->cap) + lab_word_get(&zone->parked), from;
	unsigned int n;
	int err;

	if (limit > capacity(id))
		limit = capacity(id);
	if (!lab_word_step(&zone->populated, &from, step_populate, limit << 16 | step,
			   memory_order_relaxed, memory_order_relaxed))
		return -ENOMEM;
	for (n = limit - from < step ? (unsigned int)(limit - from) : step; n > 0;) {
		lab_pfn_t pfn = zone_pfn(id, from);
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

/* ---- beyond the cap: frames that were given back ---- */

/*
 * Up to @n frames go back to the system; they stay the zone's, by their kind.
 * Low stays free, but not more than the cap: low of a small zone may be all of it.
 */
static void park(enum lab_zone_id id, unsigned int n)
{
	struct lab_zone *zone = lab_zone_at(id);
	uint64_t left, floor = lab_word_get(&zone->low), cap = lab_word_get(&zone->cap);
	struct lab_frames frames;
	unsigned int first;

	n = lab_reserve_take_some(id, n < 64 ? n : 64, floor < cap ? floor : cap, &frames);
	lab_word_sub(&zone->taken, n);
	for (left = n ? frames.mask : 0; left; left &= ~lab_mask(first, n)) {
		first = lab_ctz(left);
		n = lab_ones(left >> first);
		if (lab_os_discard_locked(frame_address(frames.pfn + first), n * LAB_PAGE_BYTES)) {
			lab_zone_give(frames.pfn + first, n);
			continue;
		}
		lab_word_sub(&zone->managed, n);
		lab_word_add(&zone->parked, n);
		lab_kind_fill(frames.pfn + first, n, LAB_KIND_PARKED);
	}
}

/* one parked frame is the zone's again; false: none, or refused */
static bool unpark(enum lab_zone_id id)
{
	struct lab_zone *zone = lab_zone_at(id);
	uint64_t frame, end = lab_word_get(&zone->populated);

	if (!lab_word_get(&zone->parked))
		return false;
	for (frame = 0; frame < end; frame++) {
		lab_pfn_t pfn = zone_pfn(id, frame);
		uint8_t kind = LAB_KIND_PARKED;

		if (!atomic_compare_exchange_strong_explicit(&lab_mem.kind[pfn], &kind,
							     LAB_KIND_FREE, memory_order_relaxed,
							     memory_order_relaxed))
			continue;
		if (lab_os_populate(frame_address(pfn), LAB_PAGE_BYTES)) {
			lab_kind_set(pfn, LAB_KIND_PARKED);
			return false;
		}
		lab_word_sub(&zone->parked, 1);
		add_frames(id, pfn, 1);
		return true;
	}
	return false;
}

/* a step towards the cap */
static void grow(enum lab_zone_id id, uint64_t managed, uint64_t cap)
{
	unsigned int step =
		cap - managed < REFILL_STEP ? (unsigned int)(cap - managed) : REFILL_STEP;

	if (lab_word_get(&lab_zone_at(id)->parked))
		while (step > 0 && unpark(id))
			step--;
	else
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
		park(id, (unsigned int)(managed - cap));
	} else if (managed < cap && lab_word_get(&zone->free) < lab_word_get(&zone->goal)) {
		grow(id, managed, cap);
	}
	if (lab_word_get(&zone->managed) != managed)
		lab_watermarks_update();
}

void lab_reserve_shrink(uint64_t frames)
{
	struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);
	uint64_t least = lab_word_get(&first_step), before, now = lab_word_get(&zone->managed);

	if (!lab_reserve_is_ours(LAB_ZONE_RESERVE))
		return;
	frames = frames > least ? frames : least;
	do {
		before = now;
		if (before > frames)
			park(LAB_ZONE_RESERVE, (unsigned int)(before - frames));
		now = lab_word_get(&zone->managed);
		/* low goes down with it */
		if (now != before)
			lab_watermarks_update();
	} while (now < before);
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

	for (n = 0; (frames = piece_frames(id, n)); skipped += frames, n++) {
		uint64_t first = from > skipped ? from - skipped : 0;
		uint64_t end = cap - skipped < frames ? cap - skipped : frames;

		if (cap <= skipped || first >= end)
			continue;
		if (lab_os_lock_on_fault(frame_address(piece_pfn(id, n) + (lab_pfn_t)first),
					 (end - first) * LAB_PAGE_BYTES) == 0)
			lab_word_add(&zone->locked, end - first);
	}
}

/* blocks for @frames more, as piece @n */
static int add_piece(enum lab_zone_id id, unsigned int n, uint64_t frames)
{
	struct piece *piece = &pieces[id][n];
	struct lab_zone *heap = lab_zone_at(LAB_ZONE_HEAP);
	uint64_t origin = n == 0 ? ORIGIN : 0;
	size_t nblocks = (origin + frames + LAB_BLOCK_FRAMES - 1) / LAB_BLOCK_FRAMES;
	bool clean;
	size_t first = lab_run_take(nblocks << LAB_BLOCK_SHIFT, 1ul << LAB_BLOCK_SHIFT, &clean), i;

	if (first == SIZE_MAX)
		return -ENOMEM;
	lab_word_sub(&heap->managed, nblocks * LAB_BLOCK_FRAMES);
	lab_word_sub(&heap->taken, nblocks * LAB_BLOCK_FRAMES);
	for (i = first; i < first + nblocks; i++)
		lab_block_release(i, id, LAB_BLOCK_EMPTY);
	lab_os_no_huge((first << LAB_BLOCK_SHIFT) + lab_mem.base, nblocks << LAB_BLOCK_SHIFT);
	lab_word_set(&piece->first, first);
	/* release: pairs with piece_frames() [zone.piece] */
	atomic_store_explicit(&piece->frames, nblocks * LAB_BLOCK_FRAMES - origin,
			      memory_order_release);
	return 0;
}

int lab_reserve_init(enum lab_zone_id id, unsigned int cap, unsigned int step)
{
	struct lab_zone *zone = lab_zone_at(id);
	int err;

	if (!cap)
		return 0;
	err = add_piece(id, 0, cap);
	if (err)
		return err;
	lab_word_set(&zone->cap, cap);
	lock_from(id, 0);
	lab_word_set(&first_step, step < cap ? step : cap);
	err = populate(id, step < cap ? step : cap);
	lab_watermarks_update();
	if (!err)
		lab_word_set(&zone->ready, 1);
	return err;
}

int lab_reserve_resize(uint64_t cap)
{
	struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);
	uint64_t old = lab_word_get(&zone->cap), have = capacity(LAB_ZONE_RESERVE);
	unsigned int n = 0;
	int err = 0;

	if (cap > LAB_RESERVE_MAX)
		return -EINVAL;
	/* one at a time; whoever is abandoned in here leaves the size as it is for good */
	if (!lab_word_swap(&lab_wiped.resize, 0, 1))
		return -EBUSY;
	while (piece_frames(LAB_ZONE_RESERVE, n))
		n++;
	if (cap > have)
		err = n < PIECES ? add_piece(LAB_ZONE_RESERVE, n, cap - have) : -ENOMEM;
	if (!err) {
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

/* blocks of piece @n; 0: there is no such piece */
static size_t piece_blocks(enum lab_zone_id id, unsigned int n, size_t *first)
{
	uint64_t frames = piece_frames(id, n);

	*first = frames ? lab_word_get(&pieces[id][n].first) : 0;
	return (frames + (n == 0 ? ORIGIN : 0)) / LAB_BLOCK_FRAMES;
}

bool lab_reserve_take(enum lab_zone_id id, unsigned int order, uint64_t floor,
		      struct lab_frames *out)
{
	struct lab_zone *zone = lab_zone_at(id);
	size_t first, i;
	unsigned int n;

	if (!count_take(zone, floor, 1u << order))
		return false;
	for (n = 0; piece_blocks(id, n, &first); n++) {
		for (i = first; i < first + piece_blocks(id, n, &first); i++) {
			if (lab_block_take_run(i, id, order, out)) {
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
	for (n = 0; !got && piece_blocks(id, n, &first); n++)
		for (i = first; !got && i < first + piece_blocks(id, n, &first); i++)
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

	for (n = 0; piece_blocks(LAB_ZONE_RESERVE, n, &first); n++)
		for (i = first; i < first + piece_blocks(LAB_ZONE_RESERVE, n, &first); i++)
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
