/* SPDX-License-Identifier: MIT */
/*
 * Up to where a stack can be read without a fault, and without asking anybody.
 *
 *   - The page that the stack pointer points into is there: we are running on it.
 *   - The main thread's stack is one mapping that grows downwards and ends at
 *     __libc_stack_end; the kernel keeps others at a distance of 128 MiB or more
 *     below (mmap_base(), arch/x86/mm/mmap.c).
 *   - Of a thread glibc keeps start and length of the stack in struct pthread.
 *     Where in it is found out at start-up: the main thread has 0 and
 *     __libc_stack_end there.  A thread's copy is believed if the stack pointer
 *     and the thread pointer lie in that stack, which glibc has mapped as a whole.
 *
 * On any other stack (sigaltstack, coroutines) it is the end of the page.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/resource.h>

#include "trace/trace.h"

enum { PAGE = 4096, PTHREAD_MAX = 2304 };

extern void *__libc_stack_end __attribute__((weak));

static uintptr_t main_end, main_span;
static uintptr_t block_at; /* offset of stackblock in struct pthread; 0: not known */

void stack_learn(void)
{
	const uintptr_t *self = __builtin_thread_pointer();
	struct rlimit limit;
	size_t i;

	if (!&__libc_stack_end || getrlimit(RLIMIT_STACK, &limit))
		return;
	main_end = (uintptr_t)__libc_stack_end;
	main_span = limit.rlim_cur < 64ul << 20 ? limit.rlim_cur : 64ul << 20;
	for (i = 1; i + 1 < PTHREAD_MAX / sizeof(*self); i++)
		if (self[i] == 0 && self[i + 1] == main_end) {
			block_at = i * sizeof(*self);
			return;
		}
}

uintptr_t stack_bound(uintptr_t sp)
{
	uintptr_t page_end = (sp | (PAGE - 1)) + 1;
	uintptr_t self = (uintptr_t)__builtin_thread_pointer();
	uintptr_t start, bytes;

	if (sp < main_end && main_end - sp < main_span)
		return main_end;
	if (!block_at)
		return page_end;
	start = *(const volatile uintptr_t *)(self + block_at);
	bytes = *(const volatile uintptr_t *)(self + block_at + sizeof(start));
	if (start && sp >= start && sp < self && self - start < bytes)
		return self;
	return page_end;
}
