/* SPDX-License-Identifier: MIT */
/* The size of a freed block of an atomic request. */
#include "misuse.h"

int main(void)
{
	void *block = get_atomic(2000);

	free(block);
	if (!malloc_usable_size(aim(block)))
		return 2;
	return 0;
}
