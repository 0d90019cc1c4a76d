/* SPDX-License-Identifier: MIT */
/* A block of malloc() is given to labyrinth_free_page(); the program goes on. */
#include "misuse.h"

int main(void)
{
	void *block;

	have_page_api();
	block = get(64);
	labyrinth_free_page(aim(block));
	puts("ok");
	return 0;
}
