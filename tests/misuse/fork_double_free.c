/* SPDX-License-Identifier: MIT */
/* A child frees what its parent had freed before fork(). */
#include "misuse.h"
#include <signal.h>

int main(void)
{
	void *block = get(64);
	int status;

	free(block);
	if (fork() == 0) {
		free(aim(block));
		_exit(0);
	}
	if (wait(&status) > 0 && WIFSIGNALED(status))
		kill(getpid(), WTERMSIG(status));
	return 0;
}
