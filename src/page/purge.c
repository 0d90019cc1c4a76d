/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back.  Idle frames are claimed as any allocator would claim
 * them, handed to the system, marked clean and given back: no lock, and a
 * request that comes meanwhile just does not find them.
 */
#include "base/probe.h"
#include "os/os.h"
#include "page/search.h"
#include "page/thp.h"
#include "page/zone.h"

static struct lab_zone *const heap = &lab_zones[LAB_ZONE_HEAP];

/*
 * Below FEW_IDLE frames (128 KiB) nothing is done; of what is above a quarter
 * goes each DECAY_MS, or each HURRY_MS while more than half of what is in use
 * lies idle: an idle heap falls and a busy one keeps its pages.  What is above
 * MUCH_IDLE (64 MiB) and as much as is in use goes at once, SLICE frames at least:
 * that it is there means that as much was freed since, so the caller pays for what
 * was freed and no more.  Where the system refuses (locked memory, a sandbox), we
 * ask again after REFUSED_MS.
 *
 * What the stacks above hold pins slabs, and slabs blocks: after a burst as much as was
 * in use before it.  So they are to be emptied once for each WORTH_TRIM (4 MiB) that went
 * back, when there is no hurry any more: less work than it was to give that back.
 */
enum { FEW_IDLE = 32, SOME_IDLE = 8192, MUCH_IDLE = 16384, SLICE = 2048 };
enum { WORTH_TRIM = 1024 };
enum { DECAY_MS = 500, HURRY_MS = 10, REFUSED_MS = 30000, SURPLUS_SHIFT = 2 };

static lab_word_t next_decay_ms;
static lab_word_t given_back; /* since the stacks were emptied */

static uintptr_t address(size_t block, unsigned int first)
{
	return (uintptr_t)lab_frame_address((lab_pfn_t)(block * LAB_BLOCK_FRAMES + first));
}

/*
 * What describes a block that is ours as a whole holds nothing that is needed: its live
 * bytes are all 0, and so they read when their memory has been given back; no frame is
 * part of a slab or a run.  The generations of its slab words begin anew, which is as
 * well: whoever comes late with a word that it has read before, and finds the same, has
 * found a slab of that class with so many free objects.  And the links are read by late
 * comers only, whose exchange of the list's head then fails by its tag.  144 KiB and 32 KiB
 * of 2 MiB.  If it is refused they stay.
 */
static void purge_tables(size_t block)
{
	static const unsigned int shifts[] = { LAB_LIVE16_SHIFT, LAB_LIVE128_SHIFT };
	uintptr_t frames = (uintptr_t)lab_frame_at((lab_pfn_t)(block * LAB_BLOCK_FRAMES));
	int err = lab_os_discard(frames, LAB_BLOCK_FRAMES * sizeof(struct lab_frame));
	unsigned int i;

	for (i = 0; i < 2 && !err; i++)
		err = lab_os_discard((uintptr_t)lab_live_byte((void *)address(block, 0), shifts[i]),
				     (1ul << LAB_BLOCK_SHIFT) >> shifts[i]);
}

/* a mapped block without a frame in use */
static size_t purge_whole(size_t block, bool unmap)
{
	unsigned int word, dirty = 0;

	if (!lab_block_claim(block, LAB_ZONE_HEAP, true))
		return 0;
	for (word = 0; word < LAB_BLOCK_WORDS; word++)
		dirty += lab_popcount(~lab_word_get(&lab_block_at(block)->clean[word]));
	if (dirty)
		purge_tables(block);
	lab_home_forget(block);
	if (unmap && lab_os_unmap(address(block, 0), 1ul << LAB_BLOCK_SHIFT) == 0) {
		lab_word_sub(&heap->free, LAB_BLOCK_FRAMES);
		lab_word_sub(&heap->managed, LAB_BLOCK_FRAMES);
		lab_word_sub(&heap->dirty, dirty);
		lab_block_release(block, LAB_ZONE_HEAP, LAB_BLOCK_UNMAPPED);
		return LAB_BLOCK_FRAMES;
	}
	if (dirty && lab_os_discard(address(block, 0), 1ul << LAB_BLOCK_SHIFT) == 0) {
		lab_block_set_clean(block, 0, LAB_BLOCK_FRAMES);
		lab_word_sub(&heap->dirty, dirty);
	} else {
		dirty = 0;
	}
	lab_block_release(block, LAB_ZONE_HEAP, LAB_BLOCK_FREE);
	lab_heap_offer(block);
	return dirty;
}

static bool is_dirty(const struct lab_block *block, unsigned int frame)
{
	return (lab_word_get(&block->bits[frame / 64]) &
		~lab_word_get(&block->clean[frame / 64])) >>
		       frame % 64 &
	       1;
}

/* the last run of dirty free frames before *end, up to @most of them; its length, 0 if none */
static unsigned int dirty_run(size_t index, unsigned int *end, unsigned int most)
{
	const struct lab_block *block = lab_block_at(index);
	unsigned int n = 0;

	while (*end > 0 && !is_dirty(block, *end - 1))
		--*end;
	while (n < most && n < *end && is_dirty(block, *end - 1 - n))
		n++;
	return n;
}

/* up to @frames, from the end: searches take the lowest first */
static size_t purge_part(size_t block, size_t frames)
{
	unsigned int end = LAB_BLOCK_FRAMES, n, most;
	size_t done = 0;
	struct lab_frames got;

	while (done < frames) {
		most = frames - done < LAB_BLOCK_FRAMES ? (unsigned int)(frames - done)
							: LAB_BLOCK_FRAMES;
		n = dirty_run(block, &end, most);
		if (!n)
			break;
		end -= n;
		if (lab_block_take_at(block, LAB_ZONE_HEAP, end, n, &got)) {
			lab_thp_forgo(block);
			if (lab_os_discard(address(block, end), (size_t)n << LAB_PAGE_SHIFT) == 0) {
				lab_block_set_clean(block, end, n);
				lab_word_sub(&heap->dirty, n - got.nclean);
				done += n;
			} else {
				lab_word_add(&heap->dirty, got.nclean);
			}
			lab_block_give(block, end, n);
		}
		lab_heap_review(block);
	}
	return done;
}

static size_t purge_block(size_t block, size_t frames, bool unmap)
{
	union lab_block_word w = { .raw = lab_word_get(&lab_block_at(block)->word) };

	if (!w.free || w.zone != LAB_ZONE_HEAP)
		return 0;
	if (w.free == LAB_BLOCK_FRAMES)
		return purge_whole(block, unmap);
	return purge_part(block, frames);
}

/* highest addresses first: searches start at the lowest */
static size_t purge(size_t frames, bool unmap)
{
	size_t block = lab_nr_sections() * LAB_SECTION_BLOCKS, done = 0;

	while (block-- > 0 && done < frames) {
		if (!lab_section_is_ready(block / LAB_SECTION_BLOCKS))
			continue;
		done += purge_block(block, frames - done, unmap);
	}
	return done;
}

size_t lab_heap_purge(bool unmap)
{
	size_t pages = purge(SIZE_MAX, unmap);

	LAB_PROBE1(heap_purge, pages);
	return pages;
}

/* how much of @idle frames is to go now; also when to look again */
static size_t surplus(uint64_t idle, uint64_t in_use, unsigned int *ms)
{
	size_t piece;

	*ms = idle > in_use / 2 + SOME_IDLE ? HURRY_MS : DECAY_MS;
	if (idle <= in_use + MUCH_IDLE)
		return (idle - FEW_IDLE + 3) >> SURPLUS_SHIFT;
	piece = idle - in_use - MUCH_IDLE;
	return piece < SLICE ? SLICE : piece;
}

bool lab_heap_decay(void)
{
	uint64_t idle = lab_word_get(&heap->dirty);
	uint64_t in_use, now, due;
	unsigned int ms;
	size_t piece, done;

	/* the figure may be a little behind and below zero */
	if (LAB_LIKELY((int64_t)idle <= FEW_IDLE))
		return false;
	now = lab_os_clock_ms();
	due = lab_word_get(&next_decay_ms);
	if (LAB_LIKELY(now < due) && LAB_LIKELY(idle <= MUCH_IDLE))
		return false;
	in_use = lab_word_get(&heap->free);
	in_use = lab_word_get(&heap->managed) - in_use;
	piece = surplus(idle, in_use, &ms);
	/* refused lately: no hurry will help */
	if (now < due && (idle <= in_use + MUCH_IDLE || due - now > DECAY_MS))
		return false;
	if (!lab_word_swap(&next_decay_ms, due, now + ms))
		return false;
	done = purge(piece, false);
	if (!done)
		lab_word_set(&next_decay_ms, now + REFUSED_MS);
	done += lab_word_add(&given_back, done);
	if (ms == HURRY_MS || done < WORTH_TRIM)
		return false;
	lab_word_set(&given_back, 0);
	return true;
}
