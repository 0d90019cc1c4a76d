/* SPDX-License-Identifier: MIT */
/* Between the two frees other blocks of the slab are freed, and others taken. */
#include "misuse.h"

int main(void)
{
	void *blocks[8];

	for (size_t i = 0; i < 8; i++)
		blocks[i] = get_atomic(1000);
	for (size_t i = 0; i < 6; i++)
		free(blocks[i]);
	(void)get_atomic(64);
	free(aim(blocks[5]));
	return 0;
}
