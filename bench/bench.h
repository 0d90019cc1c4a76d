/* SPDX-License-Identifier: MIT */
/*
 * What a case of bench_pairs is made of.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct bench_case - something to time
 * @name:    as given on the command line
 * @what:    one line for a reader
 * @ops:     operations that a thread does between two looks at the clock
 * @threads: that call @run at the same time; 1 is the main thread of a process
 *           that never had another
 * @api:     uses labyrinth_ calls and no malloc
 * @setup:   returns false if the case cannot be run here; may be NULL
 * @run:     does about @ops operations and returns how many it did
 */
struct bench_case {
	const char *name;
	const char *what;
	uint64_t ops;
	unsigned int threads;
	bool api;
	bool (*setup)(void);
	uint64_t (*run)(unsigned int thread, uint64_t ops);
};

/* Each ends with an entry without a name. */
extern const struct bench_case bench_single_cases[];
extern const struct bench_case bench_page_cases[];
extern const struct bench_case bench_thread_cases[];

/** bench_die() - report on standard error and end the process with status 1 */
__attribute__((noreturn, cold)) void bench_die(const char *why);

/** bench_pin() - keep the calling thread on the CPU that belongs to @thread */
void bench_pin(unsigned int thread);

/** bench_pause() - let another thread go on; @turn counts calls in a row */
void bench_pause(unsigned int turn);

/* bench_floor.c: malloc and free that do nothing, in a shared object. */
void *bench_floor_alloc(size_t size);
void bench_floor_free(void *ptr);

/** keep() - make the compiler believe that @ptr, and all memory, is used */
static inline void *keep(void *ptr)
{
	__asm__ volatile("" : "+r"(ptr) : : "memory");
	return ptr;
}

/** check() - @ptr, which an allocator returned and the compiler cannot see through */
static inline void *check(void *ptr)
{
	ptr = keep(ptr);
	if (__builtin_expect(!ptr, 0))
		bench_die("an allocation returned NULL");
	return ptr;
}

/** bench_random() - xorshift; @state is not 0 */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

#endif /* BENCH_H */
