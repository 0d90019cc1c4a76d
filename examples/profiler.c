// SPDX-License-Identifier: MIT
/*
 * A sampling profiler that keeps every sample in pages which its handler takes.
 *
 * See profiler.md.
 *
 *   build: gcc -O2 -fno-omit-frame-pointer -rdynamic -o profiler profiler.c -llabyrinth -pthread
 *   run:   ./profiler [seconds of CPU time]       (1)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <labyrinth.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

enum { NR_THREADS = 2, PERIOD_US = 1000 };

struct sample {
	uintptr_t pc, thread;
};

/* One page: a list of these has all samples.  A place is taken by adding to used. */
struct samples {
	struct samples *next;
	_Atomic unsigned int used;
	struct sample sample[(LABYRINTH_PAGE_SIZE - 16) / sizeof(struct sample)];
};
_Static_assert(sizeof(struct samples) == LABYRINTH_PAGE_SIZE, "a page");
#define PER_PAGE (sizeof(((struct samples *)0)->sample) / sizeof(struct sample))

static _Atomic(struct samples *) pages;
static _Atomic unsigned long ticks, lost;

/* a new page in front of the others; whoever loses the race gives his back */
static int add_page(struct samples *full)
{
	struct samples *page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_ZERO);

	if (!page)
		return 0;
	page->next = full;
	if (!atomic_compare_exchange_strong(&pages, &full, page))
		labyrinth_free_page(page);
	return 1;
}

static void on_tick(int signo, siginfo_t *info, void *context)
{
	uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	struct samples *page;
	unsigned int place;

	(void)signo;
	(void)info;
	atomic_fetch_add(&ticks, 1);
	do {
		page = atomic_load(&pages);
		place = page ? atomic_fetch_add(&page->used, 1) : PER_PAGE;
		if (place < PER_PAGE) {
			page->sample[place] = (struct sample){ pc, (uintptr_t)pthread_self() };
			return;
		}
	} while (add_page(page));
	atomic_fetch_add(&lost, 1);
}

/* ---- something to look at ---- */

static volatile int stop;

__attribute__((noinline)) void hash_strings(unsigned int *hash)
{
	for (int i = 0; i < 300; i++)
		*hash = (*hash ^ (unsigned int)i) * 16777619u;
}

/* blocks of the library come and go, so that samples fall into it too */
__attribute__((noinline)) void build_lists(void)
{
	void *block[64];

	for (int i = 0; i < 64; i++)
		block[i] = labyrinth_heap_malloc((size_t)i * 16 + 1);
	for (int i = 0; i < 64; i++)
		labyrinth_free(block[i]);
}

static void *work(void *unused)
{
	unsigned int hash = 2166136261u;

	(void)unused;
	while (!stop) {
		hash_strings(&hash);
		build_lists();
	}
	return NULL;
}

/* ---- the report, by the program itself: nothing here is in a handler ---- */

struct line {
	const char *name;
	unsigned long samples;
};

static int by_samples(const void *a, const void *b)
{
	const struct line *left = a, *right = b;

	return (left->samples < right->samples) - (left->samples > right->samples);
}

static void count(struct line *lines, size_t n, uintptr_t pc)
{
	Dl_info info;
	const char *name = dladdr((void *)pc, &info) && info.dli_sname ? info.dli_sname : "?";
	size_t i = 0;

	while (i + 1 < n && lines[i].name && strcmp(lines[i].name, name) != 0)
		i++;
	lines[i].name = name;
	lines[i].samples++;
}

static unsigned long report(unsigned long *npages)
{
	static struct line lines[1000];
	unsigned long kept = 0;
	struct samples *page = pages, *next;

	for (*npages = 0; page; page = next, ++*npages) {
		for (unsigned int i = 0; i < page->used && i < PER_PAGE; i++, kept++)
			count(lines, sizeof(lines) / sizeof(*lines), page->sample[i].pc);
		next = page->next;
		labyrinth_free_page(page);
	}
	qsort(lines, sizeof(lines) / sizeof(*lines), sizeof(*lines), by_samples);
	for (int i = 0; i < 5 && lines[i].samples; i++)
		printf("%5.1f %%  %s\n", 100.0 * (double)lines[i].samples / (double)kept,
		       lines[i].name);
	return kept;
}

static void set_timer(int period_us)
{
	const struct itimerval timer = { { 0, period_us }, { 0, period_us } };

	setitimer(ITIMER_PROF, &timer, NULL);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART };
	double seconds = argc > 1 ? atof(argv[1]) : 1;
	pthread_t thread[NR_THREADS];
	unsigned long kept, npages;

	sigaction(SIGPROF, &action, NULL);
	set_timer(PERIOD_US);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_create(&thread[i], NULL, work, NULL);
	while ((double)clock() / CLOCKS_PER_SEC < seconds)
		nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
	stop = 1;
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(thread[i], NULL);
	set_timer(0);
	kept = report(&npages);
	printf("%lu ticks, %lu samples in %lu pages, %lu lost\n", (unsigned long)ticks, kept,
	       npages, (unsigned long)lost);
	return kept != ticks || lost;
}
