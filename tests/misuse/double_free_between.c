/* SPDX-License-Identifier: MIT */
/* Between the two frees blocks of other sizes come and go. */
#include "misuse.h"

int main(void)
{
	void *block = get(64);
	void *others[64];

	free(block);
	for (size_t i = 0; i < 64; i++)
		others[i] = get(128 + i * 100);
	for (size_t i = 0; i < 64; i++)
		free(others[i]);
	free(aim(block));
	return 0;
}
