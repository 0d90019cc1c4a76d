/* SPDX-License-Identifier: MIT */
/*
 * False sharing, after Hoard's cache-thrash and cache-scratch (Berger et al.,
 * ASPLOS 2000): threads write to small blocks of their own, again and again.
 * An allocator that lays blocks of two threads on one cache line is slow here.
 */
#include <stdlib.h>

#include "load.h"

enum { BLOCK = 8, WRITES = 1000 };

static unsigned int scale, nthreads;
static void *seed_block[LOAD_MAX_THREADS];

static void scribble(volatile char *block)
{
	unsigned int i;

	for (i = 0; i < WRITES; i++)
		block[i % BLOCK]++;
}

static void thrash_thread(unsigned int thread)
{
	uint64_t i, n = load_scale(300000, scale) / nthreads;
	void *block;

	(void)thread;
	for (i = 0; i < n; i++) {
		block = load_alloc(BLOCK);
		scribble(block);
		free(block);
	}
}

/* the first block came from the main thread, right beside the others' */
static void scratch_thread(unsigned int thread)
{
	free(seed_block[thread]);
	thrash_thread(thread);
}

static void run_thrash(unsigned int threads, unsigned int percent)
{
	scale = percent;
	nthreads = threads;
	load_threads(threads, thrash_thread);
}

static void run_scratch(unsigned int threads, unsigned int percent)
{
	unsigned int i;

	scale = percent;
	nthreads = threads;
	for (i = 0; i < threads; i++)
		seed_block[i] = load_alloc(BLOCK);
	load_threads(threads, scratch_thread);
}

const struct load load_cache[] = {
	{ "cache-thrash", "threads write to small blocks of their own", 2, run_thrash },
	{ "cache-scratch", "the same, the first block handed to them", 2, run_scratch },
	{ NULL, NULL, 0, NULL },
};
