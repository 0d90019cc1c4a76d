/* SPDX-License-Identifier: MIT */
/* The highest address is freed. */
#include "misuse.h"

int main(void)
{
	free(get(64));
	free(aim((void *)UINTPTR_MAX));
	return 0;
}
