/* SPDX-License-Identifier: MIT */
/* Between the two frees other blocks of the size are freed: no fast-bin check. */
#include "misuse.h"

int main(void)
{
	void *blocks[32];

	for (size_t i = 0; i < 32; i++)
		blocks[i] = get(64);
	for (size_t i = 0; i < 32; i++)
		free(blocks[i]);
	free(aim(blocks[7]));
	return 0;
}
