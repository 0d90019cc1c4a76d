/* SPDX-License-Identifier: MIT */
/* What the tests of the mapping calls share. */
#ifndef LAB_TESTS_MAPPING_H
#define LAB_TESTS_MAPPING_H

#include "harness.h"

#include "labyrinth.h"
#include "map/map.h"

#define PAGE LAB_PAGE_BYTES

enum { RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };

static inline char *map(size_t pages)
{
	char *p = labyrinth_mmap(NULL, pages * PAGE, RW, ANON, -1, 0);

	must(p != MAP_FAILED);
	return p;
}

static inline int unmap(void *at, size_t pages)
{
	return labyrinth_munmap(at, pages * PAGE);
}

static inline struct labyrinth_mmap_info info(void)
{
	struct labyrinth_mmap_info now;

	labyrinth_mmap_info(&now);
	return now;
}

#endif /* LAB_TESTS_MAPPING_H */
