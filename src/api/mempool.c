/* SPDX-License-Identifier: MIT */
/*
 * Pools that guarantee some elements; mm/mempool.c without its spinlock.
 *
 * Kept elements lie in slots, 64 to a chunk.  Full slots are a pool of bits
 * (base/bits.h) that curr counts, empty ones another that room counts.  A call
 * takes effect where it changes curr, which is at most min then, in one word:
 *
 *	take	curr - 1, full bit off, element, empty bit on, room + 1
 *	give	room - 1, empty bit off, element, full bit on, curr + 1
 *
 * A give that finds curr at min in its last step has one element too many in
 * the slots: it takes one out, uncounted, and passes it to free().  So nothing is
 * promised before it is there, and a call that is abandoned or frozen half-way
 * costs one element and one slot, never a part of the guarantee, until all
 * POOL_SLACK spare slots are gone; labyrinth_mempool_resize() adds new ones.
 *
 * Chunks form a circle, are only added while the pool lives, and are searched
 * from where the last call found its bit: a few words usually, all at worst.
 */
#include <errno.h>
#include <limits.h>

#include "base/bits.h"
#include "base/fail.h"
#include "gfp/reclaim.h"
#include "gfp/scope.h"
#include "gfp/warn.h"
#include "labyrinth.h"
#include "os/os.h"
#include "page/event.h"

/* slots beyond min, for calls that are half-way */
enum { POOL_CHUNK = 64, POOL_SLACK = 32 };

/* what the kernel adds, and leaves out of the first attempt */
#define POOL_ADD  (LABYRINTH___GFP_NOMEMALLOC | LABYRINTH___GFP_NORETRY | LABYRINTH___GFP_NOWARN)
#define POOL_OMIT (LABYRINTH___GFP_DIRECT_RECLAIM | LABYRINTH___GFP_IO)

/*
 *   curr  kept elements; <= full bits of all chunks     0 .. min; more while min is lowered
 *   min   elements to keep; labyrinth_mempool_resize()  1 .. INT_MAX
 */
union pool_word {
	uint64_t raw;
	struct {
		uint64_t curr : 32;
		uint64_t min : 32;
	};
};
static_assert(sizeof(union pool_word) == 8, "a pool's counts must stay one machine word");

struct pool_chunk {
	lab_word_t full, empty; /* a slot that a call is at work on is in neither */
	lab_word_t next;	/* address of the next chunk in the circle */
	uint64_t nchunks;	/* that share the allocation that begins here; 0: inside one */
	lab_word_t element[POOL_CHUNK];
} LAB_LINE_ALIGNED;

struct labyrinth_mempool {
	lab_word_t word; /* union pool_word */
	lab_word_t room; /* <= empty bits of all chunks */
	lab_word_t hint; /* address of a chunk: search from here */
	labyrinth_mempool_alloc_t *alloc;
	labyrinth_mempool_free_t *free;
	void *data;
	size_t touch; /* bytes of an element that filling the pool makes resident */
	struct pool_chunk first;
};

struct slot {
	struct pool_chunk *chunk;
	unsigned int index;
};

static LAB_RESIDENT lab_word_t zero_told;
static LAB_RESIDENT lab_word_t sleep_told;

/* ---- transitions ---- */

static bool step_take(uint64_t *raw, uint64_t unused)
{
	union pool_word w = { .raw = *raw };

	(void)unused;
	if (!w.curr)
		return false;
	w.curr--;
	*raw = w.raw;
	return true;
}

static bool step_give(uint64_t *raw, uint64_t unused)
{
	union pool_word w = { .raw = *raw };

	(void)unused;
	if (w.curr >= w.min)
		return false;
	w.curr++;
	*raw = w.raw;
	return true;
}

static bool step_surplus(uint64_t *raw, uint64_t unused)
{
	union pool_word w = { .raw = *raw };

	(void)unused;
	if (w.curr <= w.min)
		return false;
	w.curr--;
	*raw = w.raw;
	return true;
}

static bool step_resize(uint64_t *raw, uint64_t min)
{
	union pool_word w = { .raw = *raw };

	w.min = (uint32_t)min;
	*raw = w.raw;
	return true;
}

static bool step_room(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	if (!*raw)
		return false;
	--*raw;
	return true;
}

static bool step_lowest_bit(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	if (!*raw)
		return false;
	*raw &= *raw - 1;
	return true;
}

static union pool_word word_of(const struct labyrinth_mempool *pool)
{
	return (union pool_word){ .raw = lab_word_get(&pool->word) };
}

/* ---- slots ---- */

static struct pool_chunk *next_of(const struct pool_chunk *chunk)
{
	/* acquire: pairs with circle_add() [mempool.next] */
	return (struct pool_chunk *)(uintptr_t)atomic_load_explicit(&chunk->next,
								    memory_order_acquire);
}

/*
 * A bit that the caller has paid for.  Lock-free: a round without one means
 * that others took some, and by the law of the pool ours exists.
 */
static struct slot slot_take(struct labyrinth_mempool *pool, bool full)
{
	struct pool_chunk *hint, *chunk;
	uint64_t old;

	/* acquire: pairs with the store below [mempool.hint] */
	hint = (struct pool_chunk *)(uintptr_t)atomic_load_explicit(&pool->hint,
								    memory_order_acquire);
	for (chunk = hint;; chunk = next_of(chunk)) {
		/* acquire: pairs with lab_bits_give(), for the element [pool.bits] */
		if (lab_word_step(full ? &chunk->full : &chunk->empty, &old, step_lowest_bit, 0,
				  memory_order_acquire, memory_order_relaxed))
			break;
	}
	if (chunk != hint)
		/* release: pairs with the load above [mempool.hint] */
		atomic_store_explicit(&pool->hint, (uintptr_t)chunk, memory_order_release);
	return (struct slot){ chunk, lab_ctz(old) };
}

/* the element of a full bit that is paid for */
static void *slot_clear(struct labyrinth_mempool *pool)
{
	struct slot slot = slot_take(pool, true);
	uint64_t element = lab_word_get(&slot.chunk->element[slot.index]);

	(void)lab_bits_give(&slot.chunk->empty, 1ull << slot.index);
	/* release: pairs with pool_keep() [mempool.room] */
	atomic_fetch_add_explicit(&pool->room, 1, memory_order_release);
	return (void *)(uintptr_t)element;
}

static void *pool_take(struct labyrinth_mempool *pool, lab_step_fn *step)
{
	uint64_t old;

	/* acquire: pairs with pool_keep(), for the bit [mempool.word] */
	if (!lab_word_step(&pool->word, &old, step, 0, memory_order_acquire, memory_order_relaxed))
		return NULL;
	return slot_clear(pool);
}

/* false: the pool has all it keeps, or no slot */
static bool pool_keep(struct labyrinth_mempool *pool, void *element)
{
	union pool_word now = word_of(pool);
	struct slot slot;
	uint64_t old;

	if (now.curr >= now.min)
		return false;
	/* acquire: pairs with slot_clear() and places_add(), for the bit [mempool.room] */
	if (!lab_word_step(&pool->room, &old, step_room, 0, memory_order_acquire,
			   memory_order_relaxed))
		return false;
	slot = slot_take(pool, false);
	lab_word_set(&slot.chunk->element[slot.index], (uintptr_t)element);
	(void)lab_bits_give(&slot.chunk->full, 1ull << slot.index);
	/* release: pairs with pool_take() [mempool.word] */
	if (!lab_word_step(&pool->word, &old, step_give, 0, memory_order_release,
			   memory_order_relaxed))
		pool->free(slot_clear(pool), pool->data);
	return true;
}

static void pool_give(struct labyrinth_mempool *pool, void *element)
{
	if (!pool_keep(pool, element))
		pool->free(element, pool->data);
}

/* ---- chunks: ordinary calls ---- */

static void circle_add(struct labyrinth_mempool *pool, struct pool_chunk *chunks, uint64_t n)
{
	uint64_t after, i;

	for (i = 0; i < n; i++) {
		lab_word_set(&chunks[i].empty, ~0ull);
		lab_word_set(&chunks[i].next, (uintptr_t)&chunks[i + 1]);
	}
	chunks[0].nchunks = n;
	after = lab_word_get(&pool->first.next);
	do {
		lab_word_set(&chunks[n - 1].next, after);
		/* release: pairs with next_of() [mempool.next] */
	} while (!atomic_compare_exchange_weak_explicit(&pool->first.next, &after,
							(uintptr_t)chunks, memory_order_release,
							memory_order_relaxed));
}

/* slots for @min elements and the slack; also for those that were lost */
static int places_add(struct labyrinth_mempool *pool, uint64_t min)
{
	uint64_t have = word_of(pool).curr + lab_word_get(&pool->room), n;
	struct pool_chunk *chunks;

	if (have >= min + POOL_SLACK)
		return 0;
	n = (min + POOL_SLACK - have + POOL_CHUNK - 1) / POOL_CHUNK;
	chunks = labyrinth_heap_memalign(LAB_LINE, n * sizeof(*chunks));
	if (!chunks)
		return -ENOMEM;
	lab_os_clear(chunks, n * sizeof(*chunks));
	circle_add(pool, chunks, n);
	/* release: pairs with pool_keep() [mempool.room] */
	atomic_fetch_add_explicit(&pool->room, n * POOL_CHUNK, memory_order_release);
	return 0;
}

/* an element that is had from the pool may be used without a fault */
static void element_touch(void *element, size_t bytes)
{
	size_t at;

	for (at = 0; at < bytes; at += LAB_PAGE_BYTES)
		lab_byte_set((lab_byte_t *)element + at, 0);
	if (bytes)
		lab_byte_set((lab_byte_t *)element + bytes - 1, 0);
}

static int pool_fill(struct labyrinth_mempool *pool)
{
	union pool_word now;
	void *element;

	for (now = word_of(pool); now.curr < now.min; now = word_of(pool)) {
		element = pool->alloc(LABYRINTH_GFP_KERNEL, pool->data);
		if (!element)
			return -ENOMEM;
		element_touch(element, pool->touch);
		if (!pool_keep(pool, element)) {
			/* others have filled it, or hold what slots there are */
			pool->free(element, pool->data);
			break;
		}
	}
	return 0;
}

static void chunk_empty(struct labyrinth_mempool *pool, struct pool_chunk *chunk)
{
	uint64_t full;

	for (full = lab_word_get(&chunk->full); full; full &= full - 1)
		pool->free((void *)(uintptr_t)lab_word_get(&chunk->element[lab_ctz(full)]),
			   pool->data);
}

LAB_PUBLIC void labyrinth_mempool_destroy(labyrinth_mempool_t *pool)
{
	struct pool_chunk *chunks, *next;
	uint64_t i;

	if (!pool)
		return;
	chunk_empty(pool, &pool->first);
	for (chunks = next_of(&pool->first); chunks != &pool->first; chunks = next) {
		for (i = 0; i < chunks->nchunks; i++)
			chunk_empty(pool, &chunks[i]);
		next = next_of(&chunks[chunks->nchunks - 1]);
		labyrinth_free(chunks);
	}
	labyrinth_free(pool);
}

static void *fail(int err)
{
	lab_os_set_errno(err);
	return NULL;
}

static labyrinth_mempool_t *pool_make(int min_nr, labyrinth_mempool_alloc_t *alloc,
				      labyrinth_mempool_free_t *free, void *data, size_t touch)
{
	struct labyrinth_mempool *pool;

	if (min_nr < 1 || !alloc || !free)
		return fail(EINVAL);
	pool = labyrinth_heap_memalign(LAB_LINE, sizeof(*pool));
	if (!pool)
		return fail(ENOMEM);
	lab_os_clear(pool, sizeof(*pool));
	pool->alloc = alloc;
	pool->free = free;
	pool->data = data;
	pool->touch = touch;
	lab_word_set(&pool->first.empty, ~0ull);
	lab_word_set(&pool->first.next, (uintptr_t)&pool->first);
	lab_word_set(&pool->hint, (uintptr_t)&pool->first);
	lab_word_set(&pool->room, POOL_CHUNK);
	lab_word_set(&pool->word, ((union pool_word){ .min = (uint32_t)min_nr }).raw);
	if (places_add(pool, (uint64_t)min_nr) == 0 && pool_fill(pool) == 0)
		return pool;
	labyrinth_mempool_destroy(pool);
	return fail(ENOMEM);
}

/* ---- the two usual kinds ---- */

static void *page_alloc(labyrinth_gfp_t gfp, void *order)
{
	return labyrinth_alloc_pages(gfp, (unsigned int)(uintptr_t)order);
}

static void page_free(void *page, void *order)
{
	labyrinth_free_pages(page, (unsigned int)(uintptr_t)order);
}

static void *object_alloc(labyrinth_gfp_t gfp, void *size)
{
	return labyrinth_malloc((uintptr_t)size, gfp);
}

static void object_free(void *object, void *size)
{
	(void)size;
	labyrinth_free(object);
}

LAB_PUBLIC labyrinth_mempool_t *labyrinth_mempool_create(int min_nr,
							 labyrinth_mempool_alloc_t *alloc,
							 labyrinth_mempool_free_t *free, void *data)
{
	return pool_make(min_nr, alloc, free, data, 0);
}

LAB_PUBLIC labyrinth_mempool_t *labyrinth_mempool_create_page_pool(int min_nr, unsigned int order)
{
	if (order > LABYRINTH_MAX_PAGE_ORDER)
		return fail(EINVAL);
	return pool_make(min_nr, page_alloc, page_free, (void *)(uintptr_t)order,
			 LAB_PAGE_BYTES << order);
}

LAB_PUBLIC labyrinth_mempool_t *labyrinth_mempool_create_kmalloc_pool(int min_nr, size_t size)
{
	return pool_make(min_nr, object_alloc, object_free, (void *)(uintptr_t)size, size);
}

/* ---- allocating and giving back ---- */

/* what the pool can mean by @gfp, as mempool_alloc() puts it right */
static labyrinth_gfp_t gfp_of(labyrinth_gfp_t gfp)
{
	if (gfp & LABYRINTH___GFP_DIRECT_RECLAIM && lab_scope_is_atomic()) {
		gfp &= ~LABYRINTH___GFP_DIRECT_RECLAIM;
		lab_event_add(LAB_EV_MIGHT_SLEEP, 1);
		lab_warn_once(
			&sleep_told, gfp, 0,
			"mempool_alloc that may wait, in an atomic section: it will not wait");
	}
	if (gfp & LABYRINTH___GFP_ZERO) {
		gfp &= ~LABYRINTH___GFP_ZERO;
		lab_event_add(LAB_EV_BAD_GFP, 1);
		lab_warn_once(&zero_told, gfp, 0,
			      "mempool_alloc with __GFP_ZERO: its elements are not cleared");
	}
	return gfp | POOL_ADD;
}

static void *pool_alloc(struct labyrinth_mempool *pool, labyrinth_gfp_t gfp)
{
	labyrinth_gfp_t now = gfp & ~POOL_OMIT;
	unsigned int turn = 0;
	void *element;

	for (;;) {
		element = pool->alloc(now, pool->data);
		if (!element)
			element = pool_take(pool, step_take);
		if (element)
			return element;
		if (now != gfp)
			now = gfp;
		else if (gfp & LABYRINTH___GFP_DIRECT_RECLAIM)
			lab_reclaim_wait(turn++);
		else
			return NULL;
	}
}

/* what alloc() and free() of the program do to errno is not the caller's affair */
static int errno_now(void)
{
	return lab_os_is_ready() ? errno : 0;
}

LAB_PUBLIC void *labyrinth_mempool_alloc(labyrinth_mempool_t *pool, labyrinth_gfp_t gfp)
{
	int before = errno_now();
	void *element;

	element = pool_alloc(pool, gfp_of(gfp));
	lab_os_set_errno(before);
	return element;
}

LAB_PUBLIC void *labyrinth_mempool_alloc_preallocated(labyrinth_mempool_t *pool)
{
	return pool_take(pool, step_take);
}

LAB_PUBLIC void labyrinth_mempool_free(void *element, labyrinth_mempool_t *pool)
{
	int before;

	if (!element)
		return;
	before = errno_now();
	pool_give(pool, element);
	lab_os_set_errno(before);
}

LAB_PUBLIC int labyrinth_mempool_resize(labyrinth_mempool_t *pool, int min_nr)
{
	void *element;
	uint64_t old;

	if (min_nr < 1)
		return -EINVAL;
	if (places_add(pool, (uint64_t)min_nr))
		return -ENOMEM;
	(void)lab_word_step(&pool->word, &old, step_resize, (uint64_t)min_nr, memory_order_relaxed,
			    memory_order_relaxed);
	while ((element = pool_take(pool, step_surplus)))
		pool->free(element, pool->data);
	return pool_fill(pool);
}

LAB_PUBLIC int labyrinth_mempool_curr_nr(const labyrinth_mempool_t *pool)
{
	return (int)word_of(pool).curr;
}
