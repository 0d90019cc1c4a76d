/* SPDX-License-Identifier: MIT */
/*
 * The operations that interrupt.  None undoes itself: one that frees what it
 * has just obtained restores the list that it interrupted and hides the bug.
 */
#include "labyrinth.h"
#include "slab/cache.h"
#include "step.h"

enum { MANY = 12 };

/* blocks that are older than the interrupted operation */
static int old[MANY];
static int old_large, old_huge, old_page, old_run, old_excl, old_map, old_maps, old_changed;

static void set_up_nothing(const struct scenario *s)
{
	(void)s;
}

static void set_up_old(const struct scenario *s)
{
	old[0] = take(s->size);
}

static void set_up_many(const struct scenario *s)
{
	unsigned int i, n = s->size > 32768 ? 2 : MANY;

	for (i = 0; i < n; i++)
		old[i] = take_light(s->size);
}

static void set_up_pages(const struct scenario *s)
{
	(void)s;
	old_page = take_pages(LABYRINTH_GFP_KERNEL, 0);
	old_run = take_pages(LABYRINTH_GFP_KERNEL, 3);
	old_excl = take_pages(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE, 0);
}

static void set_up_huge(const struct scenario *s)
{
	(void)s;
	old_huge = take(5 * MIB);
	old_large = take(100 * KIB);
}

static void set_up_maps(const struct scenario *s)
{
	(void)s;
	old_map = take_map(4096, false);
	old_maps = take_map(64 * KIB, false);
	old_changed = take_map(12 * KIB, true);
}

/* ---- what runs in the handler ---- */

static void keep(const struct scenario *s)
{
	(void)take(s->size);
}

static void keep_many(const struct scenario *s)
{
	unsigned int n = s->size > 32768 ? 2 : lab_pcp_batch(class_of(s->size)) + 2;

	while (n-- > 0)
		(void)take_light(s->size);
}

static void keep_page(const struct scenario *s)
{
	(void)s;
	(void)take_atomic(LABYRINTH_GFP_ATOMIC, 0);
	(void)take_atomic(LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE, 0);
	(void)take_pages(LABYRINTH_GFP_KERNEL, 3);
}

static void keep_huge(const struct scenario *s)
{
	(void)s;
	(void)take(5 * MIB);
	(void)take(100 * KIB);
}

static void keep_others(const struct scenario *s)
{
	(void)s;
	(void)take(24);
	(void)take(4096);
	(void)take(1000);
}

static void keep_maps(const struct scenario *s)
{
	(void)s;
	(void)take_map(4096, false);
	(void)take_map(4096, true);
	(void)take_map(64 * KIB, false);
}

static void maps(const struct scenario *s)
{
	void *ptr;

	drop(old_changed);
	keep_maps(s);
	drop(old_map);
	ptr = disown(old_maps);
	if (labyrinth_mremap(ptr, 64 * KIB, 8 * KIB, 0, NULL) != ptr)
		fail("mremap in the handler did not shrink");
	(void)own(ptr, 8 * KIB, BY_UNMAP, true);
	(void)take_map(4096, false);
}

/* what is being unmapped, once more: that is no error, and gives nothing back twice */
static void unmap_same(const struct scenario *s)
{
	if (s->op != op_unmap)
		(void)take_map(4096, false);
	else if (labyrinth_munmap(outcome.target, s->size))
		fail("munmap in the handler was refused");
}

static void free_old(const struct scenario *s)
{
	(void)s;
	drop(old[0]);
}

static void both(const struct scenario *s)
{
	(void)take(s->size);
	drop(old[0]);
	(void)take(s->size);
}

static void free_many(const struct scenario *s)
{
	unsigned int i, n = s->size > 32768 ? 2 : MANY;

	for (i = 0; i < n; i++)
		drop(old[i]);
}

static void pages(const struct scenario *s)
{
	keep_page(s);
	drop(old_page);
	drop(old_run);
	drop(old_excl);
}

static void huge(const struct scenario *s)
{
	(void)s;
	(void)take(5 * MIB);
	drop(old_huge);
	(void)take(100 * KIB);
	drop(old_large);
}

static void resize(const struct scenario *s)
{
	size_t size = s->size * 2;
	uint64_t seed = block_seed(old[0]);
	void *ptr = labyrinth_heap_realloc(disown(old[0]), size);

	if (!ptr || !pattern_holds(ptr, s->size < 4096 ? 16 : 64, seed))
		fail("realloc in the handler lost the contents");
	(void)own(ptr, size, BY_FREE, false);
}

/* what was retired becomes a slab of another class */
static void reuse(size_t size)
{
	uint64_t slabs = lab_cache_slabs(class_of(size));
	unsigned int turn;

	for (turn = 0; turn < 512 && lab_cache_slabs(class_of(size)) == slabs; turn++)
		(void)take_light(size);
}

static void trim(const struct scenario *s)
{
	(void)take(s->size);
	drop(old[0]);
	drop_spare();
	(void)labyrinth_malloc_trim(0);
	if (s->size < 4096)
		reuse(s->size + 24);
}

const struct nested nesteds[] = {
	{ "keep", set_up_nothing, keep },
	{ "keep many", set_up_nothing, keep_many },
	{ "keep pages", set_up_nothing, keep_page },
	{ "keep huge", set_up_nothing, keep_huge },
	{ "keep others", set_up_nothing, keep_others },
	{ "keep maps", set_up_nothing, keep_maps },
	{ "keep bulk", set_up_nothing, keep_bulk },
	{ "free", set_up_old, free_old },
	{ "both", set_up_old, both },
	{ "free many", set_up_many, free_many },
	{ "pages", set_up_pages, pages },
	{ "huge", set_up_huge, huge },
	{ "resize", set_up_old, resize },
	{ "trim", set_up_old, trim },
	{ "objects", set_up_old_objects, objects },
	{ "maps", set_up_maps, maps },
	{ "unmap the same", set_up_nothing, unmap_same },
	{ "mempool", set_up_old_element, elements },
};
const size_t nr_nesteds = sizeof(nesteds) / sizeof(*nesteds);
const size_t nr_nested_fresh = 7;

void every_kind(void)
{
	static const size_t sizes[] = { 24, 200, 8192, 4096, 100 * KIB };
	unsigned int i, k;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct scenario s = { .size = sizes[i] };

		for (k = 0; k < nr_nesteds; k++) {
			nesteds[k].setup(&s);
			nesteds[k].run(&s);
		}
		verify_all();
		drop_all();
	}
	pool_down();
}
