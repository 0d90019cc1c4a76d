/* SPDX-License-Identifier: MIT */
#include "slab/cache.h"
#include "base/lifo.h"
#include "base/probe.h"
#include "page/zone.h"
#include "pcp/flow.h"

/*
 * Partial slabs wait on one of two lists.  Requests pop from both; a sweep
 * pops from one, retires what is all free, and pushes the rest on the other,
 * so that it holds one slab at a time: abandoned, it loses one.
 */
struct cache {
	struct lab_lifo partial[2];
	lab_word_t sweep; /* parity: which list is swept next */
	lab_word_t nslabs;
	lab_word_t all_free; /* slabs that became all free since the last sweep */
} LAB_LINE_ALIGNED;

static struct cache caches[LAB_NR_CLASSES];

/*
 * 1 + first frame of the slab that a CPU takes from.  Shared, not owned: any
 * context may take from it at any time, and whoever finds it empty replaces
 * it.
 */
static lab_word_t active[LAB_NR_CPUS][LAB_NR_CLASSES];

static lab_word_t *slab_link(uint32_t pfn)
{
	return &lab_frame_at(pfn)->next;
}

static void list_slab(unsigned int cls, lab_pfn_t pfn)
{
	struct cache *cache = &caches[cls];

	lab_lifo_push(&cache->partial[lab_word_get(&cache->sweep) & 1], pfn, slab_link);
}

static bool unlist_slab(unsigned int cls, lab_pfn_t *pfn)
{
	struct cache *cache = &caches[cls];
	unsigned int at = lab_word_get(&cache->sweep) & 1;

	return lab_lifo_pop(&cache->partial[at], pfn, slab_link) ||
	       lab_lifo_pop(&cache->partial[!at], pfn, slab_link);
}

/* ---- retirement ---- */

/* frames of slabs without an object in use that make a sweep worth while */
enum { WORTH_FRAMES = 8 };

/* true if the slab is no more; else the caller stays responsible */
static bool retire_slab(unsigned int cls, lab_pfn_t pfn)
{
	if (!lab_slab_retire(pfn))
		return false;
	lab_word_sub(&caches[cls].nslabs, 1);
	lab_zone_give(pfn, 1u << lab_class[cls].order);
	return true;
}

/* @keep slabs that are all free may stay, for the next requests */
static void sweep(unsigned int cls, uint64_t keep)
{
	struct cache *cache = &caches[cls];
	uint64_t from = lab_word_add(&cache->sweep, 1) & 1;
	uint64_t left = lab_word_get(&cache->nslabs);
	lab_pfn_t pfn;

	lab_word_set(&cache->all_free, 0);
	while (left-- > 0 && lab_lifo_pop(&cache->partial[from], &pfn, slab_link)) {
		union lab_slab_word w = { .raw = lab_word_get(&lab_frame_at(pfn)->word) };

		if (w.free == lab_class[cls].nobj) {
			if (keep)
				keep--;
			else if (retire_slab(cls, pfn))
				continue;
		}
		lab_lifo_push(&cache->partial[!from], pfn, slab_link);
	}
}

/*
 * A sweep costs as much as the list is long: let an eighth of it be worth it, and
 * 32 KiB.  Half of these stay: what a program takes and drops again and again is
 * not cut up and put together each time.
 */
static void note_all_free(unsigned int cls)
{
	struct cache *cache = &caches[cls];
	uint64_t n = lab_word_add(&cache->all_free, 1) + 1;
	uint64_t some = WORTH_FRAMES >> lab_class[cls].order;

	if (n >= (some < 2 ? 2 : some) && n * 8 >= lab_word_get(&cache->nslabs))
		sweep(cls, some / 2);
}

static void settle_gift(unsigned int cls, lab_pfn_t pfn, enum lab_slab_gift gift)
{
	if (gift == LAB_SLAB_LIST_IT)
		list_slab(cls, pfn);
	else if (gift == LAB_SLAB_ALL_FREE)
		note_all_free(cls);
}

/* ---- taking ---- */

/*
 * A class of one frame or two to a slab grows by clusters of slabs, up to 64 KiB each, when
 * it has many: slabs that lie scattered cost a walk through page tables which are scattered
 * too (measured: Lua 0.90 of the time).  By a sixteenth of what it has, and not while as
 * much as an eighth of it lies idle: holes in used memory are filled first.
 */
enum { CLUSTER_FRAMES = 16, IDLE_SHIFT = 3, CLUSTER_ORDER = 1 };

static unsigned int cluster(unsigned int cls)
{
	unsigned int order = lab_class[cls].order, most = CLUSTER_FRAMES >> order;
	uint64_t have = lab_word_get(&caches[cls].nslabs), n = have >> LAB_CLUSTER_SHIFT;
	int64_t idle = (int64_t)lab_word_get(&lab_zones[LAB_ZONE_HEAP].dirty);

	if (n < 2 || order > CLUSTER_ORDER || idle > (int64_t)(have << order >> IDLE_SHIFT))
		return 1;
	return n < most ? (unsigned int)n : most;
}

/* a slab for the active slot; others that come with it are listed, the lowest on top */
static bool new_slab(unsigned int cls, lab_pfn_t *pfn)
{
	unsigned int order = lab_class[cls].order, n = cluster(cls);
	struct lab_frames frames;

	while (!lab_heap_take_slab(n << order, order, &frames)) {
		if (n == 1)
			return false;
		n = 1;
	}
	lab_word_add(&caches[cls].nslabs, n);
	while (--n > 0) {
		lab_slab_make(frames.pfn + (n << order), cls);
		list_slab(cls, frames.pfn + (n << order));
	}
	*pfn = frames.pfn;
	lab_slab_make(frames.pfn, cls);
	return true;
}

/* the slab that was seen in the slot is no CPU's any more */
static void vacate(unsigned int cls, lab_word_t *slot, uint64_t seen)
{
	lab_pfn_t pfn = (lab_pfn_t)(seen - 1);

	if (seen && lab_word_swap(slot, seen, 0) && !lab_slab_leave(pfn))
		list_slab(cls, pfn);
}

/* the slab in the slot is used up, or is none of ours: put another there */
static bool replace_active(unsigned int cls, lab_word_t *slot, uint64_t seen)
{
	lab_pfn_t pfn;

	vacate(cls, slot, seen);
	if (!unlist_slab(cls, &pfn) && !new_slab(cls, &pfn))
		return false;
	if (!lab_word_swap(slot, 0, pfn + 1ull))
		list_slab(cls, pfn);
	return true;
}

/* ---- stacks and slabs ---- */

/*
 * Stack the objects of @mask so that those which malloc() returns one after the other
 * share no cache line: threads may be given one each, to write there again and again.
 * Return: what found no room.
 */
static uint64_t push_apart(unsigned int cls, char *first, uint32_t size, uint64_t mask)
{
	static const uint64_t every[] = { ~0ull, 0x5555555555555555ull, 0x1111111111111111ull };
	unsigned int log = size <= 16 ? 2 : size < LAB_LINE, i;
	uint64_t left = 0;

	for (i = 1u << log; i-- > 0;)
		if (mask & every[log] << i)
			left |= lab_pcp_push_mask(cls, first, size, mask & every[log] << i);
	return left;
}

/* stack all but one of the objects; what finds no room goes back to the slab */
static void *stack_objects(unsigned int cls, lab_pfn_t pfn, char *first, uint64_t mask,
			   void *result)
{
	uint32_t size = lab_class[cls].size;
	size_t offset = (size_t)(first - (char *)lab_frame_address(pfn));

	if (!result) {
		result = first + (size_t)lab_ctz(mask) * size;
		mask &= mask - 1;
	}
	if (mask)
		mask = push_apart(cls, first, size, mask);
	if (mask) {
		settle_gift(cls, pfn, lab_slab_give(pfn, (unsigned int)(offset / size / 64), mask));
		lab_flow_gave(cls, lab_popcount(mask));
	}
	return result;
}

void *lab_cache_alloc(unsigned int cls)
{
	unsigned int want = lab_pcp_is_usable(cls) ? lab_pcp_batch(cls) : 1, n;
	void *result = NULL;

	if (want > lab_class[cls].nobj)
		want = lab_class[cls].nobj;
	for (;;) {
		lab_word_t *slot = &active[lab_pcp_cpu()][cls];
		uint64_t seen = lab_word_get(slot);
		lab_pfn_t pfn = (lab_pfn_t)(seen - 1);

		n = seen ? lab_slab_reserve(pfn, cls, want) : 0;
		if (n)
			lab_flow_took(cls, n);
		while (n > 0) {
			char *first;
			uint64_t mask = lab_slab_collect(pfn, cls, n, &first);

			n -= lab_popcount(mask);
			result = stack_objects(cls, pfn, first, mask, result);
		}
		if (LAB_LIKELY(result)) {
			LAB_PROBE2(refill, cls, lab_class[cls].size);
			return result;
		}
		if (!replace_active(cls, slot, seen))
			return NULL;
	}
}

/* objects on their way back, gathered as long as they share a bitmap word */
struct gather {
	unsigned int n; /* of all words */
	uintptr_t slab; /* address of the one they lie in */
	unsigned int word;
	uint64_t mask;
};

static void gather_flush(unsigned int cls, const struct gather *g)
{
	lab_pfn_t pfn = lab_pfn_of((void *)g->slab);

	if (g->mask)
		settle_gift(cls, pfn, lab_slab_give(pfn, g->word, g->mask));
}

static struct gather gather_many(unsigned int cls, struct gather g, void *const *ptr,
				 unsigned int n)
{
	const uint64_t recip = lab_class[cls].recip;
	const uintptr_t bytes = LAB_PAGE_BYTES << lab_class[cls].order;
	unsigned int i, index;
	uintptr_t offset, slab = g.slab;

	/* their slabs' words are cold where frees are far apart: ask for all of them first */
	for (i = 0; i < n; i++) {
		if ((uintptr_t)ptr[i] - slab < bytes)
			continue;
		slab = (uintptr_t)lab_frame_address(lab_slab_of(ptr[i], cls));
		__builtin_prefetch(lab_frame_at(lab_pfn_of((void *)slab)), 1);
	}
	for (i = 0; i < n; i++) {
		offset = (uintptr_t)ptr[i] - g.slab;
		if (offset >= bytes) {
			gather_flush(cls, &g);
			g.slab = (uintptr_t)lab_frame_address(lab_slab_of(ptr[i], cls));
			g.mask = 0;
			offset = (uintptr_t)ptr[i] - g.slab;
		}
		index = (unsigned int)(offset * recip >> LAB_RECIP_SHIFT);
		if (index / 64 != g.word) {
			gather_flush(cls, &g);
			g.word = index / 64;
			g.mask = 0;
		}
		g.mask |= 1ull << index % 64;
	}
	g.n += n;
	return g;
}

/* stack space for this many pointers is what a flush may cost */
enum { FLUSH_CHUNK = 32 };

/* @ptr, and up to @n objects from the stack, to their slabs */
static void flush_stack(unsigned int cls, void *ptr, unsigned int n)
{
	struct gather g = { .mask = 0 };
	void *chunk[FLUSH_CHUNK];
	unsigned int got;

	g = gather_many(cls, g, &ptr, 1);
	for (; n > 0; n -= got) {
		got = lab_pcp_pop_many(cls, chunk, n < FLUSH_CHUNK ? n : FLUSH_CHUNK);
		if (!got)
			break;
		g = gather_many(cls, g, chunk, got);
	}
	gather_flush(cls, &g);
	lab_flow_gave(cls, g.n);
}

void lab_cache_free(unsigned int cls, void *ptr)
{
	LAB_PROBE2(flush, cls, lab_class[cls].size);
	flush_stack(cls, ptr, lab_pcp_batch(cls));
}

void lab_cache_give(unsigned int cls, void *ptr)
{
	lab_pfn_t pfn = lab_slab_of(ptr, cls);
	unsigned int index = lab_slab_index(ptr, cls);
	enum lab_slab_gift gift = lab_slab_give(pfn, index / 64, 1ull << index % 64);

	lab_flow_gave(cls, 1);
	if (gift == LAB_SLAB_LIST_IT)
		list_slab(cls, pfn);
	else if (gift == LAB_SLAB_ALL_FREE)
		lab_word_add(&caches[cls].all_free, 1);
}

/* fork() by a handler amid a push leaves a child an empty slot */
static void give_objects(void *const *ptr, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (ptr[i])
			lab_cache_give(lab_mem_kind(ptr[i]), ptr[i]);
}

void lab_cache_trim(unsigned int first, unsigned int last, lab_pcp_drain_t *drain)
{
	unsigned int cls, cpu, nr = lab_cpus_possible();

	(void)drain(first, last, give_objects);
	for (cls = first; cls <= last; cls++) {
		for (cpu = 0; cpu < nr; cpu++)
			vacate(cls, &active[cpu][cls], lab_word_get(&active[cpu][cls]));
		sweep(cls, 0);
		sweep(cls, 0);
	}
}

void lab_cache_export(struct lab_export *to)
{
	to->caches =
		(struct lab_export_array){ (const char *)caches, LAB_NR_CLASSES, sizeof(*caches) };
	to->cache_slabs = offsetof(struct cache, nslabs);
}

uint64_t lab_cache_slabs(unsigned int cls)
{
	return lab_word_get(&caches[cls].nslabs);
}
