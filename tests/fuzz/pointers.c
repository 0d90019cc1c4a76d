/* SPDX-License-Identifier: MIT */
/*
 * Any pointer, handed to any entry: the call is right, or reports and goes on, or
 * reports and ends the process by SIGABRT.  It never crashes, and what others own
 * stays as it is.  Each input runs in a child.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "labyrinth.h"
#include "page/frame.h"

enum { NR_LIVE = 24, NR_DEAD = 8, SECONDS = 5 };

/* blocks of every kind; each is filled with its number */
static struct live {
	unsigned char *ptr;
	size_t size;
	int order; /* of pages; -1: of malloc()'s */
} live[NR_LIVE];
static void *dead[NR_DEAD];
static char in_data[4096];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_up(void)
{
	static const size_t sizes[] = { 1, 24, 200, 4096, 9000, 100000, (2 << 20) + 1 };
	unsigned int i;

	for (i = 0; i < NR_LIVE; i++) {
		struct live *l = &live[i];

		l->order = i < 14 ? -1 : i % 4 == 0 ? 0 : (int)(i % 4);
		l->size = l->order < 0 ? sizes[i % 7] : 4096ul << l->order;
		if (i >= 20)
			l->ptr = labyrinth_alloc_page(LABYRINTH_GFP_KERNEL |
						      LABYRINTH_GFP_EXCLUSIVE);
		else if (l->order >= 0)
			l->ptr =
				labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, (unsigned int)l->order);
		else if (i % 3 == 2)
			l->ptr = labyrinth_malloc(l->size, LABYRINTH_GFP_KERNEL);
		else
			l->ptr = labyrinth_heap_malloc(l->size);
		if (i >= 20)
			l->size = 4096, l->order = 0;
		if (!l->ptr)
			abort();
		memset(l->ptr, (int)i + 1, l->size);
	}
	for (i = 0; i < NR_DEAD; i++)
		dead[i] = labyrinth_heap_malloc(sizes[i % 7]);
	for (i = 0; i < NR_DEAD; i++)
		labyrinth_free(dead[i]);
}

static void *choose(uint8_t kind, uint8_t which, uint64_t offset)
{
	switch (kind % 9) {
	case 0:
		return live[which % NR_LIVE].ptr;
	case 1:
		return live[which % NR_LIVE].ptr + offset % (2 * live[which % NR_LIVE].size);
	case 2:
		return (char *)dead[which % NR_DEAD] + (which & 64 ? offset % 64 : 0);
	case 3:
		return (char *)lab_mem.base + offset % (64ul << 20);
	case 4:
		return (char *)lab_mem.kind + offset % (64ul << 20);
	case 5:
		return in_data + offset % sizeof(in_data);
	case 6:
		return (char *)__builtin_frame_address(0) + (int8_t)which;
	case 7:
		return (void *)(offset % 65536);
	default:
		return (void *)(uintptr_t)offset;
	}
}

/* what is freed as it should be is nobody's any more */
static void forget(const void *ptr)
{
	unsigned int i;

	for (i = 0; i < NR_LIVE; i++)
		if (live[i].ptr == ptr)
			live[i].ptr = NULL;
}

static void one_call(uint8_t entry, void *ptr, uint64_t x)
{
	void *many[2] = { ptr, NULL };

	switch (entry % 8) {
	case 0:
		forget(ptr);
		labyrinth_free(ptr);
		return;
	case 1:
		forget(ptr);
		(void)labyrinth_heap_realloc(ptr, x % 300000);
		return;
	case 2:
		(void)labyrinth_malloc_usable_size(ptr);
		return;
	case 3:
		forget(ptr);
		labyrinth_free_page(ptr);
		return;
	case 4:
		forget(ptr);
		labyrinth_free_pages(ptr, (unsigned int)(x % 12));
		return;
	case 5:
		forget(ptr);
		labyrinth_free_pages_bulk(1, many);
		return;
	case 6:
		labyrinth_split_page(ptr, (unsigned int)(x % 12));
		return;
	default:
		forget(ptr);
		labyrinth_free_sized(ptr, x);
	}
}

static void check(void)
{
	unsigned int i;
	size_t at;

	for (i = 0; i < NR_LIVE; i++)
		for (at = 0; live[i].ptr && at < live[i].size; at += 97)
			if (live[i].ptr[at] != i + 1)
				raise(SIGUSR1);
}

/* new blocks lie in nobody's, nor in each other */
static void check_new(void)
{
	static const size_t sizes[] = { 1, 24, 200, 4096, 9000, 100000 };
	enum { NR_NEW = 120 };
	unsigned char *ptr[NR_NEW];
	unsigned int i;

	for (i = 0; i < NR_NEW; i++) {
		ptr[i] = labyrinth_heap_malloc(sizes[i % 6]);
		if (!ptr[i])
			raise(SIGUSR1);
		memset(ptr[i], (int)(100 + i), sizes[i % 6]);
	}
	check();
	for (i = 0; i < NR_NEW; i++) {
		if (ptr[i][0] != 100 + i || ptr[i][sizes[i % 6] - 1] != 100 + i)
			raise(SIGUSR1);
		labyrinth_free(ptr[i]);
	}
}

static void child(const uint8_t *data, size_t size)
{
	static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGUSR1 };
	unsigned int i;
	uint64_t x;

	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], SIG_DFL);
	alarm(SECONDS);
	/* here, as exclusive pages do not come along */
	set_up();
	for (; size >= 11; data += 11, size -= 11) {
		memcpy(&x, data + 3, 8);
		one_call(data[0], choose(data[1], data[2], x), x >> 7);
		check();
	}
	/* and all goes on */
	check_new();
	_exit(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		child(data, size);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 0;
	if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
	    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT))
		abort();
	return 0;
}
