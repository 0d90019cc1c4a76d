// SPDX-License-Identifier: MIT
/*
 * Preloaded behind Labyrinth, so that its constructor runs first: what a library does
 * before ours has started.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OBJECTS = 3000 };

static void *objects[OBJECTS];

static void need(int good)
{
	static const char text[] = "early: failed\n";

	if (!good && write(2, text, sizeof(text) - 1))
		_exit(9);
}

__attribute__((constructor)) static void start(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	need(page != MAP_FAILED);
	page[0] = 1;
	need(msync(page, 4096, MS_ASYNC) == 0);
	for (i = 0; i < OBJECTS; i++) {
		objects[i] = malloc(40);
		need(objects[i] != NULL);
		memset(objects[i], i, 40);
	}
}

__attribute__((destructor)) static void end(void)
{
	int i;

	for (i = 0; i < OBJECTS; i++) {
		need(((unsigned char *)objects[i])[39] == (unsigned char)i);
		free(objects[i]);
	}
}
