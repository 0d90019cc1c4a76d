/* SPDX-License-Identifier: MIT */
/* A block of labyrinth_malloc() is given to labyrinth_free_page(); it stays good. */
#include "misuse.h"

int main(void)
{
	char *block;

	have_page_api();
	block = get_atomic(2048);
	labyrinth_free_page(aim(block));
	if (block[5] != 0x5a)
		return 3;
	free(block);
	puts("ok");
	return 0;
}
