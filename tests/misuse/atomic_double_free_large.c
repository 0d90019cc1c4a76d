/* SPDX-License-Identifier: MIT */
/* The same with a run of pages of the reserve; announced before, as that takes memory. */
#include "misuse.h"

int main(void)
{
	void *block = aim(get_atomic(9000));

	free(block);
	free(block);
	return 0;
}
