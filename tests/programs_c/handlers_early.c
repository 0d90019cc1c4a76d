/* SPDX-License-Identifier: MIT */
/* A library that installs a handler before anybody could have asked it not to. */
#include <signal.h>

extern int labyrinth_in_atomic(void) __attribute__((weak));
volatile int early_runs, early_inside;
void early_handler(int sig);

void early_handler(int sig)
{
	(void)sig;
	early_runs++;
	early_inside = labyrinth_in_atomic && labyrinth_in_atomic();
}

__attribute__((constructor)) static void install(void)
{
	signal(SIGUSR2, early_handler);
}
