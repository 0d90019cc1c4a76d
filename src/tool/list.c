/* SPDX-License-Identifier: MIT */
/* labyrinth list: the processes that have the library. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/snapshot.h"
#include "tool/tool.h"

typedef unsigned long long ull;

static void print_zone(const struct snapshot_zone *z, char *to, size_t size)
{
	uint64_t used = z->managed > z->free ? z->managed - z->free : 0;

	snprintf(to, size, "%llu/%llu", (ull)used * 4, (ull)z->managed * 4);
}

static int print_process(const struct target *t, struct snapshot *s)
{
	char zone[SNAPSHOT_ZONES][32];
	char state = target_state(t->pid, NULL);
	unsigned int i;

	if (!state || snapshot_take(s, t))
		return 0;
	for (i = 0; i < SNAPSHOT_ZONES; i++)
		print_zone(&s->zone[i], zone[i], sizeof(zone[i]));
	printf("%7d %c %-15s %-7s %-8s %9lu %17s %13s %13s\n", (int)t->pid, state, t->comm,
	       t->head.aside	      ? "aside"
	       : t->head.backend == 1 ? "rseq"
	       : t->head.backend == 2 ? "trylock"
				      : "none",
	       t->head.release, s->rss_kb, zone[0], zone[1], zone[2]);
	return 1;
}

static int is_number(const struct dirent *entry)
{
	return isdigit((unsigned char)entry->d_name[0]);
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
	return atoi((*a)->d_name) - atoi((*b)->d_name);
}

int tool_list(int argc, char **argv)
{
	static struct snapshot s;
	struct dirent **entries;
	unsigned int found = 0, denied = 0;
	struct target t;
	int n, i, code;

	if (argc != 1)
		return tool_usage(argv[0]);
	n = scandir("/proc", &entries, is_number, by_number);
	if (n < 0)
		return tool_die(TOOL_FAILED, "/proc cannot be read: %s", strerror(errno));
	printf("%7s %c %-15s %-7s %-8s %9s %17s %13s %13s\n", "PID", 'S', "COMMAND", "STACKS",
	       "VERSION", "RSS KiB", "HEAP used/all KiB", "RESERVE", "EXCLUSIVE");
	for (i = 0; i < n; i++) {
		code = target_open(&t, entries[i]->d_name, true);
		if (code == TOOL_OK)
			found += (unsigned int)print_process(&t, &s);
		else if (code == TOOL_NOT_OURS)
			denied++;
		free(entries[i]);
	}
	free(entries);
	if (denied)
		tool_die(0, "%u processes of other users may not be read; root sees them", denied);
	if (!found)
		return tool_die(TOOL_NO_LIBRARY,
				"no process here has Labyrinth; start one by labyrinth run");
	return TOOL_OK;
}
