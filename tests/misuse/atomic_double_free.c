/* SPDX-License-Identifier: MIT */
/* A small block of an atomic request is freed twice in a row. */
#include "misuse.h"

int main(void)
{
	void *block = get_atomic(64);

	free(block);
	free(aim(block));
	return 0;
}
