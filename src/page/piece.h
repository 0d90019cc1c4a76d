/* SPDX-License-Identifier: MIT */
/*
 * A resident zone's frames, in pieces: the first is there from the start, others are
 * added as the cap is raised at run time.  A piece never goes away.
 */
#ifndef LAB_PAGE_PIECE_H
#define LAB_PAGE_PIECE_H

#include "page/zone.h"

#define LAB_PIECES 8u

/** lab_piece_frames() - that piece @n can hold; 0: there is no such piece */
uint64_t lab_piece_frames(enum lab_zone_id id, unsigned int n);

/** lab_piece_pfn() - the first frame of piece @n */
lab_pfn_t lab_piece_pfn(enum lab_zone_id id, unsigned int n);

/** lab_piece_blocks() - how many piece @n has, and the first; 0: there is no such piece */
size_t lab_piece_blocks(enum lab_zone_id id, unsigned int n, size_t *first);

/** lab_zone_capacity() - frames of all pieces */
uint64_t lab_zone_capacity(enum lab_zone_id id);

/** lab_zone_pfn() - frame number @frame of a zone; it is below the capacity */
lab_pfn_t lab_zone_pfn(enum lab_zone_id id, uint64_t frame);

/**
 * lab_piece_add() - blocks for @frames more, as piece @n
 *
 * Context: one at a time.  System calls.
 * Return:  0 or -ENOMEM.
 */
LAB_NODISCARD int lab_piece_add(enum lab_zone_id id, unsigned int n, uint64_t frames);

#endif /* LAB_PAGE_PIECE_H */
