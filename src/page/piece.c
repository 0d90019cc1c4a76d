/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "os/os.h"
#include "page/piece.h"

/*
 * The zone begins so many frames into its first block.  The live bytes of the
 * frames before it lie at the start of a page of their map, where programs
 * have the slots that their calls of malloc() go through: a store to the one
 * and a load of the other look alike to the store buffer, which compares
 * twelve bits of an address (measured: 0.5 ns of a pair of 3.1 ns).
 */
enum { ORIGIN = 72 };

struct piece {
	lab_word_t first;  /* its first block */
	lab_word_t frames; /* that it can hold; 0: no such piece, written last */
};

static struct piece pieces[LAB_NR_ZONES][LAB_PIECES];

uint64_t lab_piece_frames(enum lab_zone_id id, unsigned int n)
{
	/* acquire: pairs with lab_piece_add() [zone.piece] */
	return n < LAB_PIECES ? atomic_load_explicit(&pieces[id][n].frames, memory_order_acquire)
			      : 0;
}

lab_pfn_t lab_piece_pfn(enum lab_zone_id id, unsigned int n)
{
	return (lab_pfn_t)(lab_word_get(&pieces[id][n].first) * LAB_BLOCK_FRAMES +
			   (n == 0 ? ORIGIN : 0));
}

lab_pfn_t lab_zone_pfn(enum lab_zone_id id, uint64_t frame)
{
	unsigned int n;

	for (n = 0; frame >= lab_piece_frames(id, n); n++)
		frame -= lab_piece_frames(id, n);
	return lab_piece_pfn(id, n) + (lab_pfn_t)frame;
}

uint64_t lab_zone_capacity(enum lab_zone_id id)
{
	uint64_t frames = 0, n;
	unsigned int i;

	for (i = 0; (n = lab_piece_frames(id, i)); i++)
		frames += n;
	return frames;
}

size_t lab_piece_blocks(enum lab_zone_id id, unsigned int n, size_t *first)
{
	uint64_t frames = lab_piece_frames(id, n);

	*first = frames ? lab_word_get(&pieces[id][n].first) : 0;
	return (frames + (n == 0 ? ORIGIN : 0)) / LAB_BLOCK_FRAMES;
}

int lab_piece_add(enum lab_zone_id id, unsigned int n, uint64_t frames)
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
	/* release: pairs with lab_piece_frames() [zone.piece] */
	atomic_store_explicit(&piece->frames, nblocks * LAB_BLOCK_FRAMES - origin,
			      memory_order_release);
	return 0;
}
