/* SPDX-License-Identifier: MIT */
/* A block of 5 MiB is freed again while it waits in the quarantine. */
#include "misuse.h"

int main(void)
{
	void *block = get(5 << 20);

	free(block);
	free(aim(block));
	return 0;
}
