/* SPDX-License-Identifier: MIT */
/* A page of the page API is freed twice; the program goes on. */
#include "misuse.h"

int main(void)
{
	void *page;

	have_page_api();
	page = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 0);
	labyrinth_free_page(page);
	labyrinth_free_page(aim(page));
	puts("ok");
	return 0;
}
