/* SPDX-License-Identifier: MIT */
/* A freed block is resized. */
#include "misuse.h"

int main(void)
{
	void *block = get(64);

	free(block);
	return realloc(aim(block), 200) == NULL;
}
