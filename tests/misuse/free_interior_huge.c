/* SPDX-License-Identifier: MIT */
/* An address inside a huge block is freed. */
#include "misuse.h"

int main(void)
{
	char *block = get(8 << 20);

	free(aim(block + (5 << 20)));
	return 0;
}
