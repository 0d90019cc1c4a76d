/* SPDX-License-Identifier: MIT */
/* A page of mmap() that the library serves is freed. */
#include "misuse.h"

#include <sys/mman.h>

int main(void)
{
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	free(get(64));
	free(aim(map));
	return 0;
}
