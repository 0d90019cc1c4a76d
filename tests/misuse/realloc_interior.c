/* SPDX-License-Identifier: MIT */
/* An address inside a block is resized. */
#include "misuse.h"

int main(void)
{
	char *block = get(64);

	return realloc(aim(block + 16), 200) == NULL;
}
