/* SPDX-License-Identifier: MIT */
/*
 * How long single allocations take: each one timed by itself.
 *
 *	bench_latency [-n SAMPLES] CASE
 *
 * Run it under LD_PRELOAD of the allocator in question.  A sample is the
 * allocation of a page with a first write to it.  Between samples pages are
 * freed, untimed: up to 80 are held, in bursts of random length, so that
 * per-CPU and per-thread caches (64 pages here, some 20 in jemalloc) run dry
 * and overflow.  The cost of reading the clock twice is subtracted.  A refusal,
 * which is an atomic request's right, is counted and is no sample.
 *
 * A chunk of samples is called quiet if no context switch happened in it
 * (getrusage) and no interrupt on this CPU (/proc/interrupts).  What a
 * hypervisor does is not seen.
 *
 * Prints "key value" lines, then "h TICKS QUIET ALL": how many samples took so
 * many ticks of the time stamp counter.
 *
 * Exit status: 0 done, 1 failed, 2 usage, 4 case not available.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "labyrinth.h"

#if !defined(__x86_64__)
#error "the clock of this program is that of x86-64"
#endif

enum {
	PAGE = 4096,
	HELD = 80,
	CHUNK = 1000,
	CHUNK_SLOW = 50, /* where an operation is a system call */
	EXACT = 1 << 16, /* ticks that are counted by themselves */
	MAX_LONG = 1 << 20,
	WARM_UP = 100 * CHUNK,
};

typedef void *alloc_fn(void);
typedef void free_fn(void *page);

static uint64_t count[EXACT][2]; /* all, those of quiet chunks */
static uint64_t longer[MAX_LONG][2];
static unsigned int nlonger;
static uint32_t sample[CHUNK];
static void *held[HELD];
static unsigned int nheld, burst;
static bool filling;
static uint64_t refused;
static uint64_t seed = 0x9e3779b97f4a7c15u;
static unsigned int cpu, chunk = CHUNK;

__attribute__((noreturn, cold)) static void die(const char *why)
{
	fprintf(stderr, "bench_latency: %s\n", why);
	_exit(1);
}

static inline uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static inline uint64_t clock_before(void)
{
	uint32_t low, high;

	__asm__ volatile("mfence; lfence; rdtsc; lfence" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

static inline uint64_t clock_after(void)
{
	uint32_t low, high, aux;

	__asm__ volatile("rdtscp; lfence" : "=a"(low), "=d"(high), "=c"(aux)::"memory");
	return (uint64_t)high << 32 | low;
}

/* ---- what is timed ---- */

static alloc_fn *alloc_page;
static free_fn *free_page;
static void *(*lab_alloc)(labyrinth_gfp_t gfp);
static void *(*malloc_page)(size_t size);

static void *from_labyrinth(void)
{
	return lab_alloc(LABYRINTH_GFP_ATOMIC);
}

static void *from_malloc(void)
{
	return malloc_page(PAGE);
}

static void *from_mmap(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? NULL : page;
}

static void to_munmap(void *page)
{
	munmap(page, PAGE);
}

/* one thread, no checks: the least that a pool can do */
static char pool[2 * HELD][PAGE] __attribute__((aligned(PAGE)));
static void *idle[2 * HELD];
static unsigned int nidle;

static void *from_pool(void)
{
	return idle[--nidle];
}

static void to_pool(void *page)
{
	idle[nidle++] = page;
}

/* requests that may wait let the reserve grow to its cap */
static void grow_reserve(void)
{
	void *page[2 * HELD];
	int turn, n;

	for (turn = 0; turn < 16; turn++) {
		for (n = 0; n < 2 * HELD; n++)
			page[n] = lab_alloc(LABYRINTH_GFP_KERNEL);
		while (n-- > 0)
			free_page(page[n]);
	}
}

static bool choose(const char *name)
{
	if (!strcmp(name, "labyrinth")) {
		*(void **)&lab_alloc = dlsym(RTLD_DEFAULT, "labyrinth_alloc_page");
		*(void **)&free_page = dlsym(RTLD_DEFAULT, "labyrinth_free_page");
		alloc_page = from_labyrinth;
		if (!lab_alloc || !free_page)
			return false;
		grow_reserve();
		return true;
	}
	if (!strcmp(name, "malloc")) {
		*(void **)&malloc_page = dlsym(RTLD_DEFAULT, "malloc");
		*(void **)&free_page = dlsym(RTLD_DEFAULT, "free");
		alloc_page = from_malloc;
		return true;
	}
	if (!strcmp(name, "mmap")) {
		alloc_page = from_mmap;
		free_page = to_munmap;
		chunk = CHUNK_SLOW;
		return true;
	}
	if (!strcmp(name, "static")) {
		for (nidle = 0; nidle < 2 * HELD; nidle++) {
			memset(pool[nidle], 1, PAGE);
			idle[nidle] = pool[nidle];
		}
		alloc_page = from_pool;
		free_page = to_pool;
		return true;
	}
	return false;
}

/* ---- quiet or not ---- */

/* interrupts that this CPU has taken; 0 if the kernel does not tell */
static uint64_t interrupts(void)
{
	static char text[1 << 16];
	uint64_t sum = 0;
	unsigned int i;
	char *line, *end, *rest;
	ssize_t got;
	int fd = open("/proc/interrupts", O_RDONLY);
	size_t len = 0;

	if (fd < 0)
		return 0;
	while ((got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)got;
	close(fd);
	text[len] = '\0';
	for (line = strchr(text, '\n'); line; line = strchr(line + 1, '\n')) {
		rest = strchr(line, ':');
		if (!rest)
			break;
		for (i = 0, rest++; i < cpu; i++)
			(void)strtoull(rest, &rest, 10);
		sum += strtoull(rest, &end, 10);
	}
	return sum;
}

static uint64_t switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_nvcsw + (uint64_t)usage.ru_nivcsw;
}

static uint64_t faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

/* ---- sampling ---- */

/* the next thing to do: a burst of allocations, then one of frees */
static inline bool next_is_free(void)
{
	if (burst-- == 0) {
		burst = (unsigned int)(next_random() >> 32) % HELD;
		filling = !filling;
	}
	if (nheld == HELD)
		return true;
	return nheld && !filling;
}

static inline uint64_t time_one(void)
{
	uint64_t before, after;
	char *page;

	for (;;) {
		while (next_is_free())
			free_page(held[--nheld]);
		before = clock_before();
		page = alloc_page();
		if (__builtin_expect(!!page, 1))
			break;
		if (!nheld)
			die("there is not a single page");
		refused++;
		filling = false;
		burst = 1;
	}
	*(volatile char *)page = 1;
	after = clock_after();
	held[nheld++] = page;
	return after - before;
}

static void record(uint64_t ticks, bool quiet)
{
	if (ticks < EXACT) {
		count[ticks][0]++;
		count[ticks][1] += quiet;
		return;
	}
	if (nlonger == MAX_LONG)
		die("too many long samples");
	longer[nlonger][0] = ticks;
	longer[nlonger++][1] = quiet;
}

/* true if nothing is known to have interrupted it */
static bool sample_chunk(uint64_t empty)
{
	uint64_t irq = interrupts(), csw = switches(), ticks;
	bool quiet;
	unsigned int i;

	/* reading /proc has emptied the caches */
	for (i = 0; i < chunk / 5; i++)
		(void)time_one();
	for (i = 0; i < chunk; i++) {
		ticks = time_one();
		ticks = ticks > empty ? ticks - empty : 0;
		sample[i] = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
	}
	quiet = switches() == csw && interrupts() == irq;
	for (i = 0; i < chunk; i++)
		record(sample[i], quiet);
	return quiet;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* the median of reading the clock twice */
static uint64_t empty_cost(void)
{
	static uint64_t cost[10001];
	uint64_t before;
	int i;

	for (i = 0; i < 10001; i++) {
		before = clock_before();
		cost[i] = clock_after() - before;
	}
	qsort(cost, 10001, sizeof(*cost), compare);
	return cost[5000];
}

static void pin(void)
{
	cpu_set_t set;
	int last;

	if (sched_getaffinity(0, sizeof(set), &set))
		die("no affinity");
	for (last = CPU_SETSIZE - 1; last > 0 && !CPU_ISSET(last, &set); last--)
		;
	CPU_ZERO(&set);
	CPU_SET(last, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("cannot stay on one CPU");
	cpu = (unsigned int)last;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void report(void)
{
	unsigned int i;

	for (i = 0; i < EXACT; i++)
		if (count[i][0])
			printf("h %u %llu %llu\n", i, (unsigned long long)count[i][1],
			       (unsigned long long)count[i][0]);
	for (i = 0; i < nlonger; i++)
		printf("h %llu %llu 1\n", (unsigned long long)longer[i][0],
		       (unsigned long long)longer[i][1]);
}

int main(int argc, char **argv)
{
	uint64_t samples = 1000000, empty, done, quiet = 0, ns, tsc, fault;
	int opt;

	while ((opt = getopt(argc, argv, "n:")) != -1) {
		if (opt != 'n')
			return 2;
		samples = strtoull(optarg, NULL, 10);
	}
	if (optind + 1 != argc || !samples) {
		fprintf(stderr, "usage: bench_latency [-n SAMPLES] labyrinth|malloc|mmap|static\n");
		return 2;
	}
	pin();
	if (!choose(argv[optind]))
		return 4;
	empty = empty_cost();
	memset(count, 0, sizeof(count));
	memset(longer, 0, sizeof(longer));
	for (done = 0; done < WARM_UP; done++)
		(void)time_one();
	refused = 0;
	fault = faults();
	ns = now_ns();
	tsc = clock_after();
	for (done = 0; done < samples; done += chunk)
		quiet += sample_chunk(empty);
	tsc = clock_after() - tsc;
	ns = now_ns() - ns;
	printf("ticks_per_us %.3f\nempty %llu\nchunks %llu\nquiet %llu\nfaults %llu\nrefused %llu\n"
	       "irq %d\n",
	       (double)tsc * 1000 / (double)ns, (unsigned long long)empty,
	       (unsigned long long)(done / chunk), (unsigned long long)quiet,
	       (unsigned long long)(faults() - fault), (unsigned long long)refused,
	       interrupts() != 0);
	report();
	return 0;
}
