/* SPDX-License-Identifier: MIT */
/* A freed block is written to, and the write is found when it leaves the quarantine. */
#include "misuse.h"

int main(void)
{
	char *block = get(64);
	int i;

	free(block);
	block = aim(block);
	*(volatile char *)block = 0x41;
	for (i = 0; i < 10000; i++)
		free(hide(malloc(1000)));
	_exit(0);
}
