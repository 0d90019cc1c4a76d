/* SPDX-License-Identifier: MIT */
/* What only the inside of the library tells: states to start in, the audit. */
#include "labyrinth.h"
#include "map/map.h"
#include "os/cpu.h"
#include "page/exclusive.h"
#include "page/reserve.h"
#include "pcp/pcp.h"
#include "slab/atomic.h"
#include "slab/cache.h"
#include "step.h"

enum { MAX_HOARD = 1024, HEAP_LIMIT = 24 << 8 };

/* frames and blocks that were taken away so that a request finds none */
static struct {
	lab_pfn_t pfn;
	uint64_t mask;
} hoard[MAX_HOARD];
static unsigned int nr_hoard;
/* blocks that make_list() set aside */
static int spare[256];
static unsigned int nr_spare;
static size_t claimed[MAX_HOARD];
static unsigned int nr_claimed;

unsigned int class_of(size_t size)
{
	return size > 3840 && size <= 4096 ? LAB_PCP_PAGE : lab_class_of(size);
}

static struct lab_pcp_stack *stack_of(unsigned int cls)
{
	return (void *)((char *)&lab_pcp_area[lab_cpu_now()] + lab_pcp_class[cls].stack);
}

unsigned int stack_count(unsigned int cls)
{
	return stack_of(cls)->count;
}

unsigned int stack_cap(unsigned int cls)
{
	return lab_pcp_class[cls].cap;
}

size_t stuck_bytes(void)
{
	size_t bytes = 0;
	unsigned int cls;

	for (cls = 1; cls < LAB_PCP_NR; cls++)
		if (stack_count(cls) == LAB_RSEQ_SHUT)
			/* by a drainer that was abandoned */
			bytes += (stack_of(cls)->held ? stack_of(cls)->held - 1u : 0) *
				 LAB_PAGE_BYTES;
		else if (lab_byte_get(&stack_of(cls)->busy))
			bytes += stack_count(cls) *
				 (cls < LAB_NR_CLASSES ? lab_class[cls].size
				  : cls > LAB_PCP_MAP  ? (cls - LAB_PCP_MAP + 1) * LAB_PAGE_BYTES
						       : LAB_PAGE_BYTES);
	return bytes;
}

/* ---- states ---- */

void make_warm(size_t size)
{
	drop(take(size));
	if (!stack_count(class_of(size)))
		fail("setup: the stack is not warm");
}

static void drain_stack(unsigned int cls, size_t size)
{
	while (stack_count(cls))
		(void)take_light(size);
}

/* the stack empty, and as many objects in use as there are */
void make_no_slab(size_t size)
{
	unsigned int cls = class_of(size);
	unsigned int nobj = lab_class[cls].nobj, turn;

	for (turn = 0; turn < 4096; turn++) {
		if (!stack_count(cls) && live_of_class(cls) == lab_cache_slabs(cls) * nobj)
			return;
		(void)take_light(size);
		drain_stack(cls, size);
	}
	fail("setup: the slabs of class %u do not get full", cls);
}

/* as make_no_slab(), and so many slabs that the next ones are a cluster */
void make_many_slabs(size_t size)
{
	unsigned int cls = class_of(size);

	(void)lab_heap_purge(false);
	while (lab_cache_slabs(cls) < 2u << LAB_CLUSTER_SHIFT)
		(void)take_light(size);
	make_no_slab(size);
}

static void give_to_slabs(void *const *entries, unsigned int n)
{
	while (n-- > 0)
		lab_cache_give(lab_mem_kind(entries[n]), entries[n]);
}

/* the stack empty, and half of the active slab free */
void make_active(size_t size)
{
	unsigned int cls = class_of(size), nobj = lab_class[cls].nobj, i;
	int ids[256];

	for (i = 0; i < nobj; i++)
		ids[i] = take_light(size);
	for (i = 0; i < nobj; i += 2)
		drop(ids[i]);
	(void)lab_pcp_drain_here(cls, cls, give_to_slabs);
	if (stack_count(cls) || live_of_class(cls) >= lab_cache_slabs(cls) * nobj)
		fail("setup: class %u has no slab with room, or a stack with objects", cls);
}

/*
 * No active slab, and three with free objects on the list.  All that is
 * in use of the middle one is in @spare, so that a handler can empty it, and
 * a sweep take it out from between the others.
 */
void make_list(size_t size)
{
	unsigned int cls = class_of(size), nobj = lab_class[cls].nobj, slab, i;
	int ids[3][256] = { 0 };

	make_no_slab(size);
	for (slab = 0; slab < 3; slab++)
		for (i = 0; i < nobj; i++)
			ids[slab][i] = take_light(size);
	make_no_slab(size);
	for (i = 0; i < nobj; i += 2)
		drop(ids[0][i]);
	drop(ids[1][0]);
	for (i = 0; i < nobj; i += 2)
		drop(ids[2][i]);
	lab_cache_trim(1, LAB_NR_CLASSES - 1, lab_pcp_drain_all);
	if (stack_count(cls))
		fail("setup: the stack is not empty");
	for (nr_spare = 0; nr_spare < nobj - 1; nr_spare++)
		spare[nr_spare] = ids[1][nr_spare + 1];
}

void drop_spare(void)
{
	while (nr_spare)
		drop(spare[--nr_spare]);
}

/* the stack at its capacity; @ids receives blocks that are still in use */
void fill_stack(size_t size, int *ids, unsigned int *n)
{
	unsigned int cls = class_of(size), cap = stack_cap(cls), i;
	int filler[512];

	for (i = 0; i < cap; i++)
		filler[i] = take_light(size);
	for (i = 0; i < *n; i++)
		ids[i] = take_light(size);
	for (i = 0; i < cap && stack_count(cls) < cap; i++)
		drop(filler[i]);
	if (stack_count(cls) != cap)
		fail("setup: the stack is not full: %u of %u", stack_count(cls), cap);
}

/* no page above the floor of an atomic request is left */
void exhaust_reserve(void)
{
	while (take_atomic(LABYRINTH_GFP_ATOMIC, 0) >= 0)
		;
}

void exhaust_heap(void)
{
	struct lab_zone *heap = &lab_zones[LAB_ZONE_HEAP];
	uint64_t managed = lab_word_get(&heap->managed);
	struct lab_frames got;

	while (lab_word_get(&heap->free)) {
		if (nr_hoard == MAX_HOARD)
			fail("setup: the hoard is full");
		if (!lab_heap_take_some(64, &got, 1))
			fail("setup: no memory");
		hoard[nr_hoard].pfn = got.pfn;
		hoard[nr_hoard++].mask = got.mask;
		if (lab_word_get(&heap->managed) != managed)
			fail("the heap grew though it had free frames: a hint was lost");
	}
}

/* the same, and no block of a section that could be mapped */
void exhaust_sections(void)
{
	size_t block, end = lab_nr_sections() * LAB_SECTION_BLOCKS;

	exhaust_heap();
	for (block = 0; block < end; block++)
		if (nr_claimed < MAX_HOARD && lab_block_claim(block, LAB_ZONE_HEAP, false))
			claimed[nr_claimed++] = block;
}

/* every free frame of the heap can be found */
void check_hints(void)
{
	unexhaust();
	exhaust_heap();
	unexhaust();
}

void unexhaust(void)
{
	while (nr_claimed)
		lab_block_release(claimed[--nr_claimed], LAB_ZONE_HEAP, LAB_BLOCK_UNMAPPED);
	while (nr_hoard) {
		nr_hoard--;
		lab_zone_give_mask(hoard[nr_hoard].pfn, hoard[nr_hoard].mask);
	}
}

static void drain_pages(void)
{
	unsigned int cls, n, i;
	void *page[64];

	lab_map_trim();
	for (cls = LAB_PCP_PAGE; cls < LAB_PCP_MAP; cls++)
		while ((n = lab_pcp_pop_many(cls, page, 64)))
			for (i = 0; i < n; i++) {
				if (cls == LAB_PCP_EXCL) {
					lab_excl_unstack(page[i]);
					continue;
				}
				lab_kind_set(lab_pfn_of(page[i]), LAB_KIND_FREE);
				lab_zone_give(lab_pfn_of(page[i]), 1);
			}
}

void settle(void)
{
	static unsigned int turn;

	unexhaust();
	nr_spare = 0;
	drop_all();
	(void)lab_atomic_shrink();
	drain_pages();
	if (turn++ % 16 == 0)
		(void)labyrinth_malloc_trim(0);
	else
		lab_cache_trim(1, LAB_NR_CLASSES - 1, lab_pcp_drain_all);
	if (lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed) > HEAP_LIMIT)
		(void)lab_heap_purge(true);
}

struct figures figures(void)
{
	struct labyrinth_zone_info info;
	struct figures f;
	int zone;

	for (zone = 0; zone < LABYRINTH_NR_ZONES; zone++) {
		(void)labyrinth_zone_info((enum labyrinth_zone)zone, &info);
		f.used[zone] = info.managed - info.free;
	}
	return f;
}

/* ---- audit ---- */

/* What the walk over all blocks adds up. */
struct sums {
	uint64_t free[LAB_NR_ZONES];
	uint64_t parked;
	uint64_t mapped;
	uint64_t slabs[LAB_CLASS_END];
	bool strict;
};

static lab_byte_t *live_byte(const void *object, uint8_t cls)
{
	if (lab_is_atomic_class(cls))
		return lab_live_byte(object, lab_class[cls].size < 128 ? LAB_LIVE16_SHIFT
								       : LAB_LIVE128_SHIFT);
	return lab_live_byte(object, lab_live_shift(cls));
}

static unsigned int bits_in(const lab_word_t *words, unsigned int n)
{
	unsigned int sum = 0;

	while (n-- > 0)
		sum += lab_popcount(lab_word_get(&words[n]));
	return sum;
}

static void audit_slab(lab_pfn_t pfn, uint8_t cls, struct sums *sums)
{
	struct lab_frame *frame = lab_frame_at(pfn);
	union lab_slab_word w = { .raw = lab_word_get(&frame->word) };
	unsigned int bits = bits_in(frame->bits, 4), i;

	/* whoever was to make the slab may have left in the middle of it */
	if (w.cls == 0 && !sums->strict)
		return;
	if (w.cls != cls)
		fail("frame %u serves class %u, its slab says %u", pfn, cls, (unsigned int)w.cls);
	sums->slabs[cls]++;
	if (w.free > bits || bits > lab_class[cls].nobj)
		fail("slab %u of class %u counts %u free, %u bits", pfn, cls, (unsigned int)w.free,
		     bits);
	if (!sums->strict)
		return;
	if (w.free != bits || bits != lab_class[cls].nobj || !w.listed)
		fail("slab %u of class %u is not all free: count %u, bits %u, listed %u", pfn, cls,
		     (unsigned int)w.free, bits, (unsigned int)w.listed);
	for (i = 0; i < lab_class[cls].nobj; i++) {
		char *object = (char *)lab_frame_address(pfn) + (size_t)i * lab_class[cls].size;

		if (lab_byte_get(live_byte(object, cls)))
			fail("object %p is free and marked live", (void *)object);
	}
}

static void audit_frame(lab_pfn_t pfn, bool is_free, bool heap, struct sums *sums)
{
	uint8_t kind = lab_byte_get(&lab_mem.kind[pfn]);

	sums->parked += kind == LAB_KIND_PARKED;
	if (is_free && kind != LAB_KIND_FREE)
		fail("frame %u is free and serves kind %u", pfn, kind);
	if (!is_free && heap && sums->strict && kind == LAB_KIND_FREE)
		fail("frame %u is lost", pfn);
	if (lab_is_atomic_class(kind) && heap)
		fail("frame %u of the heap serves an atomic class", pfn);
	if (lab_is_atomic_class(kind))
		audit_slab(pfn, kind, sums);
	else if (kind && kind < LAB_NR_CLASSES && pfn % (1u << lab_class[kind].order) == 0)
		audit_slab(pfn, kind, sums);
	else if (heap && sums->strict && kind >= LAB_NR_CLASSES)
		fail("frame %u of kind %u is still in use", pfn, kind);
}

static void audit_block(size_t index, struct sums *sums)
{
	struct lab_block *block = lab_block_at(index);
	union lab_block_word w = { .raw = lab_word_get(&block->word) };
	unsigned int bits = bits_in(block->bits, LAB_BLOCK_WORDS), f;

	if (w.whole && sums->strict)
		fail("block %zu is claimed by nobody", index);
	if (w.whole || !w.mapped)
		return;
	if (w.free > bits || (sums->strict && w.free != bits))
		fail("block %zu counts %u free, %u bits", index, (unsigned int)w.free, bits);
	sums->free[w.zone] += w.free;
	sums->mapped += w.zone == LAB_ZONE_HEAP ? LAB_BLOCK_FRAMES : 0;
	for (f = 0; f < LAB_BLOCK_FRAMES; f++)
		audit_frame((lab_pfn_t)(index * LAB_BLOCK_FRAMES + f),
			    lab_word_get(&block->bits[f / 64]) >> f % 64 & 1,
			    w.zone == LAB_ZONE_HEAP, sums);
}

/* the exclusive zone has a pool of its own, and owner bytes */
static void audit_exclusive(bool strict)
{
	struct lab_excl *excl = lab_excl_now();
	uint64_t free, bits;
	size_t page, live = 0;

	if (!lab_excl_is_ours())
		return;
	free = lab_word_get(&excl->zone.free);
	bits = bits_in(excl->bits, (unsigned int)excl->nwords);
	if (free > bits || (strict && free != bits))
		fail("the exclusive zone counts %lld free, %lld bits", (long long)free,
		     (long long)bits);
	for (page = 0; page < excl->bytes; page += LAB_PAGE_BYTES) {
		uint8_t owner = lab_byte_get(lab_excl_owner((char *)excl->base + page));
		size_t bit = excl->origin + page / LAB_PAGE_BYTES;

		live += owner >= LAB_EXCL_BODY;
		if (owner != LAB_EXCL_FREE && lab_word_get(&excl->bits[bit / 64]) >> bit % 64 & 1)
			fail("exclusive page %zu is free, its owner byte is %u",
			     page / LAB_PAGE_BYTES, owner);
	}
	if (strict && (live || free != lab_word_get(&excl->zone.managed)))
		fail("%zu exclusive pages are in use, %lld of %lld are free", live, (long long)free,
		     (long long)lab_word_get(&excl->zone.managed));
}

/* frames are marked before they are counted, and paid for before the mark is taken away */
static void audit_parked(uint64_t marked, bool strict)
{
	uint64_t counted = lab_word_get(&lab_zones[LAB_ZONE_RESERVE].parked);

	if (counted > marked || (strict && counted != marked))
		fail("the reserve says %lld parked, %lld are marked", (long long)counted,
		     (long long)marked);
}

static void audit_sums(const struct sums *sums)
{
	unsigned int zone, cls;

	for (zone = 0; zone < LAB_ZONE_EXCLUSIVE; zone++)
		if (sums->free[zone] != lab_word_get(&lab_zones[zone].free))
			fail("zone %u says %lld free, its blocks %lld", zone,
			     (long long)lab_word_get(&lab_zones[zone].free),
			     (long long)sums->free[zone]);
	if (sums->mapped != lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed))
		fail("the heap says %lld managed, its blocks %lld",
		     (long long)lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed),
		     (long long)sums->mapped);
	for (cls = 1; cls < LAB_NR_CLASSES; cls++)
		if (sums->slabs[cls] != lab_cache_slabs(cls))
			fail("class %u says %lld slabs, there are %lld", cls,
			     (long long)lab_cache_slabs(cls), (long long)sums->slabs[cls]);
	/* all objects were given back, and then the slabs */
	for (cls = LAB_CLASS_ATOMIC; cls < LAB_CLASS_END; cls++)
		if (sums->slabs[cls] || lab_atomic_slabs(cls))
			fail("atomic class %u says %lld slabs, there are %lld", cls,
			     (long long)lab_atomic_slabs(cls), (long long)sums->slabs[cls]);
}

void audit(bool strict)
{
	struct sums sums = { .strict = strict };
	size_t block, end = lab_nr_sections() * LAB_SECTION_BLOCKS;

	for (block = 0; block < end; block++)
		if (lab_byte_get(&lab_section_ready[block / LAB_SECTION_BLOCKS]))
			audit_block(block, &sums);
	audit_exclusive(strict);
	audit_parked(sums.parked, strict);
	if (strict)
		audit_sums(&sums);
}
