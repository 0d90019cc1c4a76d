/* SPDX-License-Identifier: MIT */
/* Requests that fail on purpose: attributes by call and by option. */
#include <errno.h>
#include <stddef.h>

#include "api/fault_api.h"
#include "api/option_value.h"
#include "api/options.h"
#include "diag/fault.h"
#include "labyrinth.h"
#include "page/zone.h"

enum { WORDS = sizeof(struct labyrinth_fault_attr) / sizeof(uint64_t) };
static_assert(offsetof(struct labyrinth_fault_attr, injected) == (WORDS - 1) * sizeof(uint64_t),
	      "what cannot be set is the last word");

/* the attributes as words, each read and written by itself */
union image {
	struct labyrinth_fault_attr attr;
	uint64_t word[WORDS];
};

static lab_word_t *words_of(enum labyrinth_fault fault)
{
	return (lab_word_t *)&lab_fault.attr[fault];
}

LAB_PUBLIC int labyrinth_fault_get(enum labyrinth_fault fault, struct labyrinth_fault_attr *attr)
{
	union image image;
	unsigned int i;

	if ((unsigned int)fault >= LABYRINTH_NR_FAULTS)
		return -EINVAL;
	for (i = 0; i < WORDS; i++)
		image.word[i] = lab_word_get(&words_of(fault)[i]);
	*attr = image.attr;
	return 0;
}

LAB_PUBLIC int labyrinth_fault_set(enum labyrinth_fault fault,
				   const struct labyrinth_fault_attr *attr)
{
	const union image image = { .attr = *attr };
	unsigned int i;

	if ((unsigned int)fault >= LABYRINTH_NR_FAULTS || attr->probability > 100 ||
	    attr->times < -1 || attr->space < 0 || attr->verbose > 2 || attr->task_filter > 1 ||
	    attr->ignore_gfp_wait > 1 || attr->ignore_gfp_highmem > 1 ||
	    attr->min_order > LABYRINTH_MAX_PAGE_ORDER + 1)
		return -EINVAL;
	/* the first one last: with a probability of 0 the others do not count */
	lab_word_set(words_of(fault), 0);
	for (i = WORDS - 2; i < WORDS; i--)
		lab_word_set(&words_of(fault)[i], image.word[i]);
	lab_watch_start(LAB_WATCH_FAULT);
	return 0;
}

static int setup(enum labyrinth_fault fault, const char *text, size_t len)
{
	struct labyrinth_fault_attr attr;
	uint64_t number[4];

	if (labyrinth_fault_get(fault, &attr) || !lab_option_fault(text, len, number))
		return -EINVAL;
	attr.interval = number[0];
	attr.probability = number[1];
	attr.space = (int64_t)number[2];
	attr.times = (int64_t)number[3];
	return labyrinth_fault_set(fault, &attr);
}

LAB_PUBLIC int labyrinth_fault_setup(enum labyrinth_fault fault, const char *text)
{
	size_t len;

	for (len = 0; text[len]; len++)
		;
	return setup(fault, text, len);
}

LAB_PUBLIC void labyrinth_fault_seed(uint64_t seed)
{
	lab_fault_init(seed);
}

LAB_PUBLIC void labyrinth_fail_nth(unsigned int n)
{
	lab_word_set(lab_fault_nth(), n);
	if (n)
		lab_watch_start(LAB_WATCH_FAULT);
}

LAB_PUBLIC unsigned int labyrinth_fail_nth_left(void)
{
	return (unsigned int)lab_word_get(lab_fault_nth());
}

LAB_PUBLIC int labyrinth_make_it_fail(int on)
{
	int old = (int)lab_word_get(lab_fault_marked());

	lab_word_set(lab_fault_marked(), on != 0);
	return old;
}

/* what both have by one option */
static void common(enum labyrinth_fault fault)
{
	struct labyrinth_fault_attr *attr = &lab_fault.attr[fault];

	attr->min_order = lab_options.fail_min_order;
	attr->ignore_gfp_wait = lab_options.fail_ignore_gfp_wait;
	attr->task_filter = lab_options.fail_task_filter;
	attr->verbose = lab_options.fail_verbose;
}

LAB_STARTUP void lab_fault_options(void)
{
	const char *text[] = { lab_options.fail_page_alloc, lab_options.failslab };
	unsigned int i;

	lab_fault_init(lab_options.fail_seed);
	for (i = 0; i < LABYRINTH_NR_FAULTS; i++) {
		common((enum labyrinth_fault)i);
		if (*text[i])
			(void)labyrinth_fault_setup((enum labyrinth_fault)i, text[i]);
	}
	if (lab_options.make_it_fail)
		(void)labyrinth_make_it_fail(1);
	if (lab_options.fail_nth)
		labyrinth_fail_nth((unsigned int)lab_options.fail_nth);
}
