/* SPDX-License-Identifier: MIT */
/*
 * A process that watches another through shared counters.
 *
 * The worker is a child, so the watchdog needs nothing from a heap that may be
 * corrupt or locked, and ends the child by its pid when a thread stands still.
 * STORM_ON_HANG names a command to run on the pid first, for instance
 * STORM_ON_HANG='gdb -batch -ex "thread apply all bt" -p'.
 */
#ifndef TESTS_WATCHDOG_H
#define TESTS_WATCHDOG_H

#include "pattern.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define WATCH_MAX      64u
#define WATCH_STALL_NS 5000000000ull

/* What one thread of the worker has done; a line of its own for each. */
struct watch_thread {
	_Alignas(64) _Atomic uint64_t main_ops;
	_Atomic uint64_t handler_ops;
	_Atomic bool running;
};

struct watch {
	struct watch_thread thread[WATCH_MAX];
};

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct watch *watch_create(void)
{
	struct watch *watch = mmap(NULL, sizeof(*watch), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (watch == MAP_FAILED) {
		perror("mmap");
		exit(EXIT_USAGE);
	}
	return watch;
}

static inline void watch_kill(pid_t pid)
{
	const char *command = getenv("STORM_ON_HANG");
	char line[512];

	if (command && snprintf(line, sizeof(line), "%s %d 1>&2", command, pid) > 0 &&
	    system(line) != 0)
		fprintf(stderr, "STORM_ON_HANG: failed\n");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Exit code for a worker that ended with @status. */
static inline int watch_verdict(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "CRASH: ended by signal %d (%s)\n", WTERMSIG(status),
		strsignal(WTERMSIG(status)));
	return EXIT_CRASH;
}

/* One look at the counters; the thread whose main code stands still, or -1. */
static inline int watch_look(struct watch *watch, uint64_t *seen, uint64_t *since, uint64_t now)
{
	for (unsigned int i = 0; i < WATCH_MAX; i++) {
		uint64_t ops = atomic_load(&watch->thread[i].main_ops);

		if (ops != seen[i] || !atomic_load(&watch->thread[i].running)) {
			seen[i] = ops;
			since[i] = now;
		} else if (now - since[i] > WATCH_STALL_NS) {
			return (int)i;
		}
	}
	return -1;
}

/**
 * watch_run() - run @work in a child and see that all its threads go on
 *
 * Return: an enum verdict; of what went wrong a line was written to stderr.
 */
static inline int watch_run(struct watch *watch, int (*work)(struct watch *))
{
	uint64_t seen[WATCH_MAX] = { 0 }, since[WATCH_MAX], handled;
	const struct timespec nap = { 0, 20000000 };
	int status, stuck;
	pid_t pid = fork();

	if (pid < 0)
		return EXIT_USAGE;
	for (unsigned int i = 0; i < WATCH_MAX; i++)
		since[i] = now_ns();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(work(watch));
	}
	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return watch_verdict(status);
		stuck = watch_look(watch, seen, since, now_ns());
		if (stuck >= 0)
			break;
		nanosleep(&nap, NULL);
	}
	handled = atomic_load(&watch->thread[stuck].handler_ops);
	nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
	handled = atomic_load(&watch->thread[stuck].handler_ops) - handled;
	fprintf(stderr, "HANG: thread %d made no progress for %llu s; its handlers %s\n", stuck,
		WATCH_STALL_NS / 1000000000u, handled ? "go on" : "stand as well");
	watch_kill(pid);
	return EXIT_HANG;
}

#endif /* TESTS_WATCHDOG_H */
