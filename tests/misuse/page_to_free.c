/* SPDX-License-Identifier: MIT */
/* A page of the page API is given to free(). */
#include "misuse.h"

int main(void)
{
	void *page;

	have_page_api();
	page = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 0);
	free(aim(page));
	return 0;
}
