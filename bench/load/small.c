/* SPDX-License-Identifier: MIT */
/*
 * Small and mixed sizes without hand-over between threads.
 *
 *	sh6, sh8     after the descriptions of SmartHeap's tests: many lifetimes at
 *		     once, small sizes far more often than large ones, frees in
 *		     part last to first, in part first to last; sh8 in threads
 *	glibc-simple after glibc's bench-malloc-simple: many blocks of one size,
 *		     taken, then freed first to last
 *	glibc-thread after glibc's bench-malloc-thread: each thread replaces blocks of
 *		     sizes whose frequency falls with the square root
 *	rptest	     after rpmalloc's benchmark: sizes 16 .. 8000, linear, from a
 *		     working set that is partly thrown away and filled again
 *	tree	     allocation-heavy functional programs: binary trees, built and dropped
 *	words	     an interning table of strings that grows and is rebuilt
 */
#include <stdlib.h>
#include <string.h>

#include "load.h"

static unsigned int scale;

/* ---- sh6, sh8 ---- */

enum { SH_SLOTS = 4096, SH_MAX = 1000 };

/* sizes up to SH_MAX; of each pair of doublings the smaller comes twice as often */
static size_t sh_size(uint64_t *seed)
{
	uint64_t r = load_random(seed);
	size_t range = (size_t)SH_MAX >> (unsigned int)__builtin_ctzll(r | 64);

	return 1 + (size_t)((r >> 16) % (range < 8 ? 8 : range));
}

static void sh_thread(unsigned int thread)
{
	void **slot = calloc(SH_SLOTS, sizeof(*slot));
	uint64_t seed = load_seed(thread), turn, turns = load_scale(8000, scale);
	size_t i, n, at;

	if (!slot)
		load_die("calloc");
	for (turn = 0; turn < turns; turn++) {
		/* a stretch of slots: freed upwards or downwards, then filled */
		n = 64 + load_below(&seed, SH_SLOTS / 4);
		at = load_below(&seed, SH_SLOTS - n);
		for (i = 0; i < n; i++)
			free(slot[turn & 1 ? at + i : at + n - 1 - i]);
		for (i = 0; i < n; i++) {
			slot[at + i] = load_alloc(sh_size(&seed));
			*(char *)slot[at + i] = 1;
		}
	}
	for (i = 0; i < SH_SLOTS; i++)
		free(slot[i]);
	free(slot);
}

static void run_sh(unsigned int threads, unsigned int percent)
{
	scale = threads > 1 ? percent : percent * 4;
	load_threads(threads, sh_thread);
}

/* ---- glibc's two ---- */

static void glibc_simple(unsigned int thread)
{
	static const size_t sizes[] = { 16, 48, 128, 512, 1024 };
	enum { BLOCKS = 1600 };
	static void *block[BLOCKS];
	uint64_t turn, turns = load_scale(3000, scale);
	size_t size, i;

	(void)thread;
	for (turn = 0; turn < turns; turn++) {
		size = sizes[turn % 5];
		for (i = 0; i < BLOCKS; i++)
			block[i] = load_alloc(size);
		for (i = 0; i < BLOCKS; i++)
			free(block[i]);
	}
}

static void run_glibc_simple(unsigned int threads, unsigned int percent)
{
	scale = percent * 2;
	load_threads(threads, glibc_simple);
}

/* 4 .. 32 KiB, the chance of a size falling with its square root */
static size_t glibc_size(uint64_t *seed)
{
	size_t r = load_below(seed, 1u << 15) + 1;
	size_t s = ((uint64_t)r * r * r) >> 30;

	return 4 + s;
}

static void glibc_thread(unsigned int thread)
{
	enum { BLOCKS = 1024 };
	void **block = calloc(BLOCKS, sizeof(*block));
	uint64_t seed = load_seed(thread), i, n = load_scale(1500000, scale);
	size_t at;

	if (!block)
		load_die("calloc");
	for (i = 0; i < n; i++) {
		at = load_below(&seed, BLOCKS);
		free(block[at]);
		block[at] = load_alloc(glibc_size(&seed));
	}
	for (i = 0; i < BLOCKS; i++)
		free(block[i]);
	free(block);
}

static void run_glibc_thread(unsigned int threads, unsigned int percent)
{
	scale = percent;
	load_threads(threads, glibc_thread);
}

/* ---- rptest ---- */

static void rptest_thread(unsigned int thread)
{
	enum { BLOCKS = 8192 };
	void **block = calloc(BLOCKS, sizeof(*block));
	uint64_t seed = load_seed(thread), turn, turns = load_scale(160, scale);
	size_t i, size;

	if (!block)
		load_die("calloc");
	for (turn = 0; turn < turns; turn++) {
		/* a quarter, every other time half, is thrown away and filled again */
		for (i = load_below(&seed, 4); i < BLOCKS; i += turn & 1 ? 2 : 4) {
			free(block[i]);
			size = 16 + load_below(&seed, 7984);
			block[i] = load_alloc(size);
			*(char *)block[i] = 1;
			((char *)block[i])[size - 1] = 1;
		}
	}
	for (i = 0; i < BLOCKS; i++)
		free(block[i]);
	free(block);
}

static void run_rptest(unsigned int threads, unsigned int percent)
{
	scale = percent * 3;
	load_threads(threads, rptest_thread);
}

/* ---- tree ---- */

struct node {
	struct node *left, *right;
};

static struct node *grow(unsigned int depth)
{
	struct node *node = load_alloc(sizeof(*node));

	node->left = depth ? grow(depth - 1) : NULL;
	node->right = depth ? grow(depth - 1) : NULL;
	return node;
}

static void fell(struct node *node)
{
	if (node->left)
		fell(node->left);
	if (node->right)
		fell(node->right);
	free(node);
}

static void tree_thread(unsigned int thread)
{
	enum { DEEP = 16, SHALLOW = 8 };
	struct node *keep = grow(DEEP);
	uint64_t i, n = load_scale(60000, scale);

	(void)thread;
	for (i = 0; i < n; i++)
		fell(grow(SHALLOW));
	for (i = 0; i < n / 500; i++)
		fell(grow(DEEP - 2));
	fell(keep);
}

static void run_tree(unsigned int threads, unsigned int percent)
{
	scale = percent;
	load_threads(threads, tree_thread);
}

/* ---- words ---- */

struct word {
	struct word *next;
	unsigned int hash;
	char text[];
};

static void words_thread(unsigned int thread)
{
	uint64_t seed = load_seed(thread), i, n = load_scale(2400000, scale);
	size_t room = 64, have = 0, at, len;
	struct word **table = calloc(room, sizeof(*table)), *word, **wider;

	for (i = 0; i < n && table; i++) {
		unsigned int hash = (unsigned int)load_random(&seed);

		len = 4 + hash % 28;
		word = load_alloc(sizeof(*word) + len + 1);
		memset(word->text, 'a' + (int)(hash % 26), len);
		word->text[len] = 0;
		word->hash = hash;
		word->next = table[hash % room];
		table[hash % room] = word;
		/* every third one goes again at once, the oldest of its bucket */
		if (i % 3 == 0 && word->next) {
			struct word *old = word->next;

			word->next = old->next;
			free(old);
		} else if (++have > room) {
			wider = calloc(room * 2, sizeof(*wider));
			if (!wider)
				load_die("calloc");
			for (at = 0; at < room; at++)
				while ((word = table[at])) {
					table[at] = word->next;
					word->next = wider[word->hash % (room * 2)];
					wider[word->hash % (room * 2)] = word;
				}
			free(table);
			table = wider;
			room *= 2;
		}
	}
	for (at = 0; table && at < room; at++)
		while ((word = table[at])) {
			table[at] = word->next;
			free(word);
		}
	free(table);
}

static void run_words(unsigned int threads, unsigned int percent)
{
	scale = percent;
	load_threads(threads, words_thread);
}

const struct load load_small[] = {
	{ "sh6", "many lifetimes at once, 1..1000 bytes, mostly small", 1, run_sh },
	{ "sh8", "the same in threads", 2, run_sh },
	{ "glibc-simple", "1,600 blocks of one size, freed first to last", 1, run_glibc_simple },
	{ "glibc-thread", "replace 1,024 blocks of 4..32 KiB, small ones most often", 2,
	  run_glibc_thread },
	{ "rptest", "replace parts of 8,192 blocks of 16..8000 bytes", 2, run_rptest },
	{ "tree", "binary trees, built and dropped", 1, run_tree },
	{ "words", "a table of strings that grows", 1, run_words },
	{ NULL, NULL, 0, NULL },
};
