/* SPDX-License-Identifier: MIT */
/*
 * Blocks that change threads, threads that come and go.
 *
 *	larson	 after Larson and Krishnan (ISMM 1998): a server whose workers replace
 *		 blocks of random size, end, and leave their blocks to the next worker
 *	xmalloc	 after Lever and Boreham (2000): some threads only allocate, others only
 *		 free; batches go over a queue
 *	mstress	 after mimalloc's stress test: threads build up lists of blocks, keep some,
 *		 swap others with all threads, round after round
 *	pool	 a bounded queue of jobs, each a handful of blocks of mixed sizes,
 *		 made by one thread, used and freed by another
 *	churn	 short-lived threads, a few hundred blocks each
 *	crowd	 64 threads on however many CPUs there are, all busy
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static unsigned int scale, nthreads;

/* ---- larson ---- */

enum { LARSON_SLOTS = 1000, LARSON_GENERATIONS = 40 };

static void *larson_slot[LOAD_MAX_THREADS][LARSON_SLOTS];
static unsigned int larson_generation;

static void larson_thread(unsigned int thread)
{
	/* every generation takes over from another thread */
	void **slot = larson_slot[(thread + larson_generation) % nthreads];
	uint64_t seed = load_seed(thread + larson_generation * 1000), i, r;
	uint64_t n = load_scale(600000, scale) / nthreads;
	size_t at;

	for (i = 0; i < n; i++) {
		r = load_random(&seed);
		at = load_below(&seed, LARSON_SLOTS);
		free(slot[at]);
		slot[at] = load_alloc(8 + (r & 0xffff) % 993);
		*(char *)slot[at] = 1;
	}
}

static void run_larson(unsigned int threads, unsigned int percent)
{
	scale = percent;
	nthreads = threads;
	for (larson_generation = 0; larson_generation < LARSON_GENERATIONS; larson_generation++)
		load_threads(threads, larson_thread);
}

/* ---- xmalloc ---- */

enum { XBATCH = 120, XQUEUE = 16 };

struct batch {
	struct batch *next;
	void *block[XBATCH];
};

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_more = PTHREAD_COND_INITIALIZER;
static pthread_cond_t queue_room = PTHREAD_COND_INITIALIZER;
static struct batch *queue;
static unsigned int queued;
static int64_t batches_left;

static void queue_put(struct batch *batch)
{
	pthread_mutex_lock(&queue_lock);
	while (queued == XQUEUE)
		pthread_cond_wait(&queue_room, &queue_lock);
	batch->next = queue;
	queue = batch;
	queued++;
	pthread_cond_signal(&queue_more);
	pthread_mutex_unlock(&queue_lock);
}

static struct batch *queue_get(void)
{
	struct batch *batch = NULL;

	pthread_mutex_lock(&queue_lock);
	if (batches_left-- > 0) {
		while (!queued)
			pthread_cond_wait(&queue_more, &queue_lock);
		batch = queue;
		queue = batch->next;
		queued--;
		pthread_cond_signal(&queue_room);
	}
	pthread_mutex_unlock(&queue_lock);
	return batch;
}

static void xmalloc_thread(unsigned int thread)
{
	static const size_t sizes[] = { 16, 24, 40, 64, 96, 160, 256, 400 };
	uint64_t seed = load_seed(thread), i, n = load_scale(60000, scale) / (nthreads / 2);
	struct batch *batch;
	unsigned int j;

	if (thread % 2) {
		while ((batch = queue_get())) {
			for (j = 0; j < XBATCH; j++)
				free(batch->block[j]);
			free(batch);
		}
		return;
	}
	for (i = 0; i < n; i++) {
		batch = load_alloc(sizeof(*batch));
		for (j = 0; j < XBATCH; j++) {
			batch->block[j] = load_alloc(sizes[load_random(&seed) >> 61]);
			*(char *)batch->block[j] = 1;
		}
		queue_put(batch);
	}
}

static void run_xmalloc(unsigned int threads, unsigned int percent)
{
	scale = percent;
	nthreads = threads < 2 ? 2 : threads & ~1u;
	batches_left = (int64_t)(load_scale(60000, scale) / (nthreads / 2) * (nthreads / 2));
	load_threads(nthreads, xmalloc_thread);
}

/* ---- mstress ---- */

enum { SHARED = 1000, STRESS_LIVE = 3000 };

static _Atomic(void *) shared_block[SHARED];

static size_t stress_size(uint64_t *seed)
{
	uint64_t r = load_random(seed);

	if ((r & 127) == 0)
		return 4096 + (r >> 32) % 60000;
	if ((r & 15) == 0)
		return 512 + (r >> 32) % 3584;
	return 8 * (1 + (r >> 32) % 32);
}

static void stress_thread(unsigned int thread)
{
	uint64_t seed = load_seed(thread), i, n = load_scale(8000000, scale) / nthreads;
	void **mine = calloc(STRESS_LIVE, sizeof(*mine)), *block;
	size_t at, size;

	if (!mine)
		load_die("calloc");
	for (i = 0; i < n; i++) {
		at = load_below(&seed, STRESS_LIVE);
		if (i % 8 == 0) {
			/* through the shared table into whosever hands */
			mine[at] =
				atomic_exchange(&shared_block[load_below(&seed, SHARED)], mine[at]);
			continue;
		}
		free(mine[at]);
		size = stress_size(&seed);
		block = load_alloc(size);
		memset(block, (int)i, size < 64 ? size : 64);
		mine[at] = block;
	}
	for (at = 0; at < STRESS_LIVE; at++)
		free(mine[at]);
	free(mine);
}

static void run_mstress(unsigned int threads, unsigned int percent)
{
	unsigned int round, i;

	scale = percent / 4 ? percent / 4 : 1;
	nthreads = threads;
	for (round = 0; round < 8; round++)
		load_threads(threads, stress_thread);
	for (i = 0; i < SHARED; i++)
		free(atomic_exchange(&shared_block[i], NULL));
}

/* ---- pool ---- */

enum { RING = 256, PARTS = 6 };

struct job {
	char *part[PARTS];
};

static struct {
	_Alignas(LOAD_LINE) _Atomic uint64_t head;
	_Alignas(LOAD_LINE) _Atomic uint64_t tail;
	_Alignas(LOAD_LINE) struct job *job[RING];
} ring[LOAD_MAX_THREADS / 2];

static void pool_thread(unsigned int thread)
{
	uint64_t seed = load_seed(thread), i, n = load_scale(700000, scale) / (nthreads / 2);
	typeof(&ring[0]) r = &ring[thread / 2];
	struct job *job;
	unsigned int j;
	size_t size;

	for (i = 0; i < n; i++) {
		if (thread % 2) {
			while (atomic_load_explicit(&r->head, memory_order_acquire) == i)
				sched_yield();
			job = r->job[i % RING];
			atomic_store_explicit(&r->tail, i + 1, memory_order_release);
			for (j = 0; j < PARTS; j++)
				free(job->part[j]);
			free(job);
			continue;
		}
		job = load_alloc(sizeof(*job));
		for (j = 0; j < PARTS; j++) {
			size = 16 + (load_random(&seed) >> 32) % (64u << j);
			job->part[j] = load_alloc(size);
			job->part[j][size - 1] = 1;
		}
		while (i - atomic_load_explicit(&r->tail, memory_order_acquire) == RING)
			sched_yield();
		r->job[i % RING] = job;
		atomic_store_explicit(&r->head, i + 1, memory_order_release);
	}
}

static void run_pool(unsigned int threads, unsigned int percent)
{
	scale = percent;
	nthreads = threads < 2 ? 2 : threads & ~1u;
	load_threads(nthreads, pool_thread);
}

/* ---- churn ---- */

static void churn_thread(unsigned int thread)
{
	enum { BLOCKS = 300 };
	void *block[BLOCKS];
	uint64_t seed = load_seed(thread);
	unsigned int i;

	for (i = 0; i < BLOCKS; i++) {
		block[i] = load_alloc(16 + load_below(&seed, 1000));
		*(char *)block[i] = 1;
	}
	for (i = 0; i < BLOCKS; i++)
		free(block[i]);
}

static void run_churn(unsigned int threads, unsigned int percent)
{
	uint64_t i, n = load_scale(1500, percent);

	for (i = 0; i < n; i++)
		load_threads(threads, churn_thread);
}

/* ---- crowd ---- */

static void crowd_thread(unsigned int thread)
{
	enum { BLOCKS = 400 };
	void **block = calloc(BLOCKS, sizeof(*block));
	uint64_t seed = load_seed(thread), i, n = load_scale(40000000, scale) / nthreads;
	size_t at;

	if (!block)
		load_die("calloc");
	for (i = 0; i < n; i++) {
		at = load_below(&seed, BLOCKS);
		free(block[at]);
		block[at] = load_alloc(16 + load_below(&seed, 500));
		*(char *)block[at] = 1;
	}
	for (i = 0; i < BLOCKS; i++)
		free(block[i]);
	free(block);
}

static void run_crowd(unsigned int threads, unsigned int percent)
{
	scale = percent;
	nthreads = threads;
	load_threads(threads, crowd_thread);
}

const struct load load_server[] = {
	{ "larson", "workers replace 8..1000 bytes, end, leave the rest", 2, run_larson },
	{ "xmalloc", "batches of blocks allocated here, freed there", 2, run_xmalloc },
	{ "mstress", "mixed sizes, an eighth of the blocks change threads", 2, run_mstress },
	{ "pool", "jobs of seven blocks from one thread to another", 2, run_pool },
	{ "churn", "short-lived threads, 300 blocks each", 2, run_churn },
	{ "crowd", "all threads replace 16..516 bytes", 64, run_crowd },
	{ NULL, NULL, 0, NULL },
};
