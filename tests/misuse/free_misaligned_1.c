/* SPDX-License-Identifier: MIT */
/* The address after that of a block is freed. */
#include "misuse.h"

int main(void)
{
	char *block = get(64);

	free(aim(block + 1));
	return 0;
}
