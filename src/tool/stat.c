/* SPDX-License-Identifier: MIT */
/* labyrinth stat: how the figures of a process change, a line each interval. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tool/snapshot.h"
#include "tool/tool.h"

typedef unsigned long long ull;

enum { LINES_PER_HEAD = 20 };

static void print_head(void)
{
	puts("----------------memory KiB---------------- --free pages-- ------objects/s----- "
	     "---mmap/s--- ---events/s---\n"
	     "      rss     heap   active  stacked  dirty    res   exc        up      down "
	     "routed passed  fail stall kswp");
}

static uint64_t fails(const struct snapshot *s)
{
	return s->zone[0].failed + s->zone[1].failed + s->zone[2].failed;
}

/* what a process has done so far counts from its start */
static double age(const struct target *t)
{
	unsigned long long start = 0;
	struct timespec up;
	double seconds;

	(void)target_state(t->pid, &start);
	clock_gettime(CLOCK_BOOTTIME, &up);
	seconds = (double)up.tv_sec + (double)up.tv_nsec / 1e9 -
		  (double)start / (double)sysconf(_SC_CLK_TCK);
	return seconds > 0.01 ? seconds : 0.01;
}

static uint64_t rate(uint64_t now, uint64_t before, double seconds)
{
	return (uint64_t)((double)(now - before) / seconds + 0.5);
}

static void print_line(const struct snapshot *s, const struct snapshot *before, double seconds)
{
	uint64_t active = 0, stacked = 0, up = 0, down = 0;
	unsigned int i;

	for (i = 0; i < s->nr_classes; i++) {
		const struct lab_export_figures *f = &s->class[i].f, *b = &before->class[i].f;

		active += f->bytes;
		stacked += f->stacked * s->class[i].row.size;
		up += f->taken - b->taken;
		down += f->given - b->given;
	}
	printf("%9lu %8llu %8llu %8llu %6llu %6llu %5llu %9llu %9llu %6llu %6llu %5llu %5llu "
	       "%4llu\n",
	       s->rss_kb, (ull)s->zone[0].managed * 4, (ull)active / 1024, (ull)stacked / 1024,
	       (ull)s->zone[0].dirty * 4, (ull)s->zone[1].free, (ull)s->zone[2].free,
	       (ull)rate(up, 0, seconds), (ull)rate(down, 0, seconds),
	       (ull)rate(s->routed, before->routed, seconds),
	       (ull)rate(s->passed, before->passed, seconds),
	       (ull)rate(fails(s), fails(before), seconds),
	       (ull)rate(snapshot_event(s, "allocstall"), snapshot_event(before, "allocstall"),
			 seconds),
	       (ull)rate(snapshot_event(s, "kswapd_wake"), snapshot_event(before, "kswapd_wake"),
			 seconds));
	fflush(stdout);
}

static int parse_number(const char *text, double low, double high, double *number)
{
	char *end;

	errno = 0;
	*number = strtod(text, &end);
	/* written so that what is no number is refused */
	if (errno || end == text || *end || !(*number >= low && *number <= high))
		return tool_die(TOOL_USAGE, "not a number from %g to %g: %s", low, high, text);
	return 0;
}

static void wait_for(double seconds)
{
	struct timespec ts = { .tv_sec = (time_t)seconds };

	ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
	(void)nanosleep(&ts, NULL);
}

static int watch(const struct target *t, double interval, double count)
{
	static struct snapshot a, b, zero;
	struct snapshot *s = &a, *before = &b, *swap;
	unsigned long n;
	int code = snapshot_take(s, t);

	if (code)
		return code;
	for (n = 0;;) {
		if (n % LINES_PER_HEAD == 0)
			print_head();
		print_line(s, n ? before : &zero, n ? s->at - before->at : age(t));
		if (++n >= (unsigned long)count)
			return TOOL_OK;
		wait_for(interval);
		swap = before;
		before = s;
		s = swap;
		code = snapshot_take(s, t);
		if (code)
			return code;
	}
}

int tool_stat(int argc, char **argv)
{
	double interval = 1, count = argc > 2 ? 1e15 : 1;
	struct target t;
	int code;

	if (argc < 2 || argc > 4)
		return tool_usage(argv[0]);
	if ((argc > 2 && (code = parse_number(argv[2], 0.01, 86400, &interval))) ||
	    (argc > 3 && (code = parse_number(argv[3], 1, 1e15, &count))))
		return code;
	code = target_open(&t, argv[1], false);
	return code ? code : watch(&t, interval, count);
}
