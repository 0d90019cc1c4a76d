/* SPDX-License-Identifier: MIT */
/*
 * Cases of one thread.
 *
 * Every case calls malloc and free as any program does, through the PLT, and
 * has a function of its own, so that none shares a branch history or a call
 * site with another.  Memory is not touched unless the case says so: what is
 * timed is the allocator, not the machine's caches.
 */
#include <stdlib.h>

#include "bench.h"
#include "labyrinth.h"

#pragma weak labyrinth_alloc_page
#pragma weak labyrinth_free_page
#pragma weak labyrinth_alloc_pages_bulk
#pragma weak labyrinth_free_pages_bulk
#pragma weak labyrinth_void_alloc_page_gfp_atomic_exclusive

#define INLINE static inline __attribute__((always_inline))

enum {
	PAGE = 4096,
	MAX_PAGES = 8192,
	SMALL_BATCH = 1000,
	BULK = 64,
	LIVE = 10000,
	GROW_TO = 1 << 20,
};

static void *slot[LIVE];
static uint16_t free_order[MAX_PAGES];
static uint64_t seed = 0x9e3779b97f4a7c15u;

/* Hot pairs: the block that was just freed is the one that is wanted. */
#define DEFINE_PAIR(name, alloc_one, free_one)                                                     \
	static uint64_t run_##name(unsigned int thread, uint64_t ops)                              \
	{                                                                                          \
		uint64_t i;                                                                        \
                                                                                                   \
		(void)thread;                                                                      \
		for (i = 0; i < ops; i++)                                                          \
			free_one(check(alloc_one));                                                \
		return ops;                                                                        \
	}

DEFINE_PAIR(call_floor, bench_floor_alloc(PAGE), bench_floor_free)
DEFINE_PAIR(pair_16, malloc(16), free)
DEFINE_PAIR(pair_64, malloc(64), free)
DEFINE_PAIR(pair_256, malloc(256), free)
DEFINE_PAIR(pair_4096, malloc(PAGE), free)
DEFINE_PAIR(calloc_4096, calloc(1, PAGE), free)

/* Pages by name: no malloc in these. */
DEFINE_PAIR(api_page, labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC), labyrinth_free_page)
DEFINE_PAIR(api_exclusive, labyrinth_void_alloc_page_gfp_atomic_exclusive(), labyrinth_free_page)

/* 64 pages by one call, and back by another; an operation is one page there and back. */
static uint64_t run_api_bulk(unsigned int thread, uint64_t ops)
{
	uint64_t done;

	(void)thread;
	for (done = 0; done < ops; done += BULK) {
		if (labyrinth_alloc_pages_bulk(LABYRINTH_GFP_ATOMIC, BULK, slot) != BULK)
			bench_die("the reserve has not so many pages");
		keep(slot);
		labyrinth_free_pages_bulk(BULK, slot);
	}
	return done;
}

/* Their addresses are taken, as malloc's is for -m: the PLT has two kinds of entry. */
static bool setup_floor(void)
{
	return keep((void *)(uintptr_t)bench_floor_alloc) &&
	       keep((void *)(uintptr_t)bench_floor_free);
}

static bool setup_api(void)
{
	return labyrinth_alloc_page && labyrinth_free_page;
}

/* the reserve grows up to its cap when requests that may wait go through it */
static bool setup_api_bulk(void)
{
	unsigned int i;

	if (!labyrinth_alloc_pages_bulk || !labyrinth_free_pages_bulk)
		return false;
	/* what is freed here lies on this CPU's stack */
	bench_pin(0);
	for (i = 0; i < 16; i++) {
		(void)labyrinth_alloc_pages_bulk(LABYRINTH_GFP_KERNEL, 2 * BULK, slot);
		labyrinth_free_pages_bulk(2 * BULK, slot);
	}
	return true;
}

static bool setup_api_exclusive(void)
{
	return labyrinth_void_alloc_page_gfp_atomic_exclusive && setup_api();
}

/* Many at once: beyond what a per-CPU or per-thread cache holds. */

INLINE void take(unsigned int n, size_t size, bool touch)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		slot[i] = check(malloc(size));
		if (touch)
			*(char *)slot[i] = 1;
	}
}

INLINE void give_lifo(unsigned int n)
{
	while (n--)
		free(slot[n]);
}

INLINE uint64_t lifo(uint64_t ops, unsigned int n, size_t size, bool touch)
{
	uint64_t done;

	for (done = 0; done < ops; done += n) {
		take(n, size, touch);
		give_lifo(n);
	}
	return done;
}

#define DEFINE_BATCH(name, n, size, touch)                                                         \
	static uint64_t run_##name(unsigned int thread, uint64_t ops)                              \
	{                                                                                          \
		(void)thread;                                                                      \
		return lifo(ops, n, size, touch);                                                  \
	}

DEFINE_BATCH(pages_64, 64, PAGE, false)
DEFINE_BATCH(pages_512, 512, PAGE, false)
DEFINE_BATCH(pages_8192_lifo, MAX_PAGES, PAGE, false)
DEFINE_BATCH(pages_8192_touch, MAX_PAGES, PAGE, true)
DEFINE_BATCH(batch_1000x64, SMALL_BATCH, 64, false)

static uint64_t run_pages_8192_fifo(unsigned int thread, uint64_t ops)
{
	uint64_t done;
	unsigned int i;

	(void)thread;
	for (done = 0; done < ops; done += MAX_PAGES) {
		take(MAX_PAGES, PAGE, false);
		for (i = 0; i < MAX_PAGES; i++)
			free(slot[i]);
	}
	return done;
}

static bool setup_random(void)
{
	unsigned int i, j;
	uint16_t other;

	for (i = 0; i < MAX_PAGES; i++)
		free_order[i] = (uint16_t)i;
	for (i = MAX_PAGES - 1; i > 0; i--) {
		j = (unsigned int)(bench_random(&seed) % (i + 1));
		other = free_order[i];
		free_order[i] = free_order[j];
		free_order[j] = other;
	}
	return true;
}

static uint64_t run_pages_8192_random(unsigned int thread, uint64_t ops)
{
	uint64_t done;
	unsigned int i;

	(void)thread;
	for (done = 0; done < ops; done += MAX_PAGES) {
		take(MAX_PAGES, PAGE, false);
		for (i = 0; i < MAX_PAGES; i++)
			free(slot[free_order[i]]);
	}
	return done;
}

/* Sizes 16 to 4095, each power of two as likely as the others; first byte written. */
static void replace_random(void)
{
	uint64_t r = bench_random(&seed);
	size_t low = (size_t)16 << (r & 7);
	size_t size = low + ((r >> 3) & (low - 1));
	size_t i = (size_t)(((r >> 32) * LIVE) >> 32);

	free(slot[i]);
	slot[i] = check(malloc(size));
	*(char *)slot[i] = 1;
}

static bool setup_mixed(void)
{
	unsigned int i;

	for (i = 0; i < 5 * LIVE; i++)
		replace_random();
	return true;
}

static uint64_t run_mixed_10k(unsigned int thread, uint64_t ops)
{
	uint64_t i;

	(void)thread;
	for (i = 0; i < ops; i++)
		replace_random();
	return ops;
}

/* As a vector grows: by half, and every new page is written. */
static uint64_t run_realloc_grow(unsigned int thread, uint64_t ops)
{
	size_t size, have, i;
	uint64_t done = 0;
	char *p;

	(void)thread;
	while (done < ops) {
		p = NULL;
		have = 0;
		for (size = 16; size <= GROW_TO; size += size / 2) {
			p = check(realloc(p, size));
			for (i = have; i < size; i += PAGE)
				p[i] = 1;
			have = size;
			done++;
		}
		free(p);
	}
	return done;
}

const struct bench_case bench_single_cases[] = {
	{ "call-floor", "two calls that do nothing", 20000, 1, false, setup_floor, run_call_floor },
	{ "pair-16", "malloc(16) + free", 20000, 1, false, NULL, run_pair_16 },
	{ "pair-64", "malloc(64) + free", 20000, 1, false, NULL, run_pair_64 },
	{ "pair-256", "malloc(256) + free", 20000, 1, false, NULL, run_pair_256 },
	{ "pair-4096", "malloc(4096) + free", 20000, 1, false, NULL, run_pair_4096 },
	{ "api-page", "labyrinth_alloc_page(ATOMIC) + free_page", 20000, 1, true, setup_api,
	  run_api_page },
	{ "api-exclusive", "labyrinth_void_alloc_page_gfp_atomic_exclusive + free_page", 20000, 1,
	  true, setup_api_exclusive, run_api_exclusive },
	{ "api-bulk-64", "64 x page by labyrinth_alloc_pages_bulk(ATOMIC) + free_pages_bulk",
	  BULK * 400, 1, true, setup_api_bulk, run_api_bulk },
	{ "pages-8192-lifo", "8192 x malloc(4096), freed last to first", MAX_PAGES, 1, false, NULL,
	  run_pages_8192_lifo },
	{ "pages-8192-fifo", "the same, freed first to last", MAX_PAGES, 1, false, NULL,
	  run_pages_8192_fifo },
	{ "pages-8192-random", "the same, freed in random order", MAX_PAGES, 1, false, setup_random,
	  run_pages_8192_random },
	{ "pages-8192-touch", "last to first, a byte of each page written", MAX_PAGES, 1, false,
	  NULL, run_pages_8192_touch },
	{ "pages-64", "64 x malloc(4096), freed last to first", 64 * 64, 1, false, NULL,
	  run_pages_64 },
	{ "pages-512", "512 x malloc(4096), freed last to first", 512 * 8, 1, false, NULL,
	  run_pages_512 },
	{ "batch-1000x64", "1000 x malloc(64), freed last to first", 20000, 1, false, NULL,
	  run_batch_1000x64 },
	{ "calloc-4096", "calloc(1, 4096) + free", 10000, 1, false, NULL, run_calloc_4096 },
	{ "mixed-10k", "16..4095 bytes, 10,000 live, replaced at random", 10000, 1, false,
	  setup_mixed, run_mixed_10k },
	{ "realloc-grow", "realloc from 16 bytes to 1 MiB by halves, written", 500, 1, false, NULL,
	  run_realloc_grow },
	{ NULL, NULL, 0, 0, false, NULL, NULL },
};
