/* SPDX-License-Identifier: MIT */
/*
 * liblabyrinth-trace.so: stacks for failure reports.  capture() runs on the
 * atomic path: it copies registers and the top of the stack, no more; all else
 * is done when the report is written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "trace/trace.h"

/* a signal frame takes 1 to 3 KiB, 11 with AMX; the frames below it have to fit as well */
enum { KEPT_BYTES = 16384, PAGE = 4096 };

/* NOLINTNEXTLINE(readability-redundant-declaration): weak, as a program may have no library */
int labyrinth_trace_register(const struct labyrinth_trace *trace) __attribute__((weak));

static struct {
	struct stack_view view;
	char bytes[KEPT_BYTES];
} kept[LABYRINTH_TRACE_SLOTS];

static void capture(unsigned int slot)
{
	struct stack_view *view = &kept[slot].view;
	uintptr_t room;

	VIEW_HERE(view);
	room = stack_bound(view->sp) - view->sp;
	view->bytes = kept[slot].bytes;
	view->len = room < KEPT_BYTES ? room : KEPT_BYTES;
	memcpy(kept[slot].bytes, (const void *)view->sp, view->len);
}

/* ---- printing ---- */

static void print(unsigned int slot, labyrinth_trace_put_fn *put, void *arg)
{
	struct stack_view view = kept[slot].view;
	int saved = errno;

	/* whatever a late writer has left there */
	view.bytes = kept[slot].bytes;
	if (view.len <= KEPT_BYTES)
		unwind(&view, put, arg);
	errno = saved;
}

static void print_here(labyrinth_trace_put_fn *put, void *arg)
{
	struct stack_view view;
	int saved = errno;

	VIEW_HERE(&view);
	view.bytes = (const char *)view.sp;
	view.len = stack_bound(view.sp) - view.sp;
	unwind(&view, put, arg);
	errno = saved;
}

static const struct labyrinth_trace table = { .version = LABYRINTH_TRACE_VERSION,
					      .slots = LABYRINTH_TRACE_SLOTS,
					      .capture = capture,
					      .print = print,
					      .print_here = print_here,
					      .stack = frames_collect,
					      .name = unwind_name,
					      .cut = frames_cut };

__attribute__((constructor)) static void start(void)
{
	volatile char *at = (volatile char *)kept;
	size_t i;

	/* capture() takes no page fault */
	for (i = 0; i < sizeof(kept); i += PAGE)
		at[i] = 0;
	at[sizeof(kept) - 1] = 0;
	stack_learn();
	frames_init((uintptr_t)labyrinth_trace_register);
	if (unwind_init() == 0 && labyrinth_trace_register)
		(void)labyrinth_trace_register(&table);
}
