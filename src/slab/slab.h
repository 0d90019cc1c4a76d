/* SPDX-License-Identifier: MIT */
/*
 * One slab: frames cut into objects of one class.  Its word and bitmap are a
 * pool (base/bits.h) in the state of its first frame, outside the memory they
 * describe.  After Michael (PLDI 2004) and LRMalloc: all state in one word.
 */
#ifndef LAB_SLAB_SLAB_H
#define LAB_SLAB_SLAB_H

#include "page/frame.h"
#include "slab/sizeclass.h"

/*
 *   free    objects that may be taken             0 .. nobj; the law of the pool
 *   listed  a list, an active slot or one context is responsible for the slab
 *   cls     class of the objects                  0: not a slab
 *   gen     +1 on birth and on retirement         wraps; defeats A-B-A
 *
 * A slab that is not listed has no free object; whoever gives it the first
 * one lists it again, in the same exchange.  Only the responsible one may
 * retire it.
 */
union lab_slab_word {
	uint64_t raw;
	struct {
		uint64_t free : 10;
		uint64_t listed : 1;
		uint64_t cls : 8;
		uint64_t gen : 32;
	};
};
static_assert(sizeof(union lab_slab_word) == 8, "slab state must stay one machine word");
static_assert(LAB_CLASS_END <= 1u << 8, "cls must be able to name every class");

/* What giving an object back brought about. */
enum lab_slab_gift { LAB_SLAB_GAVE, LAB_SLAB_LIST_IT, LAB_SLAB_ALL_FREE };

/**
 * lab_slab_make() - cut frames into objects
 * @pfn: first of 2^order frames of the class, owned by the caller
 *
 * All objects are free; the caller is responsible for the slab.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  Order: releases [slab.word].
 */
void lab_slab_make(lab_pfn_t pfn, unsigned int cls);

/**
 * lab_slab_reserve() - lower the count by up to @want objects
 * @want: 1 .. 64
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  Any context may take from any slab.
 * Order:   acquires [slab.word].
 * Return:  how many objects the caller may collect, and has to; 0: none is
 *          free, or this is not a slab of @cls any more.
 */
unsigned int lab_slab_reserve(lab_pfn_t pfn, unsigned int cls, unsigned int want);

/**
 * lab_slab_collect() - take objects that were reserved
 * @n:     1 .. 64, of the reserved ones those not collected yet
 * @first: receives the address of the object of bit 0 of the mask
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  Order: acquires [pool.bits].
 * Return:  the mask of objects taken, 1 .. @n of them; call again for the rest.
 */
uint64_t lab_slab_collect(lab_pfn_t pfn, unsigned int cls, unsigned int n, char **first);

/**
 * lab_slab_give() - give back objects of one word of the bitmap
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, never fails.
 * Order:   releases [pool.bits], [slab.word].
 * Return:  LIST_IT: the caller became responsible for the slab and must list
 *          it; ALL_FREE: no object is in use any more; GAVE otherwise.
 */
enum lab_slab_gift lab_slab_give(lab_pfn_t pfn, unsigned int word, uint64_t mask);

/**
 * lab_slab_leave() - end responsibility for a slab without a free object
 *
 * Return: false: it has some meanwhile; the caller stays responsible.
 */
LAB_NODISCARD bool lab_slab_leave(lab_pfn_t pfn);

/**
 * lab_slab_retire() - end a slab whose objects are all free
 *
 * Only for the responsible one.  Its frames become the caller's.
 * Order:  acquires [slab.word].
 * Return: false: an object is in use; nothing changed.
 */
LAB_NODISCARD bool lab_slab_retire(lab_pfn_t pfn);

/** lab_slab_of() - first frame of the slab of class @cls that @ptr lies in */
static LAB_ALWAYS_INLINE lab_pfn_t lab_slab_of(const void *ptr, unsigned int cls)
{
	return lab_pfn_of(ptr) & ~((1u << lab_class[cls].order) - 1u);
}

/** lab_slab_index() - which object of its slab @ptr points into */
static LAB_ALWAYS_INLINE unsigned int lab_slab_index(const void *ptr, unsigned int cls)
{
	uintptr_t offset =
		((uintptr_t)ptr - lab_mem.base) & ((LAB_PAGE_BYTES << lab_class[cls].order) - 1);

	return (unsigned int)((offset * lab_class[cls].recip) >> LAB_RECIP_SHIFT);
}

#endif /* LAB_SLAB_SLAB_H */
