/* SPDX-License-Identifier: MIT */
/* A static variable is freed. */
#include "misuse.h"

static char variable[64] __attribute__((aligned(16)));

int main(void)
{
	free(get(64));
	free(aim(variable));
	return 0;
}
