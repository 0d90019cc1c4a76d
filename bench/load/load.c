/* SPDX-License-Identifier: MIT */
/*
 * Run one workload under whatever malloc the process has.
 *
 *	load [-t THREADS] [-s PERCENT] NAME
 *	load -l
 *
 * Exit status: 0 done, 1 failed, 2 usage.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

static const struct load *const families[] = { load_small, load_server, load_cache,
					       load_large, load_age,	load_process };
enum { NFAMILIES = sizeof(families) / sizeof(families[0]) };

static void (*thread_body)(unsigned int thread);
static unsigned int nthreads;

void load_die(const char *why)
{
	fprintf(stderr, "load: %s\n", why);
	_exit(1);
}

void *load_alloc(size_t size)
{
	void *ptr = malloc(size);

	if (!ptr)
		load_die("malloc returned NULL");
	return ptr;
}

double load_ms(void)
{
	static struct timespec first;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!first.tv_sec)
		first = now;
	return (double)(now.tv_sec - first.tv_sec) * 1e3 +
	       (double)(now.tv_nsec - first.tv_nsec) / 1e6;
}

unsigned long load_rss_kib(void)
{
	unsigned long all, resident;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%lu %lu", &all, &resident) != 2)
		load_die("/proc/self/statm");
	fclose(file);
	return resident * 4;
}

static void pin(unsigned int thread)
{
	cpu_set_t allowed, one;
	unsigned int left = thread;
	int cpu;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) ||
	    nthreads > (unsigned int)CPU_COUNT(&allowed))
		return;
	/* from the last one down: interrupts tend to go to the first */
	for (cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
		if (!CPU_ISSET(cpu, &allowed) || left-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void *start(void *arg)
{
	unsigned int thread = (unsigned int)(uintptr_t)arg;

	pin(thread);
	thread_body(thread);
	return NULL;
}

void load_threads(unsigned int n, void (*body)(unsigned int thread))
{
	pthread_t id[LOAD_MAX_THREADS];
	uintptr_t i;

	if (n > LOAD_MAX_THREADS)
		load_die("too many threads");
	if (n == 1) {
		body(0);
		return;
	}
	thread_body = body;
	nthreads = n;
	for (i = 0; i < n; i++)
		if (pthread_create(&id[i], NULL, start, (void *)i))
			load_die("pthread_create failed");
	for (i = 0; i < n; i++)
		pthread_join(id[i], NULL);
}

static int list(void)
{
	const struct load *l;
	unsigned int i;

	for (i = 0; i < NFAMILIES; i++)
		for (l = families[i]; l->name; l++)
			printf("%s\t%u\t%s\n", l->name, l->threads, l->what);
	return 0;
}

static const struct load *find(const char *name)
{
	const struct load *l;
	unsigned int i;

	for (i = 0; i < NFAMILIES; i++)
		for (l = families[i]; l->name; l++)
			if (!strcmp(l->name, name))
				return l;
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned int threads = 0, percent = 100;
	const struct load *the;
	int opt;

	while ((opt = getopt(argc, argv, "ls:t:")) != -1) {
		if (opt == 'l')
			return list();
		else if (opt == 's')
			percent = (unsigned int)strtoul(optarg, NULL, 10);
		else if (opt == 't')
			threads = (unsigned int)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	the = optind + 1 == argc ? find(argv[optind]) : NULL;
	if (!the || !percent || threads > LOAD_MAX_THREADS) {
		fprintf(stderr, "usage: load [-t THREADS] [-s PERCENT] NAME; load -l\n");
		return 2;
	}
	the->run(threads ? threads : the->threads, percent);
	return 0;
}
