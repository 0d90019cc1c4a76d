/* SPDX-License-Identifier: MIT */
/*
 * Allocates and frees on the hot paths until malloc() fails, and says so: status 42;
 * or, after 6 s of the processor without, status 1.  With an argument another thread calls vfork() in
 * the first second.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *fork_on(void *unused)
{
	time_t end = time(NULL) + 1;

	(void)unused;
	while (time(NULL) < end) {
		pid_t pid = vfork();

		if (pid == 0)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	long n;

	(void)argv;
	if (argc > 1 && pthread_create(&thread, NULL, fork_on, NULL))
		return 2;
	puts("ready");
	fflush(stdout);
	for (n = 0; n % 4096 || clock() < 6 * CLOCKS_PER_SEC; n++) {
		void *volatile ptr = malloc(64);

		if (!ptr) {
			if (errno != ENOMEM)
				return 3;
			puts("failed");
			fflush(stdout);
			_exit(42);
		}
		free(ptr);
	}
	return 1;
}
