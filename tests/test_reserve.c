/* SPDX-License-Identifier: MIT */
/*
 * Most tests run in a child, which makes itself fresh zones: the ones of the
 * constructor are set up once and for all.
 */
#include "harness.h"

#include <sys/resource.h>

#include "labyrinth.h"
#include "page/exclusive.h"
#include "page/reserve.h"
#include "pcp/pcp.h"

static struct lab_zone *const reserve = &lab_zones[LAB_ZONE_RESERVE];

/* forget a zone, as if the process began; its old blocks are lost */
static void renew(enum lab_zone_id id, unsigned int cap, unsigned int step)
{
	struct lab_zone *zone = &lab_zones[id];
	void *page;

	while ((page = lab_pcp_pop(LAB_PCP_API)))
		;
	memset(zone, 0, sizeof(*zone));
	must(lab_reserve_init(id, cap, step) == 0);
}

static void fill_up(enum lab_zone_id id)
{
	uint64_t before;

	do {
		before = lab_word_get(&lab_zones[id].managed);
		lab_reserve_refill(id);
	} while (lab_word_get(&lab_zones[id].managed) != before);
}

/* VmLck of /proc/self/status, in pages */
static long locked_pages(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long kb = -1;

	must(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmLck: %ld", &kb) == 1)
			break;
	fclose(file);
	return kb / 4;
}

/* For every floor, single frames can be taken down to it and not one further. */
static void floors_of_single_frames(void *unused)
{
	static lab_pfn_t taken[2048];
	uint64_t floor, all;
	struct lab_frames out;
	unsigned int n;

	(void)unused;
	renew(LAB_ZONE_RESERVE, 96, 96);
	all = lab_word_get(&reserve->free);
	must(all == 96);
	for (floor = 0; floor <= all; floor++) {
		for (n = 0; lab_reserve_take(LAB_ZONE_RESERVE, 0, floor, &out); n++)
			taken[n] = out.pfn;
		must(lab_word_get(&reserve->free) == floor);
		must(n == all - floor);
		must(lab_reserve_take_some(LAB_ZONE_RESERVE, 64, floor, &out) == 0);
		while (n-- > 0)
			lab_zone_give(taken[n], 1);
	}
	must(lab_word_get(&reserve->free) == all);
}

static void test_take_down_to_every_floor_is_exact(void **state)
{
	(void)state;
	assert_child_succeeds(floors_of_single_frames, NULL);
}

static void floors_of_many(void *unused)
{
	uint64_t floor, mask;
	struct lab_frames out;
	unsigned int want, got, sum;

	(void)unused;
	renew(LAB_ZONE_RESERVE, 700, 700);
	for (floor = 0; floor <= 700; floor += 35) {
		static uint64_t masks[701];
		static lab_pfn_t pfns[701];
		unsigned int n = 0;

		for (sum = 0, want = 1 + floor % 64;
		     (got = lab_reserve_take_some(LAB_ZONE_RESERVE, want, floor, &out));
		     sum += got) {
			must(got <= want && n < 701);
			must(lab_popcount(out.mask) == got);
			for (mask = out.mask; mask; mask &= mask - 1)
				memset(lab_frame_address(out.pfn + lab_ctz(mask)), 1,
				       LAB_PAGE_BYTES);
			masks[n] = out.mask;
			pfns[n++] = out.pfn;
		}
		must(lab_word_get(&reserve->free) == floor);
		must(sum == 700 - floor);
		while (n-- > 0)
			lab_zone_give_mask(pfns[n], masks[n]);
	}
}

/* The same holds for handfuls, in a zone of more than one block. */
static void test_take_some_down_to_every_floor_is_exact(void **state)
{
	(void)state;
	assert_child_succeeds(floors_of_many, NULL);
}

static void floors_of_orders(void *unused)
{
	lab_pfn_t taken[64];
	struct lab_frames out;
	unsigned int order, n;

	(void)unused;
	renew(LAB_ZONE_RESERVE, 2000, 2000);
	for (order = 1; order <= 8; order++) {
		uint64_t floor = 1000, size = 1ull << order;

		/* few enough for a fragmented zone to have them */
		for (n = 0; n < 3 && lab_reserve_take(LAB_ZONE_RESERVE, order, floor, &out); n++) {
			must(out.pfn % size == 0);
			taken[n] = out.pfn;
		}
		must(n == 3);
		must(lab_word_get(&reserve->free) == 2000 - 3 * size);
		must(!lab_reserve_take(LAB_ZONE_RESERVE, order, 2000 - 4 * size + 1, &out));
		must(lab_reserve_take(LAB_ZONE_RESERVE, order, 2000 - 4 * size, &out));
		must(lab_word_get(&reserve->free) == 2000 - 4 * size);
		lab_zone_give(out.pfn, (unsigned int)size);
		while (n-- > 0)
			lab_zone_give(taken[n], (unsigned int)size);
		must(lab_word_get(&reserve->free) == 2000);
	}
	/* a run that is not there costs nothing but the count of failures */
	must(!lab_reserve_take(LAB_ZONE_RESERVE, 9, 1500, &out));
}

/* Runs keep the floor as well. */
static void test_take_of_runs_keeps_the_floor(void **state)
{
	(void)state;
	assert_child_succeeds(floors_of_orders, NULL);
}

static void refills(void *unused)
{
	uint64_t managed;
	struct lab_frames out;
	lab_pfn_t pfn[300];
	unsigned int n = 0;

	(void)unused;
	renew(LAB_ZONE_RESERVE, 250, 16);
	must(lab_word_get(&reserve->managed) == 16);
	/* it grows until as many are free as high will be with 250 pages: 116 + 2 * 29 */
	must(lab_word_get(&reserve->goal) == 174);
	for (managed = 16; managed < 174; managed += 16) {
		must(lab_word_get(&reserve->managed) == managed);
		lab_reserve_refill(LAB_ZONE_RESERVE);
	}
	must(lab_word_get(&reserve->managed) == 176);
	lab_reserve_refill(LAB_ZONE_RESERVE); /* at its goal: asleep */
	must(lab_word_get(&reserve->managed) == 176);
	/* as it is used it grows, up to the cap and not beyond */
	while (lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &out)) {
		must(n < 300);
		pfn[n++] = out.pfn;
		lab_reserve_refill(LAB_ZONE_RESERVE);
	}
	must(n == 250);
	must(lab_word_get(&reserve->managed) == 250);
	must(lab_word_get(&reserve->populated) == 250);
	while (n-- > 0)
		lab_zone_give(pfn[n], 1);
	lab_reserve_refill(LAB_ZONE_RESERVE);
	must(lab_word_get(&reserve->managed) == 250);
	must(lab_word_get(&reserve->free) == 250);
}

/* Refills add a step at a time up to high, and never pass the cap. */
static void test_refill_stops_at_high_and_at_the_cap(void **state)
{
	(void)state;
	assert_child_succeeds(refills, NULL);
}

static bool is_resident(lab_pfn_t pfn)
{
	unsigned char in;

	must(mincore(lab_frame_address(pfn), LAB_PAGE_BYTES, &in) == 0);
	return in & 1;
}

static void shrink_to(uint64_t frames)
{
	while (lab_reserve_shrink(frames))
		;
}

static void shrinks(void *unused)
{
	struct lab_frames out[250];
	unsigned int n = 0, resident = 0, i;
	uint64_t left;

	(void)unused;
	renew(LAB_ZONE_RESERVE, 250, 48);
	lab_reserve_fill(LAB_ZONE_RESERVE);
	must(lab_word_get(&reserve->managed) == 250);
	shrink_to(100);
	must(lab_word_get(&reserve->managed) == 100);
	must(lab_word_get(&reserve->free) == 100);
	must(lab_word_get(&reserve->parked) == 150);
	/* what is taken stays, and low free */
	for (n = 0; n < 20; n++)
		must(lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &out[n]));
	shrink_to(0);
	left = lab_word_get(&reserve->managed);
	must(left >= 48 && left < 60 && lab_word_get(&reserve->free) == left - 20);
	must(lab_word_get(&reserve->free) >= lab_word_get(&reserve->low));
	/* what went is gone from memory, and comes back */
	while (n-- > 0)
		lab_zone_give(out[n].pfn, 1);
	lab_reserve_fill(LAB_ZONE_RESERVE);
	must(lab_word_get(&reserve->managed) == 250);
	must(lab_word_get(&reserve->parked) == 0);
	for (n = 0; lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &out[n]); n++)
		;
	must(n == 250);
	while (n-- > 0)
		lab_zone_give(out[n].pfn, 1);
	/* not below what it began with */
	shrink_to(0);
	for (i = 0; i < 250; i++)
		resident += is_resident(out[i].pfn);
	if (getenv("LAB_EMULATED"))
		print_message("the emulator keeps pages of MADV_DONTNEED_LOCKED\n");
	else
		must(resident == 48);
	/* refused by the system: as it was */
	lab_os_fail_from(1, ~0ull >> 1);
	lab_reserve_fill(LAB_ZONE_RESERVE);
	must(lab_word_get(&reserve->managed) == 48 && lab_word_get(&reserve->parked) == 202);
	lab_os_fail_from(0, 0);
	lab_reserve_fill(LAB_ZONE_RESERVE);
	must(lab_word_get(&reserve->managed) == 250 && lab_word_get(&reserve->populated) == 250);
	lab_os_fail_from(1, ~0ull >> 1);
	shrink_to(0);
	must(lab_word_get(&reserve->managed) == 250);
	must(lab_word_get(&reserve->free) == 250);
}

/* A reserve that shrinks gives memory back, no frame that is in use and none for good. */
static void test_shrink_gives_back_and_grows_again(void **state)
{
	(void)state;
	assert_child_succeeds(shrinks, NULL);
}

static void loses(void *unused)
{
	(void)unused;
	renew(LAB_ZONE_RESERVE, 250, 48);
	lab_reserve_fill(LAB_ZONE_RESERVE);
	shrink_to(100);
	/* as who was abandoned before he counted what he had parked */
	lab_word_sub(&reserve->parked, 5);
	lab_reserve_fill(LAB_ZONE_RESERVE);
	must(lab_word_get(&reserve->managed) == 250 && lab_word_get(&reserve->free) == 250);
	must(lab_word_get(&reserve->parked) == 0);
	/* as who was abandoned with frames that he had taken to park them, one time and another */
	for (unsigned int n = 1; n < 10; n++) {
		struct lab_frames lost;
		unsigned int got;

		got = lab_reserve_take_some(LAB_ZONE_RESERVE, 16, 0, &lost);
		must(got > 0);
		lab_word_sub(&reserve->managed, got);
		lab_reserve_fill(LAB_ZONE_RESERVE);
		must(lab_word_get(&reserve->managed) == 250 && lab_word_get(&reserve->free) == 250);
	}
}

/* Calls that are abandoned with frames of the reserve in hand do not stop it from growing. */
static void test_reserve_that_lost_frames_grows_again(void **state)
{
	(void)state;
	assert_child_succeeds(loses, NULL);
}

static void is_resized(void *unused)
{
	(void)unused;
	renew(LAB_ZONE_RESERVE, 96, 48);
	must(lab_reserve_resize(250) == 0);
	lab_reserve_fill(LAB_ZONE_RESERVE);
	must(!lab_zones_shrink());
	must(lab_word_get(&reserve->managed) == 250);
}

/* Whoever sets the size of the reserve counts on it. */
static void test_reserve_that_was_resized_does_not_shrink(void **state)
{
	(void)state;
	assert_child_succeeds(is_resized, NULL);
}

static void refill_fails(void *unused)
{
	(void)unused;
	renew(LAB_ZONE_RESERVE, 96, 16);
	lab_os_fail_from(1, 3);
	for (int i = 0; i < 3; i++) {
		lab_reserve_refill(LAB_ZONE_RESERVE);
		must(lab_word_get(&reserve->managed) == 16);
		must(lab_word_get(&reserve->populated) == 16);
	}
	lab_reserve_refill(LAB_ZONE_RESERVE);
	must(lab_word_get(&reserve->managed) == 32);
	must(lab_word_get(&reserve->free) == 32);
}

/* A refill that the system refuses is tried again by the next one. */
static void test_refill_after_a_failed_one_goes_on(void **state)
{
	(void)state;
	assert_child_succeeds(refill_fails, NULL);
}

static void init_fails(void *arg)
{
	uint64_t nth = *(uint64_t *)arg, calls;
	struct lab_frames out;

	memset(reserve, 0, sizeof(*reserve));
	calls = lab_os_calls();
	lab_os_fail_from(nth, 1);
	if (lab_reserve_init(LAB_ZONE_RESERVE, 96, 16)) {
		must(lab_word_get(&reserve->free) == 0);
		must(!lab_reserve_is_ours(LAB_ZONE_RESERVE));
		must(!lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &out));
		must(lab_reserve_take_some(LAB_ZONE_RESERVE, 1, 0, &out) == 0);
		lab_reserve_refill(LAB_ZONE_RESERVE);
		must(lab_word_get(&reserve->free) == 0);
	} else {
		must(lab_word_get(&reserve->free) == 16);
	}
	if (lab_os_calls() - calls < nth)
		_exit(77); /* nothing failed any more */
}

/* A zone whose set-up fails at any system call is empty or whole, and never breaks. */
static void test_init_with_any_failing_call_is_empty_or_whole(void **state)
{
	uint64_t nth;

	(void)state;
	for (nth = 1; nth < 40; nth++) {
		struct outcome out = in_child(init_fails, &nth);

		if (WIFEXITED(out.status) && WEXITSTATUS(out.status) == 77)
			return;
		if (out.status)
			fail_msg("call %d: %s", (int)nth, out.said);
	}
	fail_msg("never came to an end");
}

static void no_memlock(void *unused)
{
	struct rlimit none = { 0, 0 };
	struct lab_frames out;

	(void)unused;
	must(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	if (getuid() == 0)
		must(setgid(65534) == 0 && setuid(65534) == 0);
	renew(LAB_ZONE_RESERVE, 96, 96);
	must(lab_word_get(&reserve->locked) == 0);
	must(lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &out));
	memset(lab_frame_address(out.pfn), 1, LAB_PAGE_BYTES);
}

/* Where locking is refused the zones work unlocked and say so. */
static void test_zones_without_memlock_work_unlocked(void **state)
{
	(void)state;
	assert_child_succeeds(no_memlock, NULL);
}

/*
 * The zones say as many pages are locked as the kernel says; beside those of the
 * exclusive zone its metadata is, and the page between the two that nobody may touch.
 */
static void test_locked_figures_agree_with_the_kernel(void **state)
{
	uint64_t excl = lab_word_get(&lab_zone_at(LAB_ZONE_EXCLUSIVE)->locked);

	(void)state;
	if (!lab_word_get(&reserve->locked))
		print_message("RLIMIT_MEMLOCK forbids locking here\n");
	if (excl)
		excl += lab_excl_now()->meta_pages + 1;
	assert_int_equal(locked_pages(), lab_word_get(&reserve->locked) + excl);
}

/* minor faults of writing to every free frame of a zone */
static long faults_of_writing(enum lab_zone_id id)
{
	static lab_pfn_t pfn[96];
	struct rusage before, after;
	struct lab_frames out;
	unsigned int n = 0, i;

	while (n < 96 && lab_reserve_take(id, 0, 0, &out))
		pfn[n++] = out.pfn;
	assert_true(n >= 8);
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < n; i++)
		*(volatile char *)lab_frame_address(pfn[i]) = 1;
	getrusage(RUSAGE_SELF, &after);
	while (n-- > 0)
		lab_zone_give(pfn[n], 1);
	if (!HARNESS_SANITIZER[0])
		return after.ru_minflt - before.ru_minflt;
	print_message("%s touches its own memory: faults are not compared\n", HARNESS_SANITIZER);
	return 0;
}

/* All that a zone says it manages is in memory, and writing there takes no fault. */
static void test_managed_frames_are_written_without_a_fault(void **state)
{
	(void)state;
	fill_up(LAB_ZONE_RESERVE);
	assert_int_equal(faults_of_writing(LAB_ZONE_RESERVE), 0);
}

/* ---- threads ---- */

static struct {
	uint64_t seed, until;
} stress;

static void stress_thread(unsigned int id, void *unused)
{
	uint64_t seed = stress.seed + id * 7919, floor;
	struct lab_frames out;

	(void)unused;
	while (now_ms() < stress.until) {
		unsigned int order = (unsigned int)random_below(&seed, 3);

		floor = 40 + random_below(&seed, 100);
		if (id == 0)
			lab_reserve_refill(LAB_ZONE_RESERVE);
		if (!lab_reserve_take(LAB_ZONE_RESERVE, order, floor, &out))
			continue;
		/* the count goes down before frames do: nobody ever sees less than the least */
		must(lab_word_get(&reserve->free) >= 40);
		fill(lab_frame_address(out.pfn), id, LAB_PAGE_BYTES << order);
		must(is_filled(lab_frame_address(out.pfn), id, LAB_PAGE_BYTES << order));
		lab_zone_give(out.pfn, 1u << order);
	}
}

static void floors_among_threads(void *unused)
{
	(void)unused;
	renew(LAB_ZONE_RESERVE, 200, 16);
	run_threads(NR_THREADS, stress_thread, NULL);
	must(lab_word_get(&reserve->free) == lab_word_get(&reserve->managed));
	must(lab_word_get(&reserve->managed) <= 200);
}

/* No interleaving of takes and refills goes below the lowest floor in use. */
static void test_floors_among_threads_hold(void **state)
{
	(void)state;
	if (!strcmp(HARNESS_SANITIZER, "tsan")) {
		print_message(
			"tsan forbids threads in a child of fork(): left to asan and release\n");
		return;
	}
	stress.seed = new_seed("reserve");
	stress.until = now_ms() + STRESS_MS;
	assert_child_succeeds(floors_among_threads, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: fork() write-protects the reserve like all memory */
		cmocka_unit_test(test_managed_frames_are_written_without_a_fault),
		cmocka_unit_test(test_locked_figures_agree_with_the_kernel),
		cmocka_unit_test(test_take_down_to_every_floor_is_exact),
		cmocka_unit_test(test_take_some_down_to_every_floor_is_exact),
		cmocka_unit_test(test_take_of_runs_keeps_the_floor),
		cmocka_unit_test(test_refill_stops_at_high_and_at_the_cap),
		cmocka_unit_test(test_shrink_gives_back_and_grows_again),
		cmocka_unit_test(test_reserve_that_lost_frames_grows_again),
		cmocka_unit_test(test_reserve_that_was_resized_does_not_shrink),
		cmocka_unit_test(test_refill_after_a_failed_one_goes_on),
		cmocka_unit_test(test_init_with_any_failing_call_is_empty_or_whole),
		cmocka_unit_test(test_zones_without_memlock_work_unlocked),
		cmocka_unit_test(test_floors_among_threads_hold),
	};

	return cmocka_run_group_tests_name("reserve", tests, NULL, NULL);
}
