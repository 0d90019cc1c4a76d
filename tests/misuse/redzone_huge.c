/* SPDX-License-Identifier: MIT */
/* One byte past the end of an object is written to (huge); found by free(). */
#include "misuse.h"

int main(void)
{
	char *block = get(5 << 20);

	block = aim(block);
	*(volatile char *)(block + 5242880) = 0x41;
	free(block);
	return 0;
}
