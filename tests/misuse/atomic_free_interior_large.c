/* SPDX-License-Identifier: MIT */
/* An address inside a run of pages of the reserve is freed. */
#include "misuse.h"

int main(void)
{
	char *block = get_atomic(9000);

	free(aim(block + 4096));
	return 0;
}
