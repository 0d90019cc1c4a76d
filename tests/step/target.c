/* SPDX-License-Identifier: MIT */
/* Where an operation is interrupted: of what it went through, which points. */
#include <stdlib.h>
#include <string.h>

#include "step.h"

/* a trace in which every point is one is not looked at more closely */
enum { SHORT_TRACE = 2000 };

static uint64_t targets[TRACE_MAX];
static size_t nr_targets, nr_same;
static uint32_t order[TRACE_MAX];
/* of point i + 1: the how-manieth arrival at its instruction, and its anchor + 1 */
static uint32_t arrival[TRACE_MAX], anchor[TRACE_MAX];
/* the trace before this one, and all instructions of those before, sorted */
static uint64_t last[TRACE_MAX];
static uintptr_t seen[TRACE_MAX];
static size_t nr_last, nr_seen;
/* instructions that stepping reaches before a sequence is aborted, sorted */
static uintptr_t stepped[TRACE_MAX];
static size_t nr_stepped;

static int by_instruction(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (trace[x] != trace[y])
		return trace[x] < trace[y] ? -1 : 1;
	return x < y ? -1 : 1;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_trace(void)
{
	size_t i;

	for (i = 0; i < nr_trace; i++)
		order[i] = (uint32_t)i;
	qsort(order, nr_trace, sizeof(*order), by_instruction);
}

/* ---- which ---- */

/*
 * A long operation repeats itself: of each instruction take the first three
 * times it is reached, the last, and one in between.
 */
static void choose_times(void)
{
	size_t i, end;
	uint32_t k;

	for (i = 0; i < nr_trace; i = end) {
		for (end = i; end < nr_trace && trace[order[end]] == trace[order[i]]; end++)
			;
		for (k = 0; k < 3 && i + k < end; k++)
			targets[nr_targets++] = order[i + k] + 1;
		if (end - i > 3)
			targets[nr_targets++] = order[end - 1] + 1;
		if (end - i > 4)
			targets[nr_targets++] = order[i + 3 + random_next() % (end - i - 4)] + 1;
	}
}

/* the first of the points that are the same as this one: step.h, "Left out" */
static uint64_t same_as(uint64_t point)
{
	while (point > 1 && trap_sort(trace[point - 2]) != 'm')
		point--;
	return point;
}

static void leave_out_same(void)
{
	size_t i, kept = 0;

	for (i = 0; i < nr_targets; i++)
		targets[i] = same_as(targets[i]);
	qsort(targets, nr_targets, sizeof(*targets), by_number);
	for (i = 0; i < nr_targets; i++)
		if (!kept || targets[kept - 1] != targets[i])
			targets[kept++] = targets[i];
	nr_same = nr_targets - kept;
	nr_targets = kept;
}

static bool is_among(uintptr_t ip, const uintptr_t *sorted, size_t n)
{
	return n && bsearch(&ip, sorted, n, sizeof(ip), by_address);
}

/* point i of a trace of breakpoints: the one before it led here, and to nowhere else */
static bool is_after_same(size_t i)
{
	return i > 0 && !is_in_sequence(trace[i]) && !is_in_sequence(trace[i - 1]) &&
	       trap_sort(trace[i - 1]) == 'r' && trap_next(trace[i - 1]) == trace[i];
}

static void choose_breakpoints(bool every)
{
	size_t i;

	for (i = 0; i < nr_trace; i++)
		if (is_among(trace[i], seen, nr_seen))
			continue;
		else if (!every && (is_after_same(i) || is_among(trace[i], stepped, nr_stepped)))
			nr_same++;
		else
			targets[nr_targets++] = trace[i];
}

/* those up to where this run and the last went different ways have been */
static void leave_out_old(void)
{
	size_t i, kept = 0, until = 0;

	while (until < nr_trace && until < nr_last && trace[until] == last[until])
		until++;
	for (i = 0; i < nr_targets; i++)
		if (!nr_last || targets[i] > until)
			targets[kept++] = targets[i];
	nr_targets = kept;
}

static void remember(enum how how)
{
	size_t i;

	memcpy(last, trace, nr_trace * sizeof(*trace));
	nr_last = nr_trace;
	if (how != BY_BREAKPOINT)
		return;
	for (i = 0; i < nr_trace && nr_seen < TRACE_MAX; i++)
		seen[nr_seen++] = trace[i];
	qsort(seen, nr_seen, sizeof(*seen), by_address);
}

/* ---- how they are reached ---- */

/*
 * An arrival costs two traps, but for the last; so does each instruction that
 * is stepped one.  The anchor of a point is from where it costs least.
 */
static void find_anchors(void)
{
	uint64_t cost = 0;
	size_t i;

	for (i = 0; i < nr_trace; i++)
		arrival[order[i]] =
			i && trace[order[i]] == trace[order[i - 1]] ? arrival[order[i - 1]] + 1 : 1;
	for (i = 0; i < nr_trace; i++) {
		cost++;
		anchor[i] = i ? anchor[i - 1] : 0;
		if (2ull * arrival[i] - 1 < cost && trap_can_count(trace[i])) {
			cost = 2ull * arrival[i] - 1;
			anchor[i] = (uint32_t)i + 1;
		}
	}
}

void targets_aim(size_t i)
{
	size_t from;

	injection.target = targets[i];
	if (injection.how == BY_BREAKPOINT)
		return;
	from = anchor[targets[i] - 1];
	injection.how = from ? BY_COUNT : BY_TRAP_FLAG;
	if (!from)
		return;
	injection.at = trace[from - 1];
	injection.times = arrival[from - 1];
	injection.more = (uint32_t)(targets[i] - from);
}

/* ---- for step.c ---- */

void targets_note_stepped(void)
{
	for (nr_stepped = 0; nr_stepped < nr_trace; nr_stepped++) {
		if (is_abort(trace[nr_stepped]))
			break;
		stepped[nr_stepped] = trace[nr_stepped];
	}
	qsort(stepped, nr_stepped, sizeof(*stepped), by_address);
}

void targets_forget(void)
{
	nr_stepped = nr_last = nr_seen = 0;
}

size_t targets_choose(enum how how, bool every, size_t *same)
{
	size_t i;

	nr_targets = nr_same = 0;
	if (how == BY_BREAKPOINT) {
		choose_breakpoints(every);
	} else {
		sort_trace();
		if (nr_trace > SHORT_TRACE)
			choose_times();
		else
			for (i = 0; i < nr_trace; i++)
				targets[nr_targets++] = i + 1;
		leave_out_old();
		if (!every)
			leave_out_same();
		find_anchors();
	}
	remember(how);
	*same = nr_same;
	/* in any order, so that a part is a sample */
	for (i = nr_targets; i > 1; i--) {
		size_t k = random_next() % i;
		uint64_t swap = targets[i - 1];

		targets[i - 1] = targets[k];
		targets[k] = swap;
	}
	return nr_targets;
}
