/* SPDX-License-Identifier: MIT */
/*
 * What the storm does beyond malloc and mmap, if the library is there: bulk calls,
 * exclusive pages, atomic objects, atomic sections, mempools.  All of it in threads
 * and handlers alike, each freeing what others took.  NULL is no error here.
 */
#ifndef TESTS_STORM_GFP_H
#define TESTS_STORM_GFP_H

#include "labyrinth.h"
#include "pattern.h"

#define WEAK(name) extern __typeof__(name) name __attribute__((weak))
WEAK(labyrinth_alloc_pages_bulk);
WEAK(labyrinth_free_pages_bulk);
WEAK(labyrinth_void_alloc_page_gfp_atomic_exclusive);
WEAK(labyrinth_alloc_page);
WEAK(labyrinth_free_page);
WEAK(labyrinth_malloc);
WEAK(labyrinth_gfp_save);
WEAK(labyrinth_gfp_restore);
WEAK(labyrinth_mempool_create_page_pool);
WEAK(labyrinth_mempool_alloc);
WEAK(labyrinth_mempool_free);
WEAK(labyrinth_mempool_curr_nr);
#undef WEAK

#define NR_PAGE_SLOTS 48u
#define NR_POOL_SLOTS 24u
#define POOL_MIN      16
#define BULK_PAGES    12u
#define QUIET	      (LABYRINTH_GFP_ATOMIC | LABYRINTH___GFP_NOWARN)

static _Atomic handle_t page_slots[NR_PAGE_SLOTS], pool_slots[NR_POOL_SLOTS];
static labyrinth_mempool_t *storm_pool;
static _Atomic uint64_t gfp_taken, gfp_refused;

static bool storm_has_gfp(void)
{
	return labyrinth_alloc_pages_bulk != NULL;
}

static bool gfp_count(const void *taken)
{
	atomic_fetch_add(taken ? &gfp_taken : &gfp_refused, 1);
	return taken;
}

/* pages of the zones: what lay in the slot goes back, some in bulk */
static void bulk_step(uint64_t dice, uint64_t block_seed)
{
	void *pages[BULK_PAGES] = { NULL }, *back[BULK_PAGES];
	size_t n = 1 + dice % BULK_PAGES, got, i, nback = 0;
	bool zero = dice & 1 << 8;
	handle_t out;

	got = labyrinth_alloc_pages_bulk(QUIET | (zero ? LABYRINTH___GFP_ZERO : 0), n, pages);
	(void)gfp_count(got ? pages : NULL);
	for (i = 0; i < got; i++) {
		if (zero && *(uint64_t *)((char *)pages[i] + (dice >> 16) % 512 * 8))
			die(EXIT_CORRUPT, "a page of __GFP_ZERO is not", pages[i], 4096, 0);
		out = atomic_exchange(&page_slots[(dice >> 24) % NR_PAGE_SLOTS],
				      block_fill(pages[i], 4096, block_seed + i));
		dice = dice * 0x9e3779b97f4a7c15ull + i;
		if (!out)
			continue;
		(void)block_verify(out);
		back[nback++] = handle_block(out);
	}
	labyrinth_free_pages_bulk(nback, back);
}

static void exclusive_step(uint64_t dice, uint64_t block_seed)
{
	void *page = labyrinth_void_alloc_page_gfp_atomic_exclusive();
	handle_t out = gfp_count(page) ? block_fill(page, 4096, block_seed) : 0;

	out = atomic_exchange(&page_slots[(dice >> 24) % NR_PAGE_SLOTS], out);
	if (!out)
		return;
	(void)block_verify(out);
	labyrinth_free_page(handle_block(out));
}

static void pool_step(uint64_t dice, uint64_t block_seed)
{
	void *page = dice & 1 ? labyrinth_mempool_alloc(storm_pool, QUIET) : NULL;
	handle_t out = page && gfp_count(page) ? block_fill(page, 4096, block_seed) : 0;

	out = atomic_exchange(&pool_slots[(dice >> 24) % NR_POOL_SLOTS], out);
	if (!out)
		return;
	(void)block_verify(out);
	labyrinth_mempool_free(handle_block(out), storm_pool);
}

/* handlers that come in here are in the section too, where malloc() may well say no */
static __thread volatile int in_section;

/* a block for the slots of malloc()'s, or 0 */
static handle_t object_step(uint64_t dice, uint64_t block_seed)
{
	size_t size = 1 + (dice >> 8) % (dice & 1 << 4 ? 4096 : 600);
	uintptr_t saved;
	void *block;

	if (dice & 1) {
		block = labyrinth_malloc(size, QUIET);
	} else {
		in_section++;
		saved = labyrinth_gfp_save();
		block = malloc(size);
		labyrinth_gfp_restore(saved);
		in_section--;
	}
	return gfp_count(block) ? block_fill(block, size, block_seed) : 0;
}

static void storm_gfp_begin(void)
{
	/* we are a child: this gives us an exclusive zone */
	labyrinth_free_page(labyrinth_alloc_page(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE));
	storm_pool = labyrinth_mempool_create_page_pool(POOL_MIN, 0);
	if (!storm_pool)
		die(EXIT_NO_MEMORY, "no mempool", NULL, POOL_MIN, 0);
}

/* nobody is at it any more: all is there */
static void storm_gfp_end(void)
{
	handle_t out;

	for (unsigned int i = 0; i < NR_PAGE_SLOTS; i++) {
		out = atomic_exchange(&page_slots[i], 0);
		if (!out)
			continue;
		(void)block_verify(out);
		labyrinth_free_page(handle_block(out));
	}
	for (unsigned int i = 0; i < NR_POOL_SLOTS; i++) {
		out = atomic_exchange(&pool_slots[i], 0);
		if (!out)
			continue;
		(void)block_verify(out);
		labyrinth_mempool_free(handle_block(out), storm_pool);
	}
	if (labyrinth_mempool_curr_nr(storm_pool) != POOL_MIN)
		die(EXIT_CORRUPT, "the mempool has lost elements", NULL,
		    (size_t)labyrinth_mempool_curr_nr(storm_pool), POOL_MIN);
}

#endif
