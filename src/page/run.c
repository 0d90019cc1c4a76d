/* SPDX-License-Identifier: MIT */
/* Runs of blocks, for what does not fit into one. */
#include <errno.h>

#include "os/os.h"
#include "page/search.h"
#include "page/thp.h"
#include "page/zone.h"

/* tries to find sections without a mapping of the program's where a run would lie */
enum { NEW_SECTION_TURNS = 64 };

static struct lab_zone *const heap = &lab_zones[LAB_ZONE_HEAP];

static uintptr_t block_address(size_t index)
{
	return (uintptr_t)lab_frame_address((lab_pfn_t)(index * LAB_BLOCK_FRAMES));
}

static bool is_mapped(size_t index)
{
	union lab_block_word w = { .raw = lab_word_get(&lab_block_at(index)->word) };

	return w.mapped;
}

static bool is_dirty(size_t index)
{
	return !lab_block_is_clean(index);
}

/* frames of a claimed block that use memory, for the books */
static unsigned int dirty_frames(size_t index)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int word, n = 0;

	for (word = 0; word < LAB_BLOCK_WORDS; word++)
		n += lab_popcount(~lab_word_get(&block->clean[word]));
	return n;
}

static void unclaim(size_t index, size_t n)
{
	size_t i;

	for (i = index; i < index + n; i++) {
		bool mapped = is_mapped(i);

		lab_block_release(i, LAB_ZONE_HEAP, mapped ? LAB_BLOCK_FREE : LAB_BLOCK_UNMAPPED);
		if (mapped)
			lab_heap_offer(i);
	}
}

/* map those of the claimed blocks that are not; undone block by block on failure */
static int map_holes(size_t index, size_t n)
{
	size_t i, from, end = index + n;
	int err;

	for (i = index; i < end; i++) {
		if (is_mapped(i))
			continue;
		for (from = i; i + 1 < end && !is_mapped(i + 1); i++)
			;
		err = lab_os_map(block_address(from), (i + 1 - from) << LAB_BLOCK_SHIFT);
		if (err)
			goto unmap;
	}
	return 0;

unmap:
	/* pieces mapped above are still marked unmapped: give their range back */
	for (i = index; i < from; i++)
		if (!is_mapped(i))
			lab_os_unmap(block_address(i), 1ul << LAB_BLOCK_SHIFT);
	return err;
}

/*
 * The claimed blocks become an allocation: claimed still, mapped, off the
 * heap's books.
 */
static void settle(size_t index, size_t n, bool *clean)
{
	size_t i;

	for (i = index; i < index + n; i++) {
		if (is_mapped(i)) {
			lab_thp_forgo(i);
			if (is_dirty(i))
				*clean = false;
			lab_word_sub(&heap->free, LAB_BLOCK_FRAMES);
			lab_word_sub(&heap->dirty, dirty_frames(i));
		} else {
			lab_word_add(&heap->managed, LAB_BLOCK_FRAMES);
		}
		lab_home_forget(i);
		/* EMPTY: mapped, and no frame of it can be taken */
		lab_block_release(i, LAB_ZONE_HEAP, LAB_BLOCK_EMPTY);
	}
	lab_word_add(&heap->taken, n * LAB_BLOCK_FRAMES);
}

/* false with *err == 0: not here */
static bool run_make(size_t index, size_t n, bool *clean, int *err)
{
	size_t i;

	*err = 0;
	if (!lab_blocks_claim(index, n)) {
		/* claimed for a moment, some were passed over by searches: offer them again */
		for (i = index; i < index + n; i++)
			lab_heap_review(i);
		return false;
	}
	*err = map_holes(index, n);
	if (*err) {
		unclaim(index, n);
		return false;
	}
	*clean = true;
	settle(index, n, clean);
	return true;
}

static bool could_claim(size_t index)
{
	union lab_block_word w = { .raw = lab_word_get(&lab_block_at(index)->word) };

	if (w.dead || w.whole || !lab_section_is_ready(index / LAB_SECTION_BLOCKS))
		return false;
	return !w.mapped || (w.free == LAB_BLOCK_FRAMES && w.zone == LAB_ZONE_HEAP);
}

static bool is_ready(size_t index)
{
	return lab_section_is_ready(index / LAB_SECTION_BLOCKS);
}

/* the first block at or after @index whose address suits @align */
static size_t align_index(size_t index, size_t align)
{
	uintptr_t at = block_address(index);

	return index + ((lab_align_up(at, align) - at) >> LAB_BLOCK_SHIFT);
}

/* the first block of a run, or SIZE_MAX; then *err is set if memory was refused */
static size_t run_search(size_t from, size_t end, size_t n, size_t align, bool *clean, int *err)
{
	size_t start = align_index(from, align), have = 0;

	*err = 0;
	while (start + n <= end) {
		size_t at = start + have;

		if (have == n) {
			if (run_make(start, n, clean, err))
				return start;
			/* -EEXIST: a mapping of the program's; elsewhere it may go */
			if (*err == -EEXIST)
				*err = 0;
			if (*err)
				return SIZE_MAX;
			start = align_index(start + 1, align);
			have = 0;
		} else if (is_ready(at) && could_claim(at)) {
			have++;
		} else {
			start = align_index(at + 1, align);
			have = 0;
		}
	}
	return SIZE_MAX;
}

/*
 * A run in fresh sections.  Their tables cost address space for good, so ask
 * first whether the system would give the memory at all.  Where the program
 * has mappings of its own in the way, the next sections may do.
 */
static size_t run_in_new_sections(size_t n, size_t align, bool *clean)
{
	size_t slack = align >> LAB_BLOCK_SHIFT, first, nr, found;
	unsigned int turn;
	int err;

	for (turn = 0; turn < NEW_SECTION_TURNS; turn++) {
		if (lab_os_probe(n << LAB_BLOCK_SHIFT) ||
		    lab_section_grow((n + slack + LAB_SECTION_BLOCKS - 1) / LAB_SECTION_BLOCKS,
				     &first))
			return SIZE_MAX;
		nr = lab_nr_sections() * LAB_SECTION_BLOCKS;
		found = run_search(first * LAB_SECTION_BLOCKS, nr, n, align, clean, &err);
		if (found != SIZE_MAX || err)
			return found;
	}
	return SIZE_MAX;
}

size_t lab_run_take(size_t bytes, size_t align, bool *clean)
{
	size_t n = lab_align_up(bytes, 1ul << LAB_BLOCK_SHIFT) >> LAB_BLOCK_SHIFT, found;
	int err, turn;

	if (!lab_mem.base && lab_mem_init())
		return SIZE_MAX;
	for (turn = 0; turn < 2; turn++) {
		if (n > lab_mem.nr_sections * LAB_SECTION_BLOCKS)
			break;
		found = run_search(0, lab_nr_sections() * LAB_SECTION_BLOCKS, n, align, clean,
				   &err);
		if (found == SIZE_MAX && !err)
			found = run_in_new_sections(n, align, clean);
		if (found != SIZE_MAX)
			return found;
		if (turn == 0 && !lab_heap_purge(true))
			break;
	}
	lab_word_add(&heap->failed, 1);
	return SIZE_MAX;
}

bool lab_run_extend(size_t index, size_t n)
{
	bool clean;
	size_t i;
	int err;

	if (index + n > lab_nr_sections() * LAB_SECTION_BLOCKS)
		return false;
	for (i = index; i < index + n; i++)
		if (!is_ready(i) || !could_claim(i))
			return false;
	return run_make(index, n, &clean, &err);
}

/* take settled blocks of ours back under a claim, which nobody can dispute */
static void reclaim(size_t index, size_t n, enum lab_block_fate fate)
{
	size_t i;

	for (i = index; i < index + n; i++) {
		if (fate == LAB_BLOCK_FREE) {
			lab_word_add(&heap->free, LAB_BLOCK_FRAMES);
			lab_word_add(&heap->dirty, dirty_frames(i));
		} else {
			lab_word_sub(&heap->managed, LAB_BLOCK_FRAMES);
		}
		lab_block_release(i, LAB_ZONE_HEAP, fate);
		if (fate == LAB_BLOCK_FREE)
			lab_heap_offer(i);
	}
}

static void set_dirty(size_t index, size_t n)
{
	size_t i;
	unsigned int word;

	for (i = index; i < index + n; i++)
		for (word = 0; word < LAB_BLOCK_WORDS; word++)
			lab_word_set(&lab_block_at(i)->clean[word], 0);
}

void lab_run_give(size_t index, size_t n)
{
	set_dirty(index, n);
	reclaim(index, n, LAB_BLOCK_FREE);
}

void lab_run_give_unmapped(size_t index, size_t n)
{
	reclaim(index, n, LAB_BLOCK_UNMAPPED);
}
