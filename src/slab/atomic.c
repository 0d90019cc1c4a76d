/* SPDX-License-Identifier: MIT */
#include "slab/atomic.h"
#include "base/lifo.h"
#include "page/event.h"
#include "page/reserve.h"
#include "slab/large.h"

/*
 * How many of the partial slabs of a class are looked at, to find those that
 * are all free: by one free, and by one request that has to fail without them.
 */
enum { SWEEP_STEP = 8, SHRINK_STEP = 256 };

/*
 * One class.  Requests take from the active slab, which is shared: any context
 * may take from it at any time.  Used up, another of the partial list takes
 * its place.
 *
 * The partial slabs are on two lists.  Slabs are put on partial[sweep & 1]; a
 * sweep takes them from the other one, gives back what is all free and puts
 * the rest there, one at a time; when the other is empty they change places.
 */
struct cache {
	struct lab_lifo partial[2];
	lab_word_t active; /* 1 + its frame; 0: none */
	lab_word_t sweep;
	lab_word_t nslabs;
	lab_word_t idle;	 /* nonzero: some slab may be all free */
	lab_word_t taken, given; /* objects, ever */
} LAB_LINE_ALIGNED;

static struct cache caches[LAB_NR_ATOMIC];

/* the class of a size, by steps of 16 bytes */
#define C(s)                                                                                       \
	((s) <= 16     ? 0                                                                         \
	 : (s) <= 32   ? 1                                                                         \
	 : (s) <= 48   ? 2                                                                         \
	 : (s) <= 64   ? 3                                                                         \
	 : (s) <= 96   ? 4                                                                         \
	 : (s) <= 128  ? 5                                                                         \
	 : (s) <= 192  ? 6                                                                         \
	 : (s) <= 256  ? 7                                                                         \
	 : (s) <= 336  ? 8                                                                         \
	 : (s) <= 400  ? 9                                                                         \
	 : (s) <= 512  ? 10                                                                        \
	 : (s) <= 672  ? 11                                                                        \
	 : (s) <= 816  ? 12                                                                        \
	 : (s) <= 1024 ? 13                                                                        \
	 : (s) <= 1360 ? 14                                                                        \
		       : 15)
#define C4(i)  C((i)*16), C(((i) + 1) * 16), C(((i) + 2) * 16), C(((i) + 3) * 16)
#define C16(i) C4(i), C4((i) + 4), C4((i) + 8), C4((i) + 12)
#define C64(i) C16(i), C16((i) + 16), C16((i) + 32), C16((i) + 48)

static const uint8_t class_of_size[LAB_ATOMIC_MAX / 16 + 1] = { 0, C64(1), C64(65) };

static struct cache *cache_of(unsigned int cls)
{
	return &caches[cls - LAB_CLASS_ATOMIC];
}

static lab_word_t *slab_link(uint32_t pfn)
{
	return &lab_frame_at(pfn)->next;
}

static lab_byte_t *live_byte(const void *ptr, unsigned int cls)
{
	return lab_live_byte(ptr, lab_class[cls].size < 128 ? LAB_LIVE16_SHIFT : LAB_LIVE128_SHIFT);
}

/* else a live byte of ours says nothing about @ptr, as lab_live_marked() has it */
static bool is_aligned(const void *ptr)
{
	return (uintptr_t)ptr % 16 == 0;
}

static bool is_all_free(unsigned int cls, lab_pfn_t pfn)
{
	union lab_slab_word w = { .raw = lab_word_get(&lab_frame_at(pfn)->word) };

	return w.free == lab_class[cls].nobj;
}

/* a write that changes nothing, so that the next one takes no page fault */
static void touch(lab_word_t *word)
{
	(void)lab_word_swap(word, 0, 0);
}

/* the linker's names for the words of LAB_RESIDENT */
extern LAB_HIDDEN lab_word_t __start_lab_resident[], __stop_lab_resident[];

LAB_STARTUP void lab_atomic_init(void)
{
	lab_word_t *word;
	unsigned int i;

	for (word = __start_lab_resident; word < __stop_lab_resident; word++)
		touch(word);
	for (i = 0; i < LAB_NR_ATOMIC; i++)
		touch(&caches[i].active);
	for (i = 0; i < LAB_NR_EVENTS; i++)
		touch(&lab_events[i]);
}

/* ---- lists ---- */

static void list_slab(unsigned int cls, lab_pfn_t pfn)
{
	struct cache *cache = cache_of(cls);

	lab_lifo_push(&cache->partial[lab_word_get(&cache->sweep) & 1], pfn, slab_link);
	/* its last object may have come back while we had it */
	if (is_all_free(cls, pfn))
		lab_word_set(&cache->idle, 1);
}

static bool unlist_slab(unsigned int cls, lab_pfn_t *pfn)
{
	struct cache *cache = cache_of(cls);
	unsigned int at = lab_word_get(&cache->sweep) & 1;

	return lab_lifo_pop(&cache->partial[at], pfn, slab_link) ||
	       lab_lifo_pop(&cache->partial[!at], pfn, slab_link);
}

/* ---- giving slabs back ---- */

/* the caller is responsible for the slab, and if it has objects stays so */
static bool retire_slab(unsigned int cls, lab_pfn_t pfn)
{
	if (!lab_slab_retire(pfn))
		return false;
	lab_word_sub(&cache_of(cls)->nslabs, 1);
	lab_zone_give(pfn, 1);
	return true;
}

/* look at up to @n of the partial slabs; returns how many went back */
static size_t sweep(unsigned int cls, uint64_t n)
{
	struct cache *cache = cache_of(cls);
	size_t gone = 0;
	lab_pfn_t pfn;

	while (n-- > 0) {
		uint64_t turn = lab_word_get(&cache->sweep);

		if (!lab_lifo_pop(&cache->partial[!(turn & 1)], &pfn, slab_link))
			(void)lab_word_swap(&cache->sweep, turn, turn + 1);
		else if (retire_slab(cls, pfn))
			gone++;
		else
			list_slab(cls, pfn);
	}
	return gone;
}

/* the active slab, if it is all free */
static size_t retire_active(unsigned int cls)
{
	struct cache *cache = cache_of(cls);
	uint64_t seen = lab_word_get(&cache->active);
	lab_pfn_t pfn = (lab_pfn_t)(seen - 1);

	if (!seen || !is_all_free(cls, pfn) || !lab_word_swap(&cache->active, seen, 0))
		return 0;
	if (retire_slab(cls, pfn))
		return 1;
	list_slab(cls, pfn);
	return 0;
}

static size_t shrink_class(unsigned int cls, uint64_t most)
{
	struct cache *cache = cache_of(cls);
	/* the lists change places on the way, so some are looked at twice */
	uint64_t n = 2 * lab_word_get(&cache->nslabs) + 2;

	/* first: what becomes all free from here on is noted again */
	lab_word_set(&cache->idle, n > most);
	return retire_active(cls) + sweep(cls, n < most ? n : most);
}

size_t lab_atomic_shrink(void)
{
	unsigned int cls;
	size_t gone = 0;

	for (cls = LAB_CLASS_ATOMIC; cls < LAB_CLASS_END; cls++)
		gone += shrink_class(cls, UINT64_MAX);
	return gone;
}

size_t lab_atomic_shrink_some(void)
{
	unsigned int cls;
	size_t gone = 0;

	for (cls = LAB_CLASS_ATOMIC; cls < LAB_CLASS_END; cls++)
		if (lab_word_get(&cache_of(cls)->idle))
			gone += shrink_class(cls, SHRINK_STEP);
	return gone;
}

LAB_STARTUP void lab_atomic_export(struct lab_export *to)
{
	to->atomics =
		(struct lab_export_array){ (const char *)caches, LAB_NR_ATOMIC, sizeof(*caches) };
	to->atomic_slabs = offsetof(struct cache, nslabs);
	to->atomic_taken = offsetof(struct cache, taken);
	to->atomic_given = offsetof(struct cache, given);
}

uint64_t lab_atomic_slabs(unsigned int cls)
{
	return lab_word_get(&cache_of(cls)->nslabs);
}

/* ---- taking ---- */

static bool take_frames(unsigned int order, uint64_t floor, struct lab_frames *out)
{
	lab_reserve_draw();
	return lab_reserve_take(LAB_ZONE_RESERVE, order, floor, out) ||
	       (lab_atomic_shrink_some() && lab_reserve_take(LAB_ZONE_RESERVE, order, floor, out));
}

static bool new_slab(unsigned int cls, uint64_t floor, lab_pfn_t *pfn)
{
	struct lab_frames frames;

	if (!take_frames(0, floor, &frames))
		return false;
	*pfn = frames.pfn;
	lab_slab_make(frames.pfn, cls);
	lab_word_add(&cache_of(cls)->nslabs, 1);
	return true;
}

/* the active slab, @seen, is used up or gone: put another there; false: there is none */
static bool replace_active(unsigned int cls, uint64_t seen, uint64_t floor)
{
	struct cache *cache = cache_of(cls);
	lab_pfn_t pfn;

	if (!unlist_slab(cls, &pfn) && !new_slab(cls, floor, &pfn))
		/* another context may have put one there meanwhile */
		return lab_word_get(&cache->active) != seen;
	if (!lab_word_swap(&cache->active, seen, pfn + 1ull)) {
		list_slab(cls, pfn);
		return true;
	}
	if (seen && !lab_slab_leave((lab_pfn_t)(seen - 1)))
		list_slab(cls, (lab_pfn_t)(seen - 1));
	return true;
}

static void *object_alloc(unsigned int cls, uint64_t floor)
{
	struct cache *cache = cache_of(cls);
	uint64_t seen, mask;
	char *first, *ptr;

	for (;;) {
		seen = lab_word_get(&cache->active);
		if (LAB_LIKELY(seen) && LAB_LIKELY(lab_slab_reserve((lab_pfn_t)(seen - 1), cls, 1)))
			break;
		if (!replace_active(cls, seen, floor))
			return NULL;
	}
	lab_word_add(&cache->taken, 1);
	mask = lab_slab_collect((lab_pfn_t)(seen - 1), cls, 1, &first);
	ptr = first + (size_t)lab_ctz(mask) * lab_class[cls].size;
	lab_byte_set(live_byte(ptr, cls), lab_live_marked(ptr));
	return ptr;
}

static void *run_alloc(size_t size, size_t align, uint64_t floor)
{
	unsigned int n, order, align_order;
	struct lab_frames frames;

	if (size > 1ul << LAB_BLOCK_SHIFT || align > 1ul << LAB_BLOCK_SHIFT)
		return NULL;
	n = (unsigned int)((size + LAB_PAGE_BYTES - 1) >> LAB_PAGE_SHIFT);
	align_order = align > LAB_PAGE_BYTES ? lab_log2(align) - LAB_PAGE_SHIFT : 0;
	order = lab_order_of(n);
	if (order < align_order)
		order = align_order;
	if (!take_frames(order, floor, &frames))
		return NULL;
	if (n < 1u << order)
		lab_zone_give(frames.pfn + n, (1u << order) - n);
	return lab_large_make(frames.pfn, n);
}

void *lab_atomic_alloc(size_t size, size_t align, uint64_t floor)
{
	unsigned int cls;

	size += !size;
	if (size > LAB_ATOMIC_MAX || align > LAB_ATOMIC_MAX)
		return run_alloc(size, align, floor);
	cls = LAB_CLASS_ATOMIC + class_of_size[(size + 15) / 16];
	/* a frame's objects are aligned to what divides their size; 2048 does for all */
	while (LAB_UNLIKELY(lab_class[cls].size & (align - 1)))
		cls++;
	return object_alloc(cls, floor);
}

/* ---- giving ---- */

/* one slab without an object in use stays, the active one, while there are plenty */
static void settle_all_free(unsigned int cls, lab_pfn_t pfn)
{
	struct lab_zone *zone = &lab_zones[LAB_ZONE_RESERVE];
	struct cache *cache = cache_of(cls);

	lab_word_set(&cache->idle, 1);
	if (lab_word_get(&cache->active) != pfn + 1ull)
		(void)sweep(cls, SWEEP_STEP);
	else if (lab_word_get(&zone->free) < lab_word_get(&zone->low))
		(void)retire_active(cls);
}

bool lab_atomic_is_live(const void *ptr, unsigned int cls)
{
	return is_aligned(ptr) && lab_byte_get(live_byte(ptr, cls)) == lab_live_marked(ptr);
}

bool lab_atomic_hide(void *ptr, unsigned int cls)
{
	uint8_t live = lab_live_marked(ptr);

	return is_aligned(ptr) &&
	       atomic_compare_exchange_strong_explicit(live_byte(ptr, cls), &live, 0,
						       memory_order_relaxed, memory_order_relaxed);
}

void lab_atomic_show(void *ptr, unsigned int cls)
{
	lab_byte_set(live_byte(ptr, cls), lab_live_marked(ptr));
}

bool lab_atomic_free(void *ptr, unsigned int cls)
{
	unsigned int index = lab_slab_index(ptr, cls);
	lab_pfn_t pfn = lab_pfn_of(ptr);

	if (!lab_atomic_hide(ptr, cls))
		return false;
	lab_word_add(&cache_of(cls)->given, 1);
	switch (lab_slab_give(pfn, index / 64, 1ull << index % 64)) {
	case LAB_SLAB_LIST_IT:
		list_slab(cls, pfn);
		break;
	case LAB_SLAB_ALL_FREE:
		settle_all_free(cls, pfn);
		break;
	default:
		break;
	}
	return true;
}
