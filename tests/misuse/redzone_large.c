/* SPDX-License-Identifier: MIT */
/* One byte past the end of an object is written to (large); found by free(). */
#include "misuse.h"

int main(void)
{
	char *block = get(100 << 10);

	block = aim(block);
	*(volatile char *)(block + 102400) = 0x41;
	free(block);
	return 0;
}
