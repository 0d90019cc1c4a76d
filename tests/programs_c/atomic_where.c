// SPDX-License-Identifier: MIT
/* Where page faults were: what the page tables hold is compared, see atomic.h. */
#include "atomic.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_PAGES (1u << 18)
#define MAX_MAPS  256u

struct map {
	uintptr_t from;
	size_t pages, first;
	char name[160];
};

static struct map maps[MAX_MAPS];
static unsigned int nr_maps;
static uint64_t before[MAX_PAGES], now[MAX_PAGES];

static void read_entries(uint64_t *entries)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);

	for (unsigned int i = 0; i < nr_maps; i++)
		if (pread(fd, entries + maps[i].first, maps[i].pages * 8,
			  (off_t)(maps[i].from / 4096 * 8)) < 0)
			memset(entries + maps[i].first, 0, maps[i].pages * 8);
	close(fd);
}

void atomic_where_begin(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	unsigned long from, end;
	size_t pages = 0;
	char line[300];

	memset(before, 0, sizeof(before));
	memset(now, 0, sizeof(now));
	while (file && nr_maps < MAX_MAPS && fgets(line, sizeof(line), file)) {
		struct map *map = &maps[nr_maps];

		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %159s", &from, &end, map->name) < 2 ||
		    pages + (end - from) / 4096 > MAX_PAGES)
			continue;
		map->from = from;
		map->pages = (end - from) / 4096;
		map->first = pages;
		pages += map->pages;
		nr_maps++;
	}
	if (file)
		fclose(file);
	read_entries(before);
	read_entries(now);
	read_entries(before);
}

void atomic_where_tell(void)
{
	read_entries(now);
	for (unsigned int i = 0; i < nr_maps; i++)
		for (size_t at = 0; at < maps[i].pages; at++)
			if (now[maps[i].first + at] != before[maps[i].first + at])
				fprintf(stderr, "%lx page %zu of %s\n", maps[i].from + at * 4096,
					at, maps[i].name);
}
