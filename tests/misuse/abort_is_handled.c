/* SPDX-License-Identifier: MIT */
/* A double free in a program whose handler of SIGABRT returns: it has its say, no more. */
#include "misuse.h"

#include <signal.h>
#include <unistd.h>

static void on_abort(int signo)
{
	(void)signo;
	if (write(2, "handled\n", 8) != 8)
		_exit(1);
}

int main(void)
{
	void *block = get(64);

	signal(SIGABRT, on_abort);
	free(block);
	free(aim(block));
	return 0;
}
