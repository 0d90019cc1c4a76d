/* SPDX-License-Identifier: MIT */
/* Four pages are freed as if they were two; the program goes on. */
#include "misuse.h"

int main(void)
{
	void *pages;

	have_page_api();
	pages = labyrinth_alloc_pages(LABYRINTH_GFP_KERNEL, 2);
	labyrinth_free_pages(aim(pages), 1);
	puts("ok");
	return 0;
}
