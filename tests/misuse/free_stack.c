/* SPDX-License-Identifier: MIT */
/* A variable on the stack is freed. */
#include "misuse.h"

int main(void)
{
	char variable[64] __attribute__((aligned(16)));

	free(get(64));
	free(aim(variable));
	return 0;
}
