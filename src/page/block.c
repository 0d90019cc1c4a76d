/* SPDX-License-Identifier: MIT */
#include "page/block.h"
#include "base/fail.h"

/* ---- transitions ---- */

static bool step_take(uint64_t *raw, uint64_t zone_and_n)
{
	union lab_block_word w = { .raw = *raw };
	uint64_t n = zone_and_n >> 8;

	if (w.zone != (zone_and_n & 0xff) || w.free < n)
		return false;
	w.free -= n;
	*raw = w.raw;
	return true;
}

static bool step_give(uint64_t *raw, uint64_t n)
{
	union lab_block_word w = { .raw = *raw };

	w.free += n;
	*raw = w.raw;
	return true;
}

static bool step_claim_mapped(uint64_t *raw, uint64_t zone)
{
	union lab_block_word w = { .raw = *raw };

	if (w.free != LAB_BLOCK_FRAMES || w.zone != zone)
		return false;
	w.free = 0;
	w.whole = 1;
	w.gen++;
	*raw = w.raw;
	return true;
}

static bool step_claim_unmapped(uint64_t *raw, uint64_t unused)
{
	union lab_block_word w = { .raw = *raw };

	(void)unused;
	if (w.mapped || w.whole || w.dead)
		return false;
	w.whole = 1;
	w.gen++;
	*raw = w.raw;
	return true;
}

static bool step_claim_either(uint64_t *raw, uint64_t unused)
{
	return step_claim_mapped(raw, LAB_ZONE_HEAP) || step_claim_unmapped(raw, unused);
}

static bool step_unclaim(uint64_t *raw, uint64_t unused)
{
	union lab_block_word w = { .raw = *raw };

	(void)unused;
	w.whole = 0;
	w.free = w.mapped ? LAB_BLOCK_FRAMES : 0;
	*raw = w.raw;
	return true;
}

static bool step_release(uint64_t *raw, uint64_t zone_and_fate)
{
	union lab_block_word w = { .raw = *raw };
	enum lab_block_fate fate = (enum lab_block_fate)(zone_and_fate >> 8);

	w.whole = 0;
	w.zone = zone_and_fate & 3;
	w.mapped = fate == LAB_BLOCK_FREE || fate == LAB_BLOCK_EMPTY;
	w.dead = fate == LAB_BLOCK_DEAD;
	w.free = fate == LAB_BLOCK_FREE ? LAB_BLOCK_FRAMES : 0;
	*raw = w.raw;
	return true;
}

static bool step_clear_exactly(uint64_t *raw, uint64_t mask)
{
	if ((*raw & mask) != mask)
		return false;
	*raw &= ~mask;
	return true;
}

/* ---- count ---- */

static bool count_take(struct lab_block *block, enum lab_zone_id zone, unsigned int n,
		       uint64_t *old)
{
	/* acquire: pairs with lab_block_release() [block.word] */
	return lab_word_step(&block->word, old, step_take, (uint64_t)n << 8 | zone,
			     memory_order_acquire, memory_order_relaxed);
}

/*
 * The exchange is seq_cst, which includes the release of the bits, because of
 * the search hints of search.c: a giver raises the count and then looks at the
 * hint, a retractor clears the hint and then looks at the count, and at least
 * one of the two has to see the other.
 */
static void count_give(struct lab_block *block, unsigned int n)
{
	uint64_t old;

	/* seq_cst: pairs with heap_retract(); releases to count_take() [block.word] */
	(void)lab_word_step(&block->word, &old, step_give, n, memory_order_seq_cst,
			    memory_order_relaxed);
}

/* ---- clean ---- */

/* forget that frames we took read as zero; returns how many did */
static unsigned int clean_take(struct lab_block *block, unsigned int word, uint64_t mask)
{
	uint64_t clean = lab_word_get(&block->clean[word]) & mask;

	if (!clean)
		return 0;
	atomic_fetch_and_explicit(&block->clean[word], ~clean, memory_order_relaxed);
	return lab_popcount(clean);
}

static unsigned int clean_take_range(struct lab_block *block, unsigned int first, unsigned int n)
{
	unsigned int end = first + n, nclean = 0;

	while (first < end) {
		unsigned int bit = first % 64;
		unsigned int len = end - first < 64 - bit ? end - first : 64 - bit;

		nclean += clean_take(block, first / 64, lab_mask(bit, len));
		first += len;
	}
	return nclean;
}

void lab_block_set_clean(size_t index, unsigned int first, unsigned int n)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int end = first + n;

	while (first < end) {
		unsigned int bit = first % 64;
		unsigned int len = end - first < 64 - bit ? end - first : 64 - bit;

		atomic_fetch_or_explicit(&block->clean[first / 64], lab_mask(bit, len),
					 memory_order_relaxed);
		first += len;
	}
}

bool lab_block_is_clean(size_t index)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int word;

	for (word = 0; word < LAB_BLOCK_WORDS; word++)
		if (~lab_word_get(&block->clean[word]))
			return false;
	return true;
}

/* ---- take ---- */

unsigned int lab_block_take_many(size_t index, enum lab_zone_id zone, unsigned int want,
				 struct lab_frames *out, unsigned int words)
{
	struct lab_block *block = lab_block_at(index);
	uint64_t before = lab_word_get(&block->word), old;
	unsigned int i, got;
	struct lab_take take;

	while (!count_take(block, zone, want, &old)) {
		union lab_block_word w = { .raw = lab_word_get(&block->word) };

		if (w.zone != zone || w.free == 0)
			return 0;
		want = w.free < want ? (unsigned int)w.free : want;
	}
	for (i = 0, got = 0; i < words && got < want; i++) {
		take = lab_bits_take(block->bits, LAB_BLOCK_WORDS, want - got);
		if (!take.mask)
			break;
		got += lab_popcount(take.mask);
		out[i].pfn = (lab_pfn_t)(index * LAB_BLOCK_FRAMES + take.word * 64);
		out[i].mask = take.mask;
		out[i].nclean = clean_take(block, take.word, take.mask);
		out[i].raced = old != before;
	}
	if (i < words)
		out[i].mask = 0;
	if (got < want)
		count_give(block, want - got);
	return got;
}

unsigned int lab_block_take_some(size_t index, enum lab_zone_id zone, unsigned int want,
				 struct lab_frames *out)
{
	return lab_block_take_many(index, zone, want, out, 1);
}

/* frames of one word that are free and, as @flip says, clean or not; their mask */
static uint64_t take_chosen(struct lab_block *block, unsigned int word, uint64_t flip,
			    unsigned int want)
{
	uint64_t seen = lab_word_get(&block->bits[word]), mask;

	for (;;) {
		mask = lab_lowest(seen & (lab_word_get(&block->clean[word]) ^ flip), want);
		if (!mask)
			return 0;
		/* acquire: pairs with lab_bits_give() [pool.bits] */
		if (atomic_compare_exchange_weak_explicit(&block->bits[word], &seen, seen & ~mask,
							  memory_order_acquire,
							  memory_order_relaxed))
			return mask;
	}
}

/* @flip: 0 for clean frames, all ones for dirty ones */
static unsigned int take_by_clean(size_t index, enum lab_zone_id zone, unsigned int want,
				  uint64_t flip, struct lab_frames *out)
{
	struct lab_block *block = lab_block_at(index);
	uint64_t mask = 0, wrong;
	unsigned int word, got;
	uint64_t old;

	while (!count_take(block, zone, want, &old))
		if ((want /= 2) == 0)
			return 0;
	for (word = 0; !mask && word < LAB_BLOCK_WORDS; word++)
		mask = take_chosen(block, word, flip, want);
	out->pfn = (lab_pfn_t)(index * LAB_BLOCK_FRAMES + (word - 1) * 64);
	/* while we chose, a frame may have been another's and come back otherwise */
	wrong = mask & ~(lab_word_get(&block->clean[word - 1]) ^ flip);
	mask &= ~wrong;
	got = lab_popcount(mask);
	out->nclean = clean_take(block, word - 1, mask);
	out->mask = mask;
	if (wrong)
		(void)lab_bits_give(&block->bits[word - 1], wrong);
	if (got < want)
		count_give(block, want - got);
	return got;
}

unsigned int lab_block_take_clean(size_t index, enum lab_zone_id zone, unsigned int want,
				  struct lab_frames *out)
{
	return take_by_clean(index, zone, want, 0, out);
}

unsigned int lab_block_take_dirty(size_t index, enum lab_zone_id zone, unsigned int want,
				  struct lab_frames *out)
{
	return take_by_clean(index, zone, want, ~0ull, out);
}

unsigned int lab_block_count_clean(size_t index)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int word, n = 0;

	for (word = 0; word < LAB_BLOCK_WORDS; word++)
		n += lab_popcount(lab_word_get(&block->bits[word]) &
				  lab_word_get(&block->clean[word]));
	return n;
}

/* where there seems to be a run of that order, of the words that @words names */
static unsigned int run_words(const lab_word_t *bits, unsigned int words, unsigned int order)
{
	unsigned int left, may = 0;

	for (left = words; left; left &= left - 1)
		if (lab_bits_may_have_run(&bits[lab_ctz(left)], 1, order))
			may |= left & -left;
	return may;
}

/* a run in one of @words, or of several words; as lab_bits_take_run() */
static size_t bits_take_run(lab_word_t *bits, unsigned int words, unsigned int order)
{
	if (order > LAB_WORD_ORDER)
		return lab_bits_take_run(bits, LAB_BLOCK_WORDS, order);
	for (; words; words &= words - 1) {
		unsigned int word = lab_ctz(words);
		size_t bit = lab_bits_take_run(&bits[word], 1, order);

		if (bit != SIZE_MAX)
			return word * 64 + bit;
	}
	return SIZE_MAX;
}

static bool take_all(size_t index, enum lab_zone_id zone, struct lab_frames *out)
{
	if (!lab_block_claim(index, zone, true))
		return false;
	/* from here on 512 single frames of ours: any part may go back */
	lab_block_release(index, zone, LAB_BLOCK_EMPTY);
	out->pfn = (lab_pfn_t)(index * LAB_BLOCK_FRAMES);
	out->mask = 0;
	out->nclean = clean_take_range(lab_block_at(index), 0, LAB_BLOCK_FRAMES);
	return true;
}

bool lab_block_take_run(size_t index, enum lab_zone_id zone, unsigned int words, unsigned int order,
			struct lab_frames *out)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int n = 1u << order;
	size_t first;
	uint64_t old;

	if (order == LAB_BLOCK_ORDER)
		return take_all(index, zone, out);
	words = run_words(block->bits, words, order);
	if (!words || !count_take(block, zone, n, &old))
		return false;
	first = bits_take_run(block->bits, words, order);
	if (first == SIZE_MAX) {
		count_give(block, n);
		return false;
	}
	out->pfn = (lab_pfn_t)(index * LAB_BLOCK_FRAMES + first);
	out->mask = 0;
	out->nclean = clean_take_range(block, (unsigned int)first, n);
	return true;
}

bool lab_block_take_at(size_t index, enum lab_zone_id zone, unsigned int first, unsigned int n,
		       struct lab_frames *out)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int at = first, end = first + n, len;
	uint64_t old;

	if (!count_take(block, zone, n, &old))
		return false;
	for (; at < end; at += len) {
		len = end - at < 64 - at % 64 ? end - at : 64 - at % 64;
		/* acquire: pairs with lab_bits_give() [pool.bits] */
		if (!lab_word_step(&block->bits[at / 64], &old, step_clear_exactly,
				   lab_mask(at % 64, len), memory_order_acquire,
				   memory_order_relaxed))
			goto undo;
	}
	out->pfn = (lab_pfn_t)(index * LAB_BLOCK_FRAMES + first);
	out->mask = 0;
	out->nclean = clean_take_range(block, first, n);
	return true;

undo:
	/* [first, at) is ours as if it had been allocated: give it, then the rest's count */
	if (at > first)
		lab_block_give(index, first, at - first);
	count_give(block, end - at);
	return false;
}

/* the first bit at or after @at that is @set, others than @words are not; or LAB_BLOCK_FRAMES */
static unsigned int next_bit(const lab_word_t *bits, unsigned int words, unsigned int at, bool set)
{
	uint64_t seen;

	for (; at < LAB_BLOCK_FRAMES; at = (at | 63) + 1) {
		seen = words >> at / 64 & 1 ? lab_word_get(&bits[at / 64]) : 0;
		seen = (set ? seen : ~seen) >> at % 64;
		if (seen)
			return at + lab_ctz(seen);
	}
	return LAB_BLOCK_FRAMES;
}

/*
 * Where the smallest hole of at least @n free frames seems to begin; LAB_BLOCK_FRAMES:
 * nowhere.  A large hole that is cut for a small run is missed by the next large one.
 */
static unsigned int find_fit(const lab_word_t *bits, unsigned int words, unsigned int n)
{
	unsigned int at = 0, end, best = LAB_BLOCK_FRAMES, least = LAB_BLOCK_FRAMES + 1;

	for (; (at = next_bit(bits, words, at, true)) + n <= LAB_BLOCK_FRAMES; at = end) {
		end = next_bit(bits, words, at, false);
		if (end - at >= n && end - at < least) {
			best = at;
			least = end - at;
		}
		if (least == n)
			break;
	}
	return best;
}

/* others took what we had seen: after so many turns it is "not now" */
enum { FIT_TURNS = 4 };

bool lab_block_take_fit(size_t index, enum lab_zone_id zone, unsigned int words, unsigned int n,
			struct lab_frames *out)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int turn, first;

	if (n == LAB_BLOCK_FRAMES)
		return take_all(index, zone, out);
	for (turn = 0; turn < FIT_TURNS; turn++) {
		union lab_block_word w = { .raw = lab_word_get(&block->word) };

		if (w.zone != zone || w.free < n)
			return false;
		first = find_fit(block->bits, words, n);
		if (first == LAB_BLOCK_FRAMES)
			return false;
		if (lab_block_take_at(index, zone, first, n, out))
			return true;
	}
	return false;
}

/* ---- give ---- */

void lab_block_give_bits(size_t index, unsigned int word, uint64_t mask)
{
	if (LAB_UNLIKELY(lab_bits_give(&lab_block_at(index)->bits[word], mask)))
		lab_bug("a frame was given back twice");
}

void lab_block_count(size_t index, unsigned int n)
{
	count_give(lab_block_at(index), n);
}

void lab_block_give_mask(size_t index, unsigned int word, uint64_t mask)
{
	lab_block_give_bits(index, word, mask);
	lab_block_count(index, lab_popcount(mask));
}

void lab_block_give(size_t index, unsigned int first, unsigned int n)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int at = first, end = first + n, len;

	for (; at < end; at += len) {
		len = end - at < 64 - at % 64 ? end - at : 64 - at % 64;
		if (LAB_UNLIKELY(lab_bits_give(&block->bits[at / 64], lab_mask(at % 64, len))))
			lab_bug("a frame was given back twice");
	}
	count_give(block, n);
}

/* ---- whole blocks ---- */

bool lab_block_claim(size_t index, enum lab_zone_id zone, bool mapped)
{
	uint64_t old;

	/* acquire: pairs with lab_block_release() [block.word] */
	return lab_word_step(&lab_block_at(index)->word, &old,
			     mapped ? step_claim_mapped : step_claim_unmapped, zone,
			     memory_order_acquire, memory_order_relaxed);
}

bool lab_blocks_claim(size_t index, size_t n)
{
	return lab_words_claim(&lab_block_at(index)->word, n, sizeof(struct lab_block),
			       step_claim_either, step_unclaim);
}

void lab_block_release(size_t index, enum lab_zone_id zone, enum lab_block_fate fate)
{
	struct lab_block *block = lab_block_at(index);
	unsigned int word;
	uint64_t old;

	for (word = 0; word < LAB_BLOCK_WORDS; word++)
		lab_word_set(&block->bits[word], fate == LAB_BLOCK_EMPTY ? 0 : ~0ull);
	/* release: pairs with count_take() and lab_block_claim() [block.word] */
	(void)lab_word_step(&block->word, &old, step_release, (uint64_t)fate << 8 | zone,
			    memory_order_release, memory_order_relaxed);
}
