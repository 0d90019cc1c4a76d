/* SPDX-License-Identifier: MIT */
/* So many blocks are freed after it that its slab may have been given back meanwhile. */
#include "misuse.h"

int main(void)
{
	static void *blocks[20000];

	for (size_t i = 0; i < 20000; i++)
		blocks[i] = get(64);
	for (size_t i = 0; i < 20000; i++)
		free(blocks[i]);
	free(aim(blocks[100]));
	return 0;
}
