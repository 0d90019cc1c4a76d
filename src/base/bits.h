/* SPDX-License-Identifier: MIT */
/*
 * Pure bit arithmetic, and the pool: a counter word and the bitmap that it
 * counts.  Frames in a block and objects in a slab are both pools.
 *
 * The law of a pool: count <= set bits, always.  Taking lowers the count
 * first and takes bits afterwards; giving sets bits first and raises the
 * count afterwards.  So whoever lowered the count by n finds n bits, however
 * many others do the same, and whoever stops in between leaks at most its own
 * n and stops nobody.
 */
#ifndef LAB_BASE_BITS_H
#define LAB_BASE_BITS_H

#include "base/word.h"

static LAB_ALWAYS_INLINE unsigned int lab_ctz(uint64_t x)
{
	return (unsigned int)__builtin_ctzll(x);
}

static LAB_ALWAYS_INLINE unsigned int lab_popcount(uint64_t x)
{
	/* not the libgcc call: it would need a relocation on the early path */
	x = x - ((x >> 1) & 0x5555555555555555ull);
	x = (x & 0x3333333333333333ull) + ((x >> 2) & 0x3333333333333333ull);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (unsigned int)((x * 0x0101010101010101ull) >> 56);
}

/* log2 of @x rounded down; @x is not 0 */
static LAB_ALWAYS_INLINE unsigned int lab_log2(uint64_t x)
{
	return 63u - (unsigned int)__builtin_clzll(x);
}

/* the smallest order with 2^order >= @n; @n is not 0 */
static LAB_ALWAYS_INLINE unsigned int lab_order_of(uint64_t n)
{
	return n == 1 ? 0 : lab_log2(n - 1) + 1;
}

static LAB_ALWAYS_INLINE uint64_t lab_align_up(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

/* @n ones from bit @first up; @first + @n <= 64 */
static LAB_ALWAYS_INLINE uint64_t lab_mask(unsigned int first, unsigned int n)
{
	return (n >= 64 ? ~0ull : (1ull << n) - 1) << first;
}

/* the lowest @n set bits of @x (all of them if there are fewer) */
static inline uint64_t lab_lowest(uint64_t x, unsigned int n)
{
	uint64_t rest = x;

	if (lab_popcount(x) <= n)
		return x;
	while (n-- > 0)
		rest &= rest - 1;
	return x & ~rest;
}

/**
 * lab_find_run() - first aligned run of 2^order set bits
 * @bits:  one word
 * @order: 0 .. 6
 *
 * Return: the index of the run's first bit, or 64 if there is none.
 */
static inline unsigned int lab_find_run(uint64_t bits, unsigned int order)
{
	static const uint64_t starts[] = {
		~0ull,
		0x5555555555555555ull,
		0x1111111111111111ull,
		0x0101010101010101ull,
		0x0001000100010001ull,
		0x0000000100000001ull,
		1ull,
	};
	unsigned int i;

	/* fold: after step i bit b says that 2^(i+1) bits from b are set */
	for (i = 0; i < order; i++)
		bits &= bits >> (1u << i);
	bits &= starts[order];
	return bits ? lab_ctz(bits) : 64;
}

/* A handful taken from a pool: bits of one word of its bitmap. */
struct lab_take {
	uint64_t mask;
	unsigned int word;
};

/**
 * lab_bits_take() - take bits that were paid for in the counter word
 * @bits:   the pool's bitmap
 * @nwords: its length
 * @want:   1 .. 64, already subtracted from the count by the caller
 *
 * Takes from one word only, so it may return fewer than @want, at least one;
 * the caller returns the difference to the count.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free: a turn without a bit means that
 *          others took some, and by the law of the pool ours exist.
 * Order:   acquires [pool.bits].
 */
static inline struct lab_take lab_bits_take(lab_word_t *bits, unsigned int nwords,
					    unsigned int want)
{
	struct lab_take take;
	uint64_t seen;

	for (take.word = 0;; take.word = take.word + 1 < nwords ? take.word + 1 : 0) {
		seen = lab_word_get(&bits[take.word]);
		while (seen) {
			take.mask = lab_lowest(seen, want);
			/* acquire: pairs with lab_bits_give() [pool.bits] */
			if (atomic_compare_exchange_weak_explicit(
				    &bits[take.word], &seen, seen & ~take.mask,
				    memory_order_acquire, memory_order_relaxed))
				return take;
		}
	}
}

/**
 * lab_bits_take_run() - take an aligned run of 2^order bits, paid for as above
 * @order: 0 and more; a run of more than 64 bits is one of whole words
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Order:   acquires [pool.bits].
 * Return:  the index of its first bit, or SIZE_MAX: there is no such run now.
 */
size_t lab_bits_take_run(lab_word_t *bits, size_t nwords, unsigned int order);

/** lab_bits_may_have_run() - a look, before a count is moved for nothing */
bool lab_bits_may_have_run(const lab_word_t *bits, size_t nwords, unsigned int order);

/**
 * lab_bits_give() - set bits of one word
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 * Order:   releases [pool.bits].
 * Return:  those of @mask that were set already: a double free.
 */
static inline uint64_t lab_bits_give(lab_word_t *word, uint64_t mask)
{
	/* release: pairs with lab_bits_take() [pool.bits] */
	return atomic_fetch_or_explicit(word, mask, memory_order_release) & mask;
}

#endif /* LAB_BASE_BITS_H */
