/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include "api/options.h"
#include "labyrinth.h"

static const struct lab_options defaults = {
	.reserve = 96, .exclusive = 32, .mmap = 16, .stall_ms = 7, .watermark_scale_factor = 10
};

static void assert_options(const struct lab_options *want)
{
	assert_int_equal(lab_options.reserve, want->reserve);
	assert_int_equal(lab_options.exclusive, want->exclusive);
	assert_int_equal(lab_options.mmap, want->mmap);
	assert_int_equal(lab_options.min_free_kbytes, want->min_free_kbytes);
	assert_int_equal(lab_options.watermark_scale_factor, want->watermark_scale_factor);
	assert_int_equal(lab_options.stall_ms, want->stall_ms);
	assert_int_equal(lab_options.kswapd, want->kswapd);
	assert_int_equal(lab_options.psi, want->psi);
	assert_int_equal(lab_options.atomic_handlers, want->atomic_handlers);
	assert_int_equal(lab_options.dontdump, want->dontdump);
	assert_int_equal(lab_options.trace, want->trace);
	assert_int_equal(lab_options.stats, want->stats);
	assert_int_equal(lab_options.stats_signal, want->stats_signal);
	assert_string_equal(lab_options.stats_file, want->stats_file);
	assert_int_equal(lab_options.deepbind, want->deepbind);
	assert_string_equal(lab_options.failslab, want->failslab);
}

/* What is said on descriptor 2 while @text is read. */
static const char *parse(const char *text, struct capture *capture)
{
	lab_options = defaults;
	capture_start(capture);
	lab_options_parse(text);
	return capture_end(capture);
}

/* Every good string sets what it says, and nothing is reported. */
static void test_good_options_are_taken_in_silence(void **state)
{
	static const struct {
		const char *text;
		struct lab_options want;
	} rows[] = {
		{ "", { .reserve = 96, .exclusive = 32 } },
		{ ",,", { .reserve = 96, .exclusive = 32 } },
		{ "reserve:1m", { .reserve = 256, .exclusive = 32 } },
		{ "reserve=64k,exclusive=8192", { .reserve = 16, .exclusive = 2 } },
		{ "exclusive:1M", { .reserve = 96, .exclusive = 256 } },
		{ "reserve:1", { .reserve = 1, .exclusive = 32 } },
		{ "reserve:4097", { .reserve = 2, .exclusive = 32 } },
		{ "reserve:0,exclusive:0", { .reserve = 0, .exclusive = 0 } },
		{ "reserve:1g", { .reserve = 1 << 18, .exclusive = 32 } },
		{ "stats:1", { .reserve = 96, .exclusive = 32, .stats = true } },
		{ "deepbind:1,stats:0,", { .reserve = 96, .exclusive = 32, .deepbind = true } },
		{ "stats:1,stats:0", { .reserve = 96, .exclusive = 32 } },
		{ "failslab:1/10/4k/-1",
		  { .reserve = 96, .exclusive = 32, .failslab = "1/10/4k/-1" } },
		{ "stats:text", { .reserve = 96, .exclusive = 32, .stats = 1 } },
		{ "stats:json", { .reserve = 96, .exclusive = 32, .stats = 2 } },
		{ "stats:prom", { .reserve = 96, .exclusive = 32, .stats = 3 } },
		{ "stats_signal:USR2",
		  { .reserve = 96, .exclusive = 32, .stats_signal = SIGUSR2 } },
		{ "stats_signal:SIGVTALRM",
		  { .reserve = 96, .exclusive = 32, .stats_signal = SIGVTALRM } },
		{ "stats_signal:12", { .reserve = 96, .exclusive = 32, .stats_signal = SIGUSR2 } },
		{ "stats_signal:34", { .reserve = 96, .exclusive = 32, .stats_signal = 34 } },
		{ "stats_signal:12,stats_signal:0", { .reserve = 96, .exclusive = 32 } },
		{ "stats_file:/tmp/x:y=%p",
		  { .reserve = 96, .exclusive = 32, .stats_file = "/tmp/x:y=%p" } },
		{ "mmap:4", { .reserve = 96, .exclusive = 32, .mmap = 4 } },
		{ "min_free_kbytes:400",
		  { .reserve = 96, .exclusive = 32, .min_free_kbytes = 400 } },
		{ "watermark_scale_factor:3000",
		  { .reserve = 96, .exclusive = 32, .watermark_scale_factor = 3000 } },
		{ "stall_ms:1", { .reserve = 96, .exclusive = 32, .stall_ms = 1 } },
		{ "kswapd:1,psi:1",
		  { .reserve = 96, .exclusive = 32, .kswapd = true, .psi = true } },
		{ "atomic_handlers:1,dontdump:1,trace:1",
		  { .reserve = 96,
		    .exclusive = 32,
		    .atomic_handlers = true,
		    .dontdump = true,
		    .trace = true } },
	};
	struct lab_options want;
	struct capture capture;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_string_equal(parse(rows[i].text, &capture), "");
		want = rows[i].want;
		/* what a row does not name is as it was */
		want.mmap = want.mmap ? want.mmap : defaults.mmap;
		want.stall_ms = want.stall_ms ? want.stall_ms : defaults.stall_ms;
		if (!want.watermark_scale_factor)
			want.watermark_scale_factor = defaults.watermark_scale_factor;
		assert_options(&want);
	}
	assert_string_equal(parse(NULL, &capture), "");
	assert_options(&defaults);
}

/* Every bad one is named, in one line, and left out. */
static void test_bad_options_are_named_and_left_out(void **state)
{
	static const struct {
		const char *text, *what;
	} rows[] = {
		{ "reserve:", "bad value \"reserve\"" },
		{ "reserve", "bad value \"reserve\"" },
		{ "reserve:x", "bad value \"reserve:x\"" },
		{ "reserve:k", "bad value \"reserve:k\"" },
		{ "reserve:m", "bad value \"reserve:m\"" },
		{ "reserve:G", "bad value \"reserve:G\"" },
		{ "reserve:1mm", "bad value \"reserve:1mm\"" },
		{ "reserve:1kk", "bad value \"reserve:1kk\"" },
		{ "reserve:1k2", "bad value \"reserve:1k2\"" },
		{ "reserve:-1", "bad value \"reserve:-1\"" },
		{ "reserve: 1", "bad value \"reserve: 1\"" },
		{ "reserve:2g", "bad value \"reserve:2g\"" },
		{ "reserve:17179869184g", "bad value \"reserve:17179869184g\"" },
		{ "exclusive:99999999999999999999",
		  "bad value \"exclusive:99999999999999999999\"" },
		{ "stats:2", "bad value \"stats:2\"" },
		{ "stats:", "bad value \"stats\"" },
		{ "stats:yes", "bad value \"stats:yes\"" },
		{ "stats:11", "bad value \"stats:11\"" },
		{ "failslab:1/2/3", "bad value \"failslab:1/2/3\"" },
		{ "failslab:1/101/0/1", "bad value \"failslab:1/101/0/1\"" },
		{ "failslab:1/-1/0/1", "bad value \"failslab:1/-1/0/1\"" },
		{ "failslab:1/1/0/-2", "bad value \"failslab:1/1/0/-2\"" },
		{ "failslab", "bad value \"failslab\"" },
		{ "stats:jso", "bad value \"stats:jso\"" },
		{ "stats:jsonn", "bad value \"stats:jsonn\"" },
		{ "stats_signal:KILL", "bad value \"stats_signal:KILL\"" },
		{ "stats_signal:9", "bad value \"stats_signal:9\"" },
		{ "stats_signal:SEGV", "bad value \"stats_signal:SEGV\"" },
		{ "stats_signal:33", "bad value \"stats_signal:33\"" },
		{ "stats_signal:65", "bad value \"stats_signal:65\"" },
		{ "stats_signal:SIG", "bad value \"stats_signal:SIG\"" },
		{ "stats_signal:usr1", "bad value \"stats_signal:usr1\"" },
		{ "stats_file:", "bad value \"stats_file\"" },
		{ "reserv:1m", "unknown option \"reserv:1m\"" },
		{ "reserves:1m", "unknown option \"reserves:1m\"" },
		{ ":5", "unknown option \":5\"" },
		{ "Stats:1", "unknown option \"Stats:1\"" },
	};
	struct capture capture;
	const char *said;
	char line[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(line, sizeof(line), "labyrinth: LABYRINTH_OPTIONS: %s; %s", rows[i].what,
			 rows[i].what[0] == 'u'			? "known: reserve exclusive "
			 : strstr(rows[i].what, "stats_file")	? "stats_file takes PATH\n"
			 : strstr(rows[i].what, "stats_signal") ? "stats_signal takes SIGNAL\n"
			 : strstr(rows[i].what, "stats")	? "stats takes 0|1|text|json|prom\n"
			 : strstr(rows[i].what, "failslab")
				 ? "failslab takes INTERVAL/PROBABILITY/SPACE/TIMES"
			 : strstr(rows[i].what, "reserve")
				 ? "reserve takes SIZE, 0 to 262144 pages of 4096 bytes"
				 : "exclusive takes SIZE, 0 to 262144 pages of 4096 bytes");
		said = parse(rows[i].text, &capture);
		assert_int_equal(strncmp(said, line, strlen(line)), 0);
		assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
		assert_options(&defaults);
	}
}

/* A bad option does not take good ones with it. */
static void test_good_options_beside_bad_ones_count(void **state)
{
	struct capture capture;
	const char *said = parse("stats:1,nonsense,reserve:zzz,exclusive:64k", &capture);

	(void)state;
	assert_non_null(strstr(said, "unknown option \"nonsense\""));
	assert_non_null(strstr(said, "bad value \"reserve:zzz\""));
	assert_options(&(struct lab_options){ .reserve = 96,
					      .exclusive = 16,
					      .mmap = 16,
					      .stall_ms = 7,
					      .watermark_scale_factor = 10,
					      .stats = true });
}

/* However long an option is, the line about it is cut and nothing is overrun. */
static void test_option_of_any_length_is_cut_in_the_report(void **state)
{
	struct capture capture;
	char text[2000];
	const char *said;

	(void)state;
	for (size_t len = 50; len < sizeof(text); len += 150) {
		memset(text, 'z', len);
		text[len] = '\0';
		said = parse(text, &capture);
		assert_true(strlen(said) < 300);
		assert_int_equal(said[strlen(said) - 1], '\n');
		assert_options(&defaults);
	}
}

static void run_with_options(void *unused)
{
	(void)unused;
	must(setenv("LABYRINTH_OPTIONS", "reserve:200k,exclusive:0,stats:1,x:y", 1) == 0);
	execl("/proc/self/exe", "test_options", "print", NULL);
}

/* The environment is read at start: the zones have the size it says, statistics are printed. */
static void test_options_of_the_environment_take_effect(void **state)
{
	struct outcome out = in_child(run_with_options, NULL);

	(void)state;
	assert_int_equal(out.status, 0);
	assert_non_null(strstr(out.said, "unknown option \"x:y\""));
	assert_non_null(
		strstr(out.said, " zone reserve managed 48 free 48 min 24 low 30 high 36 "));
	assert_non_null(strstr(out.said, " zone exclusive managed 0 free 0 min 0 "));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_options_are_taken_in_silence),
		cmocka_unit_test(test_bad_options_are_named_and_left_out),
		cmocka_unit_test(test_good_options_beside_bad_ones_count),
		cmocka_unit_test(test_option_of_any_length_is_cut_in_the_report),
		cmocka_unit_test(test_options_of_the_environment_take_effect),
	};

	if (argc > 1 && !strcmp(argv[1], "print"))
		return 0;
	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
