/* SPDX-License-Identifier: MIT */
/* labyrinth(1): the table of its commands. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tool/tool.h"

#ifndef LABYRINTH_VERSION
#define LABYRINTH_VERSION "unknown"
#endif

#define ROW(name, takes, does) { #name, takes, does, tool_##name },
static const struct tool_command commands[] = { TOOL_COMMANDS(ROW) };

static const struct tool_command *const end = commands + sizeof(commands) / sizeof(*commands);

const struct tool_command *tool_find(const char *name)
{
	const struct tool_command *c;

	for (c = commands; c < end; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int tool_die(int code, const char *format, ...)
{
	va_list args;

	fputs("labyrinth: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

static void print_usage(FILE *to, const struct tool_command *c)
{
	fprintf(to, "usage: labyrinth %s%s%s\n", c->name, *c->takes ? " " : "", c->takes);
}

int tool_usage(const char *name)
{
	print_usage(stderr, tool_find(name));
	return TOOL_USAGE;
}

const char *tool_option(char ***argv, const char **value)
{
	char *word = **argv, *equals;

	*value = NULL;
	if (!word || word[0] != '-' || !word[1])
		return NULL;
	++*argv;
	if (strcmp(word, "--") == 0)
		return NULL;
	equals = strchr(word, '=');
	if (equals) {
		*equals = '\0';
		*value = equals + 1;
	}
	return word;
}

static void print_commands(FILE *to)
{
	const struct tool_command *c;

	fputs("usage: labyrinth COMMAND [ARGUMENT]...\n\n", to);
	for (c = commands; c < end; c++)
		fprintf(to, "  %-10s %s\n", c->name, c->does);
	fputs("\nlabyrinth help COMMAND: what it takes.  man 1 labyrinth has the rest.\n", to);
}

int tool_help(int argc, char **argv)
{
	const struct tool_command *c;

	if (argc < 2) {
		print_commands(stdout);
		return TOOL_OK;
	}
	c = tool_find(argv[1]);
	if (!c)
		return tool_die(TOOL_USAGE, "no such command: %s; labyrinth help lists them",
				argv[1]);
	print_usage(stdout, c);
	printf("%s\n", c->does);
	return TOOL_OK;
}

int tool_version(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		return tool_usage("version");
	puts("labyrinth " LABYRINTH_VERSION);
	return TOOL_OK;
}

int main(int argc, char **argv)
{
	const struct tool_command *c;
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "--help") == 0 || strcmp(name, "--version") == 0)
		name += 2;
	c = tool_find(name);
	if (c)
		return c->run(argc - 1, argv + 1);
	if (*name)
		return tool_die(TOOL_USAGE, "no such command: %s; labyrinth help lists them", name);
	print_commands(stderr);
	return TOOL_USAGE;
}
