/* SPDX-License-Identifier: MIT */
/* An overflow reaches the next object; found when the first one is moved. */
#include "misuse.h"

int main(void)
{
	char *block = get(48);

	block = aim(block);
	memset(block, 0x41, 80);
	return !realloc(block, 1000);
}
