/* SPDX-License-Identifier: MIT */
#include "harness.h"

enum { ALL = LAB_BLOCK_FRAMES };

static struct lab_block snapshot_of(size_t index)
{
	struct lab_block *block = lab_block_at(index), copy;
	unsigned int i;

	memset(&copy, 0, sizeof(copy));
	lab_word_set(&copy.word, lab_word_get(&block->word));
	for (i = 0; i < LAB_BLOCK_WORDS; i++) {
		lab_word_set(&copy.bits[i], lab_word_get(&block->bits[i]));
		lab_word_set(&copy.clean[i], lab_word_get(&block->clean[i]));
	}
	return copy;
}

static bool is_snapshot(size_t index, const struct lab_block *then)
{
	struct lab_block now = snapshot_of(index);

	return memcmp(&now, then, sizeof(now)) == 0;
}

static unsigned int bits_set(size_t index)
{
	unsigned int i, n = 0;

	for (i = 0; i < LAB_BLOCK_WORDS; i++)
		n += lab_popcount(lab_word_get(&lab_block_at(index)->bits[i]));
	return n;
}

static void assert_free(size_t index, unsigned int n)
{
	assert_int_equal(block_word(index).free, n);
	assert_int_equal(bits_set(index), n);
}

/* Single frames come out each once, of one word at a time, until none is left. */
static void test_take_some_until_empty_yields_each_frame_once(void **state)
{
	size_t index = fresh_block();
	unsigned int want, taken;

	(void)state;
	for (want = 1; want <= 64; want++) {
		uint64_t seen[LAB_BLOCK_WORDS] = { 0 };
		struct lab_frames out;
		unsigned int got;

		for (taken = 0; (got = lab_block_take_some(index, LAB_ZONE_HEAP, want, &out));
		     taken += got) {
			unsigned int word = out.pfn % ALL / 64;

			assert_true(got <= want);
			assert_int_equal(lab_popcount(out.mask), got);
			assert_int_equal(out.pfn, index * ALL + word * 64);
			assert_int_equal(seen[word] & out.mask, 0);
			seen[word] |= out.mask;
			assert_free(index, ALL - taken - got);
		}
		assert_int_equal(taken, ALL);
		for (taken = 0; taken < LAB_BLOCK_WORDS; taken++)
			lab_block_give_mask(index, taken, ~0ull);
		assert_free(index, ALL);
	}
	drop_block(index);
}

/* Of a block whose free frames are scattered as many words are taken as it needs, or as may be. */
static void test_take_many_gathers_frames_of_several_words(void **state)
{
	static const uint64_t holes[LAB_BLOCK_WORDS] = { 5, 0, 1ull << 63, 0, 0, 7 };
	size_t index = fresh_block();
	struct lab_frames out[LAB_BLOCK_WORDS];
	unsigned int word;

	(void)state;
	assert_true(lab_block_take_run(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, LAB_BLOCK_ORDER, out));
	for (word = 0; word < LAB_BLOCK_WORDS; word++)
		if (holes[word])
			lab_block_give_mask(index, word, holes[word]);
	assert_int_equal(lab_block_take_many(index, LAB_ZONE_HEAP, 64, out, 2), 3);
	assert_int_equal(out[0].mask, holes[0]);
	assert_int_equal(out[1].mask, holes[2]);
	assert_int_equal(out[1].pfn, index * ALL + 128);
	assert_free(index, 3);
	lab_block_give_mask(index, 0, holes[0]);
	lab_block_give_mask(index, 2, holes[2]);
	assert_int_equal(lab_block_take_many(index, LAB_ZONE_HEAP, 5, out, LAB_BLOCK_WORDS), 5);
	assert_int_equal(out[2].mask, 3);
	assert_int_equal(out[2].pfn, index * ALL + 320);
	assert_int_equal(out[3].mask, 0);
	assert_int_equal(lab_block_take_many(index, LAB_ZONE_HEAP, 64, out, LAB_BLOCK_WORDS), 1);
	assert_int_equal(out[0].mask, 4);
	assert_int_equal(out[1].mask, 0);
	assert_int_equal(lab_block_take_many(index, LAB_ZONE_HEAP, 1, out, LAB_BLOCK_WORDS), 0);
	lab_block_give(index, 0, ALL);
	drop_block(index);
}

/* Nothing is taken from a block of another zone. */
static void test_take_of_other_zone_is_refused(void **state)
{
	size_t index = fresh_block();
	struct lab_block before = snapshot_of(index);
	struct lab_frames out;

	(void)state;
	assert_int_equal(lab_block_take_some(index, LAB_ZONE_RESERVE, 1, &out), 0);
	assert_false(lab_block_take_run(index, LAB_ZONE_RESERVE, LAB_BLOCK_ALL, 0, &out));
	assert_false(lab_block_take_run(index, LAB_ZONE_EXCLUSIVE, LAB_BLOCK_ALL, LAB_BLOCK_ORDER,
					&out));
	assert_false(lab_block_take_at(index, LAB_ZONE_EXCLUSIVE, 3, 2, &out));
	assert_false(lab_block_claim(index, LAB_ZONE_RESERVE, true));
	assert_true(is_snapshot(index, &before));
	drop_block(index);
}

/* Runs of every order are aligned, disjoint, and fill the block exactly. */
static void test_take_run_of_every_order_tiles_the_block(void **state)
{
	size_t index = fresh_block();
	unsigned int order, i;

	(void)state;
	for (order = 0; order <= LAB_BLOCK_ORDER; order++) {
		unsigned int n = 1u << order;
		bool seen[ALL] = { false };
		struct lab_frames out;

		for (i = 0; i < ALL / n; i++) {
			unsigned int first;

			assert_true(lab_block_take_run(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, order,
						       &out));
			first = out.pfn % ALL;
			assert_int_equal(out.pfn / ALL, index);
			assert_int_equal(first % n, 0);
			assert_false(seen[first]);
			seen[first] = true;
			assert_free(index, ALL - (i + 1) * n);
		}
		assert_false(lab_block_take_run(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, order, &out));
		for (i = 0; i < ALL; i += n)
			lab_block_give(index, i, n);
		assert_free(index, ALL);
	}
	drop_block(index);
}

/* A run is refused, and nothing changes, when one frame of each candidate is in use. */
static void test_take_run_without_a_run_leaves_all_as_it_was(void **state)
{
	size_t index = fresh_block();
	unsigned int order, at;

	(void)state;
	for (order = 1; order <= LAB_BLOCK_ORDER; order++) {
		unsigned int n = 1u << order;

		for (unsigned int hole = 0; hole<n; hole += n> 64 ? 37 : 5) {
			struct lab_frames out;
			struct lab_block before;

			for (at = hole; at < ALL; at += n)
				assert_true(lab_block_take_at(index, LAB_ZONE_HEAP, at, 1, &out));
			before = snapshot_of(index);
			assert_false(lab_block_take_run(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, order,
							&out));
			assert_true(is_snapshot(index, &before));
			for (at = hole; at < ALL; at += n)
				lab_block_give(index, at, 1);
		}
	}
	assert_free(index, ALL);
	drop_block(index);
}

/* An exact run meets a frame in use at any position and leaves all as it was. */
static void test_take_at_with_conflict_anywhere_undoes_every_prefix(void **state)
{
	static const struct {
		unsigned int first, n;
	} runs[] = {
		{ 0, 1 },   { 63, 1 },	 { 0, 64 },    { 1, 63 },  { 60, 8 },  { 63, 66 },
		{ 64, 64 }, { 10, 200 }, { 100, 400 }, { 0, ALL }, { 511, 1 }, { 1, ALL - 1 }
	};
	size_t index = fresh_block(), i;
	struct lab_frames out, conflict;

	(void)state;
	for (i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		unsigned int first = runs[i].first, n = runs[i].n;

		for (unsigned int bad = first; bad < first + n; bad++) {
			struct lab_block before;

			assert_true(lab_block_take_at(index, LAB_ZONE_HEAP, bad, 1, &conflict));
			before = snapshot_of(index);
			assert_false(lab_block_take_at(index, LAB_ZONE_HEAP, first, n, &out));
			assert_true(is_snapshot(index, &before));
			lab_block_give(index, bad, 1);
		}
		assert_true(lab_block_take_at(index, LAB_ZONE_HEAP, first, n, &out));
		assert_int_equal(out.pfn, index * ALL + first);
		assert_free(index, ALL - n);
		lab_block_give(index, first, n);
		assert_free(index, ALL);
	}
	drop_block(index);
}

static void give_twice(void *arg)
{
	lab_block_give(*(size_t *)arg, 100, 1);
}

static void give_mask_twice(void *arg)
{
	lab_block_give_mask(*(size_t *)arg, 3, 1);
}

static void give_overlapping(void *arg)
{
	struct lab_frames out;

	must(lab_block_take_at(*(size_t *)arg, LAB_ZONE_HEAP, 0, 100, &out));
	lab_block_give(*(size_t *)arg, 0, 101);
}

/* A frame that is given back while it is free ends the process. */
static void test_give_of_free_frame_dies(void **state)
{
	size_t index = fresh_block();

	(void)state;
	assert_child_aborts(give_twice, &index, "BUG: a frame was given back twice");
	assert_child_aborts(give_mask_twice, &index, "BUG: a frame was given back twice");
	assert_child_aborts(give_overlapping, &index, "BUG: a frame was given back twice");
	drop_block(index);
}

/* A claimed block belongs to one: no claim and no take succeeds until it is released. */
static void test_claim_of_claimed_block_is_refused(void **state)
{
	size_t index = fresh_block();
	struct lab_frames out;
	uint64_t gen = block_word(index).gen;

	(void)state;
	assert_false(lab_block_claim(index, LAB_ZONE_HEAP, false)); /* it is mapped */
	assert_true(lab_block_claim(index, LAB_ZONE_HEAP, true));
	assert_int_equal(block_word(index).whole, 1);
	assert_int_equal(block_word(index).free, 0);
	assert_int_equal(block_word(index).gen, gen + 1);
	assert_false(lab_block_claim(index, LAB_ZONE_HEAP, true));
	assert_false(lab_block_claim(index, LAB_ZONE_HEAP, false));
	assert_false(lab_blocks_claim(index, 1));
	assert_int_equal(lab_block_take_some(index, LAB_ZONE_HEAP, 64, &out), 0);
	assert_false(
		lab_block_take_run(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, LAB_BLOCK_ORDER, &out));
	assert_false(lab_block_take_at(index, LAB_ZONE_HEAP, 0, 1, &out));
	lab_block_release(index, LAB_ZONE_HEAP, LAB_BLOCK_FREE);
	assert_free(index, ALL);
	assert_int_equal(block_word(index).whole, 0);
	drop_block(index);
}

/* A block with one frame in use cannot be claimed, whichever frame it is. */
static void test_claim_of_used_block_is_refused(void **state)
{
	size_t index = fresh_block();
	struct lab_frames out;
	unsigned int at;

	(void)state;
	for (at = 0; at < ALL; at++) {
		assert_true(lab_block_take_at(index, LAB_ZONE_HEAP, at, 1, &out));
		assert_false(lab_block_claim(index, LAB_ZONE_HEAP, true));
		assert_false(lab_blocks_claim(index, 1));
		assert_false(lab_block_take_run(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL,
						LAB_BLOCK_ORDER, &out));
		lab_block_give(index, at, 1);
	}
	drop_block(index);
}

/* Each fate of a claimed block allows exactly what its name says. */
static void test_release_by_every_fate_allows_what_it_says(void **state)
{
	static const struct {
		enum lab_block_fate fate;
		bool mapped, unmapped; /* may be claimed as */
		unsigned int free;
		enum lab_zone_id zone;
	} rows[] = {
		{ LAB_BLOCK_FREE, true, false, ALL, LAB_ZONE_HEAP },
		{ LAB_BLOCK_FREE, true, false, ALL, LAB_ZONE_EXCLUSIVE },
		{ LAB_BLOCK_EMPTY, false, false, 0, LAB_ZONE_RESERVE },
		{ LAB_BLOCK_UNMAPPED, false, true, 0, LAB_ZONE_HEAP },
		{ LAB_BLOCK_DEAD, false, false, 0, LAB_ZONE_HEAP },
	};
	size_t index, i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		index = fresh_block();
		assert_true(lab_block_claim(index, LAB_ZONE_HEAP, true));
		lab_block_release(index, rows[i].zone, rows[i].fate);
		assert_int_equal(block_word(index).free, rows[i].free);
		assert_true(bits_set(index) >= rows[i].free);
		assert_int_equal(block_word(index).zone, rows[i].zone);
		assert_int_equal(block_word(index).dead, rows[i].fate == LAB_BLOCK_DEAD);
		assert_int_equal(lab_block_claim(index, rows[i].zone, true), rows[i].mapped);
		if (rows[i].mapped)
			lab_block_release(index, rows[i].zone, LAB_BLOCK_FREE);
		assert_int_equal(lab_block_claim(index, rows[i].zone, false), rows[i].unmapped);
		/* what is left mapped here is lost to the heap; each row has its own block */
	}
}

/* A claim of several blocks fails at any position and leaves the others usable. */
static void test_blocks_claim_with_conflict_anywhere_undoes_every_prefix(void **state)
{
	enum { N = 5 };
	size_t last = fresh_block(), first = last - N + 1, bad, i;
	struct lab_frames out;

	(void)state;
	for (i = 1; i < N; i++)
		assert_int_equal(fresh_block(), last - i);
	drop_block(first + 2); /* one of them is not mapped */
	for (bad = 0; bad < N; bad++) {
		if (bad == 2)
			continue;
		assert_true(lab_block_take_at(first + bad, LAB_ZONE_HEAP, 7, 1, &out));
		assert_false(lab_blocks_claim(first, N));
		for (i = 0; i < N; i++) {
			union lab_block_word w = block_word(first + i);

			assert_int_equal(w.whole, 0);
			assert_int_equal(w.mapped, i != 2);
			assert_int_equal(w.free, i == 2 ? 0 : i == bad ? ALL - 1 : ALL);
		}
		lab_block_give(first + bad, 7, 1);
	}
	assert_true(lab_blocks_claim(first, N));
	for (i = 0; i < N; i++)
		assert_int_equal(block_word(first + i).whole, 1);
	for (i = 0; i < N; i++)
		lab_block_release(first + i, LAB_ZONE_HEAP,
				  i == 2 ? LAB_BLOCK_UNMAPPED : LAB_BLOCK_FREE);
	for (i = 0; i < N; i++)
		if (i != 2)
			drop_block(first + i);
}

/* A frame counts as clean once: after it was handed out it is not, until said again. */
static void test_take_of_clean_frames_counts_them_once(void **state)
{
	size_t index = fresh_block();
	struct lab_frames out;
	unsigned int order;

	(void)state;
	assert_true(lab_block_is_clean(index));
	for (order = 0; order <= LAB_BLOCK_ORDER; order++) {
		unsigned int n = 1u << order;

		lab_block_set_clean(index, 0, ALL);
		assert_true(lab_block_take_run(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, order, &out));
		assert_int_equal(out.nclean, n);
		assert_false(lab_block_is_clean(index));
		lab_block_give(index, out.pfn % ALL, n);
		assert_true(lab_block_take_at(index, LAB_ZONE_HEAP, out.pfn % ALL, n, &out));
		assert_int_equal(out.nclean, 0);
		lab_block_give(index, out.pfn % ALL, n);
	}
	lab_block_set_clean(index, 0, ALL);
	assert_true(lab_block_take_at(index, LAB_ZONE_HEAP, 10, 100, &out));
	lab_block_give(index, 10, 100);
	lab_block_set_clean(index, 60, 10);
	assert_true(lab_block_take_at(index, LAB_ZONE_HEAP, 0, 128, &out));
	assert_int_equal(out.nclean, 10 + 10 + 18);
	lab_block_give(index, 0, 128);
	lab_block_set_clean(index, 0, 64);
	assert_int_equal(lab_block_take_some(index, LAB_ZONE_HEAP, 64, &out), 64);
	assert_int_equal(out.nclean, 64);
	lab_block_give(index, 0, 64);
	drop_block(index);
}

/* A fit is cut from the smallest hole that is long enough, wherever that begins. */
static void test_take_fit_in_fragments_takes_the_smallest_hole_that_holds_it(void **state)
{
	/* holes: where and how long; the second lies across words of the bitmap */
	static const unsigned int hole[][2] = { { 3, 5 }, { 61, 70 }, { 200, 33 }, { 511, 1 } };
	size_t index = fresh_block();
	struct lab_frames out;
	unsigned int i;

	(void)state;
	assert_true(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, ALL, &out));
	assert_false(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 1, &out));
	for (i = 0; i < 4; i++)
		lab_block_give(index, hole[i][0], hole[i][1]);
	assert_false(lab_block_take_fit(index, LAB_ZONE_RESERVE, LAB_BLOCK_ALL, 1, &out));
	assert_false(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 71, &out));
	assert_true(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 6, &out));
	assert_int_equal(out.pfn % ALL, 200);
	assert_true(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 28, &out));
	assert_int_equal(out.pfn % ALL, 61);
	assert_true(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 27, &out));
	assert_int_equal(out.pfn % ALL, 206);
	assert_true(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 42, &out));
	assert_int_equal(out.pfn % ALL, 89);
	assert_true(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 1, &out));
	assert_int_equal(out.pfn % ALL, 511);
	assert_true(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 5, &out));
	assert_int_equal(out.pfn % ALL, 3);
	assert_false(lab_block_take_fit(index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, 1, &out));
	lab_block_give(index, 0, ALL);
	drop_block(index);
}

/* ---- threads ---- */

static struct {
	size_t index;
	uint64_t seed, until;
	lab_byte_t owner[ALL]; /* 1 + thread */
} stress;

static void own(unsigned int id, unsigned int frame)
{
	must(atomic_exchange(&stress.owner[frame], (uint8_t)(id + 1)) == 0);
}

static void disown(unsigned int id, unsigned int frame)
{
	must(atomic_exchange(&stress.owner[frame], 0) == id + 1);
}

static void some_turn(unsigned int id, uint64_t *seed)
{
	struct lab_frames out;
	uint64_t left;

	if (!lab_block_take_some(stress.index, LAB_ZONE_HEAP,
				 1 + (unsigned int)random_below(seed, 64), &out))
		return;
	for (left = out.mask; left; left &= left - 1)
		own(id, out.pfn % ALL + lab_ctz(left));
	for (left = out.mask; left; left &= left - 1)
		disown(id, out.pfn % ALL + lab_ctz(left));
	lab_block_give_mask(stress.index, out.pfn % ALL / 64, out.mask);
}

static void run_turn(unsigned int id, uint64_t *seed)
{
	unsigned int order = (unsigned int)random_below(seed, LAB_BLOCK_ORDER + 1);
	unsigned int n = 1u << order, first, i;
	struct lab_frames out;

	if (next_random(seed) & 1) {
		if (!lab_block_take_run(stress.index, LAB_ZONE_HEAP, LAB_BLOCK_ALL, order, &out))
			return;
	} else {
		first = (unsigned int)random_below(seed, ALL);
		n = 1 + (unsigned int)random_below(seed, ALL - first);
		if (!lab_block_take_at(stress.index, LAB_ZONE_HEAP, first, n, &out))
			return;
		must(out.pfn % ALL == first);
	}
	first = out.pfn % ALL;
	for (i = first; i < first + n; i++)
		own(id, i);
	for (i = first; i < first + n; i++)
		disown(id, i);
	lab_block_give(stress.index, first, n);
}

static void claim_turn(unsigned int id)
{
	unsigned int i;

	if (!lab_block_claim(stress.index, LAB_ZONE_HEAP, true))
		return;
	for (i = 0; i < ALL; i++)
		own(id, i);
	for (i = 0; i < ALL; i++)
		disown(id, i);
	lab_block_release(stress.index, LAB_ZONE_HEAP, LAB_BLOCK_FREE);
}

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919;

	(void)unused;
	while (now_ms() < stress.until) {
		for (int i = 0; i < 100; i++) {
			some_turn(id, &seed);
			run_turn(id, &seed);
			claim_turn(id);
		}
	}
}

/* Among threads no frame has two owners, and at rest none is missing. */
static void test_frames_among_threads_have_one_owner(void **state)
{
	(void)state;
	stress.index = fresh_block();
	stress.seed = new_seed("block");
	stress.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, stress_thread, NULL);
	assert_free(stress.index, ALL);
	drop_block(stress.index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_some_until_empty_yields_each_frame_once),
		cmocka_unit_test(test_take_many_gathers_frames_of_several_words),
		cmocka_unit_test(test_take_of_other_zone_is_refused),
		cmocka_unit_test(test_take_run_of_every_order_tiles_the_block),
		cmocka_unit_test(test_take_run_without_a_run_leaves_all_as_it_was),
		cmocka_unit_test(test_take_at_with_conflict_anywhere_undoes_every_prefix),
		cmocka_unit_test(test_give_of_free_frame_dies),
		cmocka_unit_test(test_claim_of_claimed_block_is_refused),
		cmocka_unit_test(test_claim_of_used_block_is_refused),
		cmocka_unit_test(test_blocks_claim_with_conflict_anywhere_undoes_every_prefix),
		cmocka_unit_test(test_take_of_clean_frames_counts_them_once),
		cmocka_unit_test(test_take_fit_in_fragments_takes_the_smallest_hole_that_holds_it),
		cmocka_unit_test(test_frames_among_threads_have_one_owner),
		cmocka_unit_test(test_release_by_every_fate_allows_what_it_says),
	};

	return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
