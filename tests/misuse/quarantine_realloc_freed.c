/* SPDX-License-Identifier: MIT */
/* A block of 100 KiB that waits in the quarantine is resized. */
#include "misuse.h"

int main(void)
{
	void *block = get(100 << 10);

	free(block);
	return !realloc(aim(block), 10);
}
