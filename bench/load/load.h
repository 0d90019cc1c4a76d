/* SPDX-License-Identifier: MIT */
/*
 * What the workloads of bench/load have in common.  One program, `load`, has all
 * of them; each does a fixed amount of work, which is the same under every
 * allocator, and its cost is measured from outside (bench/bench_run.c).
 */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

/**
 * struct load - a workload
 * @name:    as given on the command line
 * @what:    one line for a reader
 * @threads: how many it has if the command line does not say
 * @run:     does the work; @percent scales it, 100 is what the suite runs
 */
struct load {
	const char *name;
	const char *what;
	unsigned int threads;
	void (*run)(unsigned int threads, unsigned int percent);
};

/* Each ends with an entry without a name. */
extern const struct load load_small[], load_server[], load_cache[], load_large[], load_age[],
	load_process[];

enum { LOAD_LINE = 64, LOAD_MAX_THREADS = 128 };

/** load_die() - report on standard error and end the process with status 1 */
__attribute__((noreturn, cold)) void load_die(const char *why);

/**
 * load_threads() - call @body(0 .. @n - 1) in @n threads and wait for all
 *
 * Where there are CPUs enough each thread keeps to one.  With one thread it is
 * called by the main thread, and the process never has another.
 */
void load_threads(unsigned int n, void (*body)(unsigned int thread));

/** load_alloc() - malloc() that ends the process when it fails */
void *load_alloc(size_t size);

/** load_ms() - milliseconds since the first call */
double load_ms(void);

/** load_rss_kib() - what is resident of this process now, anonymous and other */
unsigned long load_rss_kib(void);

/** load_scale() - @percent of @n, at least 1 */
static inline uint64_t load_scale(uint64_t n, unsigned int percent)
{
	uint64_t scaled = n * percent / 100;

	return scaled ? scaled : 1;
}

/** load_random() - xorshift; @state is not 0 */
static inline uint64_t load_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

/** load_seed() - a state for load_random(), another for each @n */
static inline uint64_t load_seed(uint64_t n)
{
	return 0x9e3779b97f4a7c15u * (n + 1) | 1;
}

/** load_below() - 0 .. @n - 1 */
static inline size_t load_below(uint64_t *state, size_t n)
{
	return (size_t)(((load_random(state) >> 32) * n) >> 32);
}

/** load_keep() - make the compiler believe that @ptr is used */
static inline void load_keep(void *ptr)
{
	__asm__ volatile("" : : "r"(ptr) : "memory");
}

#endif /* LOAD_H */
