/* SPDX-License-Identifier: MIT */
/* A block of one page is freed twice in a row. */
#include "misuse.h"

int main(void)
{
	void *block = get(4096);

	free(block);
	free(aim(block));
	return 0;
}
