/* SPDX-License-Identifier: MIT */
/* A bit of a free page flips; the program goes on. */
#include "misuse.h"

int main(void)
{
	char *page, *other[200];
	int i;

	have_page_api();
	stay_here();
	page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC);
	if (!page)
		return 1;
	page[5] = 0;
	labyrinth_free_page(page);
	page = aim(page + 5);
	*(volatile char *)page ^= 0x10;
	for (i = 0; i < 200; i++)
		other[i] = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC | LABYRINTH___GFP_NOWARN);
	while (i-- > 0)
		labyrinth_free_page(other[i]);
	puts("ok");
	return 0;
}
