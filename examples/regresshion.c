// SPDX-License-Identifier: MIT
/*
 * A model of CVE-2024-6387: a handler for SIGALRM that allocates, in a server that is
 * busy with its own malloc() when the time is up.
 *
 * See regresshion.md.
 *
 *   build: gcc -O2 -o regresshion regresshion.c
 *   run:   ./regresshion [connections]                         # the system's malloc
 *          LD_PRELOAD=liblabyrinth-preload.so ./regresshion
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 10, PATIENCE_MS = 2000, GRACE_US = 20000 };

/* how the children of the server ended */
static struct {
	int logged, crashed, hung;
} ends;

/* what sshd's handler does by way of syslog(): a buffer, a copy, both freed */
static void log_timeout(void)
{
	char *message = malloc(3000), *copy = malloc(9000);

	if (!message || !copy)
		_exit(2);
	memset(message, 'm', 3000);
	memset(copy, 'c', 9000);
	for (int i = 0; i < 3000; i++)
		if (message[i] != 'm')
			_exit(2);
	free(message);
	free(copy);
}

static void on_alarm(int signo)
{
	(void)signo;
	log_timeout();
	log_timeout();
	_exit(0);
}

/* a public key, as a client sends it: parsed into parts of all sizes */
static void parse_key(unsigned int *random)
{
	void *part[32];

	for (int i = 0; i < 32; i++) {
		*random = *random * 1664525u + 1013904223u;
		part[i] = malloc(1100 + (*random >> 8) % 20000);
	}
	for (int i = 0; i < 32; i++)
		free(part[i * 7 % 32]);
}

/* sshd has no thread; that glibc's malloc takes its lock at all, it needs one */
static void *idle(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void serve(unsigned int random, int threads)
{
	struct itimerval grace = { { 0, 0 }, { 0, 1000 + (int)(random * 2654435761u % GRACE_US) } };
	struct sigaction action = { .sa_handler = on_alarm };
	pthread_t thread;

	if (threads)
		pthread_create(&thread, NULL, idle, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &grace, NULL);
	for (;;)
		parse_key(&random);
}

static void count_end(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		ends.logged++;
	else
		ends.crashed++;
}

/* some connections at a time; who has not ended after 2 s never will */
static void accept_some(int first, int n, int threads)
{
	pid_t child[AT_ONCE];
	int status, left = n;

	for (int i = 0; i < n; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			/* glibc tells of what it finds broken; the parent counts */
			if (!freopen("/dev/null", "w", stderr))
				_exit(2);
			serve((unsigned int)(first + i) + 1, threads);
		}
	}
	for (int ms = 0; left && ms < PATIENCE_MS; ms++) {
		for (int i = 0; i < n; i++)
			if (child[i] > 0 && waitpid(child[i], &status, WNOHANG) > 0) {
				count_end(status);
				child[i] = 0;
				left--;
			}
		nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
	}
	for (int i = 0; i < n; i++) {
		if (child[i] <= 0)
			continue;
		kill(child[i], SIGKILL);
		waitpid(child[i], &status, 0);
		ends.hung++;
	}
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 100, bad = 0;

	for (int threads = 0; threads < 2; threads++) {
		memset(&ends, 0, sizeof(ends));
		for (int i = 0; i < n; i += AT_ONCE)
			accept_some(i, n - i < AT_ONCE ? n - i : AT_ONCE, threads);
		printf("%s: of %d connections %d timed out and were logged, %d crashed, %d hung\n",
		       threads ? "with a second thread" : "one thread", n, ends.logged,
		       ends.crashed, ends.hung);
		bad += ends.crashed + ends.hung;
	}
	return bad > 0;
}
