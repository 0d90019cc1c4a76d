/* SPDX-License-Identifier: MIT */
/*
 * Which injections are made.  A job is a pair of operations and a way to
 * interrupt; it runs in a child, so that a crash or a hang costs one line.
 *
 * usage: step --boundaries FILE [--sample N | --all] [--seed S] [--seconds S]
 *             [--mode MODE] [--only TEXT] [--list]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "labyrinth.h"
#include "step.h"

/* instructions that one job may step through, in all of its runs */
#define STEP_BUDGET	   4000000ull
#define STEP_BUDGET_SAMPLE 50000ull
enum { FAILED_MAX = 40 };

struct mode {
	const char *name;
	enum how how;
	enum act act;
	bool first;	    /* before the library's constructor */
	unsigned int share; /* of the sample, per mille */
	unsigned int least; /* injections of one job */
};

static const struct mode modes[] = {
	{ "step", BY_TRAP_FLAG, ACT_NEST, false, 16, 8 },
	{ "break", BY_BREAKPOINT, ACT_NEST, false, 950, 50 },
	{ "abandon", BY_TRAP_FLAG, ACT_ABANDON, false, 5, 4 },
	{ "abandon-break", BY_BREAKPOINT, ACT_ABANDON, false, 10, 4 },
	{ "freeze", BY_TRAP_FLAG, ACT_FREEZE, false, 4, 4 },
	{ "freeze-break", BY_BREAKPOINT, ACT_FREEZE, false, 6, 4 },
	{ "first", BY_TRAP_FLAG, ACT_NEST, true, 4, 4 },
	{ "first-break", BY_BREAKPOINT, ACT_NEST, true, 5, 4 },
};
enum { NR_MODES = sizeof(modes) / sizeof(*modes) };

struct context *context;

static uint64_t sample = 10000, seed, seconds;
static bool all;
static const char *only_mode, *only_text = "", *boundaries;
static unsigned int passed, failed;
static uint64_t total_injections, total_aborts, worst_leak, worst_stuck, started;

uint64_t random_next(void)
{
	uint64_t x = seed += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- targets ---- */

static uint64_t targets[TRACE_MAX];
static size_t nr_targets;
static uint32_t order[TRACE_MAX];

static int by_instruction(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (trace[x] != trace[y])
		return trace[x] < trace[y] ? -1 : 1;
	return x < y ? -1 : 1;
}

/*
 * A long operation repeats itself: of each instruction take the first three
 * times it is reached, the last, and one in between.
 */
static void choose_times(void)
{
	size_t i, end;
	uint32_t k;

	for (i = 0; i < nr_trace; i++)
		order[i] = (uint32_t)i;
	qsort(order, nr_trace, sizeof(*order), by_instruction);
	for (i = 0; i < nr_trace; i = end) {
		for (end = i; end < nr_trace && trace[order[end]] == trace[order[i]]; end++)
			;
		for (k = 0; k < 3 && i + k < end; k++)
			targets[nr_targets++] = order[i + k] + 1;
		if (end - i > 3)
			targets[nr_targets++] = order[end - 1] + 1;
		if (end - i > 4)
			targets[nr_targets++] = order[i + 3 + random_next() % (end - i - 4)] + 1;
	}
}

static void choose_targets(const struct mode *mode)
{
	size_t i;

	nr_targets = 0;
	if (mode->how == BY_TRAP_FLAG && nr_trace > 2000)
		choose_times();
	else
		for (i = 0; i < nr_trace; i++)
			targets[nr_targets++] = mode->how == BY_TRAP_FLAG ? i + 1 : trace[i];
	/* in any order, so that a part is a sample */
	for (i = nr_targets; i > 1; i--) {
		size_t k = random_next() % i;
		uint64_t swap = targets[i - 1];

		targets[i - 1] = targets[k];
		targets[k] = swap;
	}
}

static size_t how_many(const struct mode *mode, size_t quota)
{
	uint64_t steps = 0;
	size_t n, most = all && mode->act != ACT_FREEZE ? nr_targets : quota;

	for (n = 0; n < nr_targets && n < most; n++) {
		if (mode->how == BY_TRAP_FLAG && steps > (all ? STEP_BUDGET : STEP_BUDGET_SAMPLE))
			break;
		steps += targets[n];
	}
	return n;
}

/* ---- children ---- */

static void run_any(const struct mode *mode)
{
	if (mode->first)
		run_first_case();
	else if (mode->act == ACT_FREEZE)
		run_frozen_case();
	else
		(void)run_case();
	context->injections += injection.done;
	context->missed += !injection.done;
	context->aborts += injection.aborts;
}

static int in_child(void (*run)(const struct mode *), const struct mode *mode)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (!mode->first)
			enter_child();
		run(mode);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail("fork: %d", errno);
	return status;
}

/* the instructions that the operation takes, written where the parent reads */
static uint64_t (*shared_trace)[TRACE_MAX];
static size_t *shared_nr;

static void trace_case(const struct mode *mode)
{
	injection.tracing = true;
	injection.target = 0;
	if (mode->first)
		run_first_case();
	else
		(void)run_case();
	injection.tracing = false;
	memcpy(*shared_trace, trace, nr_trace * sizeof(*trace));
	*shared_nr = nr_trace;
}

static bool say_status(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		printf("FAILED  %s, at %lld (ip %#llx): %s (signal %d)\n", context->name,
		       (long long)context->target, (unsigned long long)context->ip,
		       WTERMSIG(status) == SIGALRM ? "hang" : "crash", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 1)
		printf("FAILED  %s: exit code %d\n", context->name, WEXITSTATUS(status));
	/* the caller may be a child that ends by _exit() */
	fflush(stdout);
	return false;
}

static size_t job_quota;
static uint64_t job_started;

static void run_job(const struct mode *mode)
{
	bool child =
		mode->act != ACT_NEST || mode->first || injection.scenario->flags & EACH_IN_A_CHILD;
	size_t i, n;
	int status;

	if (!mode->first && !(injection.scenario->flags & EACH_IN_A_CHILD))
		take_baseline();
	else if (!mode->first)
		injection.target = 0;
	/* what a process can do once only is traced in a child */
	if (child) {
		status = in_child(trace_case, mode);
		if (!say_status(status))
			_exit(2);
		nr_trace = *shared_nr;
		memcpy(trace, *shared_trace, nr_trace * sizeof(*trace));
	} else {
		trace_case(mode);
	}
	context->instructions = nr_trace;
	choose_targets(mode);
	n = how_many(mode, job_quota);
	for (i = 0; i < n; i++) {
		injection.target = targets[i];
		if (!child)
			run_any(mode);
		else if (!say_status(in_child(run_any, mode)))
			_exit(2);
	}
}

/* ---- jobs ---- */

static void report_job(int status)
{
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	total_injections += context->injections;
	total_aborts += context->aborts;
	if (context->max_leak > worst_leak)
		worst_leak = context->max_leak;
	if (context->max_stuck > worst_stuck)
		worst_stuck = context->max_stuck;
	if (good) {
		passed++;
		printf("ok      %s: %llu instructions, %llu injections", context->name,
		       (unsigned long long)context->instructions,
		       (unsigned long long)context->injections);
		if (context->aborts)
			printf(", %llu aborts", (unsigned long long)context->aborts);
		if (context->max_leak)
			printf(", leak %llu pages (%llu on a stuck stack)",
			       (unsigned long long)context->max_leak,
			       (unsigned long long)context->max_stuck);
		printf(", %llu ms\n", (unsigned long long)(now_ms() - job_started));
		return;
	}
	failed++;
	if (WIFEXITED(status) && WEXITSTATUS(status) != 2)
		(void)say_status(status);
	else if (WIFSIGNALED(status))
		(void)say_status(status);
}

static void start_job(const struct mode *mode, const struct scenario *s, const struct nested *n,
		      size_t quota)
{
	memset(context, 0, sizeof(*context));
	snprintf(context->name, sizeof(context->name), "%s: %s%s%s", mode->name, s->name,
		 n ? " / " : "", n ? n->name : "");
	if (!strstr(context->name, only_text))
		return;
	injection = (struct injection){
		.how = mode->how, .act = mode->act, .scenario = s, .nested = n
	};
	job_quota = quota;
	(void)random_next();
	fflush(stdout);
	job_started = now_ms();
	report_job(in_child(run_job, mode));
}

/* when time is up, or when all is lost: more of the same helps nobody */
static bool is_late(void)
{
	return failed >= FAILED_MAX || (seconds && now_ms() - started > seconds * 1000);
}

/* all pairs of one mode, each with its part of the sample */
static void run_mode(const struct mode *mode)
{
	const struct scenario *table = mode->first ? firsts : scenarios;
	size_t ns = mode->first ? nr_firsts : nr_scenarios;
	size_t nn = mode->act != ACT_NEST ? 1 : mode->first ? nr_nested_fresh : nr_nesteds;
	uint64_t part = sample * mode->share / 1000, i, pairs = ns * nn;
	/* a step of 1 + pairs * 0.6 visits each pair once, in a mixed order */
	uint64_t stride = pairs * 3 / 5 + 1, at = random_next() % pairs;

	while (stride % 2 == 0 || stride % 3 == 0 || stride % 5 == 0 || pairs % stride == 0)
		stride++;
	for (i = 0; i < pairs && (part || all) && !is_late(); i++) {
		uint64_t quota = part / (pairs - i);

		quota = quota < mode->least ? mode->least : quota;
		part -= quota < part ? quota : part;
		at = all ? i : (at + stride) % pairs;
		/* a trap costs 15 us in a virtual machine */
		if (!all && mode->how == BY_TRAP_FLAG && table[at / nn].flags & LONG)
			continue;
		start_job(mode, &table[at / nn], mode->act == ACT_NEST ? &nesteds[at % nn] : NULL,
			  quota);
	}
}

static void *shared(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		_exit(3);
	return at;
}

static void pin(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static bool parse(int argc, char **argv)
{
	int i;

	seed = now_ms() * 1000003 + (uint64_t)getpid();
	for (i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--all")) {
			all = true;
			continue;
		}
		if (!value)
			return false;
		if (!strcmp(argv[i], "--sample"))
			sample = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--mode"))
			only_mode = value;
		else if (!strcmp(argv[i], "--only"))
			only_text = value;
		else if (!strcmp(argv[i], "--boundaries"))
			boundaries = value;
		else
			return false;
		i++;
	}
	return boundaries;
}

static int run_modes(bool first)
{
	unsigned int i;

	context = shared(sizeof(*context));
	shared_trace = shared(sizeof(*shared_trace));
	shared_nr = shared(sizeof(*shared_nr));
	pin();
	trap_init();
	if (!trap_read_boundaries(boundaries)) {
		fprintf(stderr, "step: cannot use %s\n", boundaries);
		return 2;
	}
	started = now_ms();
	printf("step: back end %s%s, seed %#llx\n", labyrinth_pcp_backend(),
	       first ? " (before the constructor)" : "", (unsigned long long)seed);
	for (i = 0; i < NR_MODES; i++)
		if (modes[i].first == first && (!only_mode || !strcmp(only_mode, modes[i].name)))
			run_mode(&modes[i]);
	printf("step: %llu injections, %llu aborted sequences, at most %llu pages leaked by one "
	       "abandoned call (%llu on a stuck stack), %.1f s\n",
	       (unsigned long long)total_injections, (unsigned long long)total_aborts,
	       (unsigned long long)worst_leak, (unsigned long long)worst_stuck,
	       (double)(now_ms() - started) / 1000);
	printf("%u passed, %u failed\n", passed, failed);
	fflush(stdout);
	return failed != 0;
}

/* glibc hands the arguments to constructors too; ours runs before the library's */
static __attribute__((constructor(100))) void early(int argc, char **argv)
{
	if (getenv("STEP_FIRST") && parse(argc, argv))
		_exit(run_modes(true));
}

int main(int argc, char **argv)
{
	if (!parse(argc, argv)) {
		fprintf(stderr, "usage: step --boundaries FILE [--sample N | --all] [--seed S] "
				"[--seconds S] [--mode MODE] [--only TEXT]\n");
		return 2;
	}
	/* an abandoned call keeps pages for good: who may wait would do so for ten seconds */
	if (labyrinth_sysctl("stall_ms", NULL, &(uint64_t){ 0 }))
		return 2;
	return run_modes(false);
}
