/* SPDX-License-Identifier: MIT */
/* An address inside a small block is freed. */
#include "misuse.h"

int main(void)
{
	char *block = get(64);

	free(aim(block + 16));
	return 0;
}
