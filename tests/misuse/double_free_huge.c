/* SPDX-License-Identifier: MIT */
/* A block of 8 MiB is freed twice in a row. */
#include "misuse.h"

int main(void)
{
	void *block = get(8 << 20);

	free(block);
	free(aim(block));
	return 0;
}
