/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "slab/slab.h"

static lab_pfn_t make_slab(unsigned int cls)
{
	unsigned int order = lab_class[cls].order;
	struct lab_frames frames;

	must(lab_heap_take_run(1u << order, order, &frames));
	lab_slab_make(frames.pfn, cls);
	return frames.pfn;
}

static void drop_slab(lab_pfn_t pfn, unsigned int cls)
{
	must(lab_slab_retire(pfn));
	lab_zone_give(pfn, 1u << lab_class[cls].order);
}

static union lab_slab_word slab_word(lab_pfn_t pfn)
{
	return (union lab_slab_word){ .raw = lab_word_get(&lab_frame_at(pfn)->word) };
}

static unsigned int bits_set(lab_pfn_t pfn)
{
	unsigned int i, n = 0;

	for (i = 0; i < 4; i++)
		n += lab_popcount(lab_word_get(&lab_frame_at(pfn)->bits[i]));
	return n;
}

/* take every object; masks[i] receives those of word i of the bitmap */
static void take_all(lab_pfn_t pfn, unsigned int cls, uint64_t masks[4])
{
	unsigned int n;
	char *first;

	memset(masks, 0, 4 * sizeof(masks[0]));
	while ((n = lab_slab_reserve(pfn, cls, 64))) {
		while (n > 0) {
			uint64_t mask = lab_slab_collect(pfn, cls, n, &first);
			size_t word = (size_t)(first - (char *)lab_frame_address(pfn)) /
				      lab_class[cls].size / 64;

			must((masks[word] & mask) == 0);
			masks[word] |= mask;
			n -= lab_popcount(mask);
		}
	}
}

/* A new slab has all its objects, one listing, and its frames bear its class. */
static void test_make_of_every_class_frees_all_objects(void **state)
{
	unsigned int cls, i;

	(void)state;
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		lab_pfn_t pfn = make_slab(cls);
		union lab_slab_word w = slab_word(pfn);

		assert_int_equal(w.free, lab_class[cls].nobj);
		assert_int_equal(bits_set(pfn), lab_class[cls].nobj);
		assert_int_equal(w.listed, 1);
		assert_int_equal(w.cls, cls);
		for (i = 0; i < 1u << lab_class[cls].order; i++) {
			assert_int_equal(lab_mem_kind(lab_frame_address(pfn + i)), cls);
			assert_int_equal(lab_slab_of(lab_frame_address(pfn + i), cls), pfn);
		}
		drop_slab(pfn, cls);
	}
}

/* Whatever is wanted at once, each object comes out exactly once and lies inside. */
static void test_collect_until_empty_yields_each_object_once(void **state)
{
	unsigned int cls, want;

	(void)state;
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		for (want = 1; want <= 64; want += 21) {
			lab_pfn_t pfn = make_slab(cls);
			char *start = lab_frame_address(pfn), *first;
			bool seen[256] = { false };
			unsigned int n, total = 0;

			while ((n = lab_slab_reserve(pfn, cls, want))) {
				assert_true(n <= want);
				while (n > 0) {
					uint64_t mask = lab_slab_collect(pfn, cls, n, &first);

					assert_in_range(lab_popcount(mask), 1, n);
					n -= lab_popcount(mask);
					for (; mask; mask &= mask - 1, total++) {
						char *p = first + (size_t)lab_ctz(mask) *
									  lab_class[cls].size;
						unsigned int at = lab_slab_index(p, cls);

						assert_ptr_equal(
							p,
							start + (size_t)at * lab_class[cls].size);
						assert_true(at < lab_class[cls].nobj);
						assert_false(seen[at]);
						seen[at] = true;
					}
				}
			}
			assert_int_equal(total, lab_class[cls].nobj);
			for (n = 0; n < total; n++)
				(void)lab_slab_give(pfn, n / 64, 1ull << n % 64);
			drop_slab(pfn, cls);
		}
	}
}

/* A reservation gets what is there, never more, and nothing of another class. */
static void test_reserve_beyond_what_is_free_gets_the_rest(void **state)
{
	lab_pfn_t pfn = make_slab(5); /* 80 bytes: 102 objects */
	uint64_t masks[4];
	char *first;

	(void)state;
	assert_int_equal(lab_class[5].nobj, 102);
	assert_int_equal(lab_slab_reserve(pfn, 6, 1), 0);
	assert_int_equal(lab_slab_reserve(pfn, 0, 1), 0);
	assert_int_equal(slab_word(pfn).free, 102);
	assert_int_equal(lab_slab_reserve(pfn, 5, 64), 64);
	assert_int_equal(lab_slab_reserve(pfn, 5, 64), 38);
	assert_int_equal(lab_slab_reserve(pfn, 5, 1), 0);
	assert_int_equal(bits_set(pfn), 102); /* the count goes first */
	assert_int_equal(lab_popcount(lab_slab_collect(pfn, 5, 64, &first)), 64);
	assert_int_equal(lab_popcount(lab_slab_collect(pfn, 5, 38, &first)), 38);
	(void)lab_slab_give(pfn, 0, ~0ull);
	(void)lab_slab_give(pfn, 1, lab_mask(0, 38));
	take_all(pfn, 5, masks);
	assert_true(masks[0] == ~0ull && masks[1] == lab_mask(0, 38));
	(void)lab_slab_give(pfn, 0, masks[0]);
	(void)lab_slab_give(pfn, 1, masks[1]);
	drop_slab(pfn, 5);
}

/* The gift tells who has to list the slab, and who gave the last object. */
static void test_give_tells_what_it_brought_about(void **state)
{
	unsigned int cls;

	(void)state;
	for (cls = 1; cls < LAB_NR_CLASSES; cls++) {
		lab_pfn_t pfn = make_slab(cls);
		unsigned int nobj = lab_class[cls].nobj, i;
		uint64_t masks[4];

		assert_false(lab_slab_leave(pfn)); /* it has free objects */
		take_all(pfn, cls, masks);
		assert_false(lab_slab_retire(pfn));
		assert_true(lab_slab_leave(pfn));
		assert_int_equal(slab_word(pfn).listed, 0);
		assert_int_equal(lab_slab_give(pfn, 0, 1), LAB_SLAB_LIST_IT);
		assert_int_equal(slab_word(pfn).listed, 1);
		assert_false(lab_slab_leave(pfn));
		for (i = 1; i + 1 < nobj; i++) {
			assert_int_equal(lab_slab_give(pfn, i / 64, 1ull << i % 64), LAB_SLAB_GAVE);
			assert_false(lab_slab_retire(pfn));
		}
		assert_int_equal(lab_slab_give(pfn, i / 64, 1ull << i % 64), LAB_SLAB_ALL_FREE);
		drop_slab(pfn, cls);
	}
}

/* A retired slab is nobody's: its frames are unmarked, a late reservation gets nothing. */
static void test_retire_of_free_slab_refuses_late_reservations(void **state)
{
	lab_pfn_t pfn = make_slab(60);
	uint64_t gen = slab_word(pfn).gen;
	unsigned int i;

	(void)state;
	assert_true(lab_slab_retire(pfn));
	assert_int_equal(slab_word(pfn).gen, gen + 1);
	assert_int_equal(slab_word(pfn).cls, 0);
	assert_int_equal(lab_slab_reserve(pfn, 60, 1), 0);
	for (i = 0; i < 1u << lab_class[60].order; i++)
		assert_int_equal(lab_mem_kind(lab_frame_address(pfn + i)), LAB_KIND_FREE);
	lab_zone_give(pfn, 1u << lab_class[60].order);
}

static void give_twice(void *arg)
{
	(void)lab_slab_give(*(lab_pfn_t *)arg, 1, 4);
}

/* An object that is given back while it is free ends the process. */
static void test_give_of_free_object_dies(void **state)
{
	lab_pfn_t pfn = make_slab(1);

	(void)state;
	assert_child_aborts(give_twice, &pfn, "BUG: an object was given back twice");
	drop_slab(pfn, 1);
}

/* ---- threads ---- */

enum { CLS = 8, ROUNDS = 1000 };

static struct {
	lab_pfn_t pfn;
	uint64_t masks[4];
	pthread_barrier_t turn;
	lab_word_t list_it, all_free;
} giving;

static void give_share(unsigned int id)
{
	/* thread id gives the objects whose number is id modulo NR_THREADS */
	for (unsigned int i = id; i < lab_class[CLS].nobj; i += NR_THREADS) {
		switch (lab_slab_give(giving.pfn, i / 64, 1ull << i % 64)) {
		case LAB_SLAB_LIST_IT:
			lab_word_add(&giving.list_it, 1);
			break;
		case LAB_SLAB_ALL_FREE:
			lab_word_add(&giving.all_free, 1);
			break;
		default:
			break;
		}
	}
}

static void giving_thread(unsigned int id, void *unused)
{
	(void)unused;
	for (int round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&giving.turn);
		give_share(id);
		pthread_barrier_wait(&giving.turn);
		if (id == 0) {
			must(lab_word_get(&giving.list_it) == 1);
			must(lab_word_get(&giving.all_free) == 1);
			lab_word_set(&giving.list_it, 0);
			lab_word_set(&giving.all_free, 0);
			take_all(giving.pfn, CLS, giving.masks);
			must(lab_slab_leave(giving.pfn));
		}
	}
}

/* Of many who give to an unlisted slab exactly one has to list it, one gave the last. */
static void test_give_among_threads_lists_exactly_once(void **state)
{
	(void)state;
	giving.pfn = make_slab(CLS);
	take_all(giving.pfn, CLS, giving.masks);
	assert_true(lab_slab_leave(giving.pfn));
	pthread_barrier_init(&giving.turn, NULL, NR_THREADS);
	run_threads(NR_THREADS, giving_thread, NULL);
	for (unsigned int i = 0; i < 4; i++)
		if (giving.masks[i])
			(void)lab_slab_give(giving.pfn, i, giving.masks[i]);
	drop_slab(giving.pfn, CLS);
}

static struct {
	lab_pfn_t pfn;
	uint64_t seed, until;
	lab_byte_t owner[256];
} stress;

static void slab_turn(unsigned int id, uint64_t *seed)
{
	unsigned int want = 1 + (unsigned int)random_below(seed, 64);
	unsigned int n = lab_slab_reserve(stress.pfn, CLS, want);
	unsigned int held = 0, i;
	unsigned int words[64];
	uint64_t masks[64], left;
	char *first;

	while (n > 0) {
		masks[held] = lab_slab_collect(stress.pfn, CLS, n, &first);
		words[held] = lab_slab_index(first, CLS) / 64;
		n -= lab_popcount(masks[held++]);
	}
	for (i = 0; i < held; i++)
		for (left = masks[i]; left; left &= left - 1)
			must(!atomic_exchange(&stress.owner[words[i] * 64 + lab_ctz(left)],
					      (uint8_t)(id + 1)));
	for (i = 0; i < held; i++) {
		for (left = masks[i]; left; left &= left - 1)
			must(atomic_exchange(&stress.owner[words[i] * 64 + lab_ctz(left)], 0) ==
			     id + 1);
		/* it stays listed: the test is responsible for it all the time */
		must(lab_slab_give(stress.pfn, words[i], masks[i]) != LAB_SLAB_LIST_IT);
	}
}

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 104729;

	(void)unused;
	while (now_ms() < stress.until)
		for (int i = 0; i < 200; i++)
			slab_turn(id, &seed);
}

/* Among threads no object has two owners, and at rest the slab is whole. */
static void test_objects_among_threads_have_one_owner(void **state)
{
	(void)state;
	stress.pfn = make_slab(CLS);
	stress.seed = new_seed("slab");
	stress.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, stress_thread, NULL);
	assert_int_equal(slab_word(stress.pfn).free, lab_class[CLS].nobj);
	assert_int_equal(bits_set(stress.pfn), lab_class[CLS].nobj);
	drop_slab(stress.pfn, CLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_of_every_class_frees_all_objects),
		cmocka_unit_test(test_collect_until_empty_yields_each_object_once),
		cmocka_unit_test(test_reserve_beyond_what_is_free_gets_the_rest),
		cmocka_unit_test(test_give_tells_what_it_brought_about),
		cmocka_unit_test(test_retire_of_free_slab_refuses_late_reservations),
		cmocka_unit_test(test_give_of_free_object_dies),
		cmocka_unit_test(test_give_among_threads_lists_exactly_once),
		cmocka_unit_test(test_objects_among_threads_have_one_owner),
	};

	return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
