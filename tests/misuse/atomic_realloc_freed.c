/* SPDX-License-Identifier: MIT */
/* A block of an atomic request is resized after it was freed. */
#include "misuse.h"

int main(void)
{
	void *block = get_atomic(64);

	free(block);
	block = realloc(aim(block), 128);
	return 0;
}
