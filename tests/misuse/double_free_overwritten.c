/* SPDX-License-Identifier: MIT */
/* The freed block is overwritten before the second free: no mark in it can be relied on. */
#include "misuse.h"

int main(void)
{
	void *block = get(64);

	free(block);
	memset(hide(block), 0xee, 64);
	free(aim(block));
	return 0;
}
