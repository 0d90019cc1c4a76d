/* SPDX-License-Identifier: MIT */
/* A mapping of the program itself is freed. */
#include "misuse.h"

#include <sys/mman.h>

int main(void)
{
	void *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	free(get(64));
	free(aim(map));
	return 0;
}
