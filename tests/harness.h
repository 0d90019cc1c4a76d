/* SPDX-License-Identifier: MIT */
/*
 * What the unit tests share: threads that start together, seeds that are
 * printed, children whose end and last words are examined, fresh blocks.
 *
 * cmocka's assert_*() leave by longjmp, so threads, handlers and children use
 * must(), which ends the process.
 */
#ifndef LAB_TESTS_HARNESS_H
#define LAB_TESTS_HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/os.h"
#include "page/zone.h"

/* What makes faults, system calls and threads of its own, which tests must not count. */
#if defined(__SANITIZE_ADDRESS__)
#define HARNESS_SANITIZER "asan"
#elif defined(__SANITIZE_THREAD__)
#define HARNESS_SANITIZER "tsan"
#else
#define HARNESS_SANITIZER (getenv("LAB_EMULATED") ? "the emulator" : "")
#endif

/* coverage/exit.c: a process that ends by a signal is counted */
void coverage_catch(void) __attribute__((weak));

/* what writes to memory of its own at each step, if anything does */
static inline const char *harness_touches(void)
{
	return coverage_catch && !HARNESS_SANITIZER[0] ? "coverage" : HARNESS_SANITIZER;
}

enum { NR_THREADS = 4, STRESS_MS = 500 };

#define must(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			must_failed(#x, __FILE__, __LINE__);                                       \
	} while (0)

_Noreturn static inline void must_failed(const char *what, const char *file, int line)
{
	/* descriptor 2 may be a file of capture_start() */
	dprintf(2, "%s:%d: must hold: %s\n", file, line, what);
	dprintf(1, "%s:%d: must hold: %s\n", file, line, what);
	_exit(99);
}

static inline uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- chance ---- */

/* LAB_SEED repeats a run */
static inline uint64_t new_seed(const char *what)
{
	const char *text = getenv("LAB_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = text ? strtoull(text, NULL, 0) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
	seed |= 1;
	print_message("%s: LAB_SEED=%llu\n", what, (unsigned long long)seed);
	return seed;
}

/* xorshift64*; *state is not 0 */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ull >> 16;
}

static inline uint64_t random_below(uint64_t *state, uint64_t n)
{
	return next_random(state) % n;
}

static inline void shuffle(void **items, size_t n, uint64_t *state)
{
	for (; n > 1; n--) {
		size_t with = random_below(state, n);
		void *item = items[n - 1];

		items[n - 1] = items[with];
		items[with] = item;
	}
}

/* ---- threads ---- */

typedef void thread_fn(unsigned int id, void *arg);

struct one_thread {
	pthread_t thread;
	pthread_barrier_t *start;
	thread_fn *run;
	void *arg;
	unsigned int id;
};

static inline void *thread_main(void *self)
{
	struct one_thread *me = self;

	pthread_barrier_wait(me->start);
	me->run(me->id, me->arg);
	return NULL;
}

/* run @run in @n threads that start at the same moment; all have ended on return */
static inline void run_threads(unsigned int n, thread_fn *run, void *arg)
{
	struct one_thread threads[16];
	pthread_barrier_t start;
	unsigned int i;

	must(n <= 16);
	pthread_barrier_init(&start, NULL, n);
	for (i = 0; i < n; i++) {
		threads[i] =
			(struct one_thread){ .start = &start, .run = run, .arg = arg, .id = i };
		must(pthread_create(&threads[i].thread, NULL, thread_main, &threads[i]) == 0);
	}
	for (i = 0; i < n; i++)
		pthread_join(threads[i].thread, NULL);
	pthread_barrier_destroy(&start);
}

/* the stacks are per CPU: tests that count what is on them stay on one */
static inline bool pin_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}

static inline unsigned int pin_to_one_cpu(void)
{
	unsigned int cpu = (unsigned int)sched_getcpu();

	must(pin_to(cpu));
	return cpu;
}

/* threads of a pinned parent spread over the CPUs again */
static inline void pin_by_id(unsigned int id)
{
	(void)pin_to(id % (unsigned int)sysconf(_SC_NPROCESSORS_CONF));
}

/* ---- children ---- */

typedef void child_fn(void *arg);

struct outcome {
	int status; /* as of waitpid() */
	char said[2048];
};

static inline void child_main(child_fn *run, void *arg, int fd)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGABRT };
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
	if (coverage_catch)
		coverage_catch();
	dup2(fd, 2);
	run(arg);
	_exit(0);
}

/* run in a child of fork(); what it writes to descriptor 2 is kept */
static inline struct outcome in_child(child_fn *run, void *arg)
{
	struct outcome out = { .status = -1 };
	char rest[512];
	size_t len = 0;
	ssize_t got;
	int ends[2];
	pid_t pid;

	fflush(stdout);
	must(pipe(ends) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0)
		child_main(run, arg, ends[1]);
	close(ends[1]);
	while ((got = read(ends[0], out.said + len, sizeof(out.said) - 1 - len)) > 0)
		len += (size_t)got;
	/* what there is no room for is not kept, but nobody has to wait for us either */
	while (read(ends[0], rest, sizeof(rest)) > 0)
		;
	close(ends[0]);
	must(waitpid(pid, &out.status, 0) == pid);
	return out;
}

static inline void assert_child_succeeds(child_fn *run, void *arg)
{
	struct outcome out = in_child(run, arg);

	if (!WIFEXITED(out.status) || WEXITSTATUS(out.status))
		fail_msg("child ended with status %#x: %s", (unsigned int)out.status, out.said);
}

static inline void assert_child_aborts(child_fn *run, void *arg, const char *text)
{
	struct outcome out = in_child(run, arg);

	if (!WIFSIGNALED(out.status) || WTERMSIG(out.status) != SIGABRT || !strstr(out.said, text))
		fail_msg("child ended with status %#x, saying \"%s\", not \"%s\"",
			 (unsigned int)out.status, out.said, text);
}

/* ---- descriptor 2 ---- */

struct capture {
	int saved, file;
	char said[2048];
};

static inline void capture_start(struct capture *capture)
{
	fflush(stderr);
	capture->saved = dup(2);
	capture->file = memfd_create("stderr", 0);
	must(capture->saved >= 0 && capture->file >= 0);
	dup2(capture->file, 2);
}

static inline const char *capture_end(struct capture *capture)
{
	ssize_t got;

	dup2(capture->saved, 2);
	got = pread(capture->file, capture->said, sizeof(capture->said) - 1, 0);
	capture->said[got > 0 ? got : 0] = '\0';
	close(capture->saved);
	close(capture->file);
	return capture->said;
}

/* ---- memory ---- */

static inline void *block_address(size_t index)
{
	return lab_frame_address((lab_pfn_t)(index * LAB_BLOCK_FRAMES));
}

static inline union lab_block_word block_word(size_t index)
{
	return (union lab_block_word){ .raw = lab_word_get(&lab_block_at(index)->word) };
}

/*
 * A block that only the caller uses: mapped, all free and clean, of the heap
 * zone but not offered to its searches.  The last ones of section 0 first.
 */
static inline size_t fresh_block(void)
{
	size_t index;

	for (index = LAB_SECTION_BLOCKS - 1; index > 0; index--) {
		if (!lab_block_claim(index, LAB_ZONE_HEAP, false))
			continue;
		if (lab_os_map((uintptr_t)block_address(index), 1ul << LAB_BLOCK_SHIFT) == 0) {
			lab_block_set_clean(index, 0, LAB_BLOCK_FRAMES);
			lab_block_release(index, LAB_ZONE_HEAP, LAB_BLOCK_FREE);
			return index;
		}
		lab_block_release(index, LAB_ZONE_HEAP, LAB_BLOCK_DEAD);
	}
	must(!"no unmapped block is left in section 0");
	return 0;
}

/* undo fresh_block(); all its frames must be free */
static inline void drop_block(size_t index)
{
	must(lab_block_claim(index, LAB_ZONE_HEAP, true));
	lab_os_unmap((uintptr_t)block_address(index), 1ul << LAB_BLOCK_SHIFT);
	lab_block_release(index, LAB_ZONE_HEAP, LAB_BLOCK_UNMAPPED);
}

/* frames of the heap that are handed out */
static inline uint64_t heap_in_use(void)
{
	return lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed) -
	       lab_word_get(&lab_zones[LAB_ZONE_HEAP].free);
}

static inline void fill(void *ptr, uint64_t tag, size_t bytes)
{
	uint64_t *at = ptr;
	size_t i;

	for (i = 0; i < bytes / 8; i++)
		at[i] = tag + i;
}

static inline bool is_filled(const void *ptr, uint64_t tag, size_t bytes)
{
	const uint64_t *at = ptr;
	size_t i;

	for (i = 0; i < bytes / 8; i++)
		if (at[i] != tag + i)
			return false;
	return true;
}

static inline bool is_zero(const void *ptr, size_t bytes)
{
	const char *at = ptr;
	size_t i;

	for (i = 0; i < bytes; i++)
		if (at[i])
			return false;
	return true;
}

#endif /* LAB_TESTS_HARNESS_H */
