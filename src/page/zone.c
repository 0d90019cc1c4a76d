/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/probe.h"
#include "os/cpu.h"
#include "os/os.h"
#include "page/exclusive.h"
#include "page/reserve.h"
#include "page/search.h"
#include "page/thp.h"

struct lab_zone lab_zones[LAB_NR_ZONES];

static struct lab_zone *const heap = &lab_zones[LAB_ZONE_HEAP];

enum lab_zone_id lab_zone_of(lab_pfn_t pfn)
{
	union lab_block_word w;

	/* a frame in use holds its block's zone in place */
	w.raw = lab_word_get(&lab_block_at(pfn / LAB_BLOCK_FRAMES)->word);
	return (enum lab_zone_id)w.zone;
}

static void heap_took(unsigned int n, unsigned int nclean)
{
	lab_word_sub(&heap->free, n);
	lab_word_sub(&heap->dirty, n - nclean);
	lab_word_add(&heap->taken, n);
}

/* ---- growth ---- */

/* Grow by an eighth of what there is, so that big heaps make few calls. */
static size_t growth(void)
{
	size_t blocks = lab_word_get(&heap->managed) / LAB_BLOCK_FRAMES / 8;

	return blocks < 2 ? 2 : blocks > LAB_SECTION_BLOCKS ? LAB_SECTION_BLOCKS : blocks;
}

/* claim up to @want adjacent unmapped blocks of section @s; returns how many */
static size_t claim_unmapped(size_t s, size_t want, size_t *first)
{
	size_t at = s * LAB_SECTION_BLOCKS, end = at + LAB_SECTION_BLOCKS, n = 0;

	for (; at < end && n < want; at++) {
		if (lab_block_claim(at, LAB_ZONE_HEAP, false)) {
			if (n++ == 0)
				*first = at;
		} else if (n) {
			break;
		}
	}
	return n;
}

static void release_all(size_t first, size_t n, enum lab_block_fate fate)
{
	size_t i;

	for (i = first; i < first + n; i++) {
		if (fate == LAB_BLOCK_FREE) {
			lab_block_set_clean(i, 0, LAB_BLOCK_FRAMES);
			/* in this order: free is never more than managed */
			lab_word_add(&heap->managed, LAB_BLOCK_FRAMES);
			lab_word_add(&heap->free, LAB_BLOCK_FRAMES);
		}
		lab_block_release(i, LAB_ZONE_HEAP, fate);
		if (fate == LAB_BLOCK_FREE)
			lab_heap_offer(i);
	}
}

/* map the claimed blocks, half of them if all is refused, and so on */
static int map_claimed(size_t first, size_t n)
{
	int err;

	for (;;) {
		err = lab_os_map(
			(uintptr_t)lab_frame_address((lab_pfn_t)(first * LAB_BLOCK_FRAMES)),
			n << LAB_BLOCK_SHIFT);
		if (!err || n == 1)
			break;
		release_all(first + n / 2, n - n / 2, LAB_BLOCK_UNMAPPED);
		n /= 2;
	}
	LAB_PROBE2(heap_grow, n << LAB_BLOCK_SHIFT, err);
	if (!err)
		lab_thp_prefer(first, n, lab_word_get(&heap->managed));
	release_all(first, n,
		    !err	     ? LAB_BLOCK_FREE
		    : err == -EEXIST ? LAB_BLOCK_DEAD
				     : LAB_BLOCK_UNMAPPED);
	return err;
}

/* @cpu: only in sections that no other CPU took single frames from; LAB_NR_CPUS: in any */
static int map_some(size_t want, unsigned int cpu)
{
	size_t s, n, first = 0, nr;
	int err;

	if (!lab_mem.base) {
		err = lab_mem_init();
		if (err)
			return err;
	}
	nr = lab_nr_sections();
	for (s = 0; s < nr; s++) {
		if (!lab_section_is_ready(s) ||
		    (cpu < LAB_NR_CPUS && lab_section_is_shared(s, cpu)))
			continue;
		while ((n = claim_unmapped(s, want, &first))) {
			err = map_claimed(first, n);
			if (err != -EEXIST)
				return err;
		}
	}
	do {
		err = lab_section_grow(1, &s);
		if (err)
			return err;
		n = claim_unmapped(s, want, &first);
		err = n ? map_claimed(first, n) : -EEXIST;
	} while (err == -EEXIST);
	return err;
}

int lab_heap_map_some(size_t want)
{
	return map_some(want, LAB_NR_CPUS);
}

/* free frames that a search missed: another context has them in hand for a moment */
static bool has_free(const struct lab_want *want)
{
	return (int64_t)lab_word_get(&heap->free) >= (int64_t)lab_want_frames(want);
}

/* searches after growth was refused, before the caller gets NULL */
enum { LAST_TURNS = 4 };

/*
 * Where it is crowded a CPU that has no section to itself is better off with a new one.  A
 * section has its price in address space, 5.5 MiB for its tables; so not while as much of the
 * heap is free as is in use, or while few sections are well filled, and not where the system
 * refused: there it is to be left for those who have nothing else.
 */
enum { CHEAP_SECTIONS = 4, FILLED_SHIFT = 2 };

static lab_word_t refused; /* 1: the heap could not grow when it was tried last */

bool lab_heap_is_refused(void)
{
	return lab_word_get(&refused);
}

static bool may_have_own(void)
{
	uint64_t managed = lab_word_get(&heap->managed), free = lab_word_get(&heap->free);
	size_t sections = lab_nr_sections();

	return !lab_heap_is_refused() && free <= managed - free + LAB_SECTION_FRAMES &&
	       (int64_t)lab_word_get(&heap->dirty) <=
		       (int64_t)(LAB_BLOCK_FRAMES + (managed - free) / 8) &&
	       (sections < CHEAP_SECTIONS ||
		sections * LAB_SECTION_FRAMES >> FILLED_SHIFT <= managed);
}

static int grow(size_t want, unsigned int cpu)
{
	int err = map_some(want, cpu);

	if (lab_heap_is_refused() != (err != 0))
		lab_word_set(&refused, err != 0);
	return err;
}

static unsigned int heap_take_own(const struct lab_want *want, struct lab_frames *out)
{
	enum { OWN_BLOCKS = 2 };
	unsigned int got;

	if (!want->some || !lab_heap_is_crowded())
		return 0;
	got = lab_heap_search_own(want, out);
	if (got || !may_have_own() || grow(OWN_BLOCKS, lab_cpu_now()))
		return got;
	return lab_heap_search_own(want, out);
}

static unsigned int heap_take(const struct lab_want *want, struct lab_frames *out)
{
	unsigned int got, turns = 0, nclean, i;

	for (;;) {
		got = heap_take_own(want, out);
		if (!got)
			got = lab_heap_search(want, out);
		if (LAB_LIKELY(got))
			break;
		if (grow(growth(), LAB_NR_CPUS) == 0) {
			/* an ordinary slow path: a heap that grows has a reserve that grows */
			lab_zones_follow();
			continue;
		}
		/* another context may have given or grown meanwhile, or idle memory helps */
		got = lab_heap_search(want, out);
		if (got)
			break;
		if (turns++ >= LAST_TURNS || (!lab_heap_purge(true) && !has_free(want))) {
			lab_word_add(&heap->failed, 1);
			lab_reserve_fill(LAB_ZONE_RESERVE);
			return 0;
		}
	}
	for (i = 1, nclean = out->nclean; i < want->words && out[i].mask; i++)
		nclean += out[i].nclean;
	heap_took(got, nclean);
	return got;
}

/* ---- take and give ---- */

unsigned int lab_heap_take_some(unsigned int want_frames, struct lab_frames *out,
				unsigned int words)
{
	struct lab_want want = { .some = want_frames, .words = words };

	return heap_take(&want, out);
}

static bool take_run(unsigned int n, unsigned int align_order, bool slab, struct lab_frames *out)
{
	unsigned int order = lab_order_of(n);
	struct lab_want want = { .fit = align_order ? 0 : n,
				 .order = order > align_order ? order : align_order,
				 .slab = slab };

	if (!heap_take(&want, out))
		return false;
	if (want.fit)
		return true;
	/* the tail beyond @n was never anybody's: back it goes, still clean if it was */
	if (n < 1u << want.order) {
		unsigned int tail = (1u << want.order) - n;
		unsigned int clean = out->nclean == 1u << want.order ? tail : 0;

		if (clean)
			lab_block_set_clean(out->pfn / LAB_BLOCK_FRAMES,
					    out->pfn % LAB_BLOCK_FRAMES + n, tail);
		lab_zone_give(out->pfn + n, tail);
		lab_word_sub(&heap->dirty, clean);
		out->nclean = clean ? n : 0;
	}
	return true;
}

bool lab_heap_take_run(unsigned int n, unsigned int align_order, struct lab_frames *out)
{
	return take_run(n, align_order, false, out);
}

bool lab_heap_take_slab(unsigned int n, unsigned int align_order, struct lab_frames *out)
{
	return take_run(n, align_order, true, out);
}

bool lab_heap_extend(lab_pfn_t pfn, unsigned int n)
{
	return pfn % LAB_BLOCK_FRAMES && lab_heap_take_at(pfn, n);
}

bool lab_heap_take_at(lab_pfn_t pfn, unsigned int n)
{
	struct lab_frames got;
	unsigned int first = pfn % LAB_BLOCK_FRAMES;

	if (n > LAB_BLOCK_FRAMES - first)
		return false;
	if (!lab_block_take_at(pfn / LAB_BLOCK_FRAMES, LAB_ZONE_HEAP, first, n, &got)) {
		lab_heap_review(pfn / LAB_BLOCK_FRAMES);
		return false;
	}
	heap_took(n, got.nclean);
	return true;
}

static void gave(enum lab_zone_id zone, size_t block, unsigned int n)
{
	lab_word_add(&lab_zones[zone].free, n);
	if (zone != LAB_ZONE_HEAP)
		return;
	lab_word_add(&heap->dirty, n);
	if (!lab_heap_is_offered(block))
		lab_heap_offer(block);
}

/*
 * The zone is read before the frames go back: afterwards the block could be
 * claimed and serve another one.
 */
void lab_zone_give(lab_pfn_t pfn, unsigned int n)
{
	enum lab_zone_id zone = lab_zone_of(pfn);
	size_t block = pfn / LAB_BLOCK_FRAMES;

	lab_block_give(block, pfn % LAB_BLOCK_FRAMES, n);
	gave(zone, block, n);
}

void lab_zone_give_mask(lab_pfn_t pfn, uint64_t mask)
{
	enum lab_zone_id zone = lab_zone_of(pfn);
	size_t block = pfn / LAB_BLOCK_FRAMES;

	lab_block_give_mask(block, pfn % LAB_BLOCK_FRAMES / 64, mask);
	gave(zone, block, lab_popcount(mask));
}

/* raise the count of the block in place @at; its zone stands as long as we have not */
static void giving_settle(struct lab_giving *giving, unsigned int at)
{
	size_t block = giving->block[at];
	union lab_block_word w = { .raw = lab_word_get(&lab_block_at(block)->word) };
	unsigned int n = giving->n[at];

	giving->n[at] = 0;
	giving->of_zone[w.zone] += n;
	lab_block_count(block, n);
	if (w.zone == LAB_ZONE_HEAP && !lab_heap_is_offered(block))
		lab_heap_offer(block);
}

void lab_zone_give_part(struct lab_giving *giving, lab_pfn_t pfn, uint64_t mask)
{
	uint32_t block = pfn / LAB_BLOCK_FRAMES;
	unsigned int at = block % LAB_GIVING_NR;

	if (giving->block[at] != block && giving->n[at])
		giving_settle(giving, at);
	lab_block_give_bits(block, pfn % LAB_BLOCK_FRAMES / 64, mask);
	giving->block[at] = block;
	giving->n[at] = (uint16_t)(giving->n[at] + lab_popcount(mask));
}

void lab_zone_give_rest(struct lab_giving *giving)
{
	unsigned int at, zone;

	for (at = 0; at < LAB_GIVING_NR; at++)
		if (giving->n[at])
			giving_settle(giving, at);
	for (zone = 0; zone < LAB_NR_ZONES; zone++) {
		if (!giving->of_zone[zone])
			continue;
		lab_word_add(&lab_zones[zone].free, giving->of_zone[zone]);
		if (zone == LAB_ZONE_HEAP)
			lab_word_add(&heap->dirty, giving->of_zone[zone]);
		giving->of_zone[zone] = 0;
	}
}
