/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/auxv.h>

#include "base/probe.h"
#include "diag/fault.h"
#include "gfp/warn.h"
#include "os/cpu.h"
#include "page/event.h"

/* FAULT_ATTR_INITIALIZER, and what fail_page_alloc and failslab add to it */
#define INITIAL                                                                                    \
	{                                                                                          \
		.interval = 1, .times = 1, .verbose = 2, .ignore_gfp_wait = 1,                     \
		.ignore_gfp_highmem = 1, .min_order = 1,                                           \
	}

struct lab_export_fault lab_fault = {
	.version = LAB_EXPORT_FAULT_VERSION,
	.bytes = sizeof(lab_fault),
	.watchers = (uintptr_t)&lab_watchers,
	.gate = (uintptr_t)&lab_page_gate,
	.bound = { (uintptr_t)&lab_hot_gates.sizes, (uintptr_t)&lab_hot_gates.frames },
	.watcher = LAB_WATCH_FAULT,
	.attr = { INITIAL, INITIAL },
};

static const char *const names[] = { "fail_page_alloc", "failslab" };

/* of the thread, as task_struct's */
static __thread lab_word_t nth, marked;

lab_word_t *lab_fault_nth(void)
{
	return &nth;
}

lab_word_t *lab_fault_marked(void)
{
	return &marked;
}

/* others write them too, this process's threads or labyrinth(1) */
static uint64_t get(const uint64_t *attr)
{
	return lab_word_get((const lab_word_t *)attr);
}

static bool step(void *word, lab_step_fn *how, uint64_t arg)
{
	uint64_t old;

	return lab_word_step(word, &old, how, arg, memory_order_relaxed, memory_order_relaxed);
}

/* ---- chance ---- */

/* splitmix64 of a count: wait-free, and the n-th number is the same in each run */
static uint64_t draw(void)
{
	uint64_t n = lab_word_add((lab_word_t *)&lab_fault.drawn, 1) + 1;
	uint64_t x = get(&lab_fault.seed) + n * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

LAB_STARTUP void lab_fault_init(uint64_t seed)
{
	const void *random = (const void *)getauxval(AT_RANDOM);

	if (!seed) {
		/* 16 bytes, at any address */
		if (random)
			memcpy(&seed, random, sizeof(seed));
		seed = seed % LAB_FAULT_SEED_MAX + 1;
	}
	lab_word_set((lab_word_t *)&lab_fault.seed, seed);
	lab_word_set((lab_word_t *)&lab_fault.drawn, 0);
}

/* ---- should_fail_ex() ---- */

static bool step_countdown(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	return *raw && (--*raw, true);
}

/* -1 is no limit; atomic_dec_not_zero() */
static bool step_times(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	if (*raw == UINT64_MAX || !*raw)
		return false;
	--*raw;
	return true;
}

static bool step_space(uint64_t *raw, uint64_t size)
{
	if ((int64_t)*raw <= (int64_t)size)
		return false;
	*raw -= size;
	return true;
}

/* one of those that may still fail: here, so that of threads at once no more do */
static bool take_time(struct labyrinth_fault_attr *attr)
{
	return step(&attr->times, step_times, 0) || get((uint64_t *)&attr->times) == UINT64_MAX;
}

static bool attributes_say_so(enum labyrinth_fault fault, uint64_t size)
{
	struct labyrinth_fault_attr *attr = &lab_fault.attr[fault];
	lab_word_t *passed = (lab_word_t *)&lab_fault.passed[fault];
	uint64_t probability = get(&attr->probability), interval = get(&attr->interval);

	if (!probability || (get(&attr->task_filter) && !lab_word_get(&marked)) ||
	    !get((uint64_t *)&attr->times) || step(&attr->space, step_space, size))
		return false;
	if (interval > 1 && (lab_word_add(passed, 1) + 1) % interval)
		return false;
	return probability > (draw() >> 32) * 100 >> 32 && take_time(attr);
}

static LAB_COLD void inject(enum labyrinth_fault fault, const struct lab_request *request)
{
	struct labyrinth_fault_attr *attr = &lab_fault.attr[fault];
	const uint64_t times = get((uint64_t *)&attr->times);
	const struct lab_warn_fault what = { .name = names[fault],
					     .interval = get(&attr->interval),
					     .probability = get(&attr->probability),
					     .space = get((uint64_t *)&attr->space),
					     /* as it was, like the kernel */
					     .times = times + (times != UINT64_MAX),
					     .bytes = request->bytes,
					     .seed = get(&lab_fault.seed) };
	uint64_t verbose = get(&attr->verbose);

	lab_event_add(LAB_EV_FAULT_INJECTED, 1);
	LAB_PROBE2(fault_injected, fault, request->bytes);
	(void)lab_word_add((lab_word_t *)&attr->injected, 1);
	if (verbose && !(request->gfp & LABYRINTH___GFP_NOWARN))
		lab_warn_fault(request->gfp, &what, verbose > 1);
}

/* should_failslab() and should_fail_alloc_page() */
static bool is_exempt(const struct labyrinth_fault_attr *attr, const struct lab_request *request)
{
	const labyrinth_gfp_t gfp = request->gfp;

	return (request->order != LAB_OBJECT && (uint64_t)request->order < get(&attr->min_order)) ||
	       gfp & LABYRINTH___GFP_NOFAIL ||
	       (gfp & LABYRINTH___GFP_HIGHMEM && get(&attr->ignore_gfp_highmem)) ||
	       (gfp & LABYRINTH___GFP_DIRECT_RECLAIM && get(&attr->ignore_gfp_wait));
}

bool lab_fault_refuses(const struct lab_request *request)
{
	const bool object = request->order == LAB_OBJECT;
	const enum labyrinth_fault fault = object ? LABYRINTH_FAILSLAB : LABYRINTH_FAIL_PAGE_ALLOC;
	uint64_t before;
	bool fails;

	if (is_exempt(&lab_fault.attr[fault], request))
		return false;
	if (lab_word_step(&nth, &before, step_countdown, 0, memory_order_relaxed,
			  memory_order_relaxed)) {
		fails = before == 1;
		if (fails)
			(void)take_time(&lab_fault.attr[fault]);
	} else {
		fails = attributes_say_so(fault, object ? request->bytes : 1ull << request->order);
	}
	if (fails)
		inject(fault, request);
	return fails;
}
