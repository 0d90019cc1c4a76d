/* SPDX-License-Identifier: MIT */
/* The operations that are interrupted, each in the states that matter. */
#include "api/init.h"
#include "gfp/reclaim.h"
#include "labyrinth.h"
#include "page/zone.h"
#include "slab/cache.h"
#include "step.h"

enum state {
	FRESH,	  /* as settle() leaves it: stacks empty, no slab */
	ACTIVE,	  /* the active slab has free objects */
	WARM,	  /* the stack has objects */
	LIST,	  /* no slab is active, one on the list has free objects */
	NO_SLAB,  /* none has a free object */
	MANY,	  /* and there are so many that a cluster is next */
	LOW,	  /* the reserve is down to its floor */
	GROW,	  /* and the heap is used up */
	SECTION,  /* and so is every section */
	LAST,	  /* one run of 8 pages is left in the heap */
	SPLIT,	  /* two of them, apart */
	UNMAPPED, /* no free block is mapped */
	FULL,	  /* the stack is full */
	SWEEP	  /* the next free makes a sweep retire slabs */
};

struct outcome outcome;

static bool is_slab(size_t size)
{
	return size <= 32768 && class_of(size) < LAB_NR_CLASSES;
}

/* ---- set-up ---- */

/* what is left is too little, or all is taken: the hints of the search move */
static void leave_runs(bool split)
{
	int run[3], i;

	exhaust_reserve();
	for (i = 0; i < 3; i++)
		run[i] = take_pages(LABYRINTH_GFP_KERNEL, 3);
	exhaust_heap();
	drop(run[0]);
	if (split)
		drop(run[2]);
}

static void set_up_state(const struct scenario *s)
{
	switch (s->state) {
	case WARM:
		make_warm(s->size);
		break;
	case ACTIVE:
		make_active(s->size);
		break;
	case LIST:
		make_list(s->size);
		break;
	case NO_SLAB:
		make_no_slab(s->size);
		break;
	case MANY:
		make_many_slabs(s->size);
		break;
	case UNMAPPED:
		(void)lab_heap_purge(true);
		break;
	case LAST:
	case SPLIT:
		leave_runs(s->state == SPLIT);
		break;
	case LOW:
		exhaust_reserve();
		break;
	case GROW:
	case SECTION:
		if (is_slab(s->size))
			make_no_slab(s->size);
		exhaust_reserve();
		if (s->state == GROW)
			exhaust_heap();
		else
			exhaust_sections();
		break;
	default:
		break;
	}
}

static void set_up_alloc(const struct scenario *s)
{
	set_up_state(s);
	outcome = (struct outcome){ .size = s->size, .how = BY_FREE, .allocates = true };
}

static void set_up_calloc(const struct scenario *s)
{
	set_up_alloc(s);
	outcome.zero = true;
}

static void set_up_pages(const struct scenario *s)
{
	set_up_alloc(s);
	outcome.size = s->size << s->arg;
	outcome.how = (int)s->arg;
	outcome.zero = s->size2 & LABYRINTH___GFP_ZERO;
}

static void set_up_pages_warm(const struct scenario *s)
{
	set_up_pages(s);
	drop(take_pages((uint32_t)s->size2, s->arg));
}

static void set_up_map_growth(const struct scenario *s)
{
	set_up_state(s);
	set_up_map(s);
}

void target(int id)
{
	outcome = (struct outcome){ .seed = block_seed(id) };
	outcome.target = disown(id);
}

/*
 * Free block after block of many slabs until one free retires a slab: which
 * one that is, the first turn finds out and the others repeat.
 */
static void set_up_sweep(const struct scenario *s)
{
	static unsigned int found;
	unsigned int cls = class_of(s->size), n, i;
	uint64_t slabs;
	int ids[4096];

	/* slabs that are all free are kept up to a number */
	n = lab_class[cls].nobj * 10 + stack_cap(cls);
	if (n >= 4096)
		fail("setup: too many blocks");
	for (i = 0; i <= n; i++)
		ids[i] = take_light(s->size);
	for (i = 0; !found && i < n; i++) {
		slabs = lab_cache_slabs(cls);
		drop(ids[i]);
		if (lab_cache_slabs(cls) >= slabs)
			continue;
		found = i;
		target(ids[n]);
		return;
	}
	if (!found)
		fail("setup: no free sweeps");
	for (i = 0; i < found; i++)
		drop(ids[i]);
	target(ids[found]);
}

static void set_up_free(const struct scenario *s)
{
	unsigned int n = 4;
	int ids[4];

	if (s->state == SWEEP) {
		set_up_sweep(s);
	} else if (s->state == FULL) {
		fill_stack(s->size, ids, &n);
		target(ids[0]);
	} else {
		target(take(s->size));
	}
	/* then what is freed is all there is */
	if (s->arg)
		exhaust_heap();
}

static void set_up_free_pages(const struct scenario *s)
{
	uint32_t gfp = (uint32_t)s->size2;
	unsigned int cap = stack_cap(gfp & LABYRINTH_GFP_EXCLUSIVE ? LAB_PCP_EXCL : LAB_PCP_API);
	unsigned int n, i;
	int ids[256], id;

	if (s->state == FULL) {
		/* as many as there are; the last one meets a full stack if they suffice */
		for (n = 0; n < cap; n++) {
			ids[n] = take_atomic(gfp, 0);
			if (ids[n] < 0)
				break;
		}
		id = take_atomic(gfp, 0);
		if (id < 0)
			id = ids[--n];
		for (i = 0; i < n; i++)
			drop(ids[i]);
	} else {
		id = take_pages(gfp, s->arg);
	}
	target(id);
	outcome.how = (int)s->arg;
}

static void set_up_realloc(const struct scenario *s)
{
	int id = take(s->size);

	/* what lies behind it is in use, so it has to move */
	if (s->state == FULL)
		(void)take(s->size);
	target(id);
	outcome.size = s->size2;
	outcome.how = BY_FREE;
	outcome.allocates = true;
	outcome.kept = s->size < s->size2 ? s->size : s->size2;
}

static void set_up_trim(const struct scenario *s)
{
	static const size_t sizes[] = { 24, 200, 8192, 4096, 100 * KIB, 3 * MIB };
	unsigned int i, k, n = 0;
	int ids[600];

	(void)s;
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (k = 0; k < (sizes[i] < 4096 ? 200u : sizes[i] < 10000 ? 30u : 2u); k++)
			ids[n++] = take_light(sizes[i]);
	for (i = 0; i < n; i++)
		if (i % 16)
			drop(ids[i]);
	outcome = (struct outcome){ 0 };
}

/* ---- the operations ---- */

static void op_malloc(const struct scenario *s)
{
	outcome.result = labyrinth_heap_malloc(s->size);
}

static void op_calloc(const struct scenario *s)
{
	outcome.result = labyrinth_heap_calloc(1, s->size);
}

static void op_memalign(const struct scenario *s)
{
	outcome.result = labyrinth_heap_memalign(s->size2, s->size);
}

static void op_free(const struct scenario *s)
{
	(void)s;
	labyrinth_free(outcome.target);
}

static void op_realloc(const struct scenario *s)
{
	outcome.result = labyrinth_heap_realloc(outcome.target, s->size2);
}

static void op_page(const struct scenario *s)
{
	outcome.result = labyrinth_alloc_page((labyrinth_gfp_t)s->size2);
}

static void op_pages(const struct scenario *s)
{
	outcome.result = labyrinth_alloc_pages((labyrinth_gfp_t)s->size2, s->arg);
}

static void op_founding(const struct scenario *s)
{
	(void)s;
	outcome.result = labyrinth_void_alloc_page_gfp_atomic_exclusive();
}

static void op_free_page(const struct scenario *s)
{
	(void)s;
	labyrinth_free_page(outcome.target);
}

static void op_free_pages(const struct scenario *s)
{
	labyrinth_free_pages(outcome.target, s->arg);
}

static void op_trim(const struct scenario *s)
{
	(void)s;
	(void)labyrinth_malloc_trim(0);
}

static void op_purge(const struct scenario *s)
{
	(void)s;
	(void)lab_heap_purge(true);
}

static void op_drain(const struct scenario *s)
{
	(void)s;
	(void)lab_pages_drain(lab_pcp_drain_all);
}

static void op_reclaim(const struct scenario *s)
{
	(void)s;
	(void)lab_reclaim(LAB_ZONE_RESERVE, 0);
}

static void op_init(const struct scenario *s)
{
	(void)s;
	lab_init();
}

/* ---- the tables ---- */

#define MALLOC(n, s, st)                                                                           \
	{                                                                                          \
		"malloc " n, set_up_alloc, op_malloc, s, 0, st, 0, 0                               \
	}
#define FREE(n, s, st)                                                                             \
	{                                                                                          \
		"free " n, set_up_free, op_free, s, 0, st, 0, 0                                    \
	}
#define FREE_LAST(n, s, st)                                                                        \
	{                                                                                          \
		"free " n ", heap used up", set_up_free, op_free, s, 0, st, 1, 0                   \
	}
#define REALLOC(n, s, s2, st)                                                                      \
	{                                                                                          \
		"realloc " n, set_up_realloc, op_realloc, s, s2, st, 0, 0                          \
	}
#define PAGES(n, set, op, gfp, st, order, flags)                                                   \
	{                                                                                          \
		n, set, op, LABYRINTH_PAGE_SIZE, gfp, st, order, flags                             \
	}
#define OBJECT(n, s, sort)                                                                         \
	{                                                                                          \
		"malloc atomic " n, set_up_object, op_object, s, 0, 0, sort, MAY_BE_NULL           \
	}
#define FREE_OBJECT(n, s, sort)                                                                    \
	{                                                                                          \
		"free atomic " n, set_up_free_object, op_free, s, 0, 0, sort, 0                    \
	}
#define MAP(n, set, op, s, s2, arg)                                                                \
	{                                                                                          \
		n, set, op, s, s2, FRESH, arg, 0                                                   \
	}
#define POOL(n, set, op, arg)                                                                      \
	{                                                                                          \
		n, set, op, LABYRINTH_PAGE_SIZE, 0, FRESH, arg, MAY_BE_NULL                        \
	}
#define BULK(n, set, op, gfp, st, nr)                                                              \
	{                                                                                          \
		n, set, op, LABYRINTH_PAGE_SIZE, gfp, st, nr, MAY_BE_NULL                          \
	}
#define KERNEL	    LABYRINTH_GFP_KERNEL
#define ATOMIC	    LABYRINTH_GFP_ATOMIC
#define EXCL	    (LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE)
#define KERNEL_EXCL (LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE)

const struct scenario scenarios[] = {
	MALLOC("tiny, warm", 24, WARM),
	MALLOC("tiny, slab", 24, ACTIVE),
	MALLOC("tiny, list", 24, LIST),
	MALLOC("tiny, new slab", 24, NO_SLAB),
	MALLOC("tiny, growth", 24, GROW),
	MALLOC("small, warm", 200, WARM),
	MALLOC("small, slab", 200, ACTIVE),
	MALLOC("small, list", 200, LIST),
	MALLOC("small, new slab", 200, NO_SLAB),
	MALLOC("small, growth", 200, GROW),
	MALLOC("112, cluster", 112, MANY),
	MALLOC("8 KiB, warm", 8192, WARM),
	MALLOC("8 KiB, slab", 8192, ACTIVE),
	MALLOC("8 KiB, list", 8192, LIST),
	MALLOC("8 KiB, new slab", 8192, NO_SLAB),
	MALLOC("8 KiB, growth", 8192, GROW),
	MALLOC("page, warm", 4096, WARM),
	MALLOC("page, reserve", 4096, FRESH),
	MALLOC("page, heap", 4096, LOW),
	MALLOC("page, growth", 4096, GROW),
	MALLOC("100 KiB", 100 * KIB, FRESH),
	MALLOC("100 KiB, growth", 100 * KIB, GROW),
	MALLOC("5 MiB", 5 * MIB, FRESH),
	MALLOC("5 MiB, unmapped", 5 * MIB, UNMAPPED),
	{ "malloc small, new section", set_up_alloc, op_malloc, 200, 0, SECTION, 0,
	  EACH_IN_A_CHILD },
	{ "malloc 5 MiB, new section", set_up_alloc, op_malloc, 5 * MIB, 0, SECTION, 0,
	  EACH_IN_A_CHILD },
	{ "malloc page, refill", set_up_alloc, op_malloc, 4096, 0, FRESH, 0, EACH_IN_A_CHILD },
	FREE("tiny, room", 24, FRESH),
	FREE("tiny, full", 24, FULL),
	FREE("tiny, sweep", 24, SWEEP),
	FREE("small, room", 200, FRESH),
	FREE("small, full", 200, FULL),
	FREE("small, sweep", 200, SWEEP),
	FREE("8 KiB, room", 8192, FRESH),
	FREE("8 KiB, full", 8192, FULL),
	FREE("8 KiB, sweep", 8192, SWEEP),
	FREE("page, room", 4096, FRESH),
	FREE("page, full", 4096, FULL),
	FREE("100 KiB", 100 * KIB, FRESH),
	FREE_LAST("tiny, sweep", 24, SWEEP),
	FREE_LAST("8 KiB, full", 8192, FULL),
	FREE_LAST("page, full", 4096, FULL),
	FREE_LAST("100 KiB", 100 * KIB, FRESH),
	FREE("5 MiB", 5 * MIB, FRESH),
	REALLOC("small up", 24, 200, FRESH),
	REALLOC("small down", 8192, 24, FRESH),
	REALLOC("in place", 200, 204, FRESH),
	REALLOC("large up", 100 * KIB, 120 * KIB, FRESH),
	REALLOC("large up, moving", 100 * KIB, 1 * MIB, FULL),
	REALLOC("large down", 100 * KIB, 50 * KIB, FRESH),
	REALLOC("large to huge", 1 * MIB, 3 * MIB, FRESH),
	REALLOC("huge up", 5 * MIB, 9 * MIB, FRESH),
	REALLOC("huge up, mremap", 5 * MIB, 9 * MIB, FULL),
	REALLOC("huge down", 9 * MIB, 5 * MIB, FRESH),
	{ "calloc small", set_up_calloc, op_calloc, 200, 0, ACTIVE, 0, 0 },
	{ "calloc 100 KiB", set_up_calloc, op_calloc, 100 * KIB, 0, FRESH, 0, 0 },
	{ "memalign 64", set_up_alloc, op_memalign, 104, 64, NO_SLAB, 0, 0 },
	{ "memalign 64 KiB", set_up_alloc, op_memalign, 100 * KIB, 64 * KIB, FRESH, 0, 0 },
	{ "memalign 4 MiB", set_up_alloc, op_memalign, 5 * MIB, 4 * MIB, UNMAPPED, 0, 0 },
	PAGES("alloc_page kernel, warm", set_up_pages_warm, op_page, KERNEL, FRESH, 0, 0),
	PAGES("alloc_page kernel", set_up_pages, op_page, KERNEL, FRESH, 0, 0),
	PAGES("alloc_page kernel zero, low", set_up_pages, op_page, KERNEL | LABYRINTH_GFP_ZERO,
	      LOW, 0, 0),
	PAGES("alloc_page kernel, growth", set_up_pages, op_page, KERNEL, GROW, 0, 0),
	PAGES("alloc_page atomic, warm", set_up_pages_warm, op_page, ATOMIC, FRESH, 0, 0),
	PAGES("alloc_page atomic", set_up_pages, op_page, ATOMIC, FRESH, 0, MAY_BE_NULL),
	PAGES("alloc_page atomic, none", set_up_pages, op_page, ATOMIC, LOW, 0, MAY_BE_NULL),
	PAGES("alloc_page exclusive, kernel", set_up_pages, op_page, KERNEL_EXCL, FRESH, 0,
	      MAY_BE_NULL),
	PAGES("alloc_page exclusive, after fork", set_up_pages, op_page, KERNEL_EXCL, FRESH, 0,
	      MAY_BE_NULL | EACH_IN_A_CHILD),
	PAGES("founding call, warm", set_up_pages_warm, op_founding, EXCL, FRESH, 0, MAY_BE_NULL),
	PAGES("founding call", set_up_pages, op_founding, EXCL, FRESH, 0, MAY_BE_NULL),
	PAGES("alloc_pages kernel 3", set_up_pages, op_pages, KERNEL, FRESH, 3, 0),
	PAGES("alloc_pages kernel 3, growth", set_up_pages, op_pages, KERNEL, GROW, 3, 0),
	PAGES("alloc_pages kernel 3, last", set_up_pages, op_pages, KERNEL, LAST, 3, 0),
	PAGES("alloc_pages kernel 4, split", set_up_pages, op_pages, KERNEL, SPLIT, 4, 0),
	PAGES("alloc_pages kernel 9, unmapped", set_up_pages, op_pages, KERNEL, UNMAPPED, 9, 0),
	PAGES("alloc_pages atomic 3", set_up_pages, op_pages, ATOMIC, FRESH, 3, MAY_BE_NULL),
	PAGES("alloc_pages exclusive 3", set_up_pages, op_pages, EXCL, FRESH, 3, MAY_BE_NULL),
	PAGES("free_page, room", set_up_free_pages, op_free_page, KERNEL, FRESH, 0, 0),
	PAGES("free_page, full", set_up_free_pages, op_free_page, ATOMIC, FULL, 0, 0),
	PAGES("free_page exclusive", set_up_free_pages, op_free_page, EXCL, FRESH, 0, 0),
	PAGES("free_page exclusive, full", set_up_free_pages, op_free_page, EXCL, FULL, 0, 0),
	PAGES("free_pages 3", set_up_free_pages, op_free_pages, KERNEL, FRESH, 3, 0),
	PAGES("free_pages atomic 3", set_up_free_pages, op_free_pages, ATOMIC, FRESH, 3, 0),
	OBJECT("1000, new slab", 1000, OBJ_FRESH),
	OBJECT("1000, slab", 1000, OBJ_ACTIVE),
	OBJECT("1000, full slab", 1000, OBJ_FULL),
	OBJECT("1000, list", 1000, OBJ_LIST),
	OBJECT("1000, none", 1000, OBJ_NONE),
	OBJECT("1000, idle slab elsewhere", 1000, OBJ_IDLE),
	OBJECT("24, slab", 24, OBJ_ACTIVE),
	OBJECT("10000", 10000, OBJ_FRESH),
	FREE_OBJECT("1000, the only one", 1000, OBJ_ACTIVE),
	FREE_OBJECT("1000, the only one, low", 1000, OBJ_NONE),
	FREE_OBJECT("1000, full slab", 1000, OBJ_LIST),
	FREE_OBJECT("1000, sweep", 1000, OBJ_LAST),
	FREE_OBJECT("24", 24, OBJ_ACTIVE),
	FREE_OBJECT("10000", 10000, OBJ_ACTIVE),
	{ "realloc atomic", set_up_realloc_object, op_realloc, 1000, 2000, 0, OBJ_ACTIVE, 0 },
	{ "shrink atomic", set_up_object, op_shrink, 1000, 0, 0, OBJ_LIST, MAY_BE_NULL },
	MAP("mmap page, warm", set_up_map, op_map, 4096, 0, 1),
	MAP("mmap page", set_up_map, op_map, 4096, 0, 0),
	{ "mmap page, growth", set_up_map_growth, op_map, 4096, 0, GROW, 0, 0 },
	MAP("mmap 16, warm", set_up_map, op_map, 64 * KIB, 0, 1),
	MAP("mmap 16", set_up_map, op_map, 64 * KIB, 0, 0),
	MAP("munmap page", set_up_unmap, op_unmap, 4096, 0, 0),
	MAP("munmap page, changed", set_up_unmap, op_unmap, 4096, 0, 1),
	MAP("munmap page, full", set_up_unmap, op_unmap, 4096, 0, 2),
	MAP("munmap 3", set_up_unmap, op_unmap, 12 * KIB, 0, 0),
	MAP("munmap 3, full", set_up_unmap, op_unmap, 12 * KIB, 0, 2),
	MAP("munmap 3, changed inside", set_up_unmap, op_unmap, 12 * KIB, 0, 3),
	MAP("mprotect page", set_up_remap, op_protect, 4096, 0, 0),
	MAP("madvise 3, changed", set_up_remap, op_advise, 12 * KIB, 0, 1),
	MAP("mremap up", set_up_remap, op_remap, 4096, 12 * KIB, 0),
	MAP("mremap up, changed", set_up_remap, op_remap, 4096, 12 * KIB, 1),
	MAP("mremap up, far", set_up_remap, op_remap, 8 * KIB, 100 * KIB, 0),
	MAP("mremap down", set_up_remap, op_remap, 16 * KIB, 8 * KIB, 0),
	MAP("mmap over", set_up_remap, op_map_over, 8 * KIB, 0, 0),
	MAP("mmap again at a hint", set_up_remap, op_map_again, 8 * KIB, 0, 0),
	POOL("mempool_alloc atomic", set_up_pool_alloc, op_pool_alloc, 0),
	POOL("mempool_alloc atomic, none", set_up_pool_alloc, op_pool_alloc, 1),
	POOL("mempool_alloc preallocated", set_up_pool_alloc, op_pool_kept, 1),
	POOL("mempool_free, room", set_up_pool_free, op_pool_free, 1),
	POOL("mempool_free, full", set_up_pool_free, op_pool_free, 0),
	BULK("alloc bulk atomic", set_up_bulk, op_bulk, ATOMIC, FRESH, 40),
	BULK("alloc bulk atomic zero", set_up_bulk, op_bulk, ATOMIC | LABYRINTH___GFP_ZERO, FRESH,
	     8),
	BULK("alloc bulk atomic, none", set_up_bulk, op_bulk, ATOMIC, LOW, 8),
	BULK("alloc bulk kernel, low", set_up_bulk, op_bulk, KERNEL, LOW, 8),
	BULK("alloc bulk exclusive", set_up_bulk, op_bulk, EXCL, FRESH, 4),
	BULK("free bulk", set_up_free_bulk, op_free_bulk, ATOMIC, FRESH, 40),
	BULK("free bulk exclusive", set_up_free_bulk, op_free_bulk, EXCL, FRESH, 4),
	{ "shrink of the reserve", set_up_reserve, op_shrink_reserve, 4096, 0, FRESH, 0, 0 },
	{ "growth of the reserve", set_up_reserve, op_grow_reserve, 4096, 0, FRESH, 1, 0 },
	{ "malloc_trim", set_up_trim, op_trim, 200, 0, FRESH, 0, LONG },
	{ "drain of all CPUs", set_up_trim, op_drain, 200, 0, FRESH, 0, 0 },
	{ "direct reclaim", set_up_trim, op_reclaim, 200, 0, FRESH, 0, LONG },
	{ "purge and unmap", set_up_trim, op_purge, 200, 0, FRESH, 0, LONG },
};
const size_t nr_scenarios = sizeof(scenarios) / sizeof(*scenarios);

/* Nothing is set up: this is the first call of the process, or its constructor. */
#define FIRST(n, op, s, s2)                                                                        \
	{                                                                                          \
		"first " n, NULL, op, s, s2, FRESH, 0, EACH_IN_A_CHILD                             \
	}
const struct scenario firsts[] = {
	FIRST("malloc tiny", op_malloc, 24, 0),
	FIRST("malloc 8 KiB", op_malloc, 8192, 0),
	FIRST("malloc page", op_malloc, 4096, 0),
	FIRST("malloc 100 KiB", op_malloc, 100 * KIB, 0),
	FIRST("malloc 5 MiB", op_malloc, 5 * MIB, 0),
	FIRST("calloc", op_calloc, 200, 0),
	FIRST("memalign 64 KiB", op_memalign, 100 * KIB, 64 * KIB),
	FIRST("alloc_page kernel", op_page, 4096, KERNEL),
	FIRST("constructor", op_init, 200, 0),
};
const size_t nr_firsts = sizeof(firsts) / sizeof(*firsts);
