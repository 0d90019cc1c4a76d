/* SPDX-License-Identifier: MIT */
/*
 * A lock-free stack of indices.  The links live in an array that is never
 * unmapped (frames are type-stable), so a stale link may be read but is never
 * a fault, and the tag makes a stale head lose.
 */
#ifndef LAB_BASE_LIFO_H
#define LAB_BASE_LIFO_H

#include "base/word.h"

/*
 *   top   1 + index of the top element       0: empty
 *   tag   +1 on every change                 wraps; defeats A-B-A
 */
union lab_lifo_word {
	uint64_t raw;
	struct {
		uint64_t top : 32;
		uint64_t tag : 32;
	};
};
static_assert(sizeof(union lab_lifo_word) == 8, "a stack head must stay one machine word");

struct lab_lifo {
	lab_word_t head;
};

/* where the link of an element lives */
typedef lab_word_t *lab_lifo_link_fn(uint32_t index);

/**
 * lab_lifo_push() - put @index on top
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Order:   releases [lifo.head].
 */
static inline void lab_lifo_push(struct lab_lifo *lifo, uint32_t index, lab_lifo_link_fn *link)
{
	union lab_lifo_word old, next;

	old.raw = lab_word_get(&lifo->head);
	do {
		lab_word_set(link(index), old.top);
		next.top = index + 1u;
		next.tag = old.tag + 1u;
		/* release: pairs with lab_lifo_pop() [lifo.head] */
	} while (!atomic_compare_exchange_weak_explicit(
		&lifo->head, &old.raw, next.raw, memory_order_release, memory_order_relaxed));
}

/**
 * lab_lifo_pop() - take the top element
 * @index: receives it
 *
 * A-B-A: the tag moves with every push and pop, so the link read below is
 * that of the top we replace, or the exchange fails.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Order:   acquires [lifo.head].
 * Return:  false if the stack is empty.
 */
static inline bool lab_lifo_pop(struct lab_lifo *lifo, uint32_t *index, lab_lifo_link_fn *link)
{
	union lab_lifo_word old, next;

	/* acquire: pairs with lab_lifo_push(), for the link [lifo.head] */
	old.raw = atomic_load_explicit(&lifo->head, memory_order_acquire);
	do {
		if (!old.top)
			return false;
		next.top = (uint32_t)lab_word_get(link((uint32_t)(old.top - 1u)));
		next.tag = old.tag + 1u;
		/* acquire: pairs with lab_lifo_push() [lifo.head] */
	} while (!atomic_compare_exchange_weak_explicit(
		&lifo->head, &old.raw, next.raw, memory_order_acquire, memory_order_acquire));
	*index = (uint32_t)(old.top - 1u);
	return true;
}

#endif /* LAB_BASE_LIFO_H */
