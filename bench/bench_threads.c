/* SPDX-License-Identifier: MIT */
/*
 * Cases of two threads, each on a CPU of its own where there are two.
 */
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"

enum {
	NTHREADS = 2,
	RING = 1024, /* blocks under way from the producer to the consumer */
	LARSON_SLOTS = 1000,
	LINE = 64,
};

#define DEFINE_PAIR(size)                                                                          \
	static uint64_t run_threads_##size(unsigned int thread, uint64_t ops)                      \
	{                                                                                          \
		uint64_t i;                                                                        \
                                                                                                   \
		(void)thread;                                                                      \
		for (i = 0; i < ops; i++)                                                          \
			free(check(malloc(size)));                                                 \
		return ops;                                                                        \
	}

DEFINE_PAIR(64)
DEFINE_PAIR(4096)

/*
 * One thread allocates, the other frees.  Each looks at the other's index only
 * when the ring seems full or empty, so that the ring costs little beside the
 * block itself.
 */
static alignas(LINE) void *ring[RING];
static alignas(LINE) _Atomic uint64_t ring_head; /* the producer's */
static alignas(LINE) _Atomic uint64_t ring_tail; /* the consumer's */

static void produce(uint64_t ops, size_t size)
{
	uint64_t head = atomic_load(&ring_head);
	uint64_t tail = atomic_load(&ring_tail);
	uint64_t end = head + ops;
	unsigned int turn;
	char *p;

	for (; head < end; head++) {
		p = check(malloc(size));
		*p = 1;
		for (turn = 0; head - tail == RING; turn++) {
			bench_pause(turn);
			tail = atomic_load_explicit(&ring_tail, memory_order_acquire);
		}
		ring[head % RING] = p;
		atomic_store_explicit(&ring_head, head + 1, memory_order_release);
	}
}

static void consume(uint64_t ops)
{
	uint64_t tail = atomic_load(&ring_tail);
	uint64_t head = tail;
	uint64_t end = tail + ops;
	unsigned int turn;
	void *p;

	for (; tail < end; tail++) {
		head = head > tail ? head : atomic_load_explicit(&ring_head, memory_order_acquire);
		for (turn = 0; head == tail; turn++) {
			bench_pause(turn);
			head = atomic_load_explicit(&ring_head, memory_order_acquire);
		}
		p = ring[tail % RING];
		atomic_store_explicit(&ring_tail, tail + 1, memory_order_release);
		free(p);
	}
}

static uint64_t run_handoff_64(unsigned int thread, uint64_t ops)
{
	if (thread)
		consume(ops);
	else
		produce(ops, 64);
	return ops;
}

static uint64_t run_handoff_4096(unsigned int thread, uint64_t ops)
{
	if (thread)
		consume(ops);
	else
		produce(ops, 4096);
	return ops;
}

/*
 * After Larson and Krishnan (1998): threads replace blocks of random size, end,
 * and leave their blocks to threads that come after them; here, to the one on
 * the other CPU.
 */
static struct {
	alignas(LINE) void *slot[LARSON_SLOTS];
} estate[NTHREADS];
static struct larson {
	alignas(LINE) unsigned int thread;
	unsigned int estate;
	uint64_t ops;
	uint64_t seed;
} larson[NTHREADS];

static void *larson_thread(void *arg)
{
	struct larson *me = arg;
	void **slot = estate[me->estate].slot;
	uint64_t i, r;
	size_t which;

	bench_pin(me->thread);
	for (i = 0; i < me->ops; i++) {
		r = bench_random(&me->seed);
		which = (size_t)(((r >> 32) * LARSON_SLOTS) >> 32);
		free(slot[which]);
		slot[which] = check(malloc(8 + (r & 0xffff) % 993));
		*(char *)slot[which] = 1;
	}
	return NULL;
}

static uint64_t run_larson(unsigned int thread, uint64_t ops)
{
	static unsigned int turn;
	pthread_t id[NTHREADS];
	unsigned int i;

	(void)thread;
	for (i = 0; i < NTHREADS; i++) {
		larson[i].thread = i;
		larson[i].estate = (i + turn) % NTHREADS;
		larson[i].ops = ops;
		if (!larson[i].seed)
			larson[i].seed = 0x9e3779b97f4a7c15u + i;
		if (pthread_create(&id[i], NULL, larson_thread, &larson[i]))
			bench_die("pthread_create failed");
	}
	for (i = 0; i < NTHREADS; i++)
		pthread_join(id[i], NULL);
	turn++;
	return ops;
}

const struct bench_case bench_thread_cases[] = {
	{ "threads-64", "two threads, each malloc(64) + free", 20000, 2, false, NULL,
	  run_threads_64 },
	{ "handoff-64", "one thread does malloc(64), another frees it", 20000, 2, false, NULL,
	  run_handoff_64 },
	{ "threads-4096", "two threads, each malloc(4096) + free", 20000, 2, false, NULL,
	  run_threads_4096 },
	{ "handoff-4096", "one thread does malloc(4096), another frees it", 20000, 2, false, NULL,
	  run_handoff_4096 },
	{ "larson", "two threads replace 8..1000 bytes, end, leave the rest", 20000, 1, false, NULL,
	  run_larson },
	{ NULL, NULL, 0, 0, false, NULL, NULL },
};
