/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "base/gather.h"

#include "base/bits.h"

enum { MANY = 20000 };

/* words of every density: few bits, half of them, many, long runs */
static uint64_t some_word(uint64_t *seed)
{
	uint64_t a = next_random(seed) << 32 ^ next_random(seed);
	uint64_t b = next_random(seed) << 32 ^ next_random(seed);

	switch (random_below(seed, 6)) {
	case 0:
		return a & b & next_random(seed) << 20;
	case 1:
		return a | b;
	case 2:
		return ~0ull << random_below(seed, 64);
	case 3:
		return ~(1ull << random_below(seed, 64) | 1ull << random_below(seed, 64));
	case 4:
		return random_below(seed, 2) ? 0 : ~0ull;
	default:
		return a;
	}
}

static unsigned int count_slowly(uint64_t x)
{
	unsigned int n = 0;

	for (; x; x >>= 1)
		n += x & 1;
	return n;
}

static unsigned int find_run_slowly(uint64_t bits, unsigned int order)
{
	unsigned int at, i, n = 1u << order;

	for (at = 0; at + n <= 64; at += n) {
		for (i = 0; i < n && bits >> (at + i) & 1; i++)
			;
		if (i == n)
			return at;
	}
	return 64;
}

/* The first aligned run is found, or none if there is none: as by looking at each bit. */
static void test_find_run_agrees_with_brute_force(void **state)
{
	uint64_t seed = new_seed("bits"), word;
	unsigned int order, i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		word = some_word(&seed);
		for (order = 0; order <= 6; order++)
			assert_int_equal(lab_find_run(word, order), find_run_slowly(word, order));
	}
	for (order = 0; order <= 6; order++) {
		assert_int_equal(lab_find_run(0, order), 64);
		assert_int_equal(lab_find_run(~0ull, order), 0);
		assert_int_equal(lab_find_run(lab_mask(64 - (1u << order), 1u << order), order),
				 64 - (1u << order));
	}
}

/* The lowest n bits of a word: n of them, and no lower one is left out. */
static void test_lowest_takes_the_lowest_bits(void **state)
{
	uint64_t seed = new_seed("bits");

	(void)state;
	for (int i = 0; i < MANY; i++) {
		uint64_t word = some_word(&seed), got;
		unsigned int n = (unsigned int)random_below(&seed, 66), count;

		count = count_slowly(word);
		got = lab_lowest(word, n);
		assert_int_equal(lab_popcount(word), count);
		assert_int_equal(count_slowly(got), n < count ? n : count);
		assert_int_equal(got & ~word, 0);
		if (got && (word & ~got))
			assert_true(lab_log2(got) < lab_ctz(word & ~got));
	}
}

/* Masks, logarithms and roundings at their edges. */
static void test_small_arithmetic_is_right_at_the_edges(void **state)
{
	unsigned int first, n;

	(void)state;
	for (first = 0; first < 64; first++)
		for (n = 1; n <= 64 - first; n++) {
			uint64_t mask = lab_mask(first, n);

			assert_int_equal(count_slowly(mask), n);
			assert_int_equal(lab_ctz(mask), first);
			assert_int_equal(lab_log2(mask), first + n - 1);
		}
	assert_int_equal(lab_mask(0, 0), 0);
	assert_int_equal(lab_order_of(1), 0);
	for (n = 1; n < 40; n++) {
		assert_int_equal(lab_order_of(1ull << n), n);
		assert_int_equal(lab_order_of((1ull << n) + 1), n + 1);
		assert_int_equal(lab_order_of((1ull << n) - (n > 1)), n);
	}
	assert_int_equal(lab_align_up(0, 4096), 0);
	assert_int_equal(lab_align_up(1, 4096), 4096);
	assert_int_equal(lab_align_up(4096, 4096), 4096);
}

/* A gift tells which bits were set already; a take gets bits of one word, all that it may. */
static void test_pool_gives_back_what_it_took(void **state)
{
	uint64_t seed = new_seed("bits");
	lab_word_t bits[4] = { 0, 0, 0, 0 };

	(void)state;
	assert_int_equal(lab_bits_give(&bits[2], 0xf0), 0);
	assert_int_equal(lab_bits_give(&bits[2], 0x3c), 0x30);
	assert_int_equal(lab_word_get(&bits[2]), 0xfc);
	for (int i = 0; i < 2000; i++) {
		unsigned int want = 1 + (unsigned int)random_below(&seed, 64), w;
		uint64_t before[4], some = 0;
		struct lab_take take;

		for (w = 0; w < 4; w++) {
			before[w] = next_random(&seed) % 3 ? some_word(&seed) : 0;
			lab_word_set(&bits[w], before[w]);
			some |= before[w];
		}
		if (!some)
			continue;
		take = lab_bits_take(bits, 4, want);
		for (w = 0; w < take.word; w++)
			assert_int_equal(before[w], 0);
		assert_int_equal(take.mask, lab_lowest(before[take.word], want));
		assert_int_equal(lab_word_get(&bits[take.word]), before[take.word] & ~take.mask);
		assert_int_equal(lab_bits_give(&bits[take.word], take.mask), 0);
		assert_int_equal(lab_word_get(&bits[take.word]), before[take.word]);
	}
}

/* ---- threads ---- */

static struct {
	lab_word_t count;
	lab_word_t bits[4];
	uint64_t seed, until;
} pool;

static bool step_pay(uint64_t *raw, uint64_t n)
{
	if (*raw < n)
		return false;
	*raw -= n;
	return true;
}

static void pool_thread(unsigned int id, void *unused)
{
	uint64_t seed = pool.seed + id * 7919, old;

	(void)unused;
	while (now_ms() < pool.until) {
		for (int i = 0; i < 300; i++) {
			unsigned int want = 1 + (unsigned int)random_below(&seed, 64), got;
			struct lab_take take;

			if (!lab_word_step(&pool.count, &old, step_pay, want, memory_order_acquire,
					   memory_order_relaxed))
				continue;
			/* paid: found, or this never returns */
			take = lab_bits_take(pool.bits, 4, want);
			got = lab_popcount(take.mask);
			must(got >= 1 && got <= want);
			lab_word_add(&pool.count, want - got);
			must(lab_bits_give(&pool.bits[take.word], take.mask) == 0);
			lab_word_add(&pool.count, got);
		}
	}
}

/* Who lowered the count finds its bits, however many others do the same. */
static void test_pool_among_threads_keeps_its_law(void **state)
{
	(void)state;
	pool.seed = new_seed("bits");
	pool.until = now_ms() + STRESS_MS;
	for (int w = 0; w < 4; w++)
		lab_word_set(&pool.bits[w], ~0ull >> (w * 11));
	lab_word_set(&pool.count, 64 + 53 + 42 + 31);
	run_threads(NR_THREADS, pool_thread, NULL);
	assert_int_equal(lab_word_get(&pool.count), 64 + 53 + 42 + 31);
	for (int w = 0; w < 4; w++)
		assert_true(lab_word_get(&pool.bits[w]) == ~0ull >> (w * 11));
}

/* what came out of a gathering, by word; and how often a word came */
struct gathered {
	uint64_t mask[64];
	unsigned int sent;
};

static void keep_word(void *arg, uint32_t key, uint64_t mask)
{
	struct gathered *to = arg;

	assert_true(key < 64);
	assert_int_equal(to->mask[key] & mask, 0);
	to->mask[key] |= mask;
	to->sent++;
}

/* Whatever the order, each bit goes to its own word once; few words are sent once each. */
static void test_gather_sends_every_bit_to_its_word_once(void **state)
{
	uint64_t seed = new_seed("gather");
	unsigned int nwords, i, turn;

	(void)state;
	for (nwords = 1; nwords <= 64; nwords++) {
		struct gathered to = { .sent = 0 };
		struct lab_gather g = { .used = 0 };
		uint64_t want[64] = { 0 };

		for (turn = 0; turn < 400; turn++) {
			uint32_t key = (uint32_t)random_below(&seed, nwords);
			uint64_t bit = 1ull << random_below(&seed, 64);

			if (want[key] & bit)
				continue;
			want[key] |= bit;
			lab_gather_add(&g, key, bit, keep_word, &to);
		}
		lab_gather_end(&g, keep_word, &to);
		assert_int_equal(g.used, 0);
		for (i = 0; i < nwords; i++)
			assert_int_equal(to.mask[i], want[i]);
		if (nwords == 1)
			assert_int_equal(to.sent, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_run_agrees_with_brute_force),
		cmocka_unit_test(test_lowest_takes_the_lowest_bits),
		cmocka_unit_test(test_small_arithmetic_is_right_at_the_edges),
		cmocka_unit_test(test_pool_gives_back_what_it_took),
		cmocka_unit_test(test_gather_sends_every_bit_to_its_word_once),
		cmocka_unit_test(test_pool_among_threads_keeps_its_law),
	};

	return cmocka_run_group_tests_name("bits", tests, NULL, NULL);
}
