/* SPDX-License-Identifier: MIT */
/* Mempools and bulk calls: as what is interrupted, and as what interrupts. */
#include <string.h>

#include "labyrinth.h"
#include "step.h"

enum { POOL_MIN = 4, BULK_MAX = 64 };

/* ---- mempools: one at a time, used by both ---- */

static labyrinth_mempool_t *pool;
static int old_element;

static void pool_up(void)
{
	if (!pool)
		pool = labyrinth_mempool_create_page_pool(POOL_MIN, 0);
	if (!pool)
		fail("setup: no mempool");
}

static int take_element(void)
{
	void *page = labyrinth_mempool_alloc_preallocated(pool);

	return page ? own(page, LABYRINTH_PAGE_SIZE, 0, false) : -1;
}

/* @arg: 0: the reserve has pages; 1: it is down to its floor, and only the pool has some */
void set_up_pool_alloc(const struct scenario *s)
{
	pool_up();
	if (s->arg)
		exhaust_reserve();
	outcome = (struct outcome){ .size = LABYRINTH_PAGE_SIZE, .how = 0, .allocates = true };
}

/* @arg: 0: the pool is full; 1: it lacks the one that comes */
void set_up_pool_free(const struct scenario *s)
{
	int id;

	pool_up();
	id = s->arg ? take_element() : take_pages(LABYRINTH_GFP_KERNEL, 0);
	if (id < 0)
		fail("setup: the pool is empty");
	target(id);
}

void op_pool_alloc(const struct scenario *s)
{
	(void)s;
	outcome.result = labyrinth_mempool_alloc(pool, LABYRINTH_GFP_ATOMIC);
}

void op_pool_kept(const struct scenario *s)
{
	(void)s;
	outcome.result = labyrinth_mempool_alloc_preallocated(pool);
}

void op_pool_free(const struct scenario *s)
{
	(void)s;
	labyrinth_mempool_free(outcome.target, pool);
}

void set_up_old_element(const struct scenario *s)
{
	(void)s;
	pool_up();
	old_element = take_element();
}

/* one is kept, an older one comes back; a pool of which calls were abandoned may be empty */
void elements(const struct scenario *s)
{
	(void)s;
	(void)take_element();
	if (old_element >= 0)
		labyrinth_mempool_free(disown(old_element), pool);
	old_element = -1;
	(void)take_element();
}

/* ---- bulk ---- */

static void *bulk[BULK_MAX];
static size_t nr_bulk;

void set_up_bulk(const struct scenario *s)
{
	memset(bulk, 0, sizeof(bulk));
	nr_bulk = 0;
	if (s->state)
		exhaust_reserve();
	outcome = (struct outcome){ .size = LABYRINTH_PAGE_SIZE, .how = 0, .allocates = true };
	outcome.zero = s->size2 & LABYRINTH___GFP_ZERO;
}

void op_bulk(const struct scenario *s)
{
	size_t n = labyrinth_alloc_pages_bulk((labyrinth_gfp_t)s->size2, s->arg, bulk);

	outcome.result = n ? bulk[0] : NULL;
	nr_bulk = n;
}

/* as many pages as there are, at most @arg */
void set_up_free_bulk(const struct scenario *s)
{
	unsigned int n;
	int id;

	for (n = 0; n < s->arg; n++) {
		id = take_atomic((uint32_t)s->size2, 0);
		if (id < 0)
			break;
		bulk[n] = disown(id);
	}
	nr_bulk = n;
	outcome = (struct outcome){ 0 };
}

void op_free_bulk(const struct scenario *s)
{
	size_t n = nr_bulk;

	(void)s;
	nr_bulk = 0;
	labyrinth_free_pages_bulk(n, bulk);
}

/* pages that several calls have kept for themselves, once and for all */
void keep_bulk(const struct scenario *s)
{
	void *pages[8] = { NULL };
	size_t i, n = labyrinth_alloc_pages_bulk(LABYRINTH_GFP_ATOMIC, 8, pages);

	(void)s;
	for (i = 0; i < n; i++)
		(void)own(pages[i], LABYRINTH_PAGE_SIZE, 0, true);
}

/* ---- what is left of both ---- */

/*
 * Of a bulk call check_result() knows the first page: the others must be nobody else's
 * either.  What an abandoned one has written is lost.
 */
void check_bulk(void)
{
	size_t i;

	for (i = 1; i < nr_bulk && !injection.abandoned; i++)
		(void)own(bulk[i], LABYRINTH_PAGE_SIZE, 0, false);
	nr_bulk = 0;
}

void pool_down(void)
{
	labyrinth_mempool_destroy(pool);
	pool = NULL;
}
