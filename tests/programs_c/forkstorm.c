// SPDX-License-Identifier: MIT
/*
 * The fork storm: while threads allocate, one thread forks again and again, and
 * every child allocates, resizes and frees at once, also blocks of its parent.
 *
 * usage: forkstorm [forks [threads [mode [seed]]]]
 * modes: fork          fork() from the main thread
 *        handler       _Fork() from a signal handler that interrupted malloc()
 *        handler-fork  fork() from such a handler
 * exit:  0 well, 2 hang, 3 corruption, 4 crash, 5 NULL without need
 */
#define _GNU_SOURCE
#include "watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <sys/time.h>
#include <unistd.h>

#define NR_SLOTS    512u
#define MAX_THREADS 32u
#define MAX_SIZE    (300u << 10)
#define CHILD_STEPS 200u
#define CHILD_NS    4000000000ull
#define PARENT_FREE 64u
#define STACK_BYTES (16u << 10)

enum mode { MODE_FORK, MODE_HANDLER, MODE_HANDLER_FORK };
static const char *const mode_names[] = { "fork", "handler", "handler-fork" };

static _Atomic handle_t slots[NR_SLOTS];
static _Atomic bool stop;
static _Atomic unsigned int forked;
static unsigned int nr_forks = 1000, nr_threads = 8;
static enum mode mode;
static uint64_t seed;
static struct watch *watched;

static handle_t make(uint64_t *rng, size_t size)
{
	uint64_t dice = rng_next(rng);
	size_t align = (size_t)16 << dice % 9;
	void *block;

	if (dice >> 32 & 1)
		block = malloc(size);
	else if (dice >> 33 & 1)
		block = calloc(1, size);
	else
		block = aligned_alloc(align, (size + align) & ~(align - 1));
	if (!block)
		die(EXIT_NO_MEMORY, "NULL", block, size, 0);
	return block_fill(block, size, rng_next(rng) >> 1);
}

static void drop(handle_t handle)
{
	block_verify(handle);
	free(handle_block(handle));
}

static handle_t resize(uint64_t *rng, handle_t handle)
{
	uint64_t old_seed;
	size_t old_size = block_size(handle, &old_seed), size = 1 + rng_size(rng, MAX_SIZE);
	void *block;

	block_verify(handle);
	block = realloc(handle_block(handle), size);
	if (!block)
		die(EXIT_NO_MEMORY, "NULL", block, size, 0);
	block_check(block, old_size, old_seed, old_size < size ? old_size : size);
	return block_fill(block, size, rng_next(rng) >> 1);
}

static void step(uint64_t *rng)
{
	uint64_t dice = rng_next(rng);
	handle_t out;

	out = atomic_exchange(&slots[dice % NR_SLOTS], make(rng, rng_size(rng, MAX_SIZE)));
	if (out && dice >> 32 & 1) {
		out = resize(rng, out);
		out = atomic_exchange(&slots[(dice >> 33) % NR_SLOTS], out);
	}
	if (out)
		drop(out);
}

/* In the child: every size class, then the parent's blocks, then some of both. */
static void child_main(unsigned int nr)
{
	uint64_t rng = seed + nr * 1000003ull;
	handle_t own[64];
	handle_t out;

	for (size_t size = 0; size <= MAX_SIZE; size += 1 + size / 3) {
		for (unsigned int i = 0; i < 4; i++)
			own[i] = make(&rng, size);
		drop(own[1]);
		own[1] = resize(&rng, own[2]);
		drop(own[0]);
		drop(own[1]);
		drop(own[3]);
	}
	for (unsigned int i = 0; i < 64; i++)
		own[i] = make(&rng, rng_size(&rng, MAX_SIZE));
	for (unsigned int i = 0; i < PARENT_FREE; i++) {
		out = atomic_exchange(&slots[rng_next(&rng) % NR_SLOTS], 0);
		if (out)
			drop(out);
	}
	for (unsigned int i = 0; i < 64; i++)
		drop(own[i]);
	for (unsigned int i = 0; i < CHILD_STEPS; i++)
		step(&rng);
	_exit(EXIT_OK);
}

/* AS-Safe; ends the process if the child did not end well and in time. */
static void await_child(pid_t pid, unsigned int nr)
{
	const struct timespec nap = { 0, 200000 };
	uint64_t end = now_ns() + CHILD_NS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ns() > end) {
			kill(pid, SIGKILL);
			die(EXIT_HANG, "child hangs; its number", NULL, 0, nr);
		}
		nanosleep(&nap, NULL);
	}
	if (WIFSIGNALED(status))
		die(EXIT_CRASH, "child ended by signal (size: which; offset: its number)", NULL,
		    (uint64_t)WTERMSIG(status), nr);
	if (WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	atomic_fetch_add(&watched->thread[0].main_ops, 1);
}

static void fork_once(void)
{
	unsigned int nr = atomic_fetch_add(&forked, 1);
	pid_t pid;

	pid = mode == MODE_HANDLER ? _Fork() : fork();
	if (pid < 0)
		die(EXIT_USAGE, "fork()", NULL, (uint64_t)errno, nr);
	if (pid == 0)
		child_main(nr);
	await_child(pid, nr);
}

/* Once, after a time that varies: a repeating alarm would be due again at once. */
static void set_alarm(unsigned int nr)
{
	struct itimerval timer = { .it_value = { 0, 50 + nr * 37 % 600 } };

	setitimer(ITIMER_REAL, &timer, NULL);
}

static void on_alarm(int sig)
{
	int saved = errno;

	(void)sig;
	if (atomic_load(&forked) < nr_forks) {
		fork_once();
		set_alarm(atomic_load(&forked));
	}
	errno = saved;
}

static void *busy_main(void *arg)
{
	struct watch_thread *watch = arg;
	uint64_t rng = seed ^ (uint64_t)(uintptr_t)arg << 20;

	atomic_store(&watch->running, true);
	while (!atomic_load(&stop)) {
		for (int i = 0; i < 32; i++)
			step(&rng);
		atomic_fetch_add(&watch->main_ops, 1);
	}
	atomic_store(&watch->running, false);
	return NULL;
}

/* The main thread allocates as well; the alarm interrupts it and forks. */
static void fork_in_handlers(void)
{
	static _Alignas(64) char stack_memory[STACK_BYTES];
	stack_t stack = { .ss_sp = stack_memory, .ss_size = STACK_BYTES };
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };
	uint64_t rng = ~seed;

	sigaltstack(&stack, NULL);
	sigaction(SIGALRM, &action, NULL);
	set_alarm(0);
	while (atomic_load(&forked) < nr_forks)
		for (int i = 0; i < 16; i++)
			step(&rng);
}

static int forkstorm(struct watch *watch)
{
	pthread_t threads[MAX_THREADS];
	sigset_t alarm_only;
	handle_t out;

	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
	for (unsigned int i = 0; i < nr_threads; i++)
		if (pthread_create(&threads[i], NULL, busy_main, &watch->thread[i + 1]))
			return EXIT_USAGE;
	pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
	atomic_store(&watch->thread[0].running, true);
	if (mode == MODE_FORK)
		while (atomic_load(&forked) < nr_forks)
			fork_once();
	else
		fork_in_handlers();
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&watch->thread[0].running, false);
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		out = atomic_exchange(&slots[i], 0);
		if (out)
			drop(out);
	}
	return EXIT_OK;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: forkstorm [forks [threads (0..%u) [fork|handler|handler-fork "
		"[seed]]]]\n",
		MAX_THREADS);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	int verdict;

	seed = now_ns() ^ (uint64_t)getpid() << 32;
	nr_forks = argc > 1 ? (unsigned int)atoi(argv[1]) : nr_forks;
	nr_threads = argc > 2 ? (unsigned int)atoi(argv[2]) : nr_threads;
	while (argc > 3 && strcmp(argv[3], mode_names[mode])) {
		if (mode == MODE_HANDLER_FORK)
			return usage();
		mode++;
	}
	seed = argc > 4 ? strtoull(argv[4], NULL, 0) : seed;
	if (nr_forks < 1 || nr_threads > MAX_THREADS)
		return usage();
	printf("forkstorm: %u forks, %u busy threads, mode %s, seed %#llx\n", nr_forks, nr_threads,
	       mode_names[mode], (unsigned long long)seed);
	fflush(stdout);
	watched = watch_create();
	verdict = watch_run(watched, forkstorm);
	printf("forkstorm: %s\n", verdict == EXIT_OK ? "ok" : "FAILED");
	return verdict;
}
