/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "base/lifo.h"

enum { NR = 64 };

static lab_word_t links[NR];
static struct lab_lifo lifo;

static lab_word_t *link_of(uint32_t index)
{
	must(index < NR);
	return &links[index];
}

static union lab_lifo_word head(void)
{
	return (union lab_lifo_word){ .raw = lab_word_get(&lifo.head) };
}

/* What is pushed last is popped first, index 0 included; an empty stack says so. */
static void test_pop_returns_the_last_push(void **state)
{
	uint32_t index, i;

	(void)state;
	assert_false(lab_lifo_pop(&lifo, &index, link_of));
	for (i = 0; i < NR; i++)
		lab_lifo_push(&lifo, i, link_of);
	for (i = NR; i-- > 0;) {
		assert_true(lab_lifo_pop(&lifo, &index, link_of));
		assert_int_equal(index, i);
	}
	assert_false(lab_lifo_pop(&lifo, &index, link_of));
}

/* Every push and pop moves the tag, so that the same top is never the same head. */
static void test_tag_moves_with_every_change(void **state)
{
	uint64_t seen[200];
	uint32_t index;
	int i, j;

	(void)state;
	for (i = 0; i < 200; i++) {
		if (i % 2)
			assert_true(lab_lifo_pop(&lifo, &index, link_of));
		else
			lab_lifo_push(&lifo, 5, link_of);
		seen[i] = lab_word_get(&lifo.head);
		for (j = 0; j < i; j++)
			assert_true(seen[i] != seen[j]);
	}
	assert_int_equal(head().top, 0);
	assert_false(lab_lifo_pop(&lifo, &index, link_of));
}

static int in_window;

/* runs inside a pop, which then goes on with the link as it was before the change */
static lab_word_t *link_with_aba(uint32_t index)
{
	static lab_word_t stale;
	uint32_t first, second;

	if (in_window++ > 0)
		return link_of(index);
	lab_word_set(&stale, lab_word_get(link_of(index)));
	must(lab_lifo_pop(&lifo, &first, link_of) && first == 3);
	must(lab_lifo_pop(&lifo, &second, link_of) && second == 2);
	/* 2 is gone for good; 3 is the top again */
	lab_lifo_push(&lifo, 3, link_of);
	return &stale;
}

/* A pop whose top went and came back meanwhile does not resurrect what is gone. */
static void test_pop_with_a_b_a_in_its_window_retries(void **state)
{
	uint32_t index;

	(void)state;
	lab_lifo_push(&lifo, 1, link_of);
	lab_lifo_push(&lifo, 2, link_of);
	lab_lifo_push(&lifo, 3, link_of);
	in_window = 0;
	assert_true(lab_lifo_pop(&lifo, &index, link_with_aba));
	assert_int_equal(index, 3);
	assert_true(in_window >= 2);
	assert_true(lab_lifo_pop(&lifo, &index, link_of));
	assert_int_equal(index, 1);
	assert_false(lab_lifo_pop(&lifo, &index, link_of));
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
	lab_byte_t out[NR];
} stress;

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919;
	uint32_t mine[NR], n = 0;

	(void)unused;
	while (now_ms() < stress.until) {
		for (int i = 0; i < 500; i++) {
			if (n && next_random(&seed) & 1) {
				uint32_t at = (uint32_t)random_below(&seed, n), index = mine[at];

				mine[at] = mine[--n];
				must(atomic_exchange(&stress.out[index], 0) == 1);
				lab_lifo_push(&lifo, index, link_of);
			} else if (lab_lifo_pop(&lifo, &mine[n], link_of)) {
				must(atomic_exchange(&stress.out[mine[n]], 1) == 0);
				n++;
			}
		}
	}
	while (n > 0) {
		must(atomic_exchange(&stress.out[mine[--n]], 0) == 1);
		lab_lifo_push(&lifo, mine[n], link_of);
	}
}

/* Among threads nothing is popped twice and nothing is lost. */
static void test_elements_among_threads_are_conserved(void **state)
{
	bool seen[NR] = { false };
	uint32_t index, i;

	(void)state;
	stress.seed = new_seed("lifo");
	stress.until = now_ms() + STRESS_MS;
	for (i = 0; i < NR; i++)
		lab_lifo_push(&lifo, i, link_of);
	run_threads(NR_THREADS, stress_thread, NULL);
	for (i = 0; lab_lifo_pop(&lifo, &index, link_of); i++) {
		assert_false(seen[index]);
		seen[index] = true;
	}
	assert_int_equal(i, NR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pop_returns_the_last_push),
		cmocka_unit_test(test_tag_moves_with_every_change),
		cmocka_unit_test(test_pop_with_a_b_a_in_its_window_retries),
		cmocka_unit_test(test_elements_among_threads_are_conserved),
	};

	return cmocka_run_group_tests_name("lifo", tests, NULL, NULL);
}
