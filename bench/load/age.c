/* SPDX-License-Identifier: MIT */
/*
 * Memory over time.  Both print "rss MS KIB LIVE_KIB" lines for the plots.
 *
 *	frag	a long run whose sizes drift: blocks of one size die out slowly
 *		while the next size takes over
 *	burst	a burst of 192 MiB, all of it freed but 2 % that were taken one
 *		after the other, then small work for ten seconds: does resident memory
 *		fall back while the program goes on
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

static size_t live;

struct block {
	uint32_t size;
	char data[];
};

static struct block *take(size_t size)
{
	struct block *block = load_alloc(size);

	memset(block, 1, size);
	block->size = (uint32_t)size;
	live += size;
	return block;
}

static void drop(struct block *block)
{
	if (!block)
		return;
	live -= block->size;
	free(block);
}

/* @table: bytes of the workload's own tables, which are resident too */
static void tell(size_t table)
{
	printf("rss %.0f %lu %zu\n", load_ms(), load_rss_kib(), (live + table) >> 10);
}

static void run_frag(unsigned int threads, unsigned int percent)
{
	enum { SLOTS = 60000, ERAS = 16 };
	static struct block *slot[SLOTS];
	uint64_t seed = load_seed(1), i, n = load_scale(150000, percent);
	unsigned int era;
	size_t at, mean;

	(void)threads;
	(void)load_ms();
	for (era = 0; era < ERAS; era++) {
		mean = 24 + (era * 37 % ERAS) * 48;
		for (i = 0; i < n; i++) {
			/* old blocks live longest at low numbers */
			at = load_below(&seed, 1 + load_below(&seed, SLOTS));
			at = SLOTS - 1 - at;
			drop(slot[at]);
			slot[at] = take(mean / 2 + load_below(&seed, mean) + 8);
			if (i % (n / 8 + 1) == 0)
				tell(sizeof(slot));
		}
	}
	tell(sizeof(slot));
	for (at = 0; at < SLOTS; at++)
		drop(slot[at]);
	tell(sizeof(slot));
}

static void nap(void)
{
	struct timespec ms = { .tv_nsec = 2000000 };

	nanosleep(&ms, NULL);
}

static void run_burst(unsigned int threads, unsigned int percent)
{
	enum { BLOCKS = 400000, WORK = 256 };
	static struct block *slot[BLOCKS];
	struct block *work[WORK] = { NULL };
	uint64_t seed = load_seed(2), i;
	double until, next = 0;

	(void)threads;
	(void)load_ms();
	for (i = 0; i < BLOCKS; i++) {
		slot[i] = take(16 + load_below(&seed, 1000));
		if (i % 40000 == 0)
			tell(sizeof(slot));
	}
	tell(sizeof(slot));
	for (i = 0; i < BLOCKS; i++) {
		if (i / 8000 == 20)
			continue;
		drop(slot[i]);
		slot[i] = NULL;
	}
	tell(sizeof(slot));
	until = load_ms() + 10000.0 * percent / 100;
	while (load_ms() < until) {
		for (i = 0; i < 2000; i++) {
			size_t at = load_below(&seed, WORK);

			drop(work[at]);
			work[at] = take(16 + load_below(&seed, 2000));
		}
		if (load_ms() >= next) {
			tell(sizeof(slot));
			next = load_ms() + 100;
		}
		nap();
	}
	tell(sizeof(slot));
}

const struct load load_age[] = {
	{ "frag", "sizes drift over a long run", 1, run_frag },
	{ "burst", "192 MiB for a moment, then ten seconds of small work", 1, run_burst },
	{ NULL, NULL, 0, NULL },
};
