/* SPDX-License-Identifier: MIT */
/* The caches of the program that can give memory back; mm/shrinker.c. */
#include <errno.h>

#include "base/word.h"
#include "gfp/reclaim.h"

/*
 * A place holds 0, a shrinker's address, or that address plus PENDING and a ticket
 * while its registration looks whether somebody else registers the same one.  Who
 * does strikes the other's pending entry out: of two that look at each other at
 * least one sees the other, and never both become registered.  The ticket, in bits
 * that no address has, tells an entry from a later one in the same place.
 */
enum { PENDING = 1, TICKET_SHIFT = 48 };
static lab_word_t place[LAB_NR_SHRINKERS];

/* What is given back in a row may be freed meanwhile by others, so it is bounded. */
enum { TURNS = 64 };

static bool place_change(lab_word_t *at, uint64_t from, uint64_t to)
{
	/* seq_cst: pairs with place_get(): of two registrations one sees the other [shrinker.place] */
	return atomic_compare_exchange_strong_explicit(at, &from, to, memory_order_seq_cst,
						       memory_order_relaxed);
}

static uint64_t place_get(const lab_word_t *at)
{
	/* seq_cst: pairs with place_change() [shrinker.place] */
	return atomic_load_explicit(at, memory_order_seq_cst);
}

/* is @is a registration of @name that is under way */
static bool is_pending(uint64_t is, uint64_t name)
{
	return (is << (64 - TICKET_SHIFT)) == (name | PENDING) << (64 - TICKET_SHIFT);
}

/* where it may be registered; NULL: no room, or it is registered (*known) */
static lab_word_t *find_place(uint64_t name, bool *known)
{
	lab_word_t *free_place = NULL;
	unsigned int i;

	*known = false;
	for (i = 0; i < LAB_NR_SHRINKERS; i++) {
		uint64_t is = place_get(&place[i]);

		*known |= is == name;
		if (!is && !free_place)
			free_place = &place[i];
	}
	return *known ? NULL : free_place;
}

/* true: nobody else has registered @name, and whoever was about to has to look again */
static bool is_alone(const lab_word_t *mine, uint64_t name)
{
	unsigned int i;

	for (i = 0; i < LAB_NR_SHRINKERS; i++) {
		uint64_t is = place_get(&place[i]);

		if (&place[i] == mine)
			continue;
		if (is_pending(is, name) && !place_change(&place[i], is, 0))
			is = place_get(&place[i]);
		if (is == name)
			return false;
	}
	return true;
}

LAB_PUBLIC int labyrinth_register_shrinker(struct labyrinth_shrinker *shrinker)
{
	static lab_word_t tickets;
	uint64_t name = (uintptr_t)shrinker, pending;
	lab_word_t *mine;
	unsigned int turn;
	bool known;

	if (!shrinker || !shrinker->count || !shrinker->scan || name & PENDING ||
	    name >> TICKET_SHIFT)
		return -EINVAL;
	for (turn = 0; turn < TURNS; turn++) {
		mine = find_place(name, &known);
		if (known)
			return -EEXIST;
		if (!mine)
			return -ENOSPC;
		pending = name | PENDING | lab_word_add(&tickets, 1) << TICKET_SHIFT;
		if (!place_change(mine, 0, pending))
			continue;
		if (!is_alone(mine, name)) {
			(void)place_change(mine, pending, 0);
			return -EEXIST;
		}
		if (place_change(mine, pending, name))
			return 0;
	}
	/* others take every place, or register this very one, faster than we look */
	return -ENOSPC;
}

LAB_PUBLIC void labyrinth_unregister_shrinker(struct labyrinth_shrinker *shrinker)
{
	uint64_t name = (uintptr_t)shrinker;
	unsigned int i;

	/* one and no more: another thread may register it again meanwhile, further on */
	for (i = 0; name && i < LAB_NR_SHRINKERS; i++)
		if (place_get(&place[i]) == name && place_change(&place[i], name, 0))
			return;
}

static size_t shrink_one(struct labyrinth_shrinker *shrinker)
{
	size_t have = shrinker->count(shrinker->data);
	size_t want = have / 4, done = 0, gone, nr;

	if (want < LAB_SHRINK_BATCH)
		want = have < LAB_SHRINK_BATCH ? have : LAB_SHRINK_BATCH;
	for (; want > 0; want -= nr) {
		nr = want < LAB_SHRINK_BATCH ? want : LAB_SHRINK_BATCH;
		gone = shrinker->scan(nr, shrinker->data);
		/* all ones: SHRINK_STOP of the kernel */
		if (gone == 0 || gone == SIZE_MAX)
			break;
		done += gone;
	}
	return done;
}

size_t lab_shrink(void)
{
	size_t done = 0;
	unsigned int i;

	for (i = 0; i < LAB_NR_SHRINKERS; i++) {
		uint64_t is = place_get(&place[i]);
		uintptr_t saved;

		if (!is || is & PENDING)
			continue;
		saved = labyrinth_gfp_save();
		done += shrink_one((struct labyrinth_shrinker *)(uintptr_t)is);
		labyrinth_gfp_restore(saved);
	}
	return done;
}
