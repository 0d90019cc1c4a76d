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

static lab_word_t crowded; /* steps on a block's word that another CPU's had made vain */
enum { CROWD = 8 };
enum { FORMER_HOMES = 64 }; /* blocks to look at, for one that was this CPU's home */

/* @words: those of the bitmap that runs may lie in */
static unsigned int block_take(size_t block, unsigned int words, const struct lab_want *want,
			       struct lab_frames *out)
{
	bool any;

	if (want->some) {
		unsigned int got =
			lab_block_take_many(block, LAB_ZONE_HEAP, want->some, out, want->words);

		if (got && LAB_UNLIKELY(out->raced) && lab_word_get(&crowded) < CROWD)
			lab_word_add(&crowded, 1);
		return got;
	}
	any = want->fit ? lab_block_take_fit(block, LAB_ZONE_HEAP, words, want->fit, out)
			: lab_block_take_run(block, LAB_ZONE_HEAP, words, want->order, out);
	return any ? lab_want_frames(want) : 0;
}

/*
 * Where CPUs get in each other's way, each takes single frames from a block of its own
 * as long as others are to be had.  Hints, as all here: the home of a CPU is 1 + a block,
 * that of a block 1 + the CPU that it was the home of last.  Not before they did get in
 * each other's way: a home is a block whose free frames the other CPUs leave alone.
 */
static lab_word_t home_of_cpu[LAB_NR_CPUS];

static void home_move(unsigned int cpu, size_t block)
{
	lab_word_set(&lab_block_at(block)->home, cpu + 1);
	lab_word_set(&home_of_cpu[cpu], block + 1);
}

/* Which blocks a search looks at. */
struct where {
	bool homeless;	   /* not at homes of CPUs */
	uint64_t once_of;  /* nonzero: at those alone that were the home of CPU once_of - 1 */
	unsigned int most; /* at so many, at most, before it gives up */
	const struct lab_apart *apart; /* not NULL: where other CPUs have no slabs of late */
};

static bool is_there(const struct where *where, size_t block)
{
	uint64_t home = lab_word_get(&lab_block_at(block)->home);

	if (where->once_of)
		return home == where->once_of;
	return !where->homeless || !home || lab_word_get(&home_of_cpu[home - 1]) != block + 1;
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

		while (left) {
			size_t block = s * LAB_SECTION_BLOCKS + lab_ctz(left);

			left &= left - 1;
			if (!where.most--)
				return 0;
			if (!is_there(&where, block))
				continue;
			words = where.apart ? lab_apart_words(where.apart, block) : LAB_BLOCK_ALL;
			got = take_there(block, words, want, out);
			*found = block;
			if (got)
				return got;
		}
	}
	return 0;
}

/* alone: the lowest; else from the word that this CPU took from last, or one of its own */
static unsigned int search_apart(const struct lab_want *want, struct lab_frames *out)
{
	struct lab_apart apart;
	struct where where = { .most = UINT_MAX };
	unsigned int cpu = lab_cpu_now(), got = 0;
	size_t block;

	lab_apart_look(&apart, cpu);
	if (apart.own)
		got = take_there((apart.own - 1) / LAB_BLOCK_WORDS,
				 1u << (apart.own - 1) % LAB_BLOCK_WORDS, want, out);
	if (apart.n && !got) {
		where.apart = &apart;
		got = search(want, where, &block, out);
		where.apart = NULL;
	}
	if (!got)
		got = search(want, where, &block, out);
	if (got)
		lab_apart_took(cpu, out->pfn / 64);
	return got;
}

/* single frames, where CPUs get in each other's way */
static unsigned int search_home(const struct lab_want *want, struct lab_frames *out)
{
	const struct where once = { .once_of = lab_cpu_now() + 1ull, .most = FORMER_HOMES };
	unsigned int cpu = (unsigned int)once.once_of - 1, got = 0;
	uint64_t home = lab_word_get(&home_of_cpu[cpu]);
	size_t block;

	if (home)
		got = take_there(home - 1, LAB_BLOCK_ALL, want, out);
	if (got)
		return got;
	/* where this CPU was before lies what it gave back, and no other CPU's */
	got = search(want, once, &block, out);
	if (!got)
		got = search(want, (struct where){ .homeless = true, .most = UINT_MAX }, &block,
			     out);
	if (got)
		home_move(cpu, block);
	return got;
}

unsigned int lab_heap_search(const struct lab_want *want, struct lab_frames *out)
{
	unsigned int got = 0;
	size_t block;

	if (want->slab)
		return search_apart(want, out);
	if (want->some && LAB_UNLIKELY(lab_word_get(&crowded) >= CROWD))
		got = search_home(want, out);
	return got ? got : search(want, (struct where){ .most = UINT_MAX }, &block, out);
}
