/* SPDX-License-Identifier: MIT */
/*
 * Which injections are made.  A job is a pair of operations and a way to
 * interrupt; it runs in a child, so that a crash or a hang costs one line.
 *
 * usage: step --boundaries FILE [--sample N | --all | --every] [--seed S] [--seconds S]
 *             [--mode MODE] [--only TEXT] [--workers N] [--shard I/N] [--journal FILE]
 *
 * --all      all pairs at all points, but for points that are the same as another
 * --every    those as well
 * --workers  so many jobs at a time, each on a CPU of its own
 * --shard    the I-th of N parts of the jobs, from 0
 * --journal  note here what has passed, and leave out what is noted: so a run goes on
 *            that was cut short
 */
#define _GNU_SOURCE
#include <fcntl.h>
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

enum { FAILED_MAX = 40, MAX_WORKERS = 64 };

static const struct mode modes[] = {
	{ "step", BY_TRAP_FLAG, ACT_NEST, false, 100, 50 },
	{ "break", BY_BREAKPOINT, ACT_NEST, false, 866, 50 },
	{ "abandon", BY_TRAP_FLAG, ACT_ABANDON, false, 5, 4 },
	{ "abandon-break", BY_BREAKPOINT, ACT_ABANDON, false, 10, 4 },
	{ "freeze", BY_TRAP_FLAG, ACT_FREEZE, false, 4, 4 },
	{ "freeze-break", BY_BREAKPOINT, ACT_FREEZE, false, 6, 4 },
	{ "first", BY_TRAP_FLAG, ACT_NEST, true, 4, 4 },
	{ "first-break", BY_BREAKPOINT, ACT_NEST, true, 5, 4 },
};
enum { NR_MODES = sizeof(modes) / sizeof(*modes) };

struct context *context;

static uint64_t sample = 10000, first_seed, seed, seconds, started;
static unsigned int workers = 1, shard, nr_shards = 1;
static bool all, every;
static const char *only_mode, *only_text = "", *boundaries;
static uint64_t job_started;

struct totals {
	uint64_t passed, failed, injections, same, missed, traces, aborts, leak, stuck, noted;
};

/* Of all workers. */
static struct board {
	_Atomic uint64_t next_job, failed;
	struct totals of[MAX_WORKERS];
} * board;
static struct totals *mine;
static uint64_t nr_jobs, my_job;
static int journal = -1;
static char *noted; /* what the journal held */

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

static void add_up(const struct context *c)
{
	mine->injections += c->injections;
	mine->aborts += c->aborts;
	mine->same += c->same;
	mine->missed += c->missed;
	mine->traces += c->traces;
	if (c->max_leak > mine->leak)
		mine->leak = c->max_leak;
	if (c->max_stuck > mine->stuck)
		mine->stuck = c->max_stuck;
}

/* ---- the journal ---- */

static bool read_journal(const char *path)
{
	off_t bytes;

	journal = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	bytes = journal < 0 ? -1 : lseek(journal, 0, SEEK_END);
	if (bytes < 0)
		return false;
	/* a line begins behind the end of another */
	noted = calloc(1, (size_t)bytes + 2);
	if (!noted || pread(journal, noted + 1, (size_t)bytes, 0) != bytes)
		return false;
	noted[0] = '\n';
	return true;
}

static void note(void)
{
	const struct context *c = context;

	if (journal >= 0 &&
	    dprintf(journal, "%s\t%llu %llu %llu %llu %llu %llu %llu\n", c->name,
		    (unsigned long long)c->injections, (unsigned long long)c->aborts,
		    (unsigned long long)c->same, (unsigned long long)c->missed,
		    (unsigned long long)c->traces, (unsigned long long)c->max_leak,
		    (unsigned long long)c->max_stuck) < 0)
		fail("cannot write the journal");
}

/* adds up what is noted of the job */
static bool was_noted(void)
{
	unsigned long long v[7];
	char line[sizeof(context->name) + 2];
	const char *at;

	snprintf(line, sizeof(line), "\n%s\t", context->name);
	at = noted ? strstr(noted, line) : NULL;
	if (!at || sscanf(at + strlen(line), "%llu %llu %llu %llu %llu %llu %llu\n", &v[0], &v[1],
			  &v[2], &v[3], &v[4], &v[5], &v[6]) != 7)
		return false;
	context->injections = v[0];
	context->aborts = v[1];
	context->same = v[2];
	context->missed = v[3];
	context->traces = v[4];
	context->max_leak = v[5];
	context->max_stuck = v[6];
	add_up(context);
	mine->passed++;
	mine->noted++;
	return true;
}

/* ---- jobs ---- */

static void report_job(int status)
{
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	add_up(context);
	if (good) {
		mine->passed++;
		note();
		printf("ok      %s: %llu instructions, %llu injections", context->name,
		       (unsigned long long)context->instructions,
		       (unsigned long long)context->injections);
		if (context->aborts)
			printf(", %llu aborts", (unsigned long long)context->aborts);
		if (context->max_leak)
			printf(", leak %llu pages (%llu on a stuck stack)",
			       (unsigned long long)context->max_leak,
			       (unsigned long long)context->max_stuck);
		if (context->missed)
			printf(", %llu not reached, %llu traces",
			       (unsigned long long)context->missed,
			       (unsigned long long)context->traces);
		printf(", %llu ms\n", (unsigned long long)(now_ms() - job_started));
		return;
	}
	mine->failed++;
	board->failed++;
	if (WIFEXITED(status) && WEXITSTATUS(status) != 2)
		(void)say_status(status);
	else if (WIFSIGNALED(status))
		(void)say_status(status);
}

/* each job is done by the worker that is free first */
static bool is_mine(void)
{
	if (nr_jobs++ != my_job)
		return false;
	my_job = board->next_job++;
	return (nr_jobs - 1) % nr_shards == shard;
}

static void start_job(const struct mode *mode, const struct scenario *s, const struct nested *n,
		      size_t quota)
{
	memset(context, 0, sizeof(*context));
	snprintf(context->name, sizeof(context->name), "%s: %s%s%s", mode->name, s->name,
		 n ? " / " : "", n ? n->name : "");
	if (!strstr(context->name, only_text) || !is_mine() || was_noted())
		return;
	/* the same for a job whichever others are run */
	seed = first_seed + nr_jobs * 1000003;
	injection = (struct injection){
		.how = mode->how, .act = mode->act, .scenario = s, .nested = n
	};
	which = (struct which){
		.all = all, .every = every, .once = all && !every && !only_mode, .most = quota
	};
	fflush(stdout);
	job_started = now_ms();
	report_job(in_child(run_job, mode));
}

/* when time is up, or when all is lost: more of the same helps nobody */
static bool is_late(void)
{
	return (!all && board->failed >= FAILED_MAX) ||
	       (seconds && now_ms() - started > seconds * 1000);
}

/* all pairs of one mode, each with its part of the sample */
static void run_mode(const struct mode *mode)
{
	const struct scenario *table = mode->first ? firsts : scenarios;
	size_t ns = mode->first ? nr_firsts : nr_scenarios;
	size_t nn = mode->act != ACT_NEST ? 1 : mode->first ? nr_nested_fresh : nr_nesteds;
	uint64_t part = sample * mode->share / 1000, i, pairs = ns * nn;
	/* a step of 1 + pairs * 0.6 visits each pair once, in a mixed order */
	uint64_t stride = pairs * 3 / 5 + 1, at;

	seed = first_seed;
	at = random_next() % pairs;

	while (stride % 2 == 0 || stride % 3 == 0 || stride % 5 == 0 || pairs % stride == 0)
		stride++;
	for (i = 0; i < pairs && (part || all) && !is_late(); i++) {
		uint64_t quota = part / (pairs - i);

		quota = quota < mode->least ? mode->least : quota;
		part -= quota < part ? quota : part;
		at = all ? i : (at + stride) % pairs;
		/* to trace it takes as many traps, of 15 us in a virtual machine */
		if (!all && mode->how == BY_TRAP_FLAG && table[at / nn].flags & LONG)
			continue;
		start_job(mode, &table[at / nn], mode->act == ACT_NEST ? &nesteds[at % nn] : NULL,
			  quota);
	}
}

void *shared(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		_exit(3);
	return at;
}

/* to the n-th of the CPUs that we may use */
static void pin(unsigned int n)
{
	cpu_set_t may, set;
	int cpu = sched_getcpu();

	CPU_ZERO(&set);
	if (workers > 1 && !sched_getaffinity(0, sizeof(may), &may)) {
		n %= (unsigned int)CPU_COUNT(&may);
		for (cpu = 0; !CPU_ISSET(cpu, &may) || n-- > 0; cpu++)
			;
	}
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static bool parse(int argc, char **argv)
{
	int i;

	first_seed = now_ms() * 1000003 + (uint64_t)getpid();
	for (i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--all")) {
			all = true;
			continue;
		}
		if (!strcmp(argv[i], "--every")) {
			all = every = true;
			continue;
		}
		if (!value)
			return false;
		if (!strcmp(argv[i], "--sample"))
			sample = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			first_seed = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--seconds"))
			seconds = strtoull(value, NULL, 0);
		else if (!strcmp(argv[i], "--mode"))
			only_mode = value;
		else if (!strcmp(argv[i], "--only"))
			only_text = value;
		else if (!strcmp(argv[i], "--workers"))
			workers = (unsigned int)strtoul(value, NULL, 0);
		else if (!strcmp(argv[i], "--journal")) {
			if (!read_journal(value))
				return false;
		} else if (!strcmp(argv[i], "--shard")) {
			if (sscanf(value, "%u/%u", &shard, &nr_shards) != 2)
				return false;
		} else if (!strcmp(argv[i], "--boundaries"))
			boundaries = value;
		else
			return false;
		i++;
	}
	return boundaries && workers && workers <= MAX_WORKERS && shard < nr_shards;
}

static void work(unsigned int n, bool first)
{
	unsigned int i;

	mine = &board->of[n];
	context = shared(sizeof(*context));
	job_init();
	pin(n);
	my_job = board->next_job++;
	for (i = 0; i < NR_MODES; i++)
		if (modes[i].first == first && (!only_mode || !strcmp(only_mode, modes[i].name)))
			run_mode(&modes[i]);
	fflush(stdout);
}

static void run_workers(bool first)
{
	unsigned int n;
	int status;

	fflush(stdout);
	for (n = 0; n < workers; n++) {
		pid_t pid = fork();

		if (pid == 0) {
			work(n, first);
			_exit(0);
		}
		if (pid < 0)
			_exit(3);
	}
	for (n = 0; n < workers; n++)
		if (wait(&status) < 0 || status) {
			printf("FAILED  a worker ended with status %#x\n", status);
			board->of[0].failed++;
		}
}

static struct totals sum_up(void)
{
	struct totals sum = { 0 };
	unsigned int n;

	for (n = 0; n < workers; n++) {
		const struct totals *t = &board->of[n];

		sum.passed += t->passed;
		sum.failed += t->failed;
		sum.injections += t->injections;
		sum.same += t->same;
		sum.missed += t->missed;
		sum.traces += t->traces;
		sum.noted += t->noted;
		sum.aborts += t->aborts;
		sum.leak = t->leak > sum.leak ? t->leak : sum.leak;
		sum.stuck = t->stuck > sum.stuck ? t->stuck : sum.stuck;
	}
	return sum;
}

static int run_modes(bool first)
{
	struct totals sum;

	board = shared(sizeof(*board));
	trap_init();
	if (!trap_read_boundaries(boundaries)) {
		fprintf(stderr, "step: cannot use %s\n", boundaries);
		return 2;
	}
	started = now_ms();
	printf("step: back end %s%s, seed %#llx\n", labyrinth_pcp_backend(),
	       first ? " (before the constructor)" : "", (unsigned long long)first_seed);
	run_workers(first);
	sum = sum_up();
	printf("step: %llu injections, %llu aborted sequences, at most %llu pages leaked by one "
	       "abandoned call (%llu on a stuck stack), %.1f s\n",
	       (unsigned long long)sum.injections, (unsigned long long)sum.aborts,
	       (unsigned long long)sum.leak, (unsigned long long)sum.stuck,
	       (double)(now_ms() - started) / 1000);
	printf("step: %llu points the same as another, %llu not reached, %llu traces\n",
	       (unsigned long long)sum.same, (unsigned long long)sum.missed,
	       (unsigned long long)sum.traces);
	if (sum.noted)
		printf("step: %llu of the jobs were in the journal\n",
		       (unsigned long long)sum.noted);
	printf("%llu passed, %llu failed\n", (unsigned long long)sum.passed,
	       (unsigned long long)sum.failed);
	fflush(stdout);
	return sum.failed != 0;
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
		fprintf(stderr, "usage: step --boundaries FILE [--sample N | --all | --every] "
				"[--seed S] [--seconds S] [--mode MODE] [--only TEXT] "
				"[--workers N] [--shard I/N]\n");
		return 2;
	}
	/* an abandoned call keeps pages for good: who may wait would do so for ten seconds */
	if (labyrinth_sysctl("stall_ms", NULL, &(uint64_t){ 0 }))
		return 2;
	return run_modes(false);
}
