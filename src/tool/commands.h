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
	X(list, "", "show the processes that have Labyrinth")                                      \
	X(stat, "PID [INTERVAL [COUNT]]", "show how its figures change, as vmstat(8) does")        \
	X(top, "[-o] [-d SECONDS] [-s KEY] PID", "show its classes live, as slabtop(1) does")      \
	X(slabinfo, "PID", "show its classes as /proc/slabinfo")                                   \
	X(zoneinfo, "PID", "show its zones as /proc/zoneinfo")                                     \
	X(buddyinfo, "PID", "show its free pages as /proc/buddyinfo")                              \
	X(vmstat, "PID", "show its counters as /proc/vmstat")                                      \
	X(histogram,                                                                               \
	  "[--json] [--output=FILE] [--svg=FILE] [--KEY=VALUE]... [--] PROGRAM [ARGUMENT]...",     \
	  "run a program, and print the sizes and lifetimes of what it allocates")                 \
	X(fault, "PID [failslab|fail_page_alloc [ATTRIBUTE=VALUE]...]",                            \
	  "show how requests of a process fail on purpose, or let them")                           \
	X(profile, "[--output=PATH] [--rate=BYTES] PID|[--] PROGRAM [ARGUMENT]...",                \
	  "write the heap profile of a process, or of a program at its end")                       \
	X(version, "", "print the version")                                                        \
	X(help, "[COMMAND]", "print this, or what a command takes")

#endif /* LAB_TOOL_COMMANDS_H */
