/* SPDX-License-Identifier: MIT */
/* A page is freed as if it were two; the program goes on. */
#include "misuse.h"

int main(void)
{
	void *page;

	have_page_api();
	page = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 0);
	labyrinth_free_pages(aim(page), 1);
	puts("ok");
	return 0;
}
