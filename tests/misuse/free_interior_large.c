/* SPDX-License-Identifier: MIT */
/* An address inside a large block is freed. */
#include "misuse.h"

int main(void)
{
	char *block = get(100 << 10);

	free(aim(block + 4096));
	return 0;
}
