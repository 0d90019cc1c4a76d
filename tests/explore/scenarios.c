/* SPDX-License-Identifier: MIT */
/* What is explored: the stack of slabs, slabs, blocks, zones, resident zones. */
#include "base/lifo.h"
#include "os/os.h"
#include "own.h"
#include "page/exclusive.h"
#include "page/highatomic.h"
#include "page/reserve.h"
#include "slab/slab.h"

/* ---- lifo: the tagged stack ---- */

static struct lab_lifo lifo;
static lab_word_t links[8];

static lab_word_t *link_of(uint32_t index)
{
	return &links[index];
}

static void push(uint32_t index)
{
	gone(index);
	lab_lifo_push(&lifo, index, link_of);
}

static bool pop(uint32_t *index)
{
	if (!lab_lifo_pop(&lifo, index, link_of))
		return false;
	got(*index);
	return true;
}

static void set_up_lifo(void)
{
	uint32_t i;

	for (i = 0; i < 3; i++)
		lab_lifo_push(&lifo, i, link_of);
}

static void lifo_back(void)
{
	uint32_t a, b;
	bool two;

	/* the top goes and comes back, what was below it stays away */
	if (!pop(&a))
		return;
	two = pop(&b);
	push(a);
	if (two)
		push(b);
}

static void lifo_take(void)
{
	uint32_t a;

	if (pop(&a))
		push(a);
}

static void check_lifo(void)
{
	uint32_t index, n = 0;

	while (lab_lifo_pop(&lifo, &index, link_of)) {
		got(index);
		n++;
	}
	ex_must(n == 3);
}

/* ---- slab: reserve, collect, give, leave, retire, make ---- */

enum { SLAB_CLASS = 56 }; /* of four objects: some, and others */

static lab_pfn_t slab;
static EX_BOOKS bool responsible, retired;
static char *slab_start;

static void set_up_slab(void)
{
	struct lab_frames frames;

	ex_must(lab_heap_take_run(1u << lab_class[SLAB_CLASS].order, lab_class[SLAB_CLASS].order,
				  &frames));
	slab = frames.pfn;
	lab_slab_make(slab, SLAB_CLASS);
	slab_start = lab_frame_address(slab);
	responsible = true;
}

/* some objects, and back; whoever is told to list the slab is responsible for it */
static void slab_user(void)
{
	unsigned int n = lab_slab_reserve(slab, SLAB_CLASS, 2);
	uint64_t mask = 0, part;
	char *first;

	while (n > 0) {
		part = lab_slab_collect(slab, SLAB_CLASS, n, &first);
		ex_must(first == slab_start && part);
		got_mask(0, part);
		mask |= part;
		n -= lab_popcount(part);
	}
	if (!mask)
		return;
	gone_mask(0, mask);
	if (lab_slab_give(slab, 0, mask) == LAB_SLAB_LIST_IT) {
		ex_must(!responsible && !retired);
		responsible = true;
	}
}

/* what purge_tables() does to the record of a frame that is part of no slab */
static void forget_slab(void)
{
	struct lab_frame *frame = lab_frame_at(slab);
	unsigned int i;

	lab_word_set(&frame->word, 0);
	for (i = 0; i < 4; i++)
		lab_word_set(&frame->bits[i], 0);
	lab_word_set(&frame->next, 0);
}

/* the responsible one: ends it if it can, makes it anew; or lets go of it */
static void keep_slab(bool forget)
{
	unsigned int i;

	if (lab_slab_retire(slab)) {
		responsible = false;
		retired = true;
		for (i = 0; i < lab_class[SLAB_CLASS].nobj; i++)
			ex_must(!has[i]);
		if (forget)
			forget_slab();
		retired = false;
		responsible = true;
		lab_slab_make(slab, SLAB_CLASS);
	}
	responsible = false;
	if (!lab_slab_leave(slab))
		responsible = true;
}

static void slab_keeper(void)
{
	keep_slab(false);
}

static void slab_forgetter(void)
{
	keep_slab(true);
}

static void check_slab(void)
{
	union lab_slab_word w = { .raw = lab_word_get(&lab_frame_at(slab)->word) };

	ex_must(w.free == lab_class[SLAB_CLASS].nobj);
	ex_must(lab_word_get(&lab_frame_at(slab)->bits[0]) == lab_mask(0, w.free));
	ex_must(w.listed && responsible);
}

/* ---- block: count, then bits ---- */

static size_t block;
static EX_BOOKS bool is_dirty[MANY];

/* mapped, and only frames @first .. @first + @n - 1 are free */
static void make_block(unsigned int first, unsigned int n)
{
	struct lab_frames frames;

	for (block = LAB_SECTION_BLOCKS - 1; !lab_block_claim(block, LAB_ZONE_HEAP, false); block--)
		;
	ex_must(lab_os_map((uintptr_t)lab_frame_address((lab_pfn_t)(block * LAB_BLOCK_FRAMES)),
			   1ul << LAB_BLOCK_SHIFT) == 0);
	lab_block_set_clean(block, 0, LAB_BLOCK_FRAMES);
	lab_block_release(block, LAB_ZONE_HEAP, LAB_BLOCK_FREE);
	if (first)
		ex_must(lab_block_take_at(block, LAB_ZONE_HEAP, 0, first, &frames));
	if (first + n < LAB_BLOCK_FRAMES)
		ex_must(lab_block_take_at(block, LAB_ZONE_HEAP, first + n,
					  LAB_BLOCK_FRAMES - first - n, &frames));
}

static void set_up_block(void)
{
	make_block(62, 4);
}

static size_t frame_in_block(lab_pfn_t pfn)
{
	return pfn - block * LAB_BLOCK_FRAMES;
}

static void block_some(void)
{
	struct lab_frames frames;

	if (!lab_block_take_some(block, LAB_ZONE_HEAP, 2, &frames))
		return;
	got_mask(frame_in_block(frames.pfn), frames.mask);
	gone_mask(frame_in_block(frames.pfn), frames.mask);
	lab_block_give_mask(block, (unsigned int)frame_in_block(frames.pfn) / 64, frames.mask);
}

static void block_at(void)
{
	struct lab_frames frames;

	if (!lab_block_take_at(block, LAB_ZONE_HEAP, 62, 4, &frames))
		return;
	got_mask(62, 15);
	gone_mask(62, 15);
	lab_block_give(block, 62, 4);
}

static void block_run(void)
{
	struct lab_frames frames;

	if (!lab_block_take_run(block, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 1, &frames))
		return;
	got_mask(frame_in_block(frames.pfn), 3);
	gone_mask(frame_in_block(frames.pfn), 3);
	lab_block_give(block, (unsigned int)frame_in_block(frames.pfn), 2);
}

static unsigned int bits_of_block(void)
{
	unsigned int word, n = 0;

	for (word = 0; word < LAB_BLOCK_WORDS; word++)
		n += lab_popcount(lab_word_get(&lab_block_at(block)->bits[word]));
	return n;
}

static unsigned int count_of_block(void)
{
	return ((union lab_block_word){ .raw = lab_word_get(&lab_block_at(block)->word) }).free;
}

static void check_block(void)
{
	ex_must(count_of_block() == 4 && bits_of_block() == 4);
}

/* what is said to read as zero does; whoever uses a frame soils it */
static void clean_take(void)
{
	struct lab_frames frames;
	uint64_t left;

	if (!lab_block_take_clean(block, LAB_ZONE_HEAP, 1, &frames))
		return;
	for (left = frames.mask; left; left &= left - 1)
		ex_must(!is_dirty[frame_in_block(frames.pfn) + lab_ctz(left)]);
	ex_must(frames.nclean == lab_popcount(frames.mask));
}

static void clean_soil(void)
{
	struct lab_frames frames;
	uint64_t left;

	if (!lab_block_take_some(block, LAB_ZONE_HEAP, 1, &frames))
		return;
	for (left = frames.mask; left; left &= left - 1)
		is_dirty[frame_in_block(frames.pfn) + lab_ctz(left)] = true;
	lab_block_give_mask(block, (unsigned int)frame_in_block(frames.pfn) / 64, frames.mask);
}

static void set_up_clean(void)
{
	make_block(0, 2);
}

/* all of a block at once, against single frames of it */
static void set_up_whole(void)
{
	make_block(0, LAB_BLOCK_FRAMES);
}

static void whole_take(void)
{
	struct lab_frames frames;
	unsigned int i;

	if (!lab_block_take_run(block, LAB_ZONE_HEAP, LAB_BLOCK_ALL, LAB_BLOCK_ORDER, &frames))
		return;
	for (i = 0; i < LAB_BLOCK_FRAMES; i++)
		ex_must(!has[i]);
	lab_block_give(block, 0, LAB_BLOCK_FRAMES);
}

static void whole_claim(void)
{
	unsigned int i;

	if (!lab_block_claim(block, LAB_ZONE_HEAP, true))
		return;
	for (i = 0; i < LAB_BLOCK_FRAMES; i++)
		ex_must(!has[i]);
	lab_block_release(block, LAB_ZONE_HEAP, LAB_BLOCK_FREE);
}

static void whole_one(void)
{
	struct lab_frames frames;

	if (lab_block_take_some(block, LAB_ZONE_HEAP, 1, &frames))
		got_mask(frame_in_block(frames.pfn), frames.mask);
}

static void check_whole(void)
{
	unsigned int kept = nr_kept();

	ex_must(count_of_block() == LAB_BLOCK_FRAMES - kept);
	ex_must(bits_of_block() == LAB_BLOCK_FRAMES - kept);
}

/* ---- zone: searches, hints, growth ---- */

static lab_pfn_t last_pfn;
static EX_BOOKS uint64_t zone_managed, zone_free;

static void take_all_of_heap(void)
{
	struct lab_frames frames;

	do {
		ex_must(lab_heap_take_some(1, &frames, 1));
		last_pfn = frames.pfn + lab_ctz(frames.mask);
	} while (lab_word_get(&lab_zones[LAB_ZONE_HEAP].free) > 0);
	zone_managed = lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed);
}

/* one free frame is left, and no more memory is to be had */
static void set_up_zone(void)
{
	take_all_of_heap();
	lab_zone_give(last_pfn, 1);
	last_pfn--;
	zone_free = 1;
	ex_no_memory = true;
}

static void zone_take(void)
{
	struct lab_frames frames;

	if (lab_heap_take_some(1, &frames, 1))
		got((frames.pfn + lab_ctz(frames.mask)) % MANY);
}

static void zone_give(void)
{
	lab_zone_give(last_pfn, 1);
	zone_free++;
}

/* what is free can be found */
static void check_zone(void)
{
	struct lab_zone *heap = &lab_zones[LAB_ZONE_HEAP];
	uint64_t left = lab_word_get(&heap->free);
	struct lab_frames frames;
	unsigned int n;

	/* a search that misses it would make the heap grow */
	ex_no_memory = false;
	for (n = 0; n < left; n++)
		ex_must(lab_heap_take_some(1, &frames, 1));
	ex_must(lab_word_get(&heap->managed) == zone_managed);
	ex_no_memory = true;
	ex_must(n + nr_kept() == zone_free);
}

/* none is left: two grow the heap */
static void set_up_growth(void)
{
	take_all_of_heap();
}

static void growth_take(void)
{
	struct lab_frames frames;

	ex_must(lab_heap_take_some(1, &frames, 1));
	got((frames.pfn + lab_ctz(frames.mask)) % MANY);
}

static void check_growth(void)
{
	struct lab_zone *heap = &lab_zones[LAB_ZONE_HEAP];
	uint64_t managed = 0, idle = 0;
	size_t i;

	for (i = 0; i < lab_nr_sections() * LAB_SECTION_BLOCKS; i++) {
		union lab_block_word w = { .raw = lab_word_get(&lab_block_at(i)->word) };

		ex_must(!w.whole);
		if (!w.mapped || w.zone != LAB_ZONE_HEAP)
			continue;
		managed += LAB_BLOCK_FRAMES;
		idle += w.free;
	}
	ex_must(managed == lab_word_get(&heap->managed));
	ex_must(idle == lab_word_get(&heap->free));
}

/* sections */
static EX_BOOKS size_t sections_got[EX_THREADS];

static void section_grow(void)
{
	ex_must(lab_section_grow(1, &sections_got[ex_self]) == 0);
}

static void check_sections(void)
{
	ex_must(sections_got[0] != sections_got[1]);
	ex_must(lab_word_get(&lab_mem.covered) == lab_nr_sections() * LAB_SECTION_FRAMES);
}

/* ---- the resident zones ---- */

static void *excl_page;
static EX_BOOKS unsigned int excl_given;

/* both free the same page: one of them is refused */
static void set_up_excl(void)
{
	excl_page = lab_excl_take(0, 0);
	ex_must(excl_page);
}

static void excl_double(void)
{
	if (lab_excl_give(excl_page, 0) == LAB_EXCL_GIVEN)
		excl_given++;
}

static void excl_user(void)
{
	void *pages[2];
	unsigned int i, n = lab_excl_take_some(2, 0, pages);

	for (i = 0; i < n; i++)
		got(lab_pfn_of(pages[i]) % MANY);
	for (i = 0; i < n; i++) {
		gone(lab_pfn_of(pages[i]) % MANY);
		lab_excl_unstack(pages[i]);
	}
}

static void excl_taker(void)
{
	void *page = lab_excl_take(0, 0);

	if (page)
		got(lab_pfn_of(page) % MANY);
}

static unsigned int excl_bits(void)
{
	const struct lab_excl *excl = lab_excl_now();
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < excl->nwords; i++)
		n += lab_popcount(lab_word_get(&excl->bits[i]));
	return n;
}

static void check_excl(void)
{
	const struct lab_zone *zone = lab_zone_at(LAB_ZONE_EXCLUSIVE);

	ex_must(lab_word_get(&zone->free) == excl_bits());
	ex_must(lab_word_get(&zone->managed) - lab_word_get(&zone->free) == nr_kept());
}

static void check_excl_double(void)
{
	ex_must(excl_given == 1);
	check_excl();
}

static void nothing(void)
{
}

/* ---- fork() by a handler: the zone is void from one instruction to the next ---- */

static uint64_t heap_held;
static unsigned int excl_blocks;
static EX_BOOKS bool void_known;

static uint64_t heap_in_use(void)
{
	const struct lab_zone *heap = &lab_zones[LAB_ZONE_HEAP];

	return lab_word_get(&heap->managed) - lab_word_get(&heap->free);
}

/* the other thread is the child from here on */
static void forks(void)
{
	/* in one step: plain reads are no place to stop */
	const struct lab_excl *excl = *(struct lab_excl *const volatile *)&lab_excl_current;

	/* what the parent has published the child is left with */
	void_known = *(const volatile uint64_t *)&excl->born;
	ex_wipe();
}

static unsigned int blocks_of_excl(void)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < lab_nr_sections() * LAB_SECTION_BLOCKS; i++)
		n += lab_zone_of((lab_pfn_t)(i * LAB_BLOCK_FRAMES)) == LAB_ZONE_EXCLUSIVE;
	return n;
}

static void set_up_void(void)
{
	/* some blocks, of which zones are made; the first zone is an ancestor's */
	ex_must(lab_heap_map_some(4) == 0);
	ex_wipe();
	heap_held = heap_in_use();
	excl_blocks = blocks_of_excl();
}

static void void_revive(void)
{
	(void)lab_excl_revive();
}

/*
 * A zone that was void when it was made known, or came second, is not kept.  There is
 * one point at which it is: between the last look and the exchange.
 */
static void check_void(void)
{
	unsigned int zones = 1 + void_known + lab_excl_is_ours();

	ex_must(heap_in_use() == heap_held);
	if (blocks_of_excl() != excl_blocks * zones)
		ex_must(blocks_of_excl() == excl_blocks * (zones + 1) && ex_note() <= 1);
	if (lab_excl_is_ours())
		check_excl();
	ex_must(lab_excl_is_ours() || lab_excl_revive());
	ex_must(lab_excl_take(0, 0));
}

static void *old_pages[2];

static void set_up_old_pages(void)
{
	ex_must(lab_excl_take_some(2, 0, old_pages) == 2);
}

/* what was on a stack goes back to the zone it is of, or nowhere */
static void old_unstack(void)
{
	lab_excl_unstack(old_pages[0]);
	lab_excl_unstack(old_pages[1]);
}

static void forks_and_revives(void)
{
	ex_wipe();
	(void)lab_excl_revive();
}

static void check_old(void)
{
	if (lab_excl_is_ours())
		check_excl();
}

/* the reserve: counts, runs, and what is set aside */
static void reserve_one(void)
{
	struct lab_frames frames;

	if (lab_reserve_take_some(LAB_ZONE_RESERVE, 2, 40, &frames)) {
		got_mask(frames.pfn % MANY, frames.mask);
		gone_mask(frames.pfn % MANY, frames.mask);
		lab_zone_give_mask(frames.pfn, frames.mask);
	}
}

static void reserve_run(void)
{
	struct lab_frames frames;

	if (lab_reserve_take(LAB_ZONE_RESERVE, 3, 0, &frames)) {
		got_mask(frames.pfn % MANY, 0xff);
		gone_mask(frames.pfn % MANY, 0xff);
		lab_zone_give(frames.pfn, 8);
	}
}

static void set_up_aside(void)
{
	struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);

	/* 64 frames are enough for a unit */
	while (lab_word_get(&zone->managed) < LAB_ASIDE_MIN) {
		lab_word_set(&zone->goal, 1000);
		lab_reserve_refill(LAB_ZONE_RESERVE);
	}
	zone_free = lab_word_get(&zone->free);
}

static void aside_take(void)
{
	struct lab_frames frames;

	lab_highatomic_reserve();
	if (lab_highatomic_take(2, &frames)) {
		got_mask(frames.pfn % MANY, 0xf);
		gone_mask(frames.pfn % MANY, 0xf);
		lab_zone_give(frames.pfn, 4);
	}
}

static void aside_release(void)
{
	(void)lab_highatomic_release();
}

static void set_up_reserve(void)
{
	zone_free = lab_word_get(&lab_zone_at(LAB_ZONE_RESERVE)->free);
}

/* only every second frame is free: there is no run */
static void set_up_split(void)
{
	struct lab_frames frames[64];
	unsigned int n = 0, i;
	uint64_t left;

	while (n < 64 && lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &frames[n]))
		n++;
	for (i = 0; i < n; i++)
		if (frames[i].pfn % 2)
			lab_zone_give(frames[i].pfn, 1);
	left = lab_word_get(&lab_zone_at(LAB_ZONE_RESERVE)->free);
	ex_must(left == n / 2);
	zone_free = left;
}

static void reserve_last(void)
{
	struct lab_frames frames;

	if (lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &frames)) {
		got(frames.pfn % MANY);
		gone(frames.pfn % MANY);
		lab_zone_give(frames.pfn, 1);
	}
}

static void check_reserve(void)
{
	(void)lab_highatomic_release();
	ex_must(lab_word_get(&lab_zone_at(LAB_ZONE_RESERVE)->free) == zone_free);
}

const struct ex_scenario ex_page_scenarios[] = {
	{ "lifo", set_up_lifo, { lifo_back, lifo_take, lifo_back }, check_lifo },
	{ "slab", set_up_slab, { slab_user, slab_user, slab_keeper }, check_slab },
	{ "slab-forgotten", set_up_slab, { slab_user, slab_user, slab_forgetter }, check_slab },
	{ "block", set_up_block, { block_some, block_some, block_at }, check_block },
	{ "block-run", set_up_block, { block_some, block_run, block_at }, check_block },
	{ "block-clean", set_up_clean, { clean_take, clean_soil, clean_soil }, NULL },
	{ "block-whole", set_up_whole, { whole_take, whole_one }, check_whole },
	{ "block-claim", set_up_whole, { whole_claim, whole_one }, check_whole },
	{ "zone", set_up_zone, { zone_take, zone_give }, check_zone },
	{ "zone-take", set_up_zone, { zone_take, zone_take }, check_zone },
	{ "zone-growth", set_up_growth, { growth_take, growth_take }, check_growth },
	{ "section-growth", nothing, { section_grow, section_grow }, check_sections },
	{ "exclusive-double",
	  set_up_excl,
	  { excl_double, excl_double, excl_user },
	  check_excl_double },
	{ "exclusive-some", nothing, { excl_user, excl_user, excl_taker }, check_excl },
	{ "fork-take", nothing, { excl_user, forks }, NULL },
	{ "fork-revive", set_up_void, { void_revive, forks }, check_void },
	{ "fork-revive-both", set_up_void, { void_revive, void_revive }, check_void },
	{ "fork-unstack", set_up_old_pages, { old_unstack, forks_and_revives }, check_old },
	{ "reserve", set_up_reserve, { reserve_one, reserve_run, reserve_one }, check_reserve },
	{ "reserve-split", set_up_split, { reserve_run, reserve_last }, check_reserve },
	{ "highatomic", set_up_aside, { aside_take, aside_take, aside_release }, check_reserve },
	{ .name = NULL },
};
