/* SPDX-License-Identifier: MIT */
/*
 * Atomic words, the one compare-exchange loop, and the all-or-nothing claim.
 * This is the only file that includes <stdatomic.h>.
 */
#ifndef LAB_BASE_WORD_H
#define LAB_BASE_WORD_H

#include <stdatomic.h>

#include "base/compiler.h"

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "AS-Safety rests on lock-free 64-bit words");
static_assert(ATOMIC_CHAR_LOCK_FREE == 2, "AS-Safety rests on lock-free bytes");

typedef _Atomic(uint64_t) lab_word_t;

/*
 * A byte of the kind map or of a live map.  It has one writer at a time: the
 * owner of the object it describes.  Relaxed order is enough everywhere,
 * because ownership itself is handed over by a word (or by the program).
 */
typedef _Atomic(uint8_t) lab_byte_t;

/* A pure transition: edit *raw and accept, or leave it and refuse. */
typedef bool lab_step_fn(uint64_t *raw, uint64_t arg);

/**
 * lab_word_step() - the one compare-exchange loop
 * @word: word to change
 * @old:  receives the value the step last saw, on success and on refusal
 * @step: pure transition; may run several times, must not touch memory
 * @arg:  passed through to @step
 * @won:  order of the successful exchange
 * @lost: order of the loads; never stronger than @won, never a release
 *
 * Context: MT-Safe, AS-Safe.  Lock-free: each extra turn means that some
 *          other context changed @word.
 * Order:   that of @won on success, of @lost on refusal.
 * Return:  true if @word was changed, false if @step refused (nothing written).
 */
static LAB_ALWAYS_INLINE bool lab_word_step(lab_word_t *word, uint64_t *old, lab_step_fn *step,
					    uint64_t arg, memory_order won, memory_order lost)
{
	uint64_t next;

	*old = atomic_load_explicit(word, lost);
	do {
		next = *old;
		if (!step(&next, arg))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(word, old, next, won, lost));
	return true;
}

static LAB_ALWAYS_INLINE uint64_t lab_word_get(const lab_word_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static LAB_ALWAYS_INLINE void lab_word_set(lab_word_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

/* Counters: exact at quiescence, ordered with nothing. */
static LAB_ALWAYS_INLINE uint64_t lab_word_add(lab_word_t *word, uint64_t n)
{
	return atomic_fetch_add_explicit(word, n, memory_order_relaxed);
}

static LAB_ALWAYS_INLINE uint64_t lab_word_sub(lab_word_t *word, uint64_t n)
{
	return atomic_fetch_sub_explicit(word, n, memory_order_relaxed);
}

/* Relaxed exchange of a hint: true if *word held @from and now holds @to. */
static LAB_ALWAYS_INLINE bool lab_word_swap(lab_word_t *word, uint64_t from, uint64_t to)
{
	return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_relaxed,
						       memory_order_relaxed);
}

/**
 * lab_word_pay() - lower a count by @n, or by what it is if that is less
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Order:   none.
 * Return:  by how much.
 */
uint64_t lab_word_pay(lab_word_t *word, uint64_t n);

static LAB_ALWAYS_INLINE uint8_t lab_byte_get(const lab_byte_t *byte)
{
	return atomic_load_explicit(byte, memory_order_relaxed);
}

/*
 * The byte as its owner sees it, who is the only one that could write it now:
 * a plain read, which the compiler may fold into a compare.  A program that
 * frees what it does not own races here, and is reported or not.
 */
static LAB_ALWAYS_INLINE uint8_t lab_byte_own(const lab_byte_t *byte)
{
	return *(const uint8_t *)byte;
}

static LAB_ALWAYS_INLINE void lab_byte_set(lab_byte_t *byte, uint8_t value)
{
	atomic_store_explicit(byte, value, memory_order_relaxed);
}

/**
 * lab_words_claim() - move @n words by @step, or none of them
 * @words:  address of word i is @words + i * @stride bytes
 * @n:      words, not pages
 * @stride: bytes from one word to the next
 * @step:   the transition; refusal anywhere undoes the earlier ones
 * @undo:   the inverse of @step; must accept every value that @step leaves
 *
 * A neighbour that meets a half-made claim may fail although the claim is
 * then undone: failure means "not now", never "none free".
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Order:   success acquires [word.claim]; the undo releases it.
 * Return:  true if all @n words moved; false with every word as it was.
 */
LAB_NODISCARD bool lab_words_claim(lab_word_t *words, size_t n, size_t stride, lab_step_fn *step,
				   lab_step_fn *undo);

#endif /* LAB_BASE_WORD_H */
