/* SPDX-License-Identifier: MIT */
#include "base/word.h"

static lab_word_t *word_at(lab_word_t *words, size_t i, size_t stride)
{
	return (lab_word_t *)((char *)words + i * stride);
}

bool lab_words_claim(lab_word_t *words, size_t n, size_t stride, lab_step_fn *step,
		     lab_step_fn *undo)
{
	uint64_t old;
	size_t done;

	for (done = 0; done < n; done++) {
		/* acquire: pairs with the owner's release [word.claim] */
		if (!lab_word_step(word_at(words, done, stride), &old, step, 0,
				   memory_order_acquire, memory_order_relaxed))
			goto undo;
	}
	return true;

undo:
	/* words[0 .. done) are ours; a step, as fields beside ours may move */
	while (done-- > 0)
		/* release: pairs with the acquire above [word.claim] */
		(void)lab_word_step(word_at(words, done, stride), &old, undo, 0,
				    memory_order_release, memory_order_relaxed);
	return false;
}

static bool step_pay(uint64_t *raw, uint64_t n)
{
	if (!*raw)
		return false;
	*raw -= *raw < n ? *raw : n;
	return true;
}

uint64_t lab_word_pay(lab_word_t *word, uint64_t n)
{
	uint64_t had;

	if (!lab_word_step(word, &had, step_pay, n, memory_order_relaxed, memory_order_relaxed))
		return 0;
	return had < n ? had : n;
}
