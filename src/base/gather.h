/* SPDX-License-Identifier: MIT */
/*
 * Bits on their way back to bitmaps, gathered by word: what costs a locked
 * instruction is to be done once for each word, not for each bit, in whatever
 * order they come.  A table of few places, no list: who comes to a place that
 * another word holds sends that one on first.
 */
#ifndef LAB_BASE_GATHER_H
#define LAB_BASE_GATHER_H

#include "base/bits.h"

#define LAB_GATHER_LOG2 4u
#define LAB_GATHER_NR	(1u << LAB_GATHER_LOG2)

/* Place i holds bits if bit i of used is set. */
struct lab_gather {
	uint32_t used;
	uint32_t key[LAB_GATHER_NR];
	uint64_t mask[LAB_GATHER_NR];
};

/** lab_gather_sink_t - takes the bits of one word that were gathered */
typedef void lab_gather_sink_t(void *arg, uint32_t key, uint64_t mask);

/**
 * lab_gather_add() - bits of one word; who has several in a row adds them at once
 * @g:    begins as all zero, in used at least
 * @key:  the bitmap word that they belong to
 * @bits: not gathered for this word yet
 * @sink: called for the word whose place it takes, if any
 *
 * Context: AS-Safe; @g belongs to the caller.  What @sink does apart: wait-free.
 */
static LAB_ALWAYS_INLINE void lab_gather_add(struct lab_gather *g, uint32_t key, uint64_t bits,
					     lab_gather_sink_t *sink, void *arg)
{
	unsigned int at = (key * 0x9e3779b1u) >> (32 - LAB_GATHER_LOG2);

	if (g->used >> at & 1) {
		if (g->key[at] == key)
			bits |= g->mask[at];
		else
			sink(arg, g->key[at], g->mask[at]);
	}
	g->used |= 1u << at;
	g->key[at] = key;
	g->mask[at] = bits;
}

/** lab_gather_end() - send on all that is left; @g is empty then */
static LAB_ALWAYS_INLINE void lab_gather_end(struct lab_gather *g, lab_gather_sink_t *sink,
					     void *arg)
{
	unsigned int at;

	for (; g->used; g->used &= g->used - 1) {
		at = lab_ctz(g->used);
		sink(arg, g->key[at], g->mask[at]);
	}
}

#endif /* LAB_BASE_GATHER_H */
