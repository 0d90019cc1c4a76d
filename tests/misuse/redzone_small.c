/* SPDX-License-Identifier: MIT */
/* One byte past the end of an object is written to (small); found by free(). */
#include "misuse.h"

int main(void)
{
	char *block = get(100);

	block = aim(block);
	*(volatile char *)(block + 100) = 0x41;
	free(block);
	return 0;
}
