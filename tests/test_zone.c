/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "os/cpu.h"
#include "page/apart.h"
#include "page/search.h"

static struct lab_zone *const heap = &lab_zones[LAB_ZONE_HEAP];

/* runs that a test holds */
struct held {
	lab_pfn_t pfn;
	unsigned int n;
};

static void shuffle_held(struct held *held, size_t n, uint64_t *seed)
{
	for (; n > 1; n--) {
		size_t with = random_below(seed, n);
		struct held item = held[n - 1];

		held[n - 1] = held[with];
		held[with] = item;
	}
}

static void forget_homes(void)
{
	size_t i;

	for (i = 0; i < lab_nr_sections() * LAB_SECTION_BLOCKS; i++)
		lab_byte_set(&lab_home_of_block[i], 0);
}

/* up to 64 frames wherever they are: nobody's homes are spared, nor the heap made larger for them */
static unsigned int take_anywhere(unsigned int want, struct lab_frames *out)
{
	forget_homes();
	return lab_heap_take_some(want, out, 1);
}

/*
 * Every free frame of the heap can be taken without growth: no hint of a block
 * with free frames was lost.  All go back.
 */
static void assert_all_free_frames_are_found(void)
{
	static struct held held[1u << 18];
	uint64_t managed = lab_word_get(&heap->managed), left = lab_word_get(&heap->free);
	struct lab_frames out;
	size_t n = 0;

	while (left > 0) {
		unsigned int got = take_anywhere(left < 64 ? (unsigned int)left : 64, &out);
		uint64_t mask;

		assert_true(got > 0);
		left -= got;
		for (mask = out.mask; mask; mask &= mask - 1) {
			assert_true(n < sizeof(held) / sizeof(held[0]));
			held[n++].pfn = out.pfn + lab_ctz(mask);
		}
	}
	assert_int_equal(lab_word_get(&heap->managed), managed);
	assert_int_equal(lab_word_get(&heap->free), 0);
	while (n-- > 0)
		lab_zone_give(held[n].pfn, 1);
}

/* what the blocks' own words add up to */
static uint64_t count_free(void)
{
	size_t i, n = lab_nr_sections() * LAB_SECTION_BLOCKS;
	uint64_t sum = 0;

	for (i = 0; i < n; i++) {
		union lab_block_word w;

		if (!lab_section_is_ready(i / LAB_SECTION_BLOCKS))
			continue;
		w = block_word(i);
		sum += w.zone == LAB_ZONE_HEAP ? w.free : 0;
	}
	return sum;
}

static uint64_t count_dirty(void)
{
	size_t i, n = lab_nr_sections() * LAB_SECTION_BLOCKS;
	uint64_t sum = 0;
	unsigned int word;

	for (i = 0; i < n; i++) {
		if (!lab_section_is_ready(i / LAB_SECTION_BLOCKS) || !block_word(i).free ||
		    block_word(i).zone != LAB_ZONE_HEAP)
			continue;
		for (word = 0; word < LAB_BLOCK_WORDS; word++)
			sum += lab_popcount(lab_word_get(&lab_block_at(i)->bits[word]) &
					    ~lab_word_get(&lab_block_at(i)->clean[word]));
	}
	return sum;
}

/* At rest the zone's counters are the sums over its blocks. */
static void assert_counters_are_exact(uint64_t in_use)
{
	assert_int_equal(lab_word_get(&heap->free), count_free());
	assert_int_equal(lab_word_get(&heap->dirty), count_dirty());
	assert_int_equal(heap_in_use(), in_use);
}

/* The heap grows when it has nothing, and what it grew by is mapped and writable. */
static void test_take_from_empty_heap_grows_it(void **state)
{
	uint64_t managed, taken = lab_word_get(&heap->taken);
	struct lab_frames out;
	uint64_t left;

	(void)state;
	(void)lab_heap_purge(true);
	managed = lab_word_get(&heap->managed);
	assert_int_equal(managed, 0);
	assert_int_equal(lab_heap_take_some(64, &out, 1), 64);
	assert_int_equal(out.nclean, 64);
	assert_true(lab_word_get(&heap->managed) >= LAB_BLOCK_FRAMES);
	assert_int_equal(lab_word_get(&heap->taken), taken + 64);
	for (left = out.mask; left; left &= left - 1) {
		void *page = lab_frame_address(out.pfn + lab_ctz(left));

		assert_int_equal(lab_zone_of(out.pfn + lab_ctz(left)), LAB_ZONE_HEAP);
		assert_true(is_zero(page, LAB_PAGE_BYTES));
		fill(page, 1, LAB_PAGE_BYTES);
	}
	assert_counters_are_exact(64);
	lab_zone_give_mask(out.pfn, out.mask);
	assert_counters_are_exact(0);
}

/* Runs of every size and alignment are aligned, disjoint and of exactly that size. */
static void test_take_run_of_every_size_is_exact(void **state)
{
	static struct held held[LAB_BLOCK_FRAMES * 10];
	uint64_t seed = new_seed("zone"), in_use = 0;
	unsigned int n, order;
	struct lab_frames out;
	size_t nheld = 0;

	(void)state;
	for (n = 1; n <= LAB_BLOCK_FRAMES; n += n < 70 ? 1 : 13) {
		for (order = 0; order <= 9; order += 3) {
			assert_true(lab_heap_take_run(n, order, &out));
			assert_int_equal(out.pfn & ((1u << order) - 1), 0);
			assert_true(out.pfn % LAB_BLOCK_FRAMES + n <= LAB_BLOCK_FRAMES);
			in_use += n;
			held[nheld++] = (struct held){ out.pfn, n };
			*(uint64_t *)lab_frame_address(out.pfn) = nheld;
			*(uint64_t *)lab_frame_address(out.pfn + n - 1) = nheld;
		}
	}
	assert_counters_are_exact(in_use);
	for (size_t i = 0; i < nheld; i++) {
		assert_int_equal(*(uint64_t *)lab_frame_address(held[i].pfn), i + 1);
		assert_int_equal(*(uint64_t *)lab_frame_address(held[i].pfn + held[i].n - 1),
				 i + 1);
	}
	shuffle_held(held, nheld, &seed);
	while (nheld-- > 0)
		lab_zone_give(held[nheld].pfn, held[nheld].n);
	assert_counters_are_exact(0);
	assert_all_free_frames_are_found();
}

/* A run says that it is clean only if every byte of it reads as zero. */
static void test_take_run_reported_clean_reads_as_zero(void **state)
{
	uint64_t seed = new_seed("zone");
	struct lab_frames out;
	unsigned int i, n, nclean = 0;

	(void)state;
	(void)lab_heap_purge(true);
	for (i = 0; i < 300; i++) {
		n = 1 + (unsigned int)random_below(&seed, 200);
		assert_true(lab_heap_take_run(n, 0, &out));
		if (out.nclean == n) {
			nclean++;
			assert_true(is_zero(lab_frame_address(out.pfn), n * LAB_PAGE_BYTES));
		}
		memset(lab_frame_address(out.pfn), 0xa5, n * LAB_PAGE_BYTES);
		lab_zone_give(out.pfn, n);
		if (i % 50 == 49)
			(void)lab_heap_purge(false);
	}
	assert_true(nclean > 0);
	assert_counters_are_exact(0);
}

/* A run grows in place into free frames, never into used ones or out of its block. */
static void test_extend_takes_exactly_what_follows(void **state)
{
	struct lab_frames run, next;
	lab_pfn_t end;

	(void)state;
	assert_true(lab_heap_take_run(LAB_BLOCK_FRAMES, 9, &run));
	lab_zone_give(run.pfn + 100, LAB_BLOCK_FRAMES - 100);
	end = run.pfn + LAB_BLOCK_FRAMES;
	assert_true(lab_heap_extend(run.pfn + 100, 28));
	assert_counters_are_exact(128);
	assert_false(lab_heap_extend(run.pfn + 128, LAB_BLOCK_FRAMES - 128 + 1));
	assert_false(lab_heap_extend(end, 1)); /* that is the next block's */
	assert_true(lab_heap_extend(run.pfn + 200, 1));
	next.pfn = run.pfn + 200;
	assert_false(lab_heap_extend(run.pfn + 128, 73));
	assert_counters_are_exact(129);
	assert_true(lab_heap_extend(run.pfn + 128, 72));
	lab_zone_give(next.pfn, 1);
	assert_true(lab_heap_extend(run.pfn + 200, LAB_BLOCK_FRAMES - 200));
	assert_counters_are_exact(LAB_BLOCK_FRAMES);
	lab_zone_give(run.pfn, LAB_BLOCK_FRAMES);
	assert_counters_are_exact(0);
}

/* Take all and give all in random order: every free frame is found again. */
static void test_hints_after_random_takes_and_gives_lose_no_block(void **state)
{
	enum { MANY = 600 };
	static struct held held[MANY];
	uint64_t seed = new_seed("hints"), in_use;
	struct lab_frames out;
	size_t n = 0;

	(void)state;
	for (int round = 0; round < 5; round++) {
		while (n < MANY) {
			unsigned int frames = 1 + (unsigned int)random_below(&seed, 40);

			assert_true(lab_heap_take_run(frames, 0, &out));
			held[n++] = (struct held){ out.pfn, frames };
		}
		shuffle_held(held, n, &seed);
		while (n > (round == 4 ? 0 : MANY / 3)) {
			n--;
			lab_zone_give(held[n].pfn, held[n].n);
		}
		assert_int_equal(lab_word_get(&heap->free), count_free());
		in_use = heap_in_use();
		assert_all_free_frames_are_found();
		assert_counters_are_exact(in_use);
	}
}

/* More than one section: frames beyond 64 MiB are found, used and given back alike. */
static void test_heap_beyond_one_section_works_alike(void **state)
{
	enum { RUNS = 80 };
	struct held held[RUNS];
	struct lab_frames out;
	unsigned int i;

	(void)state;
	for (i = 0; i < RUNS; i++) {
		assert_true(lab_heap_take_run(LAB_BLOCK_FRAMES, 9, &out));
		held[i] = (struct held){ out.pfn, LAB_BLOCK_FRAMES };
		*(uint64_t *)lab_frame_address(out.pfn) = i;
	}
	assert_true(lab_nr_sections() >= 3);
	for (i = 0; i < RUNS; i++) {
		assert_true(lab_mem_covers(lab_frame_address(held[i].pfn)));
		assert_int_equal(*(uint64_t *)lab_frame_address(held[i].pfn), i);
	}
	assert_counters_are_exact(RUNS * LAB_BLOCK_FRAMES);
	for (i = 0; i < RUNS; i++)
		lab_zone_give(held[i].pfn, held[i].n);
	assert_counters_are_exact(0);
	assert_all_free_frames_are_found();
}

/* An address outside of the sections is none of ours. */
static void test_gate_for_foreign_addresses_is_shut(void **state)
{
	int on_stack;
	void *foreign[] = { NULL,
			    &on_stack,
			    (void *)&heap,
			    (void *)UINTPTR_MAX,
			    (void *)(lab_mem.base - 1),
			    (void *)(lab_mem.base + (lab_nr_sections() << LAB_SECTION_SHIFT)) };

	(void)state;
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		assert_false(lab_mem_covers(foreign[i]));
		assert_int_equal(lab_mem_kind(foreign[i]), LAB_KIND_FREE);
	}
	assert_true(lab_mem_covers((void *)lab_mem.base));
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
} stress;

static void stress_thread(unsigned int id, void *unused)
{
	enum { MINE = 64 };
	struct held held[MINE];
	uint64_t seed = stress.seed + id * 7919;
	struct lab_frames out;
	unsigned int n = 0, i;

	(void)unused;
	while (now_ms() < stress.until) {
		for (i = 0; i < 50; i++) {
			unsigned int frames = 1 + (unsigned int)random_below(&seed, 300);

			if (n == MINE || (n && next_random(&seed) % 2)) {
				size_t at = random_below(&seed, n);
				uint64_t *page = lab_frame_address(held[at].pfn);

				must(page[0] == id && page[1] == held[at].n);
				page[0] = page[1] = ~0ull;
				lab_zone_give(held[at].pfn, held[at].n);
				held[at] = held[--n];
				continue;
			}
			must(lab_heap_take_run(frames, 0, &out));
			((uint64_t *)lab_frame_address(out.pfn))[0] = id;
			((uint64_t *)lab_frame_address(out.pfn))[1] = frames;
			held[n++] = (struct held){ out.pfn, frames };
		}
		if (random_below(&seed, 20) == 0)
			(void)lab_heap_purge(next_random(&seed) & 1);
	}
	while (n-- > 0)
		lab_zone_give(held[n].pfn, held[n].n);
}

/* Among threads that take, give and purge nothing is lost, and all is found again. */
static void test_frames_among_threads_are_all_found_again(void **state)
{
	(void)state;
	stress.seed = new_seed("zone");
	stress.until = now_ms() + STRESS_MS;
	run_threads(NR_THREADS, stress_thread, NULL);
	assert_counters_are_exact(0);
	assert_all_free_frames_are_found();
}

/* Frames that go back in parts, over more blocks than there are places, are all counted. */
static void test_frames_given_in_parts_are_counted_once_and_offered(void **state)
{
	static struct held held[LAB_BLOCK_FRAMES * (LAB_GIVING_NR + 4)];
	uint64_t seed = new_seed("parts");
	struct lab_giving giving = { .n = { 0 } };
	struct lab_frames out;
	size_t n = 0, i;

	(void)state;
	while (n < sizeof(held) / sizeof(held[0]))
		for (i = lab_heap_take_some(1, &out, 1); i > 0; i--)
			held[n++].pfn = out.pfn + lab_ctz(out.mask);
	shuffle_held(held, n, &seed);
	for (i = 0; i < n; i++)
		lab_zone_give_part(&giving, held[i].pfn & ~63u, 1ull << held[i].pfn % 64);
	lab_zone_give_rest(&giving);
	assert_counters_are_exact(0);
	assert_all_free_frames_are_found();
	/* nothing is left in it */
	lab_zone_give_rest(&giving);
	assert_counters_are_exact(0);
}

static void *take_and_give(void *arg)
{
	struct lab_frames out[32];
	unsigned int turn, i;

	(void)arg;
	for (turn = 0; turn < 20000; turn++) {
		for (i = 0; i < 32; i++)
			assert_true(lab_heap_take_some(3, &out[i], 1) > 0);
		for (i = 0; i < 32; i++)
			lab_zone_give_mask(out[i].pfn, out[i].mask);
	}
	return NULL;
}

/*
 * CPUs that met have each their own blocks from then on; no frame is lost by it.  When they
 * meet is up to the scheduler; they do within a few rounds of 30 ms.
 */
static void test_cpus_that_meet_find_homes_and_lose_nothing(void **state)
{
	unsigned int round, rounds = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 200 : 1;
	pthread_t other;

	(void)state;
	for (round = 0; round < rounds && !lab_heap_is_crowded(); round++) {
		assert_int_equal(pthread_create(&other, NULL, take_and_give, NULL), 0);
		take_and_give(NULL);
		assert_int_equal(pthread_join(other, NULL), 0);
	}
	assert_true(rounds == 1 || lab_heap_is_crowded());
	assert_counters_are_exact(0);
	assert_all_free_frames_are_found();
}

/* One thread that moves is one: it leaves no free frames alone. */
static void test_a_thread_that_moves_is_not_crowded(void **state)
{
	struct lab_frames out;
	unsigned int turn;

	(void)state;
	for (turn = 0; turn < 64; turn++) {
		(void)pin_to(turn % 2);
		assert_true(lab_heap_take_some(64, &out, 1) > 0);
		lab_zone_give_mask(out.pfn, out.mask);
	}
	assert_false(lab_heap_is_crowded());
	pin_by_id(0);
}

/* single frames of one block after the other; those of the block that is left go to @keep */
static size_t fill_home(struct lab_frames *keep, unsigned int *n, struct lab_frames *next)
{
	size_t block = next->pfn / LAB_BLOCK_FRAMES;

	for (*n = 0; next->pfn / LAB_BLOCK_FRAMES == block; (*n)++) {
		keep[*n] = *next;
		must(lab_heap_take_some(64, next, 1) > 0);
	}
	return block;
}

static void give_all(const struct lab_frames *frames, unsigned int n)
{
	while (n-- > 0)
		lab_zone_give_mask(frames[n].pfn, frames[n].mask);
}

/* After its home a CPU takes from one that it had before, where what it gave back lies. */
static void test_a_cpu_returns_to_its_former_home(void **state)
{
	static struct lab_frames old[LAB_BLOCK_FRAMES], of_first[LAB_BLOCK_FRAMES],
		of_second[LAB_BLOCK_FRAMES];
	unsigned int n_old, n_first, n_second;
	struct lab_frames lowest, next;
	size_t first;

	(void)state;
	if (!lab_heap_is_crowded()) {
		print_message("one CPU: there are no homes\n");
		return;
	}
	forget_homes();
	assert_true(pin_to(0));
	assert_true(lab_heap_take_run(LAB_BLOCK_FRAMES, LAB_BLOCK_ORDER, &lowest));
	assert_true(lab_heap_take_some(64, &next, 1) > 0);
	(void)fill_home(old, &n_old, &next);
	first = fill_home(of_first, &n_first, &next);
	assert_true(lowest.pfn / LAB_BLOCK_FRAMES < first);
	lab_zone_give(lowest.pfn, LAB_BLOCK_FRAMES);
	give_all(of_first, n_first);
	(void)fill_home(of_second, &n_second, &next);
	assert_int_equal(next.pfn / LAB_BLOCK_FRAMES, first);
	give_all(old, n_old);
	give_all(of_second, n_second);
	give_all(&next, 1);
	assert_counters_are_exact(0);
}

/* ---- slabs of CPUs apart ---- */

static void assert_words_without_others(unsigned int cpu, size_t block, unsigned int words)
{
	struct lab_apart apart;

	lab_apart_look(&apart, cpu);
	assert_int_equal(lab_apart_words(&apart, block), words);
}

static uint32_t own_area(unsigned int cpu)
{
	struct lab_apart apart;

	lab_apart_look(&apart, cpu);
	return apart.own;
}

static void test_a_cpu_keeps_to_areas_that_no_other_takes_from(void **state)
{
	unsigned int i;

	(void)state;
	/* whatever the heap did before is forgotten after so many turns */
	for (i = 0; i < LAB_APART_RECENT; i++)
		lab_apart_took(3, 0);
	assert_words_without_others(3, 0, LAB_BLOCK_ALL);
	assert_int_equal(own_area(3), 0);
	assert_words_without_others(4, 0, LAB_BLOCK_ALL & ~3u);
	lab_apart_took(4, 4 + 3);
	assert_words_without_others(3, 1, LAB_BLOCK_ALL & ~0xc0u);
	assert_words_without_others(3, 0, LAB_BLOCK_ALL);
	assert_int_equal(own_area(3), 0 + 1);
	assert_int_equal(own_area(4), 4 + 3 + 1);
	/* what they share is neither's */
	lab_apart_took(4, 0);
	assert_int_equal(own_area(3), 0);
	assert_int_equal(own_area(4), 0);
	lab_apart_took(4, 2);
	assert_int_equal(own_area(4), 2 + 1);
	assert_words_without_others(3, 0, LAB_BLOCK_ALL & ~0x33u);
	for (i = 0; i < LAB_APART_RECENT; i++)
		lab_apart_took(4, 2);
	assert_words_without_others(4, 0, LAB_BLOCK_ALL);
}

static void test_slabs_of_two_cpus_share_no_area(void **state)
{
	enum { MANY = 300 };
	static lab_pfn_t slab[2][MANY];
	struct lab_frames out;
	unsigned int i, j, cpu;

	(void)state;
	if (!pin_to(1)) {
		print_message("one CPU: no slabs of two\n");
		return;
	}
	for (i = 0; i < MANY; i++) {
		for (cpu = 0; cpu < 2; cpu++) {
			assert_true(pin_to(cpu));
			assert_true(lab_heap_take_slab(i % 3 ? 2 : 1, i % 3 == 2, &out));
			slab[cpu][i] = out.pfn;
		}
	}
	for (i = 0; i < MANY; i++)
		for (j = 0; j < MANY; j++)
			assert_int_not_equal(lab_apart_area(slab[0][i]),
					     lab_apart_area(slab[1][j]));
	for (i = 0; i < MANY; i++)
		for (cpu = 0; cpu < 2; cpu++)
			lab_zone_give(slab[cpu][i], i % 3 ? 2 : 1);
	assert_counters_are_exact(0);
}

static void test_slabs_of_a_cpu_that_is_alone_are_the_lowest(void **state)
{
	enum { MANY = 200, HOLE = 7 };
	lab_pfn_t slab[MANY];
	struct lab_frames out;
	unsigned int i;

	(void)state;
	assert_true(pin_to(0));
	for (i = 0; i < LAB_APART_RECENT; i++)
		lab_apart_took(0, 0);
	for (i = 0; i < MANY; i++) {
		assert_true(lab_heap_take_slab(1, 0, &out));
		slab[i] = out.pfn;
	}
	assert_true(slab[MANY - 1] / 64 > slab[HOLE] / 64);
	lab_zone_give(slab[HOLE], 1);
	assert_true(lab_heap_take_slab(1, 0, &out));
	assert_int_equal(out.pfn, slab[HOLE]);
	for (i = 0; i < MANY; i++)
		lab_zone_give(slab[i], 1);
	assert_counters_are_exact(0);
}

/* takes all frames that are free, without growth; returns how many entries of @held it took */
static size_t hold_all(struct lab_frames *held, size_t max)
{
	size_t n = 0;

	while (lab_word_get(&heap->free) > 0) {
		must(n < max);
		must(take_anywhere(64, &held[n++]) > 0);
	}
	return n;
}

/* Where it is crowded, and nothing lies idle, CPUs take from sections of their own. */
static void test_cpus_that_met_have_sections_of_their_own(void **state)
{
	enum { EACH = 40 };
	static struct lab_frames held[1u << 16], of[2][EACH];
	size_t n, i, j;
	unsigned int cpu;

	(void)state;
	if (!lab_heap_is_crowded()) {
		print_message("one CPU: there are no homes\n");
		return;
	}
	n = hold_all(held, sizeof(held) / sizeof(held[0]));
	forget_homes();
	for (i = 0; i < EACH; i++) {
		for (cpu = 0; cpu < 2; cpu++) {
			assert_true(pin_to(cpu));
			assert_true(lab_heap_take_some(64, &of[cpu][i], 1) > 0);
		}
	}
	for (i = 0; i < EACH; i++)
		for (j = 0; j < EACH; j++)
			assert_int_not_equal(of[0][i].pfn / LAB_SECTION_FRAMES,
					     of[1][j].pfn / LAB_SECTION_FRAMES);
	give_all(of[0], EACH);
	give_all(of[1], EACH);
	give_all(held, (unsigned int)n);
	assert_counters_are_exact(0);
	assert_all_free_frames_are_found();
}

/* Nor while much is free; and what is emptied is nobody's. */
static void test_what_is_free_is_not_left_alone_for_a_section(void **state)
{
	struct lab_frames of[2];
	uint64_t managed;
	unsigned int cpu;
	size_t i;

	(void)state;
	if (!lab_heap_is_crowded()) {
		print_message("one CPU: there are no homes\n");
		return;
	}
	(void)lab_heap_purge(true);
	for (i = 0; i < lab_nr_sections() * LAB_SECTION_BLOCKS; i++)
		assert_int_equal(lab_byte_get(&lab_home_of_block[i]), 0);
	while (lab_word_get(&heap->free) <= 2 * LAB_SECTION_FRAMES)
		assert_int_equal(lab_heap_map_some(LAB_SECTION_BLOCKS), 0);
	managed = lab_word_get(&heap->managed);
	for (i = 0; i < lab_nr_sections() * LAB_SECTION_BLOCKS; i++)
		lab_byte_set(&lab_home_of_block[i], 3 + 1);
	for (cpu = 0; cpu < 2; cpu++) {
		assert_true(pin_to(cpu));
		assert_true(lab_heap_take_some(64, &of[cpu], 1) > 0);
	}
	assert_int_equal(lab_word_get(&heap->managed), managed);
	give_all(of, 2);
	forget_homes();
	assert_counters_are_exact(0);
}

/* Apart is a wish: what is free only beside another CPU's slabs is taken, before growth. */
static void test_slabs_find_what_is_free_beside_those_of_another_cpu(void **state)
{
	static struct lab_frames held[1u << 16];
	size_t n, i;
	uint64_t managed;
	struct lab_frames first, out;

	(void)state;
	if (!pin_to(1)) {
		print_message("one CPU: no slabs of two\n");
		return;
	}
	assert_true(pin_to(0));
	assert_true(lab_heap_take_slab(1, 0, &first));
	n = hold_all(held, sizeof(held) / sizeof(held[0]));
	managed = lab_word_get(&heap->managed);
	for (i = 0; i < n && held[i].pfn / 64 != first.pfn / 64; i++)
		;
	assert_true(i < n);
	give_all(&held[i], 1);
	held[i].mask = 0;
	assert_true(pin_to(1));
	assert_true(lab_heap_take_slab(1, 0, &out));
	assert_int_equal(out.pfn / 64, first.pfn / 64);
	assert_int_equal(lab_word_get(&heap->managed), managed);
	lab_zone_give(first.pfn, 1);
	lab_zone_give(out.pfn, 1);
	for (i = 0; i < n; i++)
		if (held[i].mask)
			give_all(&held[i], 1);
	assert_counters_are_exact(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_from_empty_heap_grows_it),
		cmocka_unit_test(test_a_thread_that_moves_is_not_crowded),
		cmocka_unit_test(test_cpus_that_meet_find_homes_and_lose_nothing),
		cmocka_unit_test(test_cpus_that_met_have_sections_of_their_own),
		cmocka_unit_test(test_take_run_of_every_size_is_exact),
		cmocka_unit_test(test_take_run_reported_clean_reads_as_zero),
		cmocka_unit_test(test_extend_takes_exactly_what_follows),
		cmocka_unit_test(test_hints_after_random_takes_and_gives_lose_no_block),
		cmocka_unit_test(test_heap_beyond_one_section_works_alike),
		cmocka_unit_test(test_gate_for_foreign_addresses_is_shut),
		cmocka_unit_test(test_frames_given_in_parts_are_counted_once_and_offered),
		cmocka_unit_test(test_a_cpu_returns_to_its_former_home),
		cmocka_unit_test(test_what_is_free_is_not_left_alone_for_a_section),
		cmocka_unit_test(test_a_cpu_keeps_to_areas_that_no_other_takes_from),
		cmocka_unit_test(test_slabs_of_two_cpus_share_no_area),
		cmocka_unit_test(test_slabs_of_a_cpu_that_is_alone_are_the_lowest),
		cmocka_unit_test(test_slabs_find_what_is_free_beside_those_of_another_cpu),
		cmocka_unit_test(test_frames_among_threads_are_all_found_again),
	};

	return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
