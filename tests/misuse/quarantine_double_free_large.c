/* SPDX-License-Identifier: MIT */
/* A block of 100 KiB is freed again while it waits in the quarantine. */
#include "misuse.h"

int main(void)
{
	void *block = get(100 << 10);

	free(block);
	free(aim(block));
	return 0;
}
