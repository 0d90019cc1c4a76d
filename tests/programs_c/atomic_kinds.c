// SPDX-License-Identifier: MIT
/* Every kind of atomic request, see atomic.h. */
#define _GNU_SOURCE
#include "atomic.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

#define PAGE	 4096u
#define NR_LIVE	 16u
#define NR_BULK	 64u
#define SENTRY	 54321
#define ATOMIC	 LABYRINTH_GFP_ATOMIC
#define POOL_MIN 8

/*
 * Live memory of one kind.  It is freed in an order that is neither that of
 * allocation nor its reverse: first the even ones.
 */
static char *live[NR_BULK];
static size_t live_bytes[NR_BULK];

static labyrinth_mempool_t *page_pool, *object_pool;

/* blocks of ordinary calls, for sections to free and resize */
#define NR_ORDINARY 24u
static char *ordinary[NR_ORDINARY];
static size_t ordinary_bytes[NR_ORDINARY];

static void mark(char *memory, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += PAGE)
		memory[at] = (char)bytes;
	memory[bytes - 1] = (char)bytes;
}

static bool is_marked(const char *memory, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += PAGE)
		if (memory[at] != (char)bytes)
			return false;
	return memory[bytes - 1] == (char)bytes;
}

static bool is_zero(const char *memory, size_t bytes)
{
	for (size_t at = 0; at < bytes; at++)
		if (memory[at])
			return false;
	return true;
}

static bool keep(unsigned int i, void *memory, size_t bytes, bool zero)
{
	live[i] = memory;
	live_bytes[i] = bytes;
	if (!memory || (uintptr_t)memory % 16 || (zero && !is_zero(memory, bytes)))
		return false;
	mark(memory, bytes);
	return true;
}

/* the i-th to go: even ones first */
static unsigned int nth(unsigned int i, unsigned int n)
{
	return i < (n + 1) / 2 ? 2 * i : 2 * (i - (n + 1) / 2) + 1;
}

typedef void *make_fn(unsigned int i, size_t *bytes);
typedef void drop_fn(void *memory, size_t bytes);

/* @n by @make, all live at once, then by @drop; errno kept all along */
static unsigned int round_of(unsigned int n, make_fn *make, drop_fn *drop, bool zero)
{
	unsigned int i, at;
	size_t bytes;
	void *memory;

	errno = SENTRY;
	for (i = 0; i < n; i++) {
		memory = make(i, &bytes);
		if (!keep(i, memory, bytes, zero))
			return 0;
	}
	for (i = 0; i < n; i++) {
		at = nth(i, n);
		if (!is_marked(live[at], live_bytes[at]))
			return 0;
		drop(live[at], live_bytes[at]);
	}
	return errno == SENTRY ? n : 0;
}

/* ---- pages ---- */

static void drop_page(void *page, size_t bytes)
{
	unsigned int order = 0;

	while ((size_t)PAGE << order < bytes)
		order++;
	if (order)
		labyrinth_free_pages(page, order);
	else
		labyrinth_free_page(page);
}

#define PAGES(name, call)                                                                          \
	static void *name(unsigned int i, size_t *bytes)                                           \
	{                                                                                          \
		(void)i;                                                                           \
		*bytes = PAGE;                                                                     \
		return call;                                                                       \
	}
PAGES(make_page, labyrinth_alloc_page(ATOMIC))
PAGES(make_nowait, labyrinth_alloc_page(LABYRINTH_GFP_NOWAIT))
PAGES(make_zero, labyrinth_alloc_page(ATOMIC | LABYRINTH_GFP_ZERO))
PAGES(make_zeroed, labyrinth_get_zeroed_page(ATOMIC))
PAGES(make_memalloc, labyrinth_alloc_page(ATOMIC | LABYRINTH___GFP_MEMALLOC))
PAGES(make_exclusive, labyrinth_void_alloc_page_gfp_atomic_exclusive())
PAGES(make_excl_zero, labyrinth_alloc_page(ATOMIC | LABYRINTH_GFP_EXCLUSIVE | LABYRINTH_GFP_ZERO))

static void *make_order(unsigned int i, size_t *bytes)
{
	*bytes = (size_t)PAGE << (1 + i % 3);
	return labyrinth_alloc_pages(ATOMIC, 1 + i % 3);
}

static void *make_nolock(unsigned int i, size_t *bytes)
{
	*bytes = (size_t)PAGE << i % 4;
	return labyrinth_alloc_pages_nolock(i % 4);
}

static void *make_excl_order(unsigned int i, size_t *bytes)
{
	*bytes = (size_t)PAGE << (1 + i % 2);
	return labyrinth_alloc_pages(ATOMIC | LABYRINTH_GFP_EXCLUSIVE, 1 + i % 2);
}

static void *make_exact(unsigned int i, size_t *bytes)
{
	*bytes = PAGE * (1 + i % 7) - i;
	return labyrinth_alloc_pages_exact(*bytes, ATOMIC);
}

/* orders 1 to 3, made single; the drop frees them one by one */
static void *make_split(unsigned int i, size_t *bytes)
{
	void *pages = labyrinth_alloc_pages(ATOMIC, 1 + i % 3);

	*bytes = (size_t)PAGE << (1 + i % 3);
	if (pages)
		labyrinth_split_page(pages, 1 + i % 3);
	return pages;
}

static void drop_split(void *pages, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += PAGE)
		labyrinth_free_page((char *)pages + at);
}

static void drop_exact(void *pages, size_t bytes)
{
	labyrinth_free_pages_exact(pages, bytes);
}

static unsigned int pages(void)
{
	return round_of(NR_LIVE, make_page, drop_page, false);
}
static unsigned int nowait(void)
{
	return round_of(NR_LIVE, make_nowait, drop_page, false);
}
static unsigned int zero(void)
{
	return round_of(NR_LIVE, make_zero, drop_page, true);
}
static unsigned int zeroed(void)
{
	return round_of(NR_LIVE, make_zeroed, drop_page, true);
}
static unsigned int memalloc(void)
{
	return round_of(NR_LIVE, make_memalloc, drop_page, false);
}
static unsigned int orders(void)
{
	return round_of(8, make_order, drop_page, false);
}
static unsigned int nolock(void)
{
	return round_of(8, make_nolock, drop_page, true);
}
static unsigned int exact(void)
{
	return round_of(8, make_exact, drop_exact, false);
}
static unsigned int split(void)
{
	return round_of(8, make_split, drop_split, false);
}
static unsigned int exclusive(void)
{
	return round_of(8, make_exclusive, drop_page, false);
}
static unsigned int excl_zero(void)
{
	return round_of(4, make_excl_zero, drop_page, true);
}
static unsigned int excl_order(void)
{
	return round_of(2, make_excl_order, drop_page, false);
}

static unsigned int bulk(labyrinth_gfp_t gfp, size_t n)
{
	errno = SENTRY;
	memset(live, 0, sizeof(live));
	if (labyrinth_alloc_pages_bulk(gfp, n, (void **)live) != n)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (gfp & LABYRINTH_GFP_ZERO && !is_zero(live[i], PAGE))
			return 0;
		mark(live[i], PAGE);
	}
	labyrinth_free_pages_bulk(n, (void **)live);
	for (size_t i = 0; i < n; i++)
		if (live[i])
			return 0;
	return errno == SENTRY ? (unsigned int)n : 0;
}

static unsigned int bulk_64(void)
{
	return bulk(ATOMIC, 64);
}
static unsigned int bulk_17_zero(void)
{
	return bulk(ATOMIC | LABYRINTH_GFP_ZERO, 17);
}
static unsigned int bulk_exclusive(void)
{
	return bulk(ATOMIC | LABYRINTH_GFP_EXCLUSIVE, 4);
}

/* ---- objects ---- */

static size_t object_bytes(unsigned int i)
{
	static const size_t bytes[] = { 1,   16,  24,	40,   64,   100,  128,	200,
					333, 512, 1000, 2048, 2049, 4096, 9000, 32768 };

	return bytes[i % 16];
}

static void *make_object(unsigned int i, size_t *bytes)
{
	*bytes = object_bytes(i);
	return labyrinth_malloc(*bytes, ATOMIC);
}

static void *make_object_zero(unsigned int i, size_t *bytes)
{
	*bytes = object_bytes(i);
	return labyrinth_malloc(*bytes, LABYRINTH_GFP_NOWAIT | LABYRINTH_GFP_ZERO);
}

static void drop_object(void *memory, size_t bytes)
{
	(void)bytes;
	labyrinth_free(memory);
}

static unsigned int objects(void)
{
	return round_of(NR_LIVE, make_object, drop_object, false);
}
static unsigned int objects_zero(void)
{
	return round_of(NR_LIVE, make_object_zero, drop_object, true);
}

/* ---- malloc() in sections ---- */

static void *make_malloc(unsigned int i, size_t *bytes)
{
	*bytes = object_bytes(i);
	switch (i % 3) {
	case 0:
		return heap_malloc(*bytes);
	case 1:
		return heap_memalign((size_t)16 << i % 6, *bytes);
	default:
		return heap_realloc(heap_malloc(*bytes / 2 + 1), *bytes);
	}
}

static void *make_calloc(unsigned int i, size_t *bytes)
{
	*bytes = object_bytes(i);
	return heap_calloc(1, *bytes);
}

static void drop_malloc(void *memory, size_t bytes)
{
	(void)bytes;
	heap_free(memory);
}

static unsigned int section(void)
{
	uintptr_t saved = labyrinth_gfp_save();
	unsigned int n =
		labyrinth_in_atomic() ? round_of(NR_LIVE, make_malloc, drop_malloc, false) : 0;

	labyrinth_gfp_restore(saved);
	return n;
}

static unsigned int section_calloc(void)
{
	uintptr_t saved = labyrinth_gfp_save(), inner = labyrinth_gfp_save();
	unsigned int n = round_of(NR_LIVE, make_calloc, drop_malloc, true);

	labyrinth_gfp_restore(inner);
	n = labyrinth_in_atomic() ? n : 0;
	labyrinth_gfp_restore(saved);
	return n;
}

/* what ordinary calls made: once, then there is nothing left of it */
static unsigned int section_ordinary(void)
{
	uintptr_t saved = labyrinth_gfp_save();
	unsigned int i;
	char *block;

	for (i = 0; i < NR_ORDINARY; i++) {
		if (!ordinary[i])
			continue;
		block = ordinary[i];
		if (!is_marked(block, ordinary_bytes[i]))
			return 0;
		/* smaller ones move, larger ones shrink where they are */
		if (i % 3 == 0) {
			block = heap_realloc(block, ordinary_bytes[i] < 8192
							    ? ordinary_bytes[i] * 2
							    : ordinary_bytes[i] / 2);
			if (!block)
				return 0;
		}
		heap_free(block);
		ordinary[i] = NULL;
	}
	labyrinth_gfp_restore(saved);
	return NR_ORDINARY;
}

/* ---- pools ---- */

static void *make_pool_page(unsigned int i, size_t *bytes)
{
	*bytes = PAGE;
	return i % 2 ? labyrinth_mempool_alloc(page_pool, ATOMIC)
		     : labyrinth_mempool_alloc_preallocated(page_pool);
}

static void drop_pool_page(void *memory, size_t bytes)
{
	(void)bytes;
	labyrinth_mempool_free(memory, page_pool);
}

static void *make_pool_object(unsigned int i, size_t *bytes)
{
	*bytes = 256;
	return i % 2 ? labyrinth_mempool_alloc(object_pool, ATOMIC)
		     : labyrinth_mempool_alloc_preallocated(object_pool);
}

static void drop_pool_object(void *memory, size_t bytes)
{
	(void)bytes;
	labyrinth_mempool_free(memory, object_pool);
}

static unsigned int pool_pages(void)
{
	return round_of(2 * POOL_MIN - 2, make_pool_page, drop_pool_page, false);
}

static unsigned int pool_objects(void)
{
	return round_of(2 * POOL_MIN - 2, make_pool_object, drop_pool_object, false);
}

/* ---- requests that fail ---- */

unsigned int atomic_exhaust(void **chain, labyrinth_gfp_t gfp)
{
	unsigned int n = 0;
	void **page;

	*chain = NULL;
	while ((page = labyrinth_alloc_page(gfp))) {
		*page = *chain;
		*chain = page;
		n++;
	}
	return n;
}

unsigned int atomic_release(void *chain)
{
	unsigned int n = 0;

	for (void *next; chain; chain = next, n++) {
		next = *(void **)chain;
		labyrinth_free_page(chain);
	}
	return n;
}

/* below the floor every kind of request says NULL, and keeps errno but in malloc() */
static bool all_fail(void)
{
	void *none[4] = { NULL };
	uintptr_t saved;
	bool well;

	errno = SENTRY;
	well = !labyrinth_alloc_page(ATOMIC) && !labyrinth_alloc_page(LABYRINTH_GFP_NOWAIT) &&
	       !labyrinth_alloc_pages(ATOMIC, 3) && !labyrinth_alloc_pages_nolock(0) &&
	       !labyrinth_get_zeroed_page(ATOMIC) &&
	       !labyrinth_alloc_pages_exact(3 * PAGE, ATOMIC) &&
	       !labyrinth_alloc_pages_bulk(ATOMIC, 4, none) && !none[0] && !none[3] &&
	       !labyrinth_malloc(3 * PAGE, ATOMIC) && !labyrinth_malloc(64ul << 20, ATOMIC) &&
	       errno == SENTRY;
	saved = labyrinth_gfp_save();
	errno = 0;
	well = well && !heap_malloc(5 * PAGE) && errno == ENOMEM;
	errno = 0;
	well = well && !heap_calloc(5, PAGE) && errno == ENOMEM;
	labyrinth_gfp_restore(saved);
	return well;
}

static unsigned int failing(void)
{
	void *chain;
	unsigned int n = atomic_exhaust(&chain, ATOMIC);
	bool well = n && all_fail();
	/* pools have what they keep */
	void *kept = labyrinth_mempool_alloc(page_pool, ATOMIC);

	well = well && kept;
	labyrinth_mempool_free(kept, page_pool);
	return atomic_release(chain) == n && well ? n : 0;
}

static unsigned int failing_exclusive(void)
{
	void *chain;
	unsigned int n = atomic_exhaust(&chain, ATOMIC | LABYRINTH_GFP_EXCLUSIVE);
	bool well = n && !labyrinth_void_alloc_page_gfp_atomic_exclusive() &&
		    !labyrinth_alloc_pages(ATOMIC | LABYRINTH_GFP_EXCLUSIVE, 2);

	return atomic_release(chain) == n && well ? n : 0;
}

#define KIND(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}
const struct kind atomic_kinds[] = {
	KIND(pages),	    KIND(nowait),	KIND(zero),	      KIND(zeroed),
	KIND(memalloc),	    KIND(orders),	KIND(nolock),	      KIND(exact),
	KIND(split),	    KIND(exclusive),	KIND(excl_zero),      KIND(excl_order),
	KIND(bulk_64),	    KIND(bulk_17_zero), KIND(bulk_exclusive), KIND(objects),
	KIND(objects_zero), KIND(section),	KIND(section_calloc), KIND(section_ordinary),
	KIND(pool_pages),   KIND(pool_objects), KIND(failing),	      KIND(failing_exclusive),
};
const unsigned int atomic_nr_kinds = sizeof(atomic_kinds) / sizeof(*atomic_kinds);

bool atomic_is_failing(unsigned int kind)
{
	return !strncmp(atomic_kinds[kind].name, "failing", 7);
}

void atomic_touch(void)
{
	memset(live, 0, sizeof(live));
	memset(live_bytes, 0, sizeof(live_bytes));
	/* the thread's block: errno, and what restartable sequences write */
	heap_free(heap_malloc(64));
	errno = 0;
}

bool atomic_prepare(void)
{
	unsigned int i;

	page_pool = labyrinth_mempool_create_page_pool(POOL_MIN, 0);
	object_pool = labyrinth_mempool_create_kmalloc_pool(POOL_MIN, 256);
	for (i = 0; i < NR_ORDINARY; i++) {
		ordinary_bytes[i] = i < 16 ? object_bytes(i) : (size_t)PAGE << (i - 12);
		if (i >= 22) /* larger than a block of frames */
			ordinary_bytes[i] = (size_t)i << 20;
		ordinary[i] = heap_malloc(ordinary_bytes[i]);
		if (!ordinary[i])
			return false;
		mark(ordinary[i], ordinary_bytes[i]);
	}
	return page_pool && object_pool;
}
