/* SPDX-License-Identifier: MIT */
/* An address 8 bytes into a block is freed. */
#include "misuse.h"

int main(void)
{
	char *block = get(64);

	free(aim(block + 8));
	return 0;
}
