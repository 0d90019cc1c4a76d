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

/* registers of the function that it is put into; the return address is right here */
#define VIEW_HERE(view)                                                                            \
	__asm__ volatile("leaq 0(%%rip), %%rax\n\t"                                                \
			 "movq %%rax, %0\n\t"                                                      \
			 "movq %%rsp, %1\n\t"                                                      \
			 "movq %%rbp, %2\n\t"                                                      \
			 "movq %%rbx, %3\n\t"                                                      \
			 "movq %%r12, %4\n\t"                                                      \
			 "movq %%r13, %5\n\t"                                                      \
			 "movq %%r14, %6\n\t"                                                      \
			 "movq %%r15, %7"                                                          \
			 : "=m"((view)->ip), "=m"((view)->sp), "=m"((view)->bp), "=m"((view)->bx), \
			   "=m"((view)->r12), "=m"((view)->r13), "=m"((view)->r14),                \
			   "=m"((view)->r15)                                                       \
			 :                                                                         \
			 : "rax", "memory")

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
					      .print_here = print_here };

__attribute__((constructor)) static void start(void)
{
	volatile char *at = (volatile char *)kept;
	size_t i;

	/* capture() takes no page fault */
	for (i = 0; i < sizeof(kept); i += PAGE)
		at[i] = 0;
	at[sizeof(kept) - 1] = 0;
	stack_learn();
	if (unwind_init() == 0 && labyrinth_trace_register)
		(void)labyrinth_trace_register(&table);
}
