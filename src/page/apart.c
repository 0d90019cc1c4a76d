/* SPDX-License-Identifier: MIT */
#include "page/apart.h"

/*
 * A ring.  An entry is 1 + an area, and above it the CPU that took from it.  A CPU that
 * takes nothing for so many turns is forgotten: one thread that moves from CPU to CPU soon
 * has all there is.
 */
static lab_word_t recent[LAB_APART_RECENT] LAB_LINE_ALIGNED;
static lab_word_t turns;

static bool is_other(const struct lab_apart *apart, uint32_t area)
{
	unsigned int i;

	for (i = 0; i < apart->n; i++)
		if (apart->others[i] == area)
			return true;
	return false;
}

void lab_apart_look(struct lab_apart *apart, unsigned int cpu)
{
	uint64_t turn = lab_word_get(&turns), entry;
	unsigned int i;

	apart->own = 0;
	apart->n = 0;
	for (i = 1; i <= LAB_APART_RECENT; i++) {
		entry = lab_word_get(&recent[(turn - i) % LAB_APART_RECENT]);
		if (!entry)
			continue;
		if (entry >> 32 == cpu)
			apart->own = apart->own ? apart->own : (uint32_t)entry;
		else if (!is_other(apart, (uint32_t)entry - 1))
			apart->others[apart->n++] = (uint32_t)entry - 1;
	}
	if (!apart->n || is_other(apart, apart->own - 1))
		apart->own = 0;
}

unsigned int lab_apart_words(const struct lab_apart *apart, size_t block)
{
	unsigned int words = LAB_BLOCK_ALL, i;

	for (i = 0; i < apart->n; i++)
		if (apart->others[i] / LAB_APART_AREAS == block)
			words &= ~lab_apart_mask(apart->others[i]);
	return words;
}

void lab_apart_took(unsigned int cpu, uint32_t area)
{
	uint64_t turn = lab_word_add(&turns, 1);

	lab_word_set(&recent[turn % LAB_APART_RECENT], (uint64_t)cpu << 32 | (area + 1));
}
