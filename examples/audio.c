// SPDX-License-Identifier: MIT
/*
 * A real-time loop, like that of an audio device: voices begin and end, each with a
 * buffer of 64 KiB; a block of sound is due every millisecond.  Once with pages of
 * the reserve, once with malloc().
 *
 * See audio.md.
 *
 *   build: gcc -O2 -o audio audio.c -llabyrinth -pthread
 *   run:   LABYRINTH_OPTIONS=reserve:4m ./audio [blocks]      (2000)
 */
#define _GNU_SOURCE
#include <labyrinth.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
	PERIOD_NS = 1000000,
	FRAMES = 48,
	VOICES = 8,
	ORDER = 4,
	BYTES = LABYRINTH_PAGE_SIZE << ORDER,
	MAX_BLOCKS = 100000,
};

/* Where buffers come from. */
struct source {
	const char *name;
	void *(*take)(void);
	void (*give)(void *buffer);
};

struct voice {
	float *buffer; /* one period of a wave, and the echo's memory */
	unsigned int at, left;
};

struct result {
	long faults, late, worst_ns, p99_ns, refused;
};

static void *take_malloc(void)
{
	return malloc(BYTES);
}

static void *take_pages(void)
{
	return labyrinth_alloc_pages(LABYRINTH_GFP_ATOMIC, ORDER);
}

static void give_pages(void *buffer)
{
	labyrinth_free_pages(buffer, ORDER);
}

static const struct source sources[] = {
	{ "Labyrinth", take_pages, give_pages },
	{ "malloc", take_malloc, free },
};

static unsigned int random_bits(void)
{
	static unsigned int state = 1;

	state = state * 1664525u + 1013904223u;
	return state >> 8;
}

/* the rest of the program: threads that allocate meanwhile */
static volatile int stop;

static void *bustle(void *unused)
{
	while (!stop) {
		void *block = malloc(random_bits() % 400000 + 1);

		if (block)
			memset(block, 1, 1000);
		free(block);
		nanosleep(&(struct timespec){ 0, 200000 }, NULL);
	}
	return unused;
}

static int begin_voice(struct voice *voice, const struct source *source)
{
	voice->buffer = source->take();
	if (!voice->buffer)
		return -1;
	for (unsigned int i = 0; i < BYTES / sizeof(float); i++)
		voice->buffer[i] = (float)(i % 109) / 109.0f - 0.5f;
	voice->at = 0;
	voice->left = random_bits() % 64 + 1;
	return 0;
}

static void mix(struct voice *voices, float *out, const struct source *source, long *refused)
{
	for (struct voice *voice = voices; voice < voices + VOICES; voice++) {
		if (!voice->buffer && begin_voice(voice, source)) {
			++*refused;
			continue;
		}
		for (int i = 0; i < FRAMES; i++)
			out[i] += voice->buffer[voice->at++ % (BYTES / sizeof(float))];
		if (--voice->left)
			continue;
		source->give(voice->buffer);
		voice->buffer = NULL;
	}
}

static long since_ns(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1000000000L + now.tv_nsec - start->tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	return (*(const long *)a > *(const long *)b) - (*(const long *)a < *(const long *)b);
}

static long my_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static struct result play(const struct source *source, int blocks)
{
	static long took[MAX_BLOCKS];
	struct voice voices[VOICES] = { { 0 } };
	struct result result = { 0 };
	struct timespec due;

	memset(took, 0, sizeof(took));
	clock_gettime(CLOCK_MONOTONIC, &due);
	result.faults = my_faults();
	for (int i = 0; i < blocks; i++) {
		float out[FRAMES] = { 0 };
		struct timespec start;

		due.tv_nsec += PERIOD_NS;
		due.tv_sec += due.tv_nsec / 1000000000;
		due.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		clock_gettime(CLOCK_MONOTONIC, &start);
		mix(voices, out, source, &result.refused);
		took[i] = since_ns(&start);
		result.late += took[i] > PERIOD_NS;
	}
	result.faults = my_faults() - result.faults;
	for (int i = 0; i < VOICES; i++)
		source->give(voices[i].buffer);
	qsort(took, (size_t)blocks, sizeof(*took), by_value);
	result.worst_ns = took[blocks - 1];
	result.p99_ns = took[blocks * 99 / 100];
	return result;
}

/* everybody's buffers at once, so that the reserve has grown before the music begins */
static void warm_up(void)
{
	void *buffer[2 * VOICES];

	for (int i = 0; i < 2 * VOICES; i++)
		buffer[i] = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, ORDER);
	for (int i = 0; i < 2 * VOICES; i++)
		labyrinth_free_pages(buffer[i], ORDER);
}

int main(int argc, char **argv)
{
	int blocks = argc > 1 ? atoi(argv[1]) : 2000;
	struct result result;
	int broken = 0;
	char touched[16384];
	pthread_t thread;

	if (blocks < 1 || blocks > MAX_BLOCKS)
		return 2;
	/* the stack that the loop needs, resident before it begins */
	memset(touched, 0, sizeof(touched));
	__asm__ volatile("" : : "r"(touched) : "memory");
	warm_up();
	pthread_create(&thread, NULL, bustle, NULL);
	printf("%-12s%12s%12s%14s%10s%10s\n", "buffers of", "p99, us", "worst, us", "page faults",
	       "late", "refused");
	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		result = play(&sources[i], blocks);
		printf("%-12s%12.1f%12.1f%14ld%10ld%10ld\n", sources[i].name,
		       (double)result.p99_ns / 1e3, (double)result.worst_ns / 1e3, result.faults,
		       result.late, result.refused);
		/* Labyrinth's promise: none of these, whatever else the machine does */
		broken |= i == 0 && (result.faults || result.refused);
	}
	stop = 1;
	pthread_join(thread, NULL);
	return broken;
}
