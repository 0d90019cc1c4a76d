/* SPDX-License-Identifier: MIT */
/*
 * A program that says what it holds.  usage: figures MODE
 *
 *   hold    1234 blocks of 1500 bytes and 3 of 5 MiB; says its own figures, then stops
 *           itself; with SIGCONT it ends
 *   xml     malloc_info() on standard output, and mallinfo2() held against it
 *   wait    says "ready" and waits for signals, 1000 blocks of 100 bytes in hand
 *   handler labyrinth_stats() from a handler that interrupts malloc(), 200 times
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "labyrinth.h"

static void *blocks[1234], *huge[3];

#define need(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			exit(99);                                                                  \
		}                                                                                  \
	} while (0)

static struct labyrinth_class_info class_named(const char *name)
{
	struct labyrinth_class_info info;
	unsigned int i;

	for (i = 0; labyrinth_class_info(i, &info) == 0; i++)
		if (strcmp(info.name, name) == 0)
			return info;
	need(!"such a class");
	return info;
}

static void hold(void)
{
	static const char *const names[] = { "malloc-1536", "huge" };
	char said[512];
	size_t i;
	int n = 0;

	for (i = 0; i < 1234; i++)
		need((blocks[i] = malloc(1500)));
	for (i = 0; i < 3; i++)
		need((huge[i] = malloc(5 << 20)));
	for (i = 0; i < 2; i++) {
		struct labyrinth_class_info info = class_named(names[i]);

		n += snprintf(said + n, sizeof(said) - (size_t)n, "%s %llu %llu\n", info.name,
			      (unsigned long long)info.active, (unsigned long long)info.bytes);
	}
	need(write(1, said, (size_t)n) == n);
	raise(SIGSTOP);
}

static void xml(void)
{
	struct mallinfo2 before = mallinfo2(), info;
	struct mallinfo narrow;

	for (int i = 0; i < 1234; i++)
		need((blocks[i] = malloc(1500)));
	need((huge[0] = malloc(5 << 20)));
	info = mallinfo2();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	narrow = mallinfo();
#pragma GCC diagnostic pop
	need(info.hblks == before.hblks + 1 && info.hblkhd == before.hblkhd + (5 << 20));
	need(info.uordblks == before.uordblks + 1234 * 1536);
	need(info.uordblks + info.fordblks == info.arena);
	need(narrow.uordblks == (int)info.uordblks && narrow.hblkhd == (int)info.hblkhd);
	need(info.fsmblks <= info.fordblks && (info.smblks == 0) == (info.fsmblks == 0));
	need(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1 && mallopt(M_ARENA_MAX, 1) == 1);
	need(mallopt(M_MXFAST, 4096) == 0 && mallopt(M_MXFAST, 64) == 1 &&
	     mallopt(M_MMAP_THRESHOLD, 64 << 20) == 0);
	for (int i = 0; i < 1234; i++)
		free(blocks[i]);
	/* what is on no stack goes to the system */
	need(malloc_trim(0) == 1);
	need(malloc_info(1, stdout) != 0);
	need(malloc_info(0, stdout) == 0);
}

static volatile sig_atomic_t handled;

static void write_stats(int signo)
{
	(void)signo;
	if (labyrinth_stats(1, 1 + handled % 3) == 0)
		handled++;
}

static void handler(void)
{
	struct itimerval often = { .it_interval = { 0, 500 }, .it_value = { 0, 500 } };
	unsigned long turn = 0;

	signal(SIGALRM, write_stats);
	need(setitimer(ITIMER_REAL, &often, NULL) == 0);
	for (; handled < 200; turn++) {
		void **slot = &blocks[turn * 7919 % 1234];

		free(*slot);
		*slot = malloc(turn * 31 % 40000);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (strcmp(mode, "hold") == 0)
		hold();
	else if (strcmp(mode, "xml") == 0)
		xml();
	else if (strcmp(mode, "handler") == 0)
		handler();
	else if (strcmp(mode, "wait") == 0) {
		for (int i = 0; i < 1000; i++)
			need((blocks[i] = malloc(100)));
		puts("ready");
		fflush(stdout);
		for (;;)
			pause();
	} else {
		return 2;
	}
	return 0;
}
