/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "base/word.h"

enum { FREE = 1, BUSY = 2, MINE = 3, RUN_MAX = 8 };

static bool step_free_to_mine(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	if (*raw != FREE)
		return false;
	*raw = MINE;
	return true;
}

static bool step_mine_to_free(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	*raw = FREE;
	return true;
}

static bool step_take(uint64_t *raw, uint64_t n)
{
	if (*raw < n)
		return false;
	*raw -= n;
	return true;
}

/* A step that accepts changes the word, one that refuses writes nothing; both tell the value. */
static void test_step_accepts_or_leaves_the_word(void **state)
{
	static const struct {
		uint64_t before, n, after;
		bool done;
	} rows[] = {
		{ 0, 1, 0, false }, { 1, 1, 0, true }, { 10, 3, 7, true },
		{ 2, 3, 2, false }, { 5, 0, 5, true }, { UINT64_MAX, UINT64_MAX, 0, true },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		lab_word_t word = rows[i].before;
		uint64_t old = 77;

		assert_int_equal(lab_word_step(&word, &old, step_take, rows[i].n,
					       memory_order_acquire, memory_order_relaxed),
				 rows[i].done);
		assert_int_equal(old, rows[i].before);
		assert_int_equal(lab_word_get(&word), rows[i].after);
	}
}

/* A claim that fails at any position leaves every word as it found it. */
static void test_claim_undoes_every_prefix(void **state)
{
	size_t stride, n, bad, i;

	(void)state;
	for (stride = 1; stride <= 3; stride += 2) {
		for (n = 1; n <= RUN_MAX; n++) {
			for (bad = 0; bad <= n; bad++) {
				lab_word_t words[RUN_MAX * 3];

				for (i = 0; i < RUN_MAX * 3; i++)
					atomic_init(&words[i], i == bad * stride ? BUSY : FREE);
				assert_int_equal(
					lab_words_claim(words, n, stride * sizeof(lab_word_t),
							step_free_to_mine, step_mine_to_free),
					bad == n);
				for (i = 0; i < RUN_MAX * 3; i++) {
					bool claimed =
						bad == n && i % stride == 0 && i < n * stride;

					assert_int_equal(lab_word_get(&words[i]), i == bad * stride
											  ? BUSY
										  : claimed ? MINE
											    : FREE);
				}
			}
		}
	}
}

/* A swap happens from the value it names alone. */
static void test_swap_from_other_value_is_refused(void **state)
{
	lab_word_t word = 5;

	(void)state;
	assert_false(lab_word_swap(&word, 4, 9));
	assert_int_equal(lab_word_get(&word), 5);
	assert_true(lab_word_swap(&word, 5, 9));
	assert_int_equal(lab_word_get(&word), 9);
}

/* ---- a handler inside the window between load and exchange ---- */

static lab_word_t shared;
static volatile sig_atomic_t handler_runs;

static void take_in_handler(int signo)
{
	uint64_t old;

	(void)signo;
	handler_runs++;
	must(lab_word_step(&shared, &old, step_take, 1, memory_order_acquire,
			   memory_order_relaxed));
}

/* accepts like step_take(), but takes a signal inside the window */
static bool step_interrupted(uint64_t *raw, uint64_t n)
{
	if (!handler_runs)
		raise(SIGUSR1);
	return step_take(raw, n);
}

/* A handler that wins the race makes the interrupted caller retry, not lose. */
static void test_step_survives_handler_in_window(void **state)
{
	struct sigaction action = { .sa_handler = take_in_handler };
	uint64_t old;

	(void)state;
	atomic_init(&shared, 10);
	handler_runs = 0;
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_true(lab_word_step(&shared, &old, step_interrupted, 1, memory_order_acquire,
				  memory_order_relaxed));
	assert_int_equal(handler_runs, 1);
	assert_int_equal(old, 9); /* the value that the handler left */
	assert_int_equal(lab_word_get(&shared), 8);
}

/* A handler that takes the last one makes the interrupted caller refuse. */
static void test_step_refuses_when_handler_took_the_last(void **state)
{
	uint64_t old;

	(void)state;
	atomic_init(&shared, 1);
	handler_runs = 0;
	assert_false(lab_word_step(&shared, &old, step_interrupted, 1, memory_order_acquire,
				   memory_order_relaxed));
	assert_int_equal(old, 0);
	assert_int_equal(lab_word_get(&shared), 0);
}

/* ---- threads ---- */

enum { TURNS = 100000 };

static lab_word_t claimed[4];
static lab_word_t inside[2];

static void claiming_thread(unsigned int id, void *unused)
{
	(void)unused;
	for (int i = 0; i < TURNS / NR_THREADS; i++) {
		/* two claims that overlap in words 1 and 2 */
		lab_word_t *first = &claimed[id & 1];

		if (!lab_words_claim(first, 3, sizeof(lab_word_t), step_free_to_mine,
				     step_mine_to_free))
			continue;
		must(lab_word_add(&inside[0], 1) == 0);
		lab_word_sub(&inside[0], 1);
		for (int w = 2; w >= 0; w--)
			atomic_store_explicit(&first[w], FREE, memory_order_release);
		lab_word_add(&inside[1], 1);
	}
}

/* Of overlapping claims one at a time succeeds, and some do. */
static void test_claims_among_threads_exclude_each_other(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		lab_word_set(&claimed[i], FREE);
	run_threads(NR_THREADS, claiming_thread, NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(lab_word_get(&claimed[i]), FREE);
	assert_true(lab_word_get(&inside[1]) > 0);
}

/* A count is lowered by what was asked for, or to 0, and by how much is told. */
static void test_pay_lowers_by_what_there_is(void **state)
{
	lab_word_t count = 5;

	(void)state;
	assert_int_equal(lab_word_pay(&count, 3), 3);
	assert_int_equal(lab_word_get(&count), 2);
	assert_int_equal(lab_word_pay(&count, 3), 2);
	assert_int_equal(lab_word_get(&count), 0);
	assert_int_equal(lab_word_pay(&count, 3), 0);
	assert_int_equal(lab_word_get(&count), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pay_lowers_by_what_there_is),
		cmocka_unit_test(test_step_accepts_or_leaves_the_word),
		cmocka_unit_test(test_claim_undoes_every_prefix),
		cmocka_unit_test(test_swap_from_other_value_is_refused),
		cmocka_unit_test(test_step_survives_handler_in_window),
		cmocka_unit_test(test_step_refuses_when_handler_took_the_last),
		cmocka_unit_test(test_claims_among_threads_exclude_each_other),
	};

	return cmocka_run_group_tests_name("word", tests, NULL, NULL);
}
