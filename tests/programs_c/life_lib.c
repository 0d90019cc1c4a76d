// SPDX-License-Identifier: MIT
/*
 * liblife.so: the ledger, and the moments that only a library has.  Built with
 * EARLY_IFUNC it also allocates while the loader relocates it, which is before
 * the loader relocates a preloaded library.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "life.h"

enum { ENTRIES = 2048, BLOCKS_PER_VISIT = 24, FREE = 0, BUSY, FULL };

static struct {
	int state;
	void *block;
	size_t size;
	uint64_t id;
	enum life_moment moment;
} entries[ENTRIES];

static unsigned int seen, expected, failures, turn;

static const size_t each[] = { 0,    1,	   8,	  16,	 24,	 100,	 500,	 1024,
			       4000, 4096, 10000, 40000, 100000, 300000, 2 << 20 };

static void complain(size_t i, const char *what)
{
	__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
	say("FAIL %s: block %p of %zu bytes, made at moment %d", what, entries[i].block,
	    entries[i].size, entries[i].moment);
}

static void *make(uint64_t dice, size_t size)
{
	if (dice % 5 == 0)
		return calloc(1, size);
	if (dice % 5 == 1)
		return memalign((size_t)16 << dice / 5 % 9, size);
	if (dice % 5 == 2)
		return realloc(malloc(size / 2 + 1), size + !size);
	return malloc(size);
}

static void add(enum life_moment moment, uint64_t *rng)
{
	size_t i = rng_below(rng, ENTRIES);
	int state = FREE;

	if (!__atomic_compare_exchange_n(&entries[i].state, &state, BUSY, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return;
	entries[i].moment = moment;
	entries[i].size = each[rng_below(rng, sizeof(each) / sizeof(each[0]))];
	entries[i].id = rng_next(rng);
	entries[i].block = make(entries[i].id, entries[i].size);
	if (entries[i].block)
		pattern_fill(entries[i].block, entries[i].size, entries[i].id);
	else
		complain(i, "no memory");
	__atomic_store_n(&entries[i].state, entries[i].block ? FULL : FREE, __ATOMIC_RELEASE);
}

static void verify(size_t i, const char *what)
{
	if (pattern_wrong(entries[i].block, entries[i].size, entries[i].id) >= 0 ||
	    malloc_usable_size(entries[i].block) < entries[i].size)
		complain(i, what);
}

static void move(size_t i, size_t size)
{
	size_t keep = size < entries[i].size ? size : entries[i].size;

	entries[i].block = realloc(entries[i].block, size);
	if (pattern_wrong(entries[i].block, keep, entries[i].id) >= 0)
		complain(i, "contents after realloc");
	pattern_fill(entries[i].block, size, entries[i].id);
	entries[i].size = size;
}

static void look_at(size_t i, uint64_t *rng, bool last)
{
	int state = FULL, next = FULL;

	if (__atomic_load_n(&entries[i].state, __ATOMIC_RELAXED) != FULL ||
	    !__atomic_compare_exchange_n(&entries[i].state, &state, BUSY, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return;
	verify(i, "contents");
	if (last || rng_below(rng, 4) == 0) {
		free(entries[i].block);
		next = FREE;
	} else if (rng_below(rng, 8) == 0) {
		move(i, 1 + rng_size(rng, 200000));
	}
	__atomic_store_n(&entries[i].state, next, __ATOMIC_RELEASE);
}

void life_visit(enum life_moment moment)
{
	uint64_t rng = __atomic_add_fetch(&turn, 1, __ATOMIC_RELAXED) * 64 + moment;
	bool often = moment >= LIFE_THREAD && moment <= LIFE_CXX_THREAD_EXIT;
	size_t step = often ? 32 : 1;

	for (size_t i = rng_below(&rng, step); i < ENTRIES; i += step)
		look_at(i, &rng, false);
	for (unsigned int i = 0; i < (often ? 2 : BLOCKS_PER_VISIT); i++)
		add(moment, &rng);
	__atomic_fetch_or(&seen, LIFE_SEEN(moment), __ATOMIC_RELAXED);
}

void life_expect(unsigned int moments)
{
	expected = moments;
}

__attribute__((constructor)) static void lib_constructor(void)
{
	life_visit(LIFE_LIB_CONSTRUCTOR);
}

/*
 * The end of the process.  main() returns 1; only here that becomes 0, so an
 * end that does not come this way is a failure too.
 */
__attribute__((destructor)) static void lib_destructor(void)
{
	uint64_t rng = 1;

	for (unsigned int i = 0; i < 20; i++)
		life_visit(LIFE_LIB_DESTRUCTOR);
	for (size_t i = 0; i < ENTRIES; i++)
		look_at(i, &rng, true);
	if (seen != expected)
		say("FAIL moments seen %#x, expected %#x", seen, expected);
	_exit(seen != expected || failures);
}

#ifdef EARLY_IFUNC
static int nothing(void)
{
	return 0;
}

static int (*choose_nothing(void))(void)
{
	for (unsigned int i = 0; i < 20; i++)
		life_visit(LIFE_LIB_IFUNC);
	return nothing;
}

static int chosen(void) __attribute__((ifunc("choose_nothing")));

int life_chosen(void);
int life_chosen(void)
{
	return chosen();
}
#endif
