/* SPDX-License-Identifier: MIT */
/*
 * The subcommands of labyrinth(1): X(name, what it takes, what it does).  Each is
 * tool_NAME() in a file of src/tool/; help lists them in this order.
 */
#ifndef LAB_TOOL_COMMANDS_H
#define LAB_TOOL_COMMANDS_H

#define TOOL_COMMANDS(X)                                                                           \
	X(run, "[--KEY=VALUE]... [--dry-run] [--] PROGRAM [ARGUMENT]...",                          \
	  "run a program with Labyrinth as its malloc")                                            \
	X(version, "", "print the version")                                                        \
	X(help, "[COMMAND]", "print this, or what a command takes")

#endif /* LAB_TOOL_COMMANDS_H */
