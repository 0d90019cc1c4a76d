/* SPDX-License-Identifier: MIT */
/*
 * An allocator that does nothing, in a shared object of its own: what a pair of
 * calls costs that every allocator behind a shared object pays.
 */
#include <stddef.h>

#include "bench.h"

static char block[4096];

void *bench_floor_alloc(size_t size)
{
	(void)size;
	return block;
}

void bench_floor_free(void *ptr)
{
	(void)ptr;
}
