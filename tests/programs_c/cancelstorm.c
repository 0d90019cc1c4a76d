// SPDX-License-Identifier: MIT
/*
 * Calls that never return: threads that are cancelled asynchronously at any
 * instruction, and processes that call exec() out of a handler at any instruction.
 * What such a call had in hand is lost; nothing else is, and all goes on.
 *
 * usage: cancelstorm cancel|exec [count]
 * exit:  0 well, 2 hang, 3 corruption
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, HELD = 32, LIMIT_SECONDS = 60, MOST = 40000 };

static void on_alarm(int signo)
{
	static const char text[] = "cancelstorm: hang\n";

	(void)signo;
	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(4);
	_exit(2);
}

static void corrupt(const char *what)
{
	printf("cancelstorm: %s\n", what);
	fflush(stdout);
	_exit(3);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* each block is filled with its slot's number while it is held */
static void turn(uint64_t *seed, unsigned char *held[HELD], size_t size[HELD])
{
	unsigned int i = next_random(seed) % HELD;
	size_t at;

	if (held[i]) {
		for (at = 0; at < size[i]; at += 61)
			if (held[i][at] != (unsigned char)(i + 1))
				corrupt("a block was written by another");
		/* forgotten first: who is cancelled in free() must not find it again */
		unsigned char *block = held[i];

		held[i] = NULL;
		free(block);
		return;
	}
	size[i] = 1 + next_random(seed) % (next_random(seed) % 8 ? 600 : MOST);
	held[i] = malloc(size[i]);
	if (held[i])
		memset(held[i], (int)(i + 1), size[i]);
	if (next_random(seed) % 16 == 0) {
		void *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				 -1, 0);

		if (map != MAP_FAILED)
			munmap(map, 8192);
	}
}

static void *victim(void *arg)
{
	unsigned char *held[HELD] = { NULL };
	size_t size[HELD];
	uint64_t seed = (uintptr_t)arg * 0x9e3779b97f4a7c15u | 1;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		turn(&seed, held, size);
	return NULL;
}

/* after all of them the main thread finds every class whole */
static void check_all(void)
{
	unsigned char *held[HELD] = { NULL };
	size_t size[HELD];
	uint64_t seed = 88172645463325252u;
	unsigned int i;

	for (i = 0; i < 20000; i++)
		turn(&seed, held, size);
	for (i = 0; i < HELD; i++)
		free(held[i]);
}

static void cancel_all(unsigned int count)
{
	struct timespec pause = { 0, 0 };
	pthread_t threads[THREADS];
	uint64_t seed = (uint64_t)time(NULL) | 1;
	uintptr_t made = 0;
	unsigned int i, turns;

	for (turns = 0; turns < count; turns++) {
		for (i = 0; i < THREADS; i++)
			if (pthread_create(&threads[i], NULL, victim, (void *)++made))
				corrupt("no thread");
		pause.tv_nsec = 20000 + (long)(next_random(&seed) % 400000);
		nanosleep(&pause, NULL);
		for (i = 0; i < THREADS; i++)
			pthread_cancel(threads[i]);
		for (i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		check_all();
	}
	printf("cancelstorm: %u threads cancelled\n", count * THREADS);
}

/* ---- exec ---- */

static char *left;

static void on_timer(int signo)
{
	char *args[] = { "cancelstorm", "exec", left, NULL };

	(void)signo;
	/* as a handler that restarts the program would */
	free(malloc(100));
	execv("/proc/self/exe", args);
	_exit(4);
}

static void exec_all(unsigned int count)
{
	static char text[12];
	struct itimerval soon = { .it_value = { 0, 0 } };
	uint64_t seed = ((uint64_t)getpid() << 20 ^ (uint64_t)count * 7919) | 1;
	unsigned char *held[HELD] = { NULL };
	size_t size[HELD];
	pthread_t thread;
	sigset_t timer;

	sigemptyset(&timer);
	sigaddset(&timer, SIGVTALRM);
	/* exec() out of a handler leaves its signal blocked */
	sigprocmask(SIG_UNBLOCK, &timer, NULL);
	if (!count) {
		check_all();
		printf("cancelstorm: every exec() began anew\n");
		return;
	}
	snprintf(text, sizeof(text), "%u", count - 1);
	left = text;
	signal(SIGVTALRM, on_timer);
	soon.it_value.tv_usec = 300 + (long)(next_random(&seed) % 3000);
	if (pthread_create(&thread, NULL, victim, (void *)(uintptr_t)count))
		corrupt("no thread");
	setitimer(ITIMER_VIRTUAL, &soon, NULL);
	for (;;)
		turn(&seed, held, size);
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 2 ? (unsigned int)atoi(argv[2]) : 200;

	signal(SIGALRM, on_alarm);
	alarm(LIMIT_SECONDS);
	if (argc > 1 && !strcmp(argv[1], "cancel"))
		cancel_all(count);
	else if (argc > 1 && !strcmp(argv[1], "exec"))
		exec_all(count);
	else
		return 4;
	printf("cancelstorm: ok\n");
	return 0;
}
