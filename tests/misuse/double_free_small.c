/* SPDX-License-Identifier: MIT */
/* A block of 64 bytes is freed twice in a row. */
#include "misuse.h"

int main(void)
{
	void *block = get(64);

	free(block);
	free(aim(block));
	return 0;
}
