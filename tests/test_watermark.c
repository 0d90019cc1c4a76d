/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "labyrinth.h"
#include "page/exclusive.h"
#include "page/reserve.h"
#include "page/watermark.h"

/*
 * The tests that set sizes do so in a child whose exclusive zone is wiped: both
 * zones' figures are then plain words.
 */
static struct lab_zone *const reserve = &lab_zones[LAB_ZONE_RESERVE];
static struct lab_zone *const excl = &lab_zones[LAB_ZONE_EXCLUSIVE];

/* ---- the reference: Documentation/admin-guide/sysctl/vm.rst, in floating point ---- */

static double square_root(double x)
{
	double root = x > 1 ? x : 1;

	for (int i = 0; i < 200; i++)
		root = (root + x / root) / 2;
	return root;
}

/* min_free_kbytes of so many pages */
static uint64_t kbytes_of(uint64_t pages)
{
	uint64_t kbytes = (uint64_t)square_root((double)(pages * 4 * 16));

	/* the last digit of floating point */
	while (kbytes * kbytes > pages * 64)
		kbytes--;
	while ((kbytes + 1) * (kbytes + 1) <= pages * 64)
		kbytes++;
	return kbytes < 128 ? 128 : kbytes > 262144 ? 262144 : kbytes;
}

struct marks {
	uint64_t min, low, high;
};

/* @tuned: min_free_kbytes, 0: computed */
static struct marks marks_of(uint64_t pages, uint64_t total, uint64_t tuned, uint64_t factor)
{
	uint64_t all = (tuned ? tuned : kbytes_of(total)) / 4, ours = 116, delta;
	struct marks marks = { .min = total ? all * pages / total : 0 };

	/* half of a small zone, page/watermark.h */
	if (!tuned && marks.min > pages / 2)
		marks.min = pages / 2;
	if (pages / 2 < ours)
		ours = pages / 2;
	if (!tuned && marks.min < ours)
		marks.min = ours;
	delta = marks.min / 4;
	if (delta < pages * factor / 10000)
		delta = pages * factor / 10000;
	marks.low = marks.min + delta;
	marks.high = marks.min + 2 * delta;
	return marks;
}

static void must_have(const struct lab_zone *zone, struct marks marks)
{
	if (lab_word_get(&zone->min) == marks.min && lab_word_get(&zone->low) == marks.low &&
	    lab_word_get(&zone->high) == marks.high)
		return;
	dprintf(2, "%llu pages: min %llu low %llu high %llu, not %llu %llu %llu\n",
		(unsigned long long)lab_word_get(&zone->managed),
		(unsigned long long)lab_word_get(&zone->min),
		(unsigned long long)lab_word_get(&zone->low),
		(unsigned long long)lab_word_get(&zone->high), (unsigned long long)marks.min,
		(unsigned long long)marks.low, (unsigned long long)marks.high);
	must(!"the marks are the formula's");
}

/* ---- the formula ---- */

static void set_sizes(uint64_t reserve_pages, uint64_t excl_pages)
{
	lab_word_set(&reserve->managed, reserve_pages);
	lab_word_set(&reserve->cap, reserve_pages);
	lab_word_set(&excl->managed, excl_pages);
	lab_word_set(&excl->cap, excl_pages);
	lab_watermarks_update();
}

static void known_sizes(void *unused)
{
	/* gfp-semantics A3: 16 MiB, 64 MiB, 256 MiB, 1 GiB; the smaller ones have our floor */
	static const struct {
		uint64_t pages;
		struct marks marks;
	} rows[] = {
		{ 0, { 0, 0, 0 } },
		/* the kernel's 128 kB would be more than half of it */
		{ 12, { 6, 7, 8 } },
		{ 48, { 24, 30, 36 } },
		{ 64, { 32, 40, 48 } },
		{ 100, { 50, 62, 74 } },
		{ 231, { 115, 143, 171 } },
		{ 232, { 116, 145, 174 } },
		{ 256, { 116, 145, 174 } },
		{ 2048, { 116, 145, 174 } },
		{ 4096, { 128, 160, 192 } },
		{ 16384, { 256, 320, 384 } },
		{ 65536, { 512, 640, 768 } },
		{ 262144, { 1024, 1286, 1548 } },
	};

	(void)unused;
	must(lab_zone_at(LAB_ZONE_EXCLUSIVE) == excl);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set_sizes(rows[i].pages, 0);
		must_have(reserve, rows[i].marks);
		must(lab_word_get(&reserve->goal) == rows[i].marks.high);
	}
}

/* The kernel's figures for known sizes, and ours for the small ones. */
static void test_known_sizes_have_the_kernels_marks(void **state)
{
	(void)state;
	assert_child_succeeds(known_sizes, NULL);
}

static void random_sizes(void *arg)
{
	uint64_t seed = *(uint64_t *)arg;

	for (int i = 0; i < 20000; i++) {
		uint64_t a = next_random(&seed) >> (next_random(&seed) % 31 + 17);
		uint64_t b = next_random(&seed) % 3 ? random_below(&seed, a / 4 + 40) : 0;
		uint64_t tuned = next_random(&seed) % 3 ? 0 : random_below(&seed, 1 << 20);
		uint64_t factor = next_random(&seed) % 2 ? 10 : 1 + random_below(&seed, 3000);

		lab_watermarks_tune(tuned, factor);
		set_sizes(a, b);
		must_have(reserve, marks_of(a, a + b, tuned, factor));
		must_have(excl, marks_of(b, a + b, tuned, factor));
		must(lab_word_get(&reserve->goal) == marks_of(a, a + b, tuned, factor).high);
		must(lab_min_free_kbytes() == (tuned ? tuned : kbytes_of(a + b)));
		must(lab_min_free_tuned() == tuned && lab_watermark_scale_factor() == factor);
	}
}

/* Of any two sizes, tuned or not, the marks are the formula's. */
static void test_random_sizes_have_the_formulas_marks(void **state)
{
	uint64_t seed = new_seed("watermark");

	(void)state;
	assert_child_succeeds(random_sizes, &seed);
}

/* the zone as large as it gets by refills */
static void fill_up(void)
{
	static lab_pfn_t pfns[40000];
	struct lab_frames out;
	uint64_t before;
	unsigned int n = 0;

	do {
		before = lab_word_get(&reserve->managed);
		while (lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &out))
			pfns[n++] = out.pfn;
		lab_reserve_refill(LAB_ZONE_RESERVE);
	} while (lab_word_get(&reserve->managed) != before);
	while (n-- > 0)
		lab_zone_give(pfns[n], 1);
}

static void resize_to(void *unused)
{
	static const uint64_t sizes[] = { 10, 70, 300, 1000, 5000, 20000, 400, 33, 0, 100 };

	(void)unused;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct marks full = marks_of(sizes[i], sizes[i] + 32, 0, 10);
		struct labyrinth_zone_info info;
		uint64_t bytes = sizes[i] * LAB_PAGE_BYTES - (sizes[i] && i % 2 ? 100 : 0), old;

		must(labyrinth_sysctl("reserve", NULL, &bytes) == 0);
		must(labyrinth_sysctl("reserve", &old, NULL) == 0);
		must(old == sizes[i] * LAB_PAGE_BYTES);
		/* cap and goal are at once the new ones */
		must(lab_word_get(&reserve->goal) == full.high);
		/* what is above the cap goes a piece at a time */
		for (int turn = 0; turn < 2000 && lab_word_get(&reserve->managed) > sizes[i];
		     turn++)
			lab_reserve_refill(LAB_ZONE_RESERVE);
		fill_up();
		must(lab_word_get(&reserve->managed) == sizes[i]);
		must_have(reserve, marks_of(sizes[i], sizes[i], 0, 10));
		must(labyrinth_zone_info(LABYRINTH_ZONE_RESERVE, &info) == 0);
		must(info.min == lab_word_get(&reserve->min) && info.cap == sizes[i] &&
		     info.low == lab_word_get(&reserve->low) &&
		     info.high == lab_word_get(&reserve->high));
	}
}

/* As the reserve is resized its marks follow what is managed, and its goal the cap. */
static void test_marks_follow_the_size_of_the_reserve(void **state)
{
	(void)state;
	assert_child_succeeds(resize_to, NULL);
}

/* ---- tunables ---- */

static void tune(void *unused)
{
	uint64_t old = 0, pages;

	(void)unused;
	fill_up();
	pages = lab_word_get(&reserve->managed);
	must(labyrinth_sysctl("min_free_kbytes", &old, &(uint64_t){ 256 }) == 0);
	must(old == kbytes_of(pages) && old == 128);
	must_have(reserve, marks_of(pages, pages, 256, 10));
	must(lab_word_get(&reserve->min) == 64);
	must(labyrinth_sysctl("watermark_scale_factor", &old, &(uint64_t){ 3000 }) == 0);
	must(old == 10);
	must_have(reserve, marks_of(pages, pages, 256, 3000));
	must(lab_word_get(&reserve->low) == 64 + 256 * 3 / 10);
	/* below the floor of small zones, if somebody says so */
	must(labyrinth_sysctl("min_free_kbytes", &old, &(uint64_t){ 8 }) == 0);
	must(old == 256 && lab_word_get(&reserve->min) == 2);
	/* 0: computed again; the other tunable stays */
	must(labyrinth_sysctl("min_free_kbytes", &old, &(uint64_t){ 0 }) == 0);
	must(old == 8);
	must_have(reserve, marks_of(pages, pages, 0, 3000));
	must(labyrinth_sysctl("watermark_scale_factor", NULL, &(uint64_t){ 1 }) == 0);
	must_have(reserve, marks_of(pages, pages, 0, 1));
}

/* Tunables take effect at once, tell the value before, and keep each other. */
static void test_tunables_take_effect_at_run_time(void **state)
{
	(void)state;
	assert_child_succeeds(tune, NULL);
}

/* What is refused changes nothing, and does not tell an old value. */
static void test_bad_values_are_refused(void **state)
{
	static const struct {
		const char *name;
		uint64_t value;
		int err;
	} rows[] = {
		{ "min_free_kbytes", (1 << 20) + 1, -EINVAL },
		{ "min_free_kbytes", UINT64_MAX, -EINVAL },
		{ "watermark_scale_factor", 0, -EINVAL },
		{ "watermark_scale_factor", 3001, -EINVAL },
		{ "reserve", (uint64_t)LAB_RESERVE_MAX * LAB_PAGE_BYTES + 1, -EINVAL },
		{ "reserve", UINT64_MAX, -EINVAL },
		{ "stall_ms", (1 << 30) + 1, -EINVAL },
		{ "min_free_kbyte", 100, -ENOENT },
		{ "min_free_kbytess", 100, -ENOENT },
		{ "", 100, -ENOENT },
	};
	struct lab_zone before = *reserve;
	uint64_t scale = lab_watermark_scale_factor(), kbytes = lab_min_free_kbytes(), stall, now;

	(void)state;
	assert_int_equal(labyrinth_sysctl("stall_ms", &stall, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t old = 4711;

		assert_int_equal(labyrinth_sysctl(rows[i].name, &old, &rows[i].value), rows[i].err);
		assert_int_equal(old, 4711);
	}
	assert_int_equal(labyrinth_sysctl("nonsense", &now, NULL), -ENOENT);
	assert_memory_equal(&before, reserve, sizeof(before));
	assert_int_equal(lab_watermark_scale_factor(), scale);
	assert_int_equal(lab_min_free_kbytes(), kbytes);
	assert_int_equal(labyrinth_sysctl("stall_ms", &now, NULL), 0);
	assert_int_equal(now, stall);
}

/* ---- options ---- */

static void run_with(void *options)
{
	must(setenv("LABYRINTH_OPTIONS", options, 1) == 0);
	execl("/proc/self/exe", "test_watermark", "print", NULL);
}

static void assert_option(char *options, uint64_t tuned, uint64_t factor, const char *complaint)
{
	struct outcome out = in_child(run_with, options);
	/* as many as a zone begins with */
	struct marks marks = marks_of(48, 48, tuned, factor);
	char text[200];

	snprintf(text, sizeof(text), " zone reserve managed 48 free 48 min %d low %d high %d ",
		 (int)marks.min, (int)marks.low, (int)marks.high);
	assert_int_equal(out.status, 0);
	if (!strstr(out.said, text) || (complaint && !strstr(out.said, complaint)))
		fail_msg("%s: \"%s\", but not \"%s\"", options, out.said, text);
	if (!complaint)
		assert_null(strstr(out.said, "bad value"));
}

/* Options set the tunables from the start; bad values are told and left out. */
static void test_options_set_the_tunables(void **state)
{
	char none[] = "exclusive:0,stats:1", kb[] = "exclusive:0,stats:1,min_free_kbytes:120";
	char scale[] = "watermark_scale_factor:2000,exclusive:0,stats:1";
	char both[] = "min_free_kbytes:4,watermark_scale_factor:3000,exclusive:0,stats:1";
	char large[] = "min_free_kbytes:1048577,exclusive:0,stats:1";
	char zero[] = "watermark_scale_factor:0,exclusive:0,stats:1";
	char more[] = "watermark_scale_factor:3001,exclusive:0,stats:1";

	(void)state;
	assert_option(none, 0, 10, NULL);
	assert_option(kb, 120, 10, NULL);
	assert_option(scale, 0, 2000, NULL);
	assert_option(both, 4, 3000, NULL);
	assert_option(large, 0, 10, "bad value \"min_free_kbytes:1048577\"");
	assert_option(zero, 0, 10, "bad value \"watermark_scale_factor:0\"");
	assert_option(more, 0, 10, "bad value \"watermark_scale_factor:3001\"");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_sizes_have_the_kernels_marks),
		cmocka_unit_test(test_random_sizes_have_the_formulas_marks),
		cmocka_unit_test(test_marks_follow_the_size_of_the_reserve),
		cmocka_unit_test(test_tunables_take_effect_at_run_time),
		cmocka_unit_test(test_bad_values_are_refused),
		cmocka_unit_test(test_options_set_the_tunables),
	};

	if (argc > 1 && !strcmp(argv[1], "print"))
		return 0;
	return cmocka_run_group_tests_name("watermark", tests, NULL, NULL);
}
