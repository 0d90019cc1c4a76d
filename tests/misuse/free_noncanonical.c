/* SPDX-License-Identifier: MIT */
/* An address that no mapping can have is freed. */
#include "misuse.h"

int main(void)
{
	free(get(64));
	free(aim((void *)0xdeadbeefcafe0000));
	return 0;
}
