/* SPDX-License-Identifier: MIT */
/*
 * Time one way of using malloc, in a process that does nothing else.
 *
 *	bench_pairs [-m FILE] [-n OPS] [-t MS] CASE
 *	bench_pairs -l
 *
 * Run it under LD_PRELOAD of the allocator in question; -m makes sure that
 * malloc (for the api cases: labyrinth_alloc_page) comes from FILE, "system"
 * being libc.  The clock is read once in OPS operations; after a first chunk
 * that warms up, chunks follow for MS milliseconds.  Prints ns per operation and
 * thread as one line of key=value; an operation is an allocation with its free.
 *
 * Exit status: 0 done, 1 failed, 2 usage, 3 wrong malloc, 4 case not available.
 */
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "labyrinth.h"

#pragma weak labyrinth_alloc_page
#pragma weak labyrinth_pcp_backend

enum {
	MAX_THREADS = 2,
	MAX_CHUNKS = 4096, /* of a thread */
	MIN_CHUNKS = 5,
};

static const struct bench_case *the_case;
static uint64_t ops_wanted;
static uint64_t deadline;
static double sample[MAX_THREADS][MAX_CHUNKS];
static double first[MAX_THREADS];
static unsigned int nchunks;
static bool stop;
static atomic_uint arrived;
static atomic_uint generation;
static cpu_set_t allowed;

void bench_die(const char *why)
{
	fprintf(stderr, "bench_pairs: %s: %s\n", the_case ? the_case->name : "?", why);
	_exit(1);
}

void bench_pin(unsigned int thread)
{
	int ncpus = CPU_COUNT(&allowed);
	int left = ncpus ? (int)(thread % (unsigned int)ncpus) : 0;
	cpu_set_t one;
	int cpu;

	/* From the last one down: interrupts tend to go to the first. */
	for (cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
		if (!CPU_ISSET(cpu, &allowed) || left-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

void bench_pause(unsigned int turn)
{
	if (turn % 64 == 63)
		sched_yield();
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Spins, so that all leave within a microsecond where there are CPUs enough. */
static void rendezvous(void)
{
	unsigned int gen = atomic_load(&generation);
	unsigned int turn;

	if (atomic_fetch_add(&arrived, 1) + 1 == the_case->threads) {
		atomic_store(&arrived, 0);
		atomic_store(&generation, gen + 1);
		return;
	}
	for (turn = 0; atomic_load(&generation) == gen; turn++)
		bench_pause(turn);
}

static double time_chunk(unsigned int thread)
{
	uint64_t start = now_ns();
	uint64_t done = the_case->run(thread, ops_wanted);

	return (double)(now_ns() - start) / (double)done;
}

static void *worker(void *arg)
{
	unsigned int thread = (unsigned int)(uintptr_t)arg;
	unsigned int chunk;

	bench_pin(thread);
	rendezvous();
	first[thread] = time_chunk(thread);
	for (chunk = 0;; chunk++) {
		if (!thread)
			stop = chunk == MAX_CHUNKS || (chunk >= MIN_CHUNKS && now_ns() >= deadline);
		rendezvous();
		if (stop)
			break;
		sample[thread][chunk] = time_chunk(thread);
		rendezvous();
	}
	if (!thread)
		nchunks = chunk;
	return NULL;
}

/* The main thread is worker 0: with one thread, the process stays single-threaded. */
static void measure(unsigned int ms)
{
	pthread_t other[MAX_THREADS];
	unsigned int i;

	if (the_case->threads > MAX_THREADS)
		bench_die("too many threads");
	deadline = now_ns() + (uint64_t)ms * 1000000u;
	for (i = 1; i < the_case->threads; i++)
		if (pthread_create(&other[i], NULL, worker, (void *)(uintptr_t)i))
			bench_die("pthread_create failed");
	worker(NULL);
	for (i = 1; i < the_case->threads; i++)
		pthread_join(other[i], NULL);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(void)
{
	static double all[MAX_THREADS * MAX_CHUNKS];
	unsigned int n = 0;
	unsigned int i, j;
	double cold = 0;

	for (i = 0; i < the_case->threads; i++) {
		for (j = 0; j < nchunks; j++)
			all[n++] = sample[i][j];
		if (first[i] > cold)
			cold = first[i];
	}
	qsort(all, n, sizeof(all[0]), compare);
	printf("case=%s backend=%s threads=%u ops=%llu chunks=%u first=%.3f min=%.3f med=%.3f "
	       "max=%.3f\n",
	       the_case->name, labyrinth_pcp_backend ? labyrinth_pcp_backend() : "-",
	       the_case->threads, (unsigned long long)ops_wanted, n, cold, all[0], all[n / 2],
	       all[n - 1]);
}

/* Is the function at @addr in the file that @path, or "system", names? */
static bool comes_from(void *addr, const char *name, const char *path)
{
	struct stat want, have;
	Dl_info info, libc;

	if (!dladdr(addr, &info) || stat(info.dli_fname, &have)) {
		fprintf(stderr, "bench_pairs: cannot tell where %s comes from\n", name);
		return false;
	}
	if (!strcmp(path, "system")) {
		if (dladdr((void *)(uintptr_t)gnu_get_libc_version, &libc))
			path = libc.dli_fname;
	}
	if (!stat(path, &want) && want.st_dev == have.st_dev && want.st_ino == have.st_ino)
		return true;
	fprintf(stderr, "bench_pairs: %s comes from %s, not from %s\n", name, info.dli_fname, path);
	return false;
}

static bool check_origin(const char *path)
{
	if (the_case->api)
		return comes_from((void *)(uintptr_t)labyrinth_alloc_page, "labyrinth_alloc_page",
				  path);
	return comes_from((void *)(uintptr_t)malloc, "malloc", path) &&
	       comes_from((void *)(uintptr_t)free, "free", path) &&
	       comes_from((void *)(uintptr_t)calloc, "calloc", path) &&
	       comes_from((void *)(uintptr_t)realloc, "realloc", path);
}

static const struct bench_case *find_case(const struct bench_case *list, const char *name)
{
	for (; list->name; list++)
		if (!strcmp(list->name, name))
			return list;
	return NULL;
}

static int list_cases(void)
{
	const struct bench_case *c;

	for (c = bench_single_cases; c->name; c++)
		printf("%s\t%s\n", c->name, c->what);
	for (c = bench_page_cases; c->name; c++)
		printf("%s\t%u threads: %s\n", c->name, c->threads, c->what);
	for (c = bench_thread_cases; c->name; c++)
		printf("%s\t%s\n", c->name, c->what);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_pairs [-m FILE|system] [-n OPS] [-t MS] CASE\n"
			"       bench_pairs -l\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *origin = NULL;
	unsigned int ms = 40;
	int opt;

	while ((opt = getopt(argc, argv, "lm:n:t:")) != -1) {
		if (opt == 'l')
			return list_cases();
		else if (opt == 'm')
			origin = optarg;
		else if (opt == 'n')
			ops_wanted = strtoull(optarg, NULL, 10);
		else if (opt == 't')
			ms = (unsigned int)strtoul(optarg, NULL, 10);
		else
			return usage();
	}
	if (optind + 1 != argc)
		return usage();
	the_case = find_case(bench_single_cases, argv[optind]);
	if (!the_case)
		the_case = find_case(bench_page_cases, argv[optind]);
	if (!the_case)
		the_case = find_case(bench_thread_cases, argv[optind]);
	if (!the_case)
		return usage();
	if (!ops_wanted)
		ops_wanted = the_case->ops;
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		CPU_ZERO(&allowed);
	if (the_case->setup && !the_case->setup()) {
		fprintf(stderr, "bench_pairs: %s: not available here\n", the_case->name);
		return 4;
	}
	if (origin && !check_origin(origin))
		return 3;
	measure(ms);
	report();
	return 0;
}
