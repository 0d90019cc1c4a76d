/* SPDX-License-Identifier: MIT */
/* A static page is given to labyrinth_free_page(); the program goes on. */
#include "misuse.h"

static char page[4096] __attribute__((aligned(4096)));

int main(void)
{
	have_page_api();
	labyrinth_free_page(aim(page));
	puts("ok");
	return 0;
}
