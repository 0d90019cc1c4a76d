/* SPDX-License-Identifier: MIT */
/*
 * What the files of labyrinth(1) share.  The tool is no part of the library: it
 * sees the public headers, and the list of options.
 *
 * A new subcommand: a line in tool/commands.h, and a file with
 *
 *	int tool_NAME(int argc, char **argv)
 *
 * argv[0] is its name; the result is the exit code, one of those below.
 */
#ifndef LAB_TOOL_TOOL_H
#define LAB_TOOL_TOOL_H

#include "tool/commands.h"

/* Exit codes of our own; 126 and 127 are those of a shell. */
enum tool_exit {
	TOOL_OK = 0,
	TOOL_FAILED = 1,     /* the system would not */
	TOOL_USAGE = 2,	     /* the command line is wrong */
	TOOL_NO_PROCESS = 3, /* there is none of this number, or it has ended */
	TOOL_NOT_OURS = 4,   /* a process that we may not read */
	TOOL_NO_LIBRARY = 5  /* a process without Labyrinth, or with one of another version */
};

struct tool_command {
	const char *name, *takes, *does;
	int (*run)(int argc, char **argv);
};

#define TOOL_COMMAND_DECLARE(name, takes, does) int tool_##name(int argc, char **argv);
TOOL_COMMANDS(TOOL_COMMAND_DECLARE)

/** tool_find() - the command of this name, or NULL */
const struct tool_command *tool_find(const char *name);

/** tool_die() - print "labyrinth: ..." on standard error; returns @code */
__attribute__((format(printf, 2, 3))) int tool_die(int code, const char *format, ...);

/** tool_usage() - say what the command takes; returns TOOL_USAGE */
int tool_usage(const char *name);

/**
 * tool_option() - the next argument, if it is an option
 * @argv:  the arguments that are left; moved on if one was taken
 * @value: receives what follows its '=', or NULL
 *
 * "--" is taken and ends the options.
 *
 * Return: the option's name, from its dashes on and without its value; NULL: none is left.
 */
const char *tool_option(char ***argv, const char **value);

#endif /* LAB_TOOL_TOOL_H */
