/* SPDX-License-Identifier: MIT */
/* An object of the reserve is written to while it waits in the quarantine; found at the end. */
#include "misuse.h"

int main(void)
{
	char *block = get_atomic(100);

	free(block);
	block = aim(block);
	*(volatile char *)block = 0x41;
	return 0;
}
