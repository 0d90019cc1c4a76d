/* SPDX-License-Identifier: MIT */
/* Objects of the reserve: as what is interrupted, and as what interrupts. */
#include "labyrinth.h"
#include "slab/atomic.h"
#include "step.h"

enum { OTHER_SIZE = 600 };

static int old[4];
static unsigned int nr_old;

/* as many objects as @n slabs of the size have; the first slab's come first */
static void fill_slabs(size_t size, unsigned int n, int *ids)
{
	unsigned int i,
		nobj = (unsigned int)(4096 / labyrinth_malloc_usable_size(block_at(ids[0])));

	if (nobj != 4)
		fail("setup: a slab of %zu bytes holds %u", size, nobj);
	for (i = 1; i < n * nobj; i++) {
		ids[i] = take_object(size);
		if (ids[i] < 0)
			fail("setup: the reserve is too small");
	}
}

static int first_object(size_t size)
{
	int id = take_object(size);

	if (id < 0)
		fail("setup: no atomic object");
	return id;
}

/* what the handler will free fills slabs of its own: the next object begins another */
static void pad_slab(size_t size)
{
	unsigned int cls = lab_mem_kind(block_at(first_object(size)));

	while (live_of_class(cls) % lab_class[cls].nobj)
		(void)first_object(size);
}

static void set_up_class(const struct scenario *s)
{
	int ids[12];

	switch (s->arg) {
	case OBJ_ACTIVE:
		(void)first_object(s->size);
		break;
	case OBJ_FULL:
		pad_slab(s->size);
		break;
	case OBJ_LIST:
		pad_slab(s->size);
		ids[0] = first_object(s->size);
		fill_slabs(s->size, 2, ids);
		drop(ids[1]);
		break;
	case OBJ_IDLE:
		drop(first_object(OTHER_SIZE));
		exhaust_reserve();
		break;
	case OBJ_NONE:
		exhaust_reserve();
		break;
	default:
		break;
	}
}

void set_up_object(const struct scenario *s)
{
	set_up_class(s);
	outcome = (struct outcome){ .size = s->size, .how = BY_FREE, .allocates = true };
}

void set_up_free_object(const struct scenario *s)
{
	int ids[12];

	if (s->arg == OBJ_LIST || s->arg == OBJ_LAST)
		pad_slab(s->size);
	ids[0] = first_object(s->size);
	if (s->arg == OBJ_NONE) {
		exhaust_reserve();
	} else if (s->arg == OBJ_LIST) {
		fill_slabs(s->size, 2, ids);
	} else if (s->arg == OBJ_LAST) {
		fill_slabs(s->size, 3, ids);
		drop(ids[1]);
		drop(ids[5]);
		drop(ids[2]);
		drop(ids[3]);
	}
	target(ids[0]);
}

void set_up_realloc_object(const struct scenario *s)
{
	set_up_free_object(s);
	outcome.size = s->size2;
	outcome.how = BY_FREE;
	outcome.allocates = true;
	outcome.kept = s->size;
}

void op_object(const struct scenario *s)
{
	outcome.result = labyrinth_malloc(s->size, LABYRINTH_GFP_ATOMIC);
}

void op_shrink(const struct scenario *s)
{
	(void)s;
	(void)lab_atomic_shrink();
}

/* ---- what runs in the handler ---- */

void set_up_old_objects(const struct scenario *s)
{
	static const size_t sizes[] = { 1000, 24, 10000 };

	(void)s;
	for (nr_old = 0; nr_old < 3; nr_old++)
		old[nr_old] = take_object(sizes[nr_old]);
}

/* all of it is kept, and what goes is older than the interrupted operation */
void objects(const struct scenario *s)
{
	(void)take_object(1000);
	(void)take_object(24);
	while (nr_old > 0)
		if (old[--nr_old] >= 0)
			drop(old[nr_old]);
	(void)take_object(s->size < 8192 ? s->size : 8192);
	(void)take_object(1000);
	(void)take_object(10000);
}
