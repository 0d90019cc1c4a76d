// SPDX-License-Identifier: MIT
/*
 * Runs a program for a limited time and says in one line how it ended.
 *
 *   usage: watchdog seconds command [argument ...]
 *   exit:  0 if the command ended with 0, else 1
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	const struct timespec nap = { 0, 1000000 };
	double start = now(), limit = argc > 2 ? atof(argv[1]) : 0;
	int status;
	pid_t pid;

	if (limit <= 0) {
		fprintf(stderr, "usage: watchdog seconds command [argument ...]\n");
		return 2;
	}
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now() - start > limit) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			printf("=> HUNG: no end after %.1f s\n", limit);
			return 1;
		}
		nanosleep(&nap, NULL);
	}
	if (WIFSIGNALED(status))
		printf("=> CRASHED with signal %d (%s) after %.3f s\n", WTERMSIG(status),
		       strsignal(WTERMSIG(status)), now() - start);
	else if (WEXITSTATUS(status))
		printf("=> FAILED with exit code %d after %.3f s\n", WEXITSTATUS(status),
		       now() - start);
	else
		printf("=> ended well after %.1f s\n", now() - start);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
