/* SPDX-License-Identifier: MIT */
/*
 * What the elements of the tested pools are made from: an allocator that fails
 * on demand, remembers the flags it saw, and knows who owns each element.
 */
#ifndef LAB_TESTS_MEMPOOL_BACKING_H
#define LAB_TESTS_MEMPOOL_BACKING_H

#include "harness.h"
#include "labyrinth.h"

enum { MAX_ELEMENTS = 4096, MAX_SEEN = 16 };

struct element {
	atomic_int made; /* 1: from alloc() to free() */
	atomic_int user; /* 1: from the pool to the pool */
};

struct backing {
	struct element element[MAX_ELEMENTS];
	atomic_uint next;
	atomic_int live;      /* elements made */
	atomic_int fail_from; /* so many calls succeed, then: see fail_times */
	atomic_int fail_times;
	atomic_uint nseen;
	labyrinth_gfp_t seen[MAX_SEEN];
};

static struct backing backing;

static inline void backing_reset(void)
{
	memset(&backing, 0, sizeof(backing));
}

/* the next alloc() calls fail, so many of them */
static inline void backing_fail(int from, int times)
{
	backing.fail_times = times;
	backing.fail_from = from;
	backing.nseen = 0;
}

static inline void *backing_alloc(labyrinth_gfp_t gfp, void *data)
{
	unsigned int n = atomic_fetch_add(&backing.nseen, 1), i;

	must(data == &backing);
	if (n < MAX_SEEN)
		backing.seen[n] = gfp;
	/* as an allocator of the program may */
	errno = ENOMEM;
	if (atomic_load(&backing.fail_times) > 0 && atomic_fetch_sub(&backing.fail_from, 1) <= 0 &&
	    atomic_fetch_sub(&backing.fail_times, 1) > 0)
		return NULL;
	for (;;) {
		i = atomic_fetch_add(&backing.next, 1) % MAX_ELEMENTS;
		if (!atomic_load(&backing.element[i].made) &&
		    !atomic_exchange(&backing.element[i].made, 1)) {
			atomic_fetch_add(&backing.live, 1);
			return &backing.element[i];
		}
	}
}

static inline void backing_free(void *ptr, void *data)
{
	struct element *e = ptr;

	must(data == &backing);
	errno = EIO;
	must(!atomic_load(&e->user));
	must(atomic_exchange(&e->made, 0) == 1);
	atomic_fetch_sub(&backing.live, 1);
}

static inline labyrinth_mempool_t *backing_pool(int min_nr)
{
	return labyrinth_mempool_create(min_nr, backing_alloc, backing_free, &backing);
}

/* the caller owns what it got from a pool, and it alone */
static inline struct element *owned(void *ptr)
{
	struct element *e = ptr;

	if (e) {
		must(atomic_load(&e->made) == 1);
		must(atomic_exchange(&e->user, 1) == 0);
	}
	return e;
}

static inline void give(labyrinth_mempool_t *pool, struct element *e)
{
	if (e)
		must(atomic_exchange(&e->user, 0) == 1);
	labyrinth_mempool_free(e, pool);
}

/* take all that is kept; how many that were */
static inline int drain(labyrinth_mempool_t *pool, struct element **got, int max)
{
	int n;

	for (n = 0; n < max && (got[n] = owned(labyrinth_mempool_alloc_preallocated(pool))); n++)
		;
	return n;
}

#endif /* LAB_TESTS_MEMPOOL_BACKING_H */
