/* SPDX-License-Identifier: MIT */
/* A variable on the stack is resized. */
#include "misuse.h"

int main(void)
{
	char variable[64] __attribute__((aligned(16)));

	free(get(64));
	return realloc(aim(variable), 200) == NULL;
}
