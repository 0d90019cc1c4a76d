// SPDX-License-Identifier: MIT
/* Shared by atomic.c and atomic_kinds.c: requests that may not wait, one kind each. */
#ifndef TESTS_ATOMIC_H
#define TESTS_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "labyrinth.h"

/* Under the preload malloc() is Labyrinth's; linked, it has names of its own. */
#ifdef ATOMIC_LINKED
#define heap_malloc   labyrinth_heap_malloc
#define heap_calloc   labyrinth_heap_calloc
#define heap_realloc  labyrinth_heap_realloc
#define heap_memalign labyrinth_heap_memalign
#define heap_free     labyrinth_free
#else
#define heap_malloc   malloc
#define heap_calloc   calloc
#define heap_realloc  realloc
#define heap_memalign memalign
#define heap_free     free

/* of the preload object: there when the program is loaded, not when it is linked */
#pragma weak labyrinth_alloc_page
#pragma weak labyrinth_alloc_pages
#pragma weak labyrinth_alloc_pages_bulk
#pragma weak labyrinth_alloc_pages_exact
#pragma weak labyrinth_alloc_pages_nolock
#pragma weak labyrinth_event_count
#pragma weak labyrinth_flush_reports
#pragma weak labyrinth_free
#pragma weak labyrinth_free_page
#pragma weak labyrinth_free_pages
#pragma weak labyrinth_free_pages_bulk
#pragma weak labyrinth_free_pages_exact
#pragma weak labyrinth_get_zeroed_page
#pragma weak labyrinth_gfp_restore
#pragma weak labyrinth_gfp_save
#pragma weak labyrinth_in_atomic
#pragma weak labyrinth_malloc
#pragma weak labyrinth_mempool_alloc
#pragma weak labyrinth_mempool_alloc_preallocated
#pragma weak labyrinth_mempool_create_kmalloc_pool
#pragma weak labyrinth_mempool_create_page_pool
#pragma weak labyrinth_mempool_free
#pragma weak labyrinth_pcp_backend
#pragma weak labyrinth_split_page
#pragma weak labyrinth_void_alloc_page_gfp_atomic_exclusive
#pragma weak labyrinth_zone_info
#endif

/**
 * struct kind - one kind of atomic request
 * @name: of the kind
 * @run:  make some, write to them, free them; returns how many it allocated,
 *        0: one failed, or was not as promised.  No system call in itself
 */
struct kind {
	const char *name;
	unsigned int (*run)(void);
};

/* The last ones fail on purpose, see atomic_is_failing(). */
extern const struct kind atomic_kinds[];
extern const unsigned int atomic_nr_kinds;

/** atomic_is_failing() - does the kind take the reserve down to its floor */
bool atomic_is_failing(unsigned int kind);

/** atomic_prepare() - pools, and memory of ordinary calls that sections will free */
bool atomic_prepare(void);

/** atomic_exhaust() - all pages that GFP_ATOMIC gives, chained through themselves; how many */
unsigned int atomic_exhaust(void **chain, labyrinth_gfp_t gfp);

/** atomic_release() - free such a chain; how many */
unsigned int atomic_release(void *chain);

/** atomic_touch() - write the program's own data, which fork() has shared with a child */
void atomic_touch(void);

/** atomic_where_begin(), atomic_where_tell() - name the pages that come in between */
void atomic_where_begin(void);
void atomic_where_tell(void);

#endif /* TESTS_ATOMIC_H */
