/* SPDX-License-Identifier: MIT */
/* Allocates what check_histogram.sh knows; the last argument says how it ends. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *slot[2000];

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	void *volatile ptr;
	int i, status;

	/* 1000 of 7000 bytes at once, for 20 ms and more */
	for (i = 0; i < 1000; i++)
		slot[i] = malloc(7000);
	usleep(20000);
	for (i = 0; i < 1000; i++)
		free(slot[i]);
	/* 5000 of 11000 bytes, one by one */
	for (i = 0; i < 5000; i++) {
		ptr = malloc(11000);
		free(ptr);
	}
	/* 3 of 300000, not freed; another 4 freed by realloc() to 600000 */
	for (i = 0; i < 3; i++)
		ptr = malloc(300000);
	for (i = 0; i < 4; i++)
		ptr = realloc(malloc(300000), 600000);
	if (strcmp(how, "kill") == 0)
		raise(SIGKILL);
	if (strcmp(how, "fork") == 0) {
		if (fork() == 0) {
			free(malloc(11000));
			/* the parent's */
			free(ptr);
			_exit(0);
		}
		wait(&status);
	}
	if (strcmp(how, "many") == 0)
		for (i = 0; i < 1500000; i++)
			ptr = malloc(20000 % 16 + 1);
	return 7;
}
