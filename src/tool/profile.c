/* SPDX-License-Identifier: MIT */
/*
 * labyrinth profile: the heap profile of a process, read from its memory as it is,
 * so that a stopped process will do; or a program run with profile:1.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/export_depot.h"
#include "tool/target.h"
#include "tool/tool.h"

/* The stacks of a process, in our own memory. */
struct depot {
	struct lab_export_depot head;
	const char *memory;
	uint64_t units;
};

/* the stack of a handle; NULL: what was copied does not hold it as a whole */
static const struct lab_export_stack_sums *stack_at(const struct depot *depot, uint64_t handle)
{
	const uint64_t head = sizeof(struct lab_export_stack_sums) / LAB_DEPOT_UNIT;
	const struct lab_export_stack_sums *stack;

	if (handle < LAB_DEPOT_HEADS || handle + head > depot->units)
		return NULL;
	stack = (const void *)(depot->memory + handle * LAB_DEPOT_UNIT);
	if (stack->n > LAB_STACK_MAX || handle + head + stack->n > depot->units)
		return NULL;
	return stack;
}

typedef void see_fn(const struct lab_export_stack_sums *stack, void *arg);

static void each(const struct depot *depot, see_fn *see, void *arg)
{
	const uint64_t *heads = (const void *)depot->memory;
	const struct lab_export_stack_sums *stack;
	uint64_t left = depot->units;
	unsigned int i;

	for (i = 0; i < LAB_DEPOT_HEADS; i++)
		/* a copy that was made meanwhile could go in a circle */
		for (stack = stack_at(depot, heads[i]); stack && left-- > 0;
		     stack = stack_at(depot, stack->next))
			see(stack, arg);
}

struct sums {
	uint64_t live, live_bytes, total, total_bytes;
};

static struct sums sums_of(const struct lab_export_stack_sums *stack)
{
	struct sums sums = { stack->live, stack->live_bytes, stack->total, stack->total_bytes };

	/* a free may have overtaken its allocation */
	if ((int64_t)sums.live <= 0 || (int64_t)sums.live_bytes <= 0)
		sums.live = sums.live_bytes = 0;
	return sums;
}

static void add_up(const struct lab_export_stack_sums *stack, void *arg)
{
	struct sums one = sums_of(stack), *all = arg;

	all->live += one.live;
	all->live_bytes += one.live_bytes;
	all->total += one.total;
	all->total_bytes += one.total_bytes;
}

static void print_sums(const struct sums *s, FILE *to)
{
	fprintf(to, "%" PRIu64 ": %" PRIu64 " [%" PRIu64 ": %" PRIu64 "] @", s->live, s->live_bytes,
		s->total, s->total_bytes);
}

static void print_stack(const struct lab_export_stack_sums *stack, void *arg)
{
	struct sums sums = sums_of(stack);
	unsigned int i;

	if (!sums.total)
		return;
	print_sums(&sums, arg);
	for (i = 0; i < stack->n; i++)
		fprintf(arg, " %#" PRIx64, stack->ips[i]);
	fputc('\n', arg);
}

static int print_maps(const struct target *target, FILE *to)
{
	char path[64], part[4096];
	FILE *maps;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)target->pid);
	maps = fopen(path, "re");
	if (!maps)
		return errno == ENOENT ? target_gone(target)
				       : tool_die(TOOL_NOT_OURS, "%s: %s", path, strerror(errno));
	fputs("\nMAPPED_LIBRARIES:\n", to);
	while ((n = fread(part, 1, sizeof(part), maps)) > 0)
		fwrite(part, 1, n, to);
	fclose(maps);
	return TOOL_OK;
}

static int print_profile(const struct target *target, const struct depot *depot, const char *path)
{
	FILE *to = path ? fopen(path, "we") : stdout;
	struct sums all = { 0 };
	int err;

	if (!to)
		return tool_die(TOOL_FAILED, "cannot write %s: %s", path, strerror(errno));
	each(depot, add_up, &all);
	fputs("heap profile: ", to);
	print_sums(&all, to);
	fprintf(to, " heap_v2/%" PRIu64 "\n", depot->head.rate);
	each(depot, print_stack, to);
	err = print_maps(target, to);
	if (fflush(to) || ferror(to))
		err = tool_die(TOOL_FAILED, "cannot write %s: %s", path ? path : "the profile",
			       strerror(errno));
	if (path)
		fclose(to);
	return err;
}

/* a copy of what the process has; the caller frees @memory */
static int read_depot(const struct target *target, struct depot *depot, char **memory)
{
	enum { PART = 1 << 20 };
	uint64_t bytes, at;

	if (!target->head.depot)
		return tool_die(TOOL_NO_LIBRARY, "process %d has a Labyrinth without profiles",
				(int)target->pid);
	if (!target_read(target, target->head.depot, &depot->head, sizeof(depot->head)))
		return target_gone(target);
	if (depot->head.version != LAB_EXPORT_DEPOT_VERSION)
		return tool_die(TOOL_NO_LIBRARY,
				"process %d has a Labyrinth whose profiles are of another version",
				(int)target->pid);
	if (!depot->head.memory)
		return tool_die(TOOL_FAILED,
				"process %d takes no samples: run it by labyrinth profile PROGRAM, "
				"or with the option profile:1",
				(int)target->pid);
	bytes = depot->head.used * LAB_DEPOT_UNIT;
	if (bytes > LAB_DEPOT_BYTES || bytes < LAB_DEPOT_HEADS * LAB_DEPOT_UNIT)
		return tool_die(TOOL_NO_LIBRARY, "process %d has stacks that cannot be understood",
				(int)target->pid);
	*memory = malloc(bytes);
	if (!*memory)
		return tool_die(TOOL_FAILED, "no memory");
	for (at = 0; at < bytes; at += PART)
		if (!target_read(target, (const char *)(uintptr_t)depot->head.memory + at,
				 *memory + at, bytes - at < PART ? bytes - at : PART))
			return target_gone(target);
	depot->memory = *memory;
	depot->units = depot->head.used;
	return TOOL_OK;
}

static int profile_process(const char *pid, const char *path)
{
	struct target target;
	struct depot depot;
	char *memory = NULL;
	int err;

	err = target_open(&target, pid, false);
	if (!err)
		err = read_depot(&target, &depot, &memory);
	if (!err && memory)
		err = print_profile(&target, &depot, path);
	free(memory);
	return err;
}

/* labyrinth run --profile ... */
static int profile_program(char **argv, const char *path, const char *rate)
{
	char dump[512], every[64], run[] = "run", on[] = "--profile", end[] = "--";
	char **args;
	int n, i = 0;

	for (n = 0; argv[n]; n++)
		;
	if ((size_t)snprintf(dump, sizeof(dump), "--profile-dump=%s", path ? path : "labyrinth") >=
		    sizeof(dump) ||
	    (size_t)snprintf(every, sizeof(every), "--profile-rate=%s", rate ? rate : "524288") >=
		    sizeof(every))
		return tool_die(TOOL_USAGE, "a value is too long");
	args = calloc((size_t)n + 6, sizeof(*args));
	if (!args)
		return tool_die(TOOL_FAILED, "no memory");
	args[i++] = run;
	args[i++] = on;
	args[i++] = dump;
	args[i++] = every;
	args[i++] = end;
	memcpy(&args[i], argv, (size_t)n * sizeof(*args));
	return tool_run(i + n, args);
}

static bool is_number(const char *text)
{
	for (; isdigit((unsigned char)*text); text++)
		;
	return !*text;
}

int tool_profile(int argc, char **argv)
{
	const char *word, *value, *path = NULL, *rate = NULL;

	(void)argc;
	argv++;
	while ((word = tool_option(&argv, &value))) {
		if (strcmp(word, "--output") == 0 && value && *value)
			path = value;
		else if (strcmp(word, "--rate") == 0 && value && *value)
			rate = value;
		else
			return tool_die(TOOL_USAGE,
					"unknown option: %s (known: --output=PATH --rate=BYTES)",
					word);
	}
	if (!*argv)
		return tool_usage("profile");
	if (!is_number(*argv))
		return profile_program(argv, path, rate);
	if (argv[1] || rate)
		return tool_usage("profile");
	return profile_process(*argv, path);
}
