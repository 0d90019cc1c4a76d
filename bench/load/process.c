/* SPDX-License-Identifier: MIT */
/*
 * Signals and processes.
 *
 *	signal	the program allocates, and so does the handler of a signal that it
 *		raises itself, outside of malloc: fair to allocators that are not safe
 *	fork	a process with a heap of 24 MiB forks; each child uses the heap a little
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

static void *volatile from_handler;

static void on_signal(int signo)
{
	void *block = malloc(200);

	(void)signo;
	if (!block)
		load_die("malloc in the handler");
	memset(block, 1, 200);
	free(from_handler);
	from_handler = block;
}

static void run_signal(unsigned int threads, unsigned int percent)
{
	struct sigaction action = { .sa_handler = on_signal };
	uint64_t i, n = load_scale(150000, percent);
	void *block;

	(void)threads;
	sigaction(SIGUSR1, &action, NULL);
	for (i = 0; i < n; i++) {
		block = load_alloc(100);
		raise(SIGUSR1);
		free(block);
	}
}

static void child_work(unsigned int child)
{
	uint64_t seed = load_seed(child);
	void *block[64];
	unsigned int i, turn;

	for (turn = 0; turn < 10; turn++) {
		for (i = 0; i < 64; i++) {
			block[i] = load_alloc(16 + load_below(&seed, 2000));
			*(char *)block[i] = 1;
		}
		for (i = 0; i < 64; i++)
			free(block[i]);
	}
}

static void run_fork(unsigned int threads, unsigned int percent)
{
	enum { BLOCKS = 50000 };
	static void *block[BLOCKS];
	uint64_t seed = load_seed(3), i, n = load_scale(250, percent);
	int status;
	pid_t pid;

	(void)threads;
	for (i = 0; i < BLOCKS; i++) {
		block[i] = load_alloc(16 + load_below(&seed, 1000));
		*(char *)block[i] = 1;
	}
	for (i = 0; i < n; i++) {
		pid = fork();
		if (pid < 0)
			load_die("fork");
		if (!pid) {
			child_work((unsigned int)i);
			_exit(0);
		}
		child_work(1);
		if (waitpid(pid, &status, 0) != pid || status)
			load_die("a child failed");
	}
	for (i = 0; i < BLOCKS; i++)
		free(block[i]);
}

const struct load load_process[] = {
	{ "signal", "malloc in a handler and outside", 1, run_signal },
	{ "fork", "a heap of 24 MiB, 250 children", 1, run_fork },
	{ NULL, NULL, 0, NULL },
};
