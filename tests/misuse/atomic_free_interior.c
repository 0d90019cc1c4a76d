/* SPDX-License-Identifier: MIT */
/* An address inside a small block of an atomic request is freed. */
#include "misuse.h"

int main(void)
{
	char *block = get_atomic(64);

	free(aim(block + 16));
	return 0;
}
