/* SPDX-License-Identifier: MIT */
/*
 * Batches of pages: how many at once, the order in which they are freed, whether
 * they are touched, by one thread or by two at the same time.  Beyond what a
 * per-CPU or per-thread cache holds, and below.
 *
 * Every case has a function of its own, see bench_cases.c.
 */
#include <stdlib.h>

#include "bench.h"

enum { PAGE = 4096, MAX_PAGES = 8192, THREADS = 2 };
enum order { LIFO, FIFO, RANDOM };

static void *slot[THREADS][MAX_PAGES];
static uint16_t free_order[3][MAX_PAGES]; /* permutations of 64, 512, 8192 */

static void shuffle(uint16_t *order, unsigned int n)
{
	uint64_t seed = 0x9e3779b97f4a7c15u;
	unsigned int i, j;
	uint16_t other;

	for (i = 0; i < n; i++)
		order[i] = (uint16_t)i;
	for (i = n - 1; i > 0; i--) {
		j = (unsigned int)(bench_random(&seed) % (i + 1));
		other = order[i];
		order[i] = order[j];
		order[j] = other;
	}
}

static bool setup(void)
{
	shuffle(free_order[0], 64);
	shuffle(free_order[1], 512);
	shuffle(free_order[2], 8192);
	return true;
}

static inline __attribute__((always_inline)) uint64_t
batch(unsigned int thread, uint64_t ops, unsigned int n, enum order order, bool touch)
{
	const uint16_t *at = free_order[n == 64 ? 0 : n == 512 ? 1 : 2];
	void **mine = slot[thread];
	unsigned int i;
	uint64_t done;

	for (done = 0; done < ops; done += n) {
		for (i = 0; i < n; i++) {
			mine[i] = check(malloc(PAGE));
			if (touch)
				*(char *)mine[i] = 1;
		}
		for (i = 0; i < n; i++)
			free(mine[order == LIFO ? n - 1 - i : order == FIFO ? i : at[i]]);
	}
	return done;
}

#define DEFINE(name, n, order, touch)                                                              \
	static uint64_t run_##name(unsigned int thread, uint64_t ops)                              \
	{                                                                                          \
		return batch(thread, ops, n, order, touch);                                        \
	}
#define DEFINE_BATCH(n)                                                                            \
	DEFINE(lifo_##n, n, LIFO, false)                                                           \
	DEFINE(fifo_##n, n, FIFO, false)                                                           \
	DEFINE(random_##n, n, RANDOM, false)                                                       \
	DEFINE(lifo_touch_##n, n, LIFO, true)                                                      \
	DEFINE(fifo_touch_##n, n, FIFO, true)                                                      \
	DEFINE(random_touch_##n, n, RANDOM, true)

DEFINE_BATCH(64)
DEFINE_BATCH(512)
DEFINE_BATCH(8192)

#define ROW(pre, name, n, fn, threads)                                                             \
	{                                                                                          \
		pre #n name, #n " pages", (n) < 4096 ? 4096 : (n), threads, false, setup,          \
			run_##fn##_##n                                                             \
	}
#define ROWS(pre, n, threads)                                                                      \
	ROW(pre, "-lifo", n, lifo, threads), ROW(pre, "-fifo", n, fifo, threads),                  \
		ROW(pre, "-random", n, random, threads),                                           \
		ROW(pre, "-lifo-touch", n, lifo_touch, threads),                                   \
		ROW(pre, "-fifo-touch", n, fifo_touch, threads),                                   \
		ROW(pre, "-random-touch", n, random_touch, threads)

const struct bench_case bench_page_cases[] = {
	ROWS("page-", 64, 1),
	ROWS("page-", 512, 1),
	ROWS("page-", 8192, 1),
	ROWS("page2-", 64, 2),
	ROWS("page2-", 512, 2),
	ROWS("page2-", 8192, 2),
	{ NULL, NULL, 0, 0, false, NULL, NULL },
};
