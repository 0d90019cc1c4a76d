/* SPDX-License-Identifier: MIT */
/* One byte past the start of a block of an atomic request. */
#include "misuse.h"

int main(void)
{
	char *block = get_atomic(300);

	free(aim(block + 1));
	return 0;
}
