/* SPDX-License-Identifier: MIT */
#include "base/bits.h"

/* a run inside one word of the bitmap */
static size_t take_in_word(lab_word_t *bits, size_t nwords, unsigned int order)
{
	unsigned int bit;
	uint64_t seen;
	size_t word;

	for (word = 0; word < nwords; word++) {
		seen = lab_word_get(&bits[word]);
		while ((bit = lab_find_run(seen, order)) < 64) {
			/* acquire: pairs with lab_bits_give() [pool.bits] */
			if (atomic_compare_exchange_weak_explicit(
				    &bits[word], &seen, seen & ~lab_mask(bit, 1u << order),
				    memory_order_acquire, memory_order_relaxed))
				return word * 64 + bit;
		}
	}
	return SIZE_MAX;
}

static bool step_all_to_none(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	if (*raw != ~0ull)
		return false;
	*raw = 0;
	return true;
}

/* the bits are ours meanwhile, so nobody can have set one */
static bool step_none_to_all(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	*raw = ~0ull;
	return true;
}

/* a run of whole words of the bitmap */
static size_t take_words(lab_word_t *bits, size_t nwords, unsigned int order)
{
	size_t n = 1ul << (order - 6), word;

	for (word = 0; word + n <= nwords; word += n)
		if (lab_words_claim(&bits[word], n, sizeof(lab_word_t), step_all_to_none,
				    step_none_to_all))
			return word * 64;
	return SIZE_MAX;
}

size_t lab_bits_take_run(lab_word_t *bits, size_t nwords, unsigned int order)
{
	return order <= 6 ? take_in_word(bits, nwords, order) : take_words(bits, nwords, order);
}

bool lab_bits_may_have_run(const lab_word_t *bits, size_t nwords, unsigned int order)
{
	size_t word;

	for (word = 0; word < nwords; word++)
		if (lab_find_run(lab_word_get(&bits[word]), order < 6 ? order : 6) < 64)
			return true;
	return false;
}
