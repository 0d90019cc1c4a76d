/* SPDX-License-Identifier: MIT */
/* The size of a freed block is asked for. */
#include "misuse.h"

int main(void)
{
	void *block = get(64);

	free(block);
	return malloc_usable_size(aim(block)) == 0;
}
