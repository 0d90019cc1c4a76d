/* SPDX-License-Identifier: MIT */
/*
 * Large blocks, growth by realloc, zeroed memory.
 *
 *	large	    replace 32 blocks of 32 KiB .. 4 MiB, first and last page written
 *	huge	    blocks of 4 .. 64 MiB, an eighth of their pages written
 *	realloc	    many vectors grow at the same time, 16 bytes to 64 KiB
 *	realloc-big one vector grows to 256 MiB by half, all of it written
 *	calloc	    zeroed blocks of 64 bytes .. 256 KiB, a quarter of them kept a while
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

static unsigned int scale;

enum { PAGE = 4096 };

static void large_thread(unsigned int thread)
{
	enum { BLOCKS = 32 };
	char *block[BLOCKS] = { NULL };
	uint64_t seed = load_seed(thread), i, n = load_scale(240000, scale);
	size_t at, size;

	for (i = 0; i < n; i++) {
		at = load_below(&seed, BLOCKS);
		free(block[at]);
		size = (size_t)32768 << load_below(&seed, 7);
		size += load_below(&seed, size);
		block[at] = load_alloc(size);
		block[at][0] = 1;
		block[at][size - 1] = 1;
	}
	for (at = 0; at < BLOCKS; at++)
		free(block[at]);
}

static void run_large(unsigned int threads, unsigned int percent)
{
	scale = percent;
	load_threads(threads, large_thread);
}

static void huge_thread(unsigned int thread)
{
	enum { BLOCKS = 4 };
	char *block[BLOCKS] = { NULL };
	uint64_t seed = load_seed(thread), i, n = load_scale(120, scale);
	size_t at, size, page;

	for (i = 0; i < n; i++) {
		at = load_below(&seed, BLOCKS);
		free(block[at]);
		size = ((size_t)4 << 20) + load_below(&seed, (size_t)60 << 20);
		block[at] = load_alloc(size);
		for (page = 0; page < size; page += 8 * PAGE)
			block[at][page] = 1;
	}
	for (at = 0; at < BLOCKS; at++)
		free(block[at]);
}

static void run_huge(unsigned int threads, unsigned int percent)
{
	scale = percent;
	load_threads(threads, huge_thread);
}

static char *grow(char *block, size_t size)
{
	block = realloc(block, size);
	if (!block)
		load_die("realloc returned NULL");
	return block;
}

static void realloc_thread(unsigned int thread)
{
	enum { VECTORS = 512, START = 16, END = 65536 };
	static struct {
		char *data;
		size_t room, used;
	} v[VECTORS];
	uint64_t seed = load_seed(thread), i, n = load_scale(24000000, scale);
	size_t at, more;

	for (i = 0; i < n; i++) {
		at = load_below(&seed, VECTORS);
		more = 1 + (size_t)(i % 40);
		if (v[at].used + more > v[at].room) {
			if (v[at].room >= END) {
				free(v[at].data);
				memset(&v[at], 0, sizeof(v[at]));
			}
			v[at].room = v[at].room ? v[at].room + v[at].room / 2 : START;
			while (v[at].room < v[at].used + more)
				v[at].room *= 2;
			v[at].data = grow(v[at].data, v[at].room);
		}
		v[at].data[v[at].used] = 1;
		v[at].used += more;
	}
	for (at = 0; at < VECTORS; at++)
		free(v[at].data);
}

static void run_realloc(unsigned int threads, unsigned int percent)
{
	(void)threads;
	scale = percent;
	realloc_thread(0);
}

static void run_realloc_big(unsigned int threads, unsigned int percent)
{
	uint64_t turn, turns = load_scale(2, percent);
	const size_t end = (size_t)256 << 20;
	size_t have, size, i;
	char *p;

	(void)threads;
	for (turn = 0; turn < turns; turn++) {
		p = NULL;
		have = 0;
		for (size = PAGE; size <= end; size += size / 2) {
			p = grow(p, size);
			for (i = have; i < size; i += PAGE)
				p[i] = 1;
			have = size;
		}
		free(p);
	}
}

static void calloc_thread(unsigned int thread)
{
	enum { BLOCKS = 512 };
	static void *block[BLOCKS];
	uint64_t seed = load_seed(thread), i, n = load_scale(3600000, scale);
	size_t at, size;
	char *p;

	for (i = 0; i < n; i++) {
		size = (size_t)64 << load_below(&seed, i % 64 ? 8 : 13);
		p = calloc(1, size);
		if (!p)
			load_die("calloc returned NULL");
		if (p[size / 2])
			load_die("calloc: not zero");
		p[0] = 1;
		p[size / 2] = 1;
		at = i % 4 ? 0 : load_below(&seed, BLOCKS);
		free(block[at]);
		block[at] = p;
	}
	for (at = 0; at < BLOCKS; at++)
		free(block[at]);
}

static void run_calloc(unsigned int threads, unsigned int percent)
{
	(void)threads;
	scale = percent;
	calloc_thread(0);
}

const struct load load_large[] = {
	{ "large", "replace blocks of 32 KiB..4 MiB, ends written", 1, run_large },
	{ "huge", "blocks of 4..64 MiB, every eighth page written", 1, run_huge },
	{ "realloc", "512 vectors grow to 64 KiB", 1, run_realloc },
	{ "realloc-big", "a vector grows to 256 MiB, written", 1, run_realloc_big },
	{ "calloc", "zeroed blocks of 64 bytes..256 KiB", 1, run_calloc },
	{ NULL, NULL, 0, NULL },
};
