// SPDX-License-Identifier: MIT
/*
 * An executable that brings malloc, free, calloc and realloc of its own, which
 * count and forward to libc's, but none of the aligned family: a preloaded
 * Labyrinth has to step aside, as what it gave out would end up in libc's free().
 * Prints "own: ok".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((weak)) const char *labyrinth_pcp_backend(void);
__attribute__((weak)) void *labyrinth_heap_realloc(void *block, size_t size);

void *__libc_malloc(size_t size);
void __libc_free(void *block);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);

/* volatile: the header says that strdup() does not call back into this file */
static volatile unsigned long served, released;

void *malloc(size_t size)
{
	served++;
	return __libc_malloc(size);
}

void free(void *block)
{
	released++;
	__libc_free(block);
}

void *calloc(size_t n, size_t size)
{
	served++;
	return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
	served++;
	return __libc_realloc(block, size);
}

static void expect(bool good, const char *what, size_t size)
{
	if (good)
		return;
	fprintf(stderr, "own: %s, %zu bytes, errno %d\n", what, size, errno);
	exit(1);
}

/* A block of @size at an address that suits @align: usable, resizable, freed. */
static void use(void *block, size_t align, size_t size, const char *what)
{
	char *bytes = block;

	expect(block && (uintptr_t)block % align == 0, what, size);
	expect(malloc_usable_size(block) >= size, "malloc_usable_size", size);
	memset(block, 7, size);
	bytes = realloc(bytes, size * 2);
	expect(bytes && bytes[0] == 7 && bytes[size - 1] == 7, "realloc", size);
	free(bytes);
}

int main(void)
{
	static const size_t sizes[] = { 1, 24, 100, 1000, 4096, 5000, 70000, 3u << 20, 40u << 20 };
	/* as of programs whose functions forward to the next: ours, if preloaded */
	void (*next_free)(void *) = (void (*)(void *))dlsym(RTLD_NEXT, "free");
	unsigned long before;
	void *block;
	char *text;

	expect(!labyrinth_pcp_backend || !strcmp(labyrinth_pcp_backend(), "none"),
	       "the library serves all the same", 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t size = sizes[i];

		before = served;
		use(malloc(size), 16, size, "malloc");
		use(calloc(size, 1), 16, size, "calloc");
		expect(served == before + 4, "the program's functions were not called", size);
		for (size_t align = 16; align <= 65536; align *= 8) {
			use(memalign(align, size), align, size, "memalign");
			use(aligned_alloc(align, size), align, size, "aligned_alloc");
			block = NULL;
			expect(posix_memalign(&block, align, size) == 0, "posix_memalign", size);
			use(block, align, size, "posix_memalign");
		}
		use(valloc(size), 4096, size, "valloc");
	}
	/* a caller of ours has libc's blocks as well */
	if (labyrinth_heap_realloc) {
		block = memset(malloc(100), 7, 100);
		use(labyrinth_heap_realloc(block, 5000), 16, 5000, "labyrinth_heap_realloc");
	}
	expect(next_free, "dlsym", 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		next_free(malloc(sizes[i]));
	expect(posix_memalign(&block, 24, 100) == EINVAL, "posix_memalign(24)", 100);
	before = served;
	text = strdup("libc's own calls come to the program's malloc too");
	expect(text && served == before + 1, "strdup", 0);
	free(text);
	puts("own: ok");
	return released ? 0 : 1;
}
