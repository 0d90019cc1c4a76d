/* SPDX-License-Identifier: MIT */
/* One byte past the end of an object is written to (atomic); found by free(). */
#include "misuse.h"

int main(void)
{
	char *block = get_atomic(60);

	block = aim(block);
	*(volatile char *)(block + 60) = 0x41;
	free(block);
	return 0;
}
