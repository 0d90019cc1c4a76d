// SPDX-License-Identifier: MIT
/* Is the library there, of the header's version's kind, and whose is malloc()? */
#include <labyrinth.h>
#include <stdlib.h>

int main(void)
{
	void *page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC);
	struct labyrinth_zone_info before, after;
	void *volatile block;

	labyrinth_free_page(page);
	labyrinth_zone_info(LABYRINTH_ZONE_HEAP, &before);
	block = malloc(1 << 20);
	labyrinth_zone_info(LABYRINTH_ZONE_HEAP, &after);
	free(block);
#ifdef REPLACED
	return !page || after.taken < before.taken + 256;
#else
	return !page || after.taken != before.taken;
#endif
}
