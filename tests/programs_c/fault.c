/* SPDX-License-Identifier: MIT */
/*
 * Allocates and frees on the hot paths until malloc() fails, and says so: status 42;
 * or, after 6 s of the processor without, status 1.  With "vfork" another thread calls
 * vfork() in the first second; with "vforks" three do, and all begins when their children
 * of a second are gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void *fork_long(void *unused)
{
	pid_t pid = vfork();

	(void)unused;
	if (pid == 0) {
		sleep(1);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return NULL;
}

enum { FORKERS = 3 };

int main(int argc, char **argv)
{
	int several = argc > 1 && strcmp(argv[1], "vforks") == 0, i;
	int nr = several ? FORKERS : argc > 1;
	pthread_t thread[FORKERS];
	long n;

	for (i = 0; i < nr; i++)
		if (pthread_create(&thread[i], NULL, several ? fork_long : fork_on, NULL))
			return 2;
	puts("ready");
	fflush(stdout);
	for (i = 0; several && i < nr; i++)
		pthread_join(thread[i], NULL);
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
