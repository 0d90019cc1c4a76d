/* SPDX-License-Identifier: MIT */
/* A block of 100 KiB is written to while it waits in the quarantine; found at the end. */
#include "misuse.h"

int main(void)
{
	char *block = get(100 << 10);

	free(block);
	block = aim(block);
	*(volatile char *)block = 0x41;
	return 0;
}
