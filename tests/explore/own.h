/* SPDX-License-Identifier: MIT */
/*
 * Who has what, for the scenarios of one file.  It is plain memory: logged like all
 * else, and it belongs to the step in which it changes.
 */
#ifndef TESTS_EXPLORE_OWN_H
#define TESTS_EXPLORE_OWN_H

#include "base/bits.h"
#include "explore.h"

/* more than the frames of a section, so that a frame has a number */
enum { MANY = 1 << 16 };

static EX_BOOKS uint8_t has[MANY];   /* 1 + who has it; 0: nobody */
static EX_BOOKS size_t has_end = 64; /* nobody has anything from there on */
static uint64_t payload[MANY];

/* it is ours from here on: what its last owner wrote is there, and nobody else has it */
static void got(size_t i)
{
	ex_must(i < MANY);
	ex_must(!has[i]);
	has[i] = (uint8_t)(1 + ex_self);
	if (has_end <= i)
		has_end = i + 1;
	ex_must(payload[i] != 1);
	payload[i] = 1;
	payload[i] = 100 + ex_self;
}

static void gone(size_t i)
{
	ex_must(has[i] == 1 + ex_self);
	payload[i]++;
	has[i] = 0;
}

static inline void got_mask(size_t first, uint64_t mask)
{
	for (; mask; mask &= mask - 1)
		got(first + lab_ctz(mask));
}

static inline void gone_mask(size_t first, uint64_t mask)
{
	for (; mask; mask &= mask - 1)
		gone(first + lab_ctz(mask));
}

static inline unsigned int nr_kept(void)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < has_end; i++)
		n += has[i] != 0;
	return n;
}

#endif
