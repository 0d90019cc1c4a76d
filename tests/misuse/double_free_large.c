/* SPDX-License-Identifier: MIT */
/* A block of 100 KiB is freed twice in a row. */
#include "misuse.h"

int main(void)
{
	void *block = get(100 << 10);

	free(block);
	free(aim(block));
	return 0;
}
