// SPDX-License-Identifier: MIT
/*
 * Out of memory, and a log all the same.
 *
 * See oom_log.md.
 *
 *   build: gcc -O2 -o oom_log oom_log.c
 *   run:   ./oom_log                                       # the system's malloc: no log
 *          LD_PRELOAD=liblabyrinth-preload.so ./oom_log    # with one
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LINES = 200, CACHES = 5, LIMIT_MIB = 64 };

/* In the preloaded library, if it is there. */
__attribute__((weak)) uintptr_t labyrinth_gfp_save(void);
__attribute__((weak)) void labyrinth_gfp_restore(uintptr_t saved);

struct line {
	struct line *next;
	char *text;
};

/* what the program's memory is used for */
static struct {
	const char *name;
	size_t bytes;
} cache[CACHES] = {
	{ "index", 0 }, { "sessions", 0 }, { "answers", 0 }, { "images", 0 }, { "other", 0 }
};

/* the log of what happened; built of many small blocks, as logs are */
static struct line *compose(int lines)
{
	struct line *list = NULL, *line;

	for (int i = 0; i < lines; i++) {
		int n = i % CACHES;

		line = malloc(sizeof(*line));
		if (!line || asprintf(&line->text, "%3d  cache %-10s %9zu bytes\n", i,
				      cache[n].name, cache[n].bytes / (size_t)(i / CACHES + 1)) < 0)
			return NULL;
		line->next = list;
		list = line;
	}
	return list;
}

/* Called where there is no memory left; nothing is freed before the log is written. */
static void out_of_memory(void)
{
	uintptr_t saved = labyrinth_gfp_save ? labyrinth_gfp_save() : 0;
	struct line *list = compose(LINES);
	size_t lines = 0, bytes = 0;

	if (!list) {
		static const char text[] = "out of memory; and none for the log\n";

		_exit(write(2, text, sizeof(text) - 1) > 0 ? 3 : 4);
	}
	for (; list; list = list->next, lines++) {
		bytes += strlen(list->text);
		if (lines < 3 && write(1, list->text, strlen(list->text)) < 0)
			_exit(4);
	}
	dprintf(1, "... out of memory: %zu lines, %zu bytes logged\n", lines, bytes);
	if (labyrinth_gfp_restore)
		labyrinth_gfp_restore(saved);
	_exit(0);
}

/* the program's own way to ask for memory */
static void *get(int user, size_t size)
{
	void *block = malloc(size);

	if (!block)
		out_of_memory();
	cache[user].bytes += size;
	return block;
}

int main(void)
{
	const struct rlimit limit = { LIMIT_MIB << 20, LIMIT_MIB << 20 };
	void **list = NULL, **next;
	size_t size = 100000;

	if (setrlimit(RLIMIT_AS, &limit))
		return 2;
	/* a smaller block when there is no larger one: until really nothing is left */
	for (int i = 0;; i++) {
		while (size > 16 && !(next = malloc(size)))
			size /= 2;
		next = size > 16 ? next : get(i % CACHES, 16);
		*next = list;
		list = next;
		cache[i % CACHES].bytes += size;
	}
}
