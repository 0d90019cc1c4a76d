/* SPDX-License-Identifier: MIT */
/* What is explored: objects, the stacks of the CPUs, mappings, mempools. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "labyrinth.h"
#include "map/map.h"
#include "own.h"
#include "page/zone.h"
#include "pcp/pcp.h"
#include "slab/atomic.h"
#include "slab/cache.h"
#include "slab/large.h"

enum { SLAB_CLASS = 72, SMALL_STACK = LAB_PCP_MAP + 15 };

/* ---- cache: active slab, partial list, sweeps ---- */

static void *objects[64];
static EX_BOOKS unsigned int nr_objects, nr_given;

/* class 72: eight objects to a slab; two slabs, all but @left objects in use */
static void set_up_objects(unsigned int left)
{
	unsigned int n = 2 * lab_class[SLAB_CLASS].nobj;

	lab_pcp_fini();
	while (nr_objects < n) {
		objects[nr_objects] = lab_cache_alloc(SLAB_CLASS);
		ex_must(objects[nr_objects++]);
	}
	while (left-- > 0)
		lab_cache_free(SLAB_CLASS, objects[--nr_objects]);
	ex_must(lab_cache_slabs(SLAB_CLASS) == 2);
}

static void set_up_cache(void)
{
	set_up_objects(1);
}

static size_t object_number(void *object)
{
	return ((uintptr_t)object - lab_mem.base) / 32768 % MANY;
}

static void *cache_get(void)
{
	void *object = lab_cache_alloc(SLAB_CLASS);

	ex_must(object);
	got(object_number(object));
	return object;
}

static void cache_put(void *object)
{
	gone(object_number(object));
	lab_cache_free(SLAB_CLASS, object);
}

static void cache_user(void)
{
	cache_put(cache_get());
}

static void cache_twice(void)
{
	cache_user();
	cache_user();
}

static void cache_taker(void)
{
	(void)cache_get();
}

/* an older block, of a slab that is full, comes back */
static void cache_giver(void)
{
	lab_cache_free(SLAB_CLASS, objects[0]);
	nr_given++;
}

/* no object is free: the active slab has to be replaced */
static void set_up_full(void)
{
	set_up_objects(0);
}

/* one of the active slab comes back just then */
static void cache_active_giver(void)
{
	lab_cache_free(SLAB_CLASS, objects[nr_objects - 1]);
	nr_given++;
}

/* some slabs are all free; a slab that becomes so twice has them swept */
static void set_up_sweep(void)
{
	unsigned int i;

	lab_pcp_fini();
	for (i = 0; i < 3u * lab_class[SLAB_CLASS].nobj; i++)
		objects[i] = lab_cache_alloc(SLAB_CLASS);
	while (i-- > 0)
		lab_cache_free(SLAB_CLASS, objects[i]);
	ex_must(lab_cache_slabs(SLAB_CLASS) >= 2);
}

/* every free object of every slab can be had without a new slab */
static void check_cache(void)
{
	uint64_t slabs = lab_cache_slabs(SLAB_CLASS), n;

	for (n = nr_objects - nr_given + nr_kept(); n < slabs * lab_class[SLAB_CLASS].nobj; n++)
		ex_must(lab_cache_alloc(SLAB_CLASS));
	ex_must(lab_cache_slabs(SLAB_CLASS) == slabs);
}

/* ---- atomic objects, large ones ---- */

static void *victim;
static EX_BOOKS unsigned int nr_freed;
static uint64_t heap_free, reserve_free;

enum { ATOMIC_BYTES = 2048 };

static void set_up_atomic(void)
{
	victim = lab_atomic_alloc(ATOMIC_BYTES, 16, 0);
	ex_must(victim);
}

static unsigned int atomic_class(void)
{
	return lab_mem_kind(victim);
}

static void atomic_double(void)
{
	if (lab_atomic_free(victim, LAB_CLASS_END - 1))
		nr_freed++;
}

static void atomic_user(void)
{
	void *ptr = lab_atomic_alloc(ATOMIC_BYTES, 16, 0);

	if (!ptr)
		return;
	got((uintptr_t)ptr / ATOMIC_BYTES % MANY);
	gone((uintptr_t)ptr / ATOMIC_BYTES % MANY);
	ex_must(lab_atomic_free(ptr, LAB_CLASS_END - 1));
}

static void check_atomic_double(void)
{
	ex_must(nr_freed == 1);
}

/* what is not in use, of all slabs, can be had without a new one */
static void check_atomic(void)
{
	unsigned int cls = LAB_CLASS_END - 1, live;
	uint64_t slabs = lab_atomic_slabs(cls);

	ex_must(atomic_class() == cls);
	for (live = 1; live < slabs * 2; live++)
		ex_must(lab_atomic_alloc(ATOMIC_BYTES, 16, 0));
	ex_must(lab_atomic_slabs(cls) == slabs);
}

static void set_up_large(void)
{
	bool clean;

	victim = lab_large_alloc(40000, 4096, &clean);
	ex_must(victim);
	heap_free = lab_word_get(&lab_zones[LAB_ZONE_HEAP].free);
}

static void large_double(void)
{
	if (lab_large_free(victim))
		nr_freed++;
}

static void check_large(void)
{
	ex_must(nr_freed == 1);
	ex_must(lab_word_get(&lab_zones[LAB_ZONE_HEAP].free) == heap_free + 10);
}

/* ---- the stacks of the CPUs: try-lock ---- */

static char things[16];

static void *thing(size_t i)
{
	return &things[i];
}

static size_t thing_number(const void *entry)
{
	size_t i = (size_t)((const char *)entry - things);

	ex_must(i < sizeof(things));
	return i;
}

static void thing_lost(size_t i)
{
	has[i] = EX_THREADS + 1;
}

static void pcp_put(size_t i)
{
	gone(i);
	if (!lab_pcp_push(SMALL_STACK, thing(i)))
		got(i);
}

static bool pcp_get(size_t *i)
{
	void *entry = lab_pcp_pop(SMALL_STACK);

	if (!entry)
		return false;
	*i = thing_number(entry);
	got(*i);
	return true;
}

static void set_up_pcp(void)
{
	ex_must(lab_pcp_push(SMALL_STACK, thing(0)));
	ex_must(lab_pcp_push(SMALL_STACK, thing(1)));
}

static void pcp_user(void)
{
	size_t a, b;
	bool first = pcp_get(&a), second = pcp_get(&b);

	if (first)
		pcp_put(a);
	if (second)
		pcp_put(b);
}

static void pcp_many(void)
{
	void *entries[3];
	unsigned int i, n = lab_pcp_pop_many(SMALL_STACK, entries, 3), back;

	for (i = 0; i < n; i++)
		got(thing_number(entries[i]));
	for (i = 0; i < n; i++)
		gone(thing_number(entries[i]));
	back = lab_pcp_push_many(SMALL_STACK, entries, n);
	for (i = back; i < n; i++)
		got(thing_number(entries[i]));
}

static void pcp_sink(void *const *entries, unsigned int n)
{
	while (n-- > 0)
		got(thing_number(entries[n]));
}

static void pcp_drainer(void)
{
	(void)lab_pcp_drain_all(SMALL_STACK, SMALL_STACK, pcp_sink);
}

/* another CPU's work, which a drain meets */
static void set_up_pcp_far(void)
{
	set_up_pcp();
	ex_cpu[2] = 1;
}

static void check_pcp(void)
{
	void *entry;

	while ((entry = lab_pcp_pop(SMALL_STACK))) {
		got(thing_number(entry));
		thing_lost(thing_number(entry));
	}
	ex_must(nr_kept() == 2);
}

/* ---- pages by flags, from stack and reserve ---- */

static void set_up_page(void)
{
	void *page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC);

	ex_must(page);
	labyrinth_free_page(page);
}

static void page_user(void)
{
	void *page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC);

	if (!page)
		return;
	got(lab_pfn_of(page) % MANY);
	gone(lab_pfn_of(page) % MANY);
	labyrinth_free_page(page);
}

static void page_bulk(void)
{
	void *pages[2] = { NULL, NULL };
	size_t i, n = labyrinth_alloc_pages_bulk(LABYRINTH_GFP_ATOMIC, 2, pages);

	for (i = 0; i < n; i++)
		got(lab_pfn_of(pages[i]) % MANY);
	for (i = 0; i < n; i++)
		gone(lab_pfn_of(pages[i]) % MANY);
	labyrinth_free_pages_bulk(n, pages);
}

static void page_sink(void *const *entries, unsigned int n)
{
	while (n-- > 0)
		got(lab_pfn_of(entries[n]) % MANY);
}

static void check_page(void)
{
	struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);

	(void)lab_pcp_drain_all(LAB_PCP_API, LAB_PCP_API, page_sink);
	ex_must(lab_word_get(&zone->free) + nr_kept() == lab_word_get(&zone->managed));
}

/* ---- mappings ---- */

static void *map_page(void)
{
	return labyrinth_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);
}

static void set_up_map(void)
{
	victim = map_page();
	ex_must(victim != MAP_FAILED && lab_mem_covers(victim));
	reserve_free = lab_word_get(&lab_zones[LAB_ZONE_HEAP].free);
}

/* both unmap the same page, which is no error, and the third maps one and keeps it */
static void map_double(void)
{
	ex_must(labyrinth_munmap(victim, 4096) == 0);
}

static void map_taker(void)
{
	void *page = map_page();

	ex_must(lab_mem_covers(page));
	if (page != victim)
		got(lab_pfn_of(page) % MANY);
}

/* the stack holds a page twice, as it may when the page was mapped over by its address */
static void set_up_stale(void)
{
	set_up_map();
	ex_must(labyrinth_munmap(victim, 4096) == 0);
	ex_must(lab_pcp_push(LAB_PCP_MAP, victim));
}

static void map_keeper(void)
{
	void *page = map_page();

	ex_must(lab_mem_covers(page));
	got(lab_pfn_of(page) % MANY);
}

/* what is mapped from here on are different pages */
static void check_map(void)
{
	unsigned int n;

	for (n = 0; n < 3; n++) {
		void *page = map_page();

		ex_must(lab_mem_covers(page));
		got(lab_pfn_of(page) % MANY);
	}
}

/* ---- mempools ---- */

static labyrinth_mempool_t *pool;
static bool pool_dry;

static void *pool_alloc(labyrinth_gfp_t gfp, void *data)
{
	size_t i;

	(void)gfp;
	(void)data;
	for (i = 0; !pool_dry && i < sizeof(things); i++)
		if (!has[i]) {
			has[i] = EX_THREADS + 1;
			return thing(i);
		}
	return NULL;
}

/* elements that the pool would not keep */
static void pool_free(void *element, void *data)
{
	(void)data;
	has[thing_number(element)] = 0;
}

static void set_up_pool(void)
{
	pool = labyrinth_mempool_create(2, pool_alloc, pool_free, NULL);
	ex_must(pool && labyrinth_mempool_curr_nr(pool) == 2);
	pool_dry = true;
}

static void pool_user(void)
{
	void *element = labyrinth_mempool_alloc_preallocated(pool);
	size_t i;

	if (!element)
		return;
	i = thing_number(element);
	ex_must(has[i] == EX_THREADS + 1);
	has[i] = (uint8_t)(1 + ex_self);
	payload[i] += 2;
	has[i] = EX_THREADS + 1;
	labyrinth_mempool_free(element, pool);
}

/* two come from outside although it needs one: one of them goes to free() */
static void set_up_pool_full(void)
{
	void *element;

	set_up_pool();
	element = labyrinth_mempool_alloc_preallocated(pool);
	ex_must(element);
	has[thing_number(element)] = 0;
	/* numbers 8 and 9 are nobody's so far */
	has[8] = has[9] = EX_THREADS + 1;
}

static void pool_give_0(void)
{
	labyrinth_mempool_free(thing(8), pool);
}

static void pool_give_1(void)
{
	labyrinth_mempool_free(thing(9), pool);
}

static void check_pool(void)
{
	unsigned int n;
	void *element;

	ex_must(labyrinth_mempool_curr_nr(pool) == 2);
	ex_must(nr_kept() == 2);
	for (n = 0; n < 2; n++) {
		element = labyrinth_mempool_alloc_preallocated(pool);
		ex_must(element && has[thing_number(element)] == EX_THREADS + 1);
		has[thing_number(element)] = 0;
	}
	ex_must(!labyrinth_mempool_alloc_preallocated(pool));
}

const struct ex_scenario ex_object_scenarios[] = {
	{ "cache", set_up_cache, { cache_user, cache_giver }, check_cache },
	{ "cache-take", set_up_cache, { cache_taker, cache_taker }, check_cache },
	{ "cache-refill",
	  set_up_full,
	  { cache_taker, cache_active_giver, cache_giver },
	  check_cache },
	{ "cache-replace", set_up_full, { cache_taker, cache_taker }, check_cache },
	{ "cache-sweep", set_up_sweep, { cache_twice, cache_taker }, check_cache },
	{ "atomic", set_up_atomic, { atomic_user, atomic_user }, check_atomic },
	{ "atomic-double", set_up_atomic, { atomic_double, atomic_double }, check_atomic_double },
	{ "large-double", set_up_large, { large_double, large_double }, check_large },
	{ "pcp", set_up_pcp, { pcp_user, pcp_user, pcp_many }, check_pcp },
	{ "pcp-drain", set_up_pcp_far, { pcp_user, pcp_many, pcp_drainer }, check_pcp },
	{ "page", set_up_page, { page_user, page_user }, check_page },
	{ "page-bulk", set_up_page, { page_user, page_bulk }, check_page },
	{ "map-double", set_up_map, { map_double, map_double }, check_map },
	{ "map-stale", set_up_stale, { map_keeper, map_keeper }, check_map },
	{ "map", set_up_map, { map_taker, map_taker }, check_map },
	{ "mempool", set_up_pool, { pool_user, pool_user, pool_user }, check_pool },
	{ "mempool-full", set_up_pool_full, { pool_give_0, pool_give_1 }, check_pool },
	{ .name = NULL },
};
