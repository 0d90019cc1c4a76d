/* SPDX-License-Identifier: MIT */
/* An object of the reserve is freed again while it waits in the quarantine. */
#include "misuse.h"

int main(void)
{
	void *block = get_atomic(100);

	free(block);
	free(aim(block));
	return 0;
}
