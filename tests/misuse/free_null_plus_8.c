/* SPDX-License-Identifier: MIT */
/* The address of a member of a structure at NULL is freed. */
#include "misuse.h"

int main(void)
{
	free(get(64));
	free(aim((void *)8));
	return 0;
}
