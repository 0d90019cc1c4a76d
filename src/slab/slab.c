/* SPDX-License-Identifier: MIT */
#include "slab/slab.h"
#include "base/fail.h"

enum { SLAB_WORDS = 4 };

/* ---- transitions ---- */

static bool step_take(uint64_t *raw, uint64_t cls_and_n)
{
	union lab_slab_word w = { .raw = *raw };
	uint64_t n = cls_and_n >> 8;

	if (w.cls != (cls_and_n & 0xff) || w.free == 0)
		return false;
	w.free -= n < w.free ? n : w.free;
	*raw = w.raw;
	return true;
}

static bool step_give(uint64_t *raw, uint64_t n)
{
	union lab_slab_word w = { .raw = *raw };

	w.free += n;
	w.listed = 1;
	*raw = w.raw;
	return true;
}

static bool step_leave(uint64_t *raw, uint64_t unused)
{
	union lab_slab_word w = { .raw = *raw };

	(void)unused;
	if (w.free)
		return false;
	w.listed = 0;
	*raw = w.raw;
	return true;
}

static bool step_retire(uint64_t *raw, uint64_t unused)
{
	union lab_slab_word w = { .raw = *raw };

	(void)unused;
	if (w.free != lab_class[w.cls].nobj)
		return false;
	w.free = 0;
	w.listed = 0;
	w.cls = 0;
	w.gen++;
	*raw = w.raw;
	return true;
}

/* ---- the slab ---- */

void lab_slab_make(lab_pfn_t pfn, unsigned int cls)
{
	struct lab_frame *frame = lab_frame_at(pfn);
	unsigned int nobj = lab_class[cls].nobj, word;
	union lab_slab_word w = { .raw = lab_word_get(&frame->word) };

	for (word = 0; word < SLAB_WORDS; word++) {
		unsigned int n = nobj < 64 ? nobj : 64;

		lab_word_set(&frame->bits[word], n ? lab_mask(0, n) : 0);
		nobj -= n;
	}
	lab_word_set(&frame->npages, 0);
	lab_word_set(&frame->bytes, 0);
	lab_kind_fill(pfn, 1ul << lab_class[cls].order, (uint8_t)cls);
	w.free = lab_class[cls].nobj;
	w.listed = 1;
	w.cls = cls;
	w.gen++;
	/* release: pairs with lab_slab_take() [slab.word] */
	atomic_store_explicit(&frame->word, w.raw, memory_order_release);
}

unsigned int lab_slab_reserve(lab_pfn_t pfn, unsigned int cls, unsigned int want)
{
	union lab_slab_word old;

	/* acquire: pairs with lab_slab_make() and lab_slab_give() [slab.word] */
	if (!lab_word_step(&lab_frame_at(pfn)->word, &old.raw, step_take, (uint64_t)want << 8 | cls,
			   memory_order_acquire, memory_order_relaxed))
		return 0;
	return want < old.free ? want : (unsigned int)old.free;
}

uint64_t lab_slab_collect(lab_pfn_t pfn, unsigned int cls, unsigned int n, char **first)
{
	struct lab_take take = lab_bits_take(lab_frame_at(pfn)->bits, SLAB_WORDS, n);

	*first = (char *)lab_frame_address(pfn) + (size_t)take.word * 64 * lab_class[cls].size;
	return take.mask;
}

enum lab_slab_gift lab_slab_give(lab_pfn_t pfn, unsigned int word, uint64_t mask)
{
	struct lab_frame *frame = lab_frame_at(pfn);
	unsigned int n = lab_popcount(mask);
	union lab_slab_word old;

	/* the live bytes let no second free come so far: our own fault */
	if (LAB_UNLIKELY(lab_bits_give(&frame->bits[word], mask)))
		lab_bug("an object was given back twice");
	/* release: pairs with lab_slab_take(), lab_slab_retire() [slab.word] */
	(void)lab_word_step(&frame->word, &old.raw, step_give, n, memory_order_release,
			    memory_order_relaxed);
	if (!old.listed)
		return LAB_SLAB_LIST_IT;
	return old.free + n == lab_class[old.cls].nobj ? LAB_SLAB_ALL_FREE : LAB_SLAB_GAVE;
}

bool lab_slab_leave(lab_pfn_t pfn)
{
	uint64_t old;

	return lab_word_step(&lab_frame_at(pfn)->word, &old, step_leave, 0, memory_order_relaxed,
			     memory_order_relaxed);
}

bool lab_slab_retire(lab_pfn_t pfn)
{
	union lab_slab_word old;

	/* acquire: pairs with lab_slab_give() [slab.word] */
	if (!lab_word_step(&lab_frame_at(pfn)->word, &old.raw, step_retire, 0, memory_order_acquire,
			   memory_order_relaxed))
		return false;
	lab_kind_fill(pfn, 1ul << lab_class[old.cls].order, LAB_KIND_FREE);
	return true;
}
