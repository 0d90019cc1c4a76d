// SPDX-License-Identifier: MIT
/*
 * There is no address space to be had when the libraries are initialised, and later there
 * is: malloc() fails, and then works.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { OBJECTS = 1000, SIZES = 5000, STEP = 7 };

static void limit(rlim_t bytes)
{
	struct rlimit now;

	if (getrlimit(RLIMIT_AS, &now))
		abort();
	now.rlim_cur = bytes;
	if (setrlimit(RLIMIT_AS, &now))
		abort();
}

static void start(void)
{
	limit(4096);
}

/* before the constructors of all libraries */
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = start;

static int fill_and_check(size_t size)
{
	static unsigned char *volatile objects[OBJECTS];
	int i, good = 1;

	for (i = 0; i < OBJECTS; i++) {
		objects[i] = malloc(size);
		if (!objects[i])
			return 0;
		if (size)
			memset(objects[i], i, size);
	}
	for (i = 0; i < OBJECTS; i++) {
		good &= !size || (objects[i][0] == (unsigned char)i &&
				  objects[i][size - 1] == (unsigned char)i);
		free(objects[i]);
	}
	return good;
}

int main(void)
{
	void *volatile ptr;
	size_t size;

	for (size = 0; size < SIZES; size += STEP) {
		errno = 0;
		ptr = malloc(size);
		if (!ptr && errno != ENOMEM)
			return 1;
		free(ptr);
	}
	limit(RLIM_INFINITY);
	for (size = 0; size < SIZES; size += STEP)
		if (!fill_and_check(size))
			return 2;
	puts("tight: ok");
	return 0;
}
