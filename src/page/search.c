/* SPDX-License-Identifier: MIT */
#include <limits.h>

#include "os/cpu.h"
#include "page/apart.h"
#include "page/search.h"
#include "page/zone.h"

/* ---- hints ---- */

/*
 * Hints, a bit per block: it may have free frames, or may be unmapped.  Set
 * after the fact, cleared by whoever finds otherwise and looks once more.
 */
static lab_word_t avail[LAB_NR_SECTIONS];

void lab_heap_offer(size_t block)
{
	atomic_fetch_or_explicit(&avail[block / LAB_SECTION_BLOCKS],
				 1ull << block % LAB_SECTION_BLOCKS, memory_order_relaxed);
}

bool lab_heap_is_offered(size_t block)
{
	/* seq_cst: pairs with heap_retract(), see count_give() [avail.hint] */
	uint64_t hints =
		atomic_load_explicit(&avail[block / LAB_SECTION_BLOCKS], memory_order_seq_cst);

	return hints >> block % LAB_SECTION_BLOCKS & 1;
}

static void heap_retract(size_t block)
{
	union lab_block_word w;

	/* seq_cst: pairs with lab_heap_is_offered(): the count is read after it [avail.hint] */
	atomic_fetch_and_explicit(&avail[block / LAB_SECTION_BLOCKS],
				  ~(1ull << block % LAB_SECTION_BLOCKS), memory_order_seq_cst);
	/* seq_cst: pairs with count_give(): a giver may have come meanwhile [block.word] */
	w.raw = atomic_load_explicit(&lab_block_at(block)->word, memory_order_seq_cst);
	if (w.free && w.zone == LAB_ZONE_HEAP)
		lab_heap_offer(block);
}

/*
 * Make the hint right after frames moved.  A failed attempt lowers the count
 * for a while, in which others may have retracted the block: so look always.
 * Every gift looks too, so a hint that an abandoned call left wrong is mended
 * by the next one.
 */
void lab_heap_review(size_t block)
{
	union lab_block_word w = { .raw = lab_word_get(&lab_block_at(block)->word) };
	bool offered = lab_heap_is_offered(block);

	if (w.free && !offered && w.zone == LAB_ZONE_HEAP)
		lab_heap_offer(block);
	else if (!w.free && offered)
		heap_retract(block);
}

/* ---- which block ---- */

/*
 * Do CPUs take single frames by turns, or get in each other's way at a block's word?  A
 * thread that moves takes by turns with nobody.  Once so, always so.
 */
static lab_word_t crowded LAB_LINE_ALIGNED; /* CROWD and more */
enum { RACE = 1, TURN = 4, CROWD = 8 };

/* The last: its thread pointer, and CPU. */
static struct {
	lab_word_t thread, cpu;
} taker LAB_LINE_ALIGNED;

bool lab_heap_is_crowded(void)
{
	return lab_word_get(&crowded) >= CROWD;
}

static void met(unsigned int how)
{
	if (!lab_heap_is_crowded())
		lab_word_add(&crowded, how);
}

static void note_taker(unsigned int cpu)
{
	uint64_t self = (uintptr_t)__builtin_thread_pointer();
	uint64_t thread = lab_word_get(&taker.thread);

	if (thread == self && lab_word_get(&taker.cpu) == cpu)
		return;
	if (thread && thread != self && lab_word_get(&taker.cpu) != cpu)
		met(TURN);
	lab_word_set(&taker.thread, self);
	lab_word_set(&taker.cpu, cpu);
}

/* @words: those of the bitmap that runs may lie in */
static unsigned int block_take(size_t block, unsigned int words, const struct lab_want *want,
			       struct lab_frames *out)
{
	bool any;

	if (want->some) {
		unsigned int got =
			lab_block_take_many(block, LAB_ZONE_HEAP, want->some, out, want->words);

		if (got && out->raced)
			met(RACE);
		return got;
	}
	any = want->fit ? lab_block_take_fit(block, LAB_ZONE_HEAP, words, want->fit, out)
			: lab_block_take_run(block, LAB_ZONE_HEAP, words, want->order, out);
	return any ? lab_want_frames(want) : 0;
}

/*
 * Where it is crowded each CPU takes single frames from a block of its own, as long as
 * others are to be had.  Hints, as all here: the home of a CPU is 1 + the block that it took
 * from last, that of a block 1 + the CPU that did.  Nowhere else: a home is a block whose
 * free frames the other CPUs leave alone.
 */
static struct {
	lab_word_t block;
} LAB_LINE_ALIGNED home_of_cpu[LAB_NR_CPUS];
lab_byte_t lab_home_of_block[LAB_NR_SECTIONS * LAB_SECTION_BLOCKS];
enum { FORMER_HOMES = 64 }; /* blocks to look at, for one that was this CPU's home */

void lab_home_forget(size_t block)
{
	if (lab_byte_get(&lab_home_of_block[block]))
		lab_byte_set(&lab_home_of_block[block], 0);
}

static void home_move(unsigned int cpu, size_t block)
{
	lab_byte_t *home = &lab_home_of_block[block];

	if (lab_byte_get(home) != cpu + 1)
		lab_byte_set(home, (uint8_t)(cpu + 1));
	if (lab_word_get(&home_of_cpu[cpu].block) != block + 1)
		lab_word_set(&home_of_cpu[cpu].block, block + 1);
}

/* Which blocks a search looks at. */
enum which { ANY, OWN_SECTION, ONCE_OURS, HOMELESS };
struct where {
	enum which which;
	unsigned int cpu;	       /* ours */
	unsigned int most;	       /* at so many, at most, before it gives up */
	const struct lab_apart *apart; /* not NULL: where other CPUs have no slabs of late */
};

static const struct where anywhere = { .which = ANY, .most = UINT_MAX };

bool lab_section_is_shared(size_t section, unsigned int cpu)
{
	const lab_byte_t *home = &lab_home_of_block[section * LAB_SECTION_BLOCKS];
	unsigned int i, of;

	for (i = 0; i < LAB_SECTION_BLOCKS; i++) {
		of = lab_byte_get(&home[i]);
		if (of && of != cpu + 1)
			return true;
	}
	return false;
}

static bool is_there(const struct where *where, size_t block)
{
	unsigned int home;

	if (where->which != ONCE_OURS && where->which != HOMELESS)
		return true;
	home = lab_byte_get(&lab_home_of_block[block]);
	if (where->which == ONCE_OURS)
		return home == where->cpu + 1;
	return !home || lab_word_get(&home_of_cpu[home - 1].block) != block + 1;
}

/* of @words of one block, and make its hint right */
static unsigned int take_there(size_t block, unsigned int words, const struct lab_want *want,
			       struct lab_frames *out)
{
	unsigned int got = block_take(block, words, want, out);

	lab_heap_review(block);
	return got;
}

/* Lowest addresses first: what is in use stays together, the rest can go back. */
static unsigned int search(const struct lab_want *want, struct where where, size_t *found,
			   struct lab_frames *out)
{
	size_t nr = lab_nr_sections(), s;
	unsigned int words, got;

	for (s = 0; s < nr; s++) {
		uint64_t left = lab_word_get(&avail[s]);

		if (where.which == OWN_SECTION && left && lab_section_is_shared(s, where.cpu))
			continue;
		while (left) {
			size_t block = s * LAB_SECTION_BLOCKS + lab_ctz(left);

			left &= left - 1;
			if (!is_there(&where, block))
				continue;
			if (!where.most--)
				return 0;
			words = where.apart ? lab_apart_words(where.apart, block) : LAB_BLOCK_ALL;
			got = take_there(block, words, want, out);
			*found = block;
			if (got)
				return got;
		}
	}
	return 0;
}

/* alone: the lowest; else from the area that this CPU took from last, or one of its own */
static unsigned int search_apart(const struct lab_want *want, struct lab_frames *out)
{
	struct lab_apart apart;
	struct where where = anywhere;
	unsigned int cpu = lab_cpu_now(), got = 0;
	size_t block;

	lab_apart_look(&apart, cpu);
	if (apart.own)
		got = take_there((apart.own - 1) / LAB_APART_AREAS, lab_apart_mask(apart.own - 1),
				 want, out);
	if (apart.n && !got) {
		where.apart = &apart;
		got = search(want, where, &block, out);
		where.apart = NULL;
	}
	if (!got)
		got = search(want, where, &block, out);
	if (!got)
		return 0;
	lab_apart_took(cpu, lab_apart_area(out->pfn));
	if (lab_apart_area(out->pfn + got - 1) != lab_apart_area(out->pfn))
		lab_apart_took(cpu, lab_apart_area(out->pfn + got - 1));
	return got;
}

unsigned int lab_heap_search_own(const struct lab_want *want, struct lab_frames *out)
{
	unsigned int cpu = lab_cpu_now(), got = 0;
	uint64_t home = lab_word_get(&home_of_cpu[cpu].block);
	size_t block;

	if (home && lab_byte_get(&lab_home_of_block[home - 1]) == cpu + 1)
		got = take_there(home - 1, LAB_BLOCK_ALL, want, out);
	if (got)
		return got;
	/* where this CPU was before lies what it gave back, and no other CPU's */
	got = search(want, (struct where){ ONCE_OURS, cpu, FORMER_HOMES, NULL }, &block, out);
	if (!got)
		got = search(want, (struct where){ OWN_SECTION, cpu, UINT_MAX, NULL }, &block, out);
	if (got)
		home_move(cpu, block);
	return got;
}

/* single frames: of the lowest block; where it is crowded, of one that is no CPU's home */
static unsigned int search_some(const struct lab_want *want, struct lab_frames *out)
{
	struct where where = anywhere;
	unsigned int cpu = lab_cpu_now(), got;
	size_t block;

	if (lab_heap_is_crowded())
		where.which = HOMELESS;
	else
		note_taker(cpu);
	got = search(want, where, &block, out);
	if (got)
		home_move(cpu, block);
	else if (where.which == HOMELESS)
		got = search(want, anywhere, &block, out);
	return got;
}

unsigned int lab_heap_search(const struct lab_want *want, struct lab_frames *out)
{
	size_t block;

	if (want->some)
		return search_some(want, out);
	if (want->slab)
		return search_apart(want, out);
	return search(want, anywhere, &block, out);
}
