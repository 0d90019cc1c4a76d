/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "base/fail.h"
#include "labyrinth.h"
#include "page/reserve.h"
#include "pcp/pcp.h"

/* The figures of every zone are those of the zone; another number is refused. */
static void test_zone_info_of_every_zone_is_what_it_holds(void **state)
{
	struct labyrinth_zone_info info;
	int id;

	(void)state;
	labyrinth_free(labyrinth_heap_malloc(100));
	for (id = 0; id < LABYRINTH_NR_ZONES; id++) {
		const struct lab_zone *zone = lab_zone_at((enum lab_zone_id)id);

		memset(&info, 0xff, sizeof(info));
		assert_int_equal(labyrinth_zone_info((enum labyrinth_zone)id, &info), 0);
		assert_int_equal(info.managed, lab_word_get(&zone->managed));
		assert_int_equal(info.free, lab_word_get(&zone->free));
		assert_int_equal(info.min, lab_word_get(&zone->min));
		assert_int_equal(info.low, lab_word_get(&zone->low));
		assert_int_equal(info.high, lab_word_get(&zone->high));
		assert_int_equal(info.locked, lab_word_get(&zone->locked));
		assert_int_equal(info.taken, lab_word_get(&zone->taken));
		assert_int_equal(info.failed, lab_word_get(&zone->failed));
		assert_true(info.free <= info.managed);
	}
	assert_int_equal(labyrinth_zone_info(LABYRINTH_NR_ZONES, &info), -EINVAL);
	assert_int_equal(labyrinth_zone_info((enum labyrinth_zone) - 1, &info), -EINVAL);
}

/* The text has a line for the stacks and one per zone, with the same figures. */
static void test_print_says_what_zone_info_says(void **state)
{
	static const char *const names[] = { "heap", "reserve", "exclusive" };
	struct labyrinth_zone_info info;
	struct capture capture;
	char line[400], marks[200];
	const char *said;
	int id;

	(void)state;
	errno = 4711;
	capture_start(&capture);
	id = labyrinth_stats_print(2);
	said = capture_end(&capture);
	assert_int_equal(errno, 4711);
	assert_int_equal(id, 0);
	snprintf(line, sizeof(line), "labyrinth stats: pid %d pcp %s, ", (int)getpid(),
		 labyrinth_pcp_backend());
	assert_int_equal(strncmp(said, line, strlen(line)), 0);
	for (id = 0; id < LABYRINTH_NR_ZONES; id++) {
		(void)labyrinth_zone_info((enum labyrinth_zone)id, &info);
		snprintf(marks, sizeof(marks),
			 " min %d low %d high %d locked %d cap %d highatomic %d zeroed %d",
			 (int)info.min, (int)info.low, (int)info.high, (int)info.locked,
			 (int)info.cap, (int)info.reserved_highatomic, (int)info.free_zeroed);
		snprintf(
			line, sizeof(line),
			"labyrinth stats: pid %d zone %s managed %d free %d%s taken %d failed %d\n",
			(int)getpid(), names[id], (int)info.managed, (int)info.free,
			id == LABYRINTH_ZONE_HEAP ? "" : marks, (int)info.taken, (int)info.failed);
		assert_non_null(strstr(said, line));
	}
}

/* A descriptor that cannot be written to is reported by its error. */
static void test_print_to_closed_descriptor_returns_the_error(void **state)
{
	(void)state;
	errno = 4711;
	assert_int_equal(labyrinth_stats_print(-1), -EBADF);
	assert_int_equal(labyrinth_stats(-1, LABYRINTH_STATS_JSON), -EBADF);
	assert_int_equal(labyrinth_stats(-1, LABYRINTH_STATS_PROM), -EBADF);
	assert_int_equal(errno, 4711);
}

/* The name of the back end is that of the one at work, as the environment asked for. */
static void test_backend_is_the_one_asked_for(void **state)
{
	const char *tunables = getenv("GLIBC_TUNABLES"), *name = labyrinth_pcp_backend();
	bool off = tunables && strstr(tunables, "rseq=0");

	(void)state;
	print_message("back end: %s\n", name);
	if (off || HARNESS_SANITIZER[0])
		assert_string_equal(name, "trylock");
	else
		assert_true(!strcmp(name, "rseq") || !strcmp(name, "trylock"));
	assert_int_equal(lab_pcp_backend(), name[0] == 'r' ? LAB_PCP_RSEQ : LAB_PCP_TRYLOCK);
}

/* Every number prints as printf() would, and a line that is too long is cut. */
static void test_lines_print_numbers_and_are_cut(void **state)
{
	static const uint64_t numbers[] = { 0, 9, 10, 4711, UINT32_MAX, UINT64_MAX, 1ull << 63 };
	struct capture capture;
	struct lab_line line;
	char want[300];

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		snprintf(want, sizeof(want), "a %llu %#llx\n", (unsigned long long)numbers[i],
			 (unsigned long long)numbers[i]);
		lab_line_start(&line);
		lab_line_str(&line, "a ");
		lab_line_dec(&line, numbers[i]);
		lab_line_str(&line, " ");
		lab_line_hex(&line, numbers[i]);
		if (!numbers[i])
			snprintf(want, sizeof(want), "a 0 0x0\n");
		capture_start(&capture);
		(void)lab_line_put(&line, 2);
		assert_string_equal(capture_end(&capture), want);
	}
	lab_line_start(&line);
	for (int i = 0; i < 100; i++)
		lab_line_str(&line, "0123456789");
	capture_start(&capture);
	(void)lab_line_put(&line, 2);
	assert_int_equal(strlen(capture_end(&capture)), sizeof(line.text));
}

static void bug(void *unused)
{
	(void)unused;
	lab_bug("the end");
}

static void bug_with_handler(void *unused)
{
	sigset_t all;

	(void)unused;
	/* ignored and blocked: the process ends all the same */
	signal(SIGABRT, SIG_IGN);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	lab_bug("the end");
}

/* A bug ends the process by SIGABRT, whatever it has done to that signal. */
static void test_bug_ends_the_process_by_sigabrt(void **state)
{
	(void)state;
	assert_child_aborts(bug, NULL, "]: BUG: the end\n");
	assert_child_aborts(bug_with_handler, NULL, "]: BUG: the end\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zone_info_of_every_zone_is_what_it_holds),
		cmocka_unit_test(test_print_says_what_zone_info_says),
		cmocka_unit_test(test_print_to_closed_descriptor_returns_the_error),
		cmocka_unit_test(test_backend_is_the_one_asked_for),
		cmocka_unit_test(test_lines_print_numbers_and_are_cut),
		cmocka_unit_test(test_bug_ends_the_process_by_sigabrt),
	};

	return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
