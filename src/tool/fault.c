/* SPDX-License-Identifier: MIT */
/*
 * labyrinth fault: the attributes of fail_page_alloc and failslab of another process,
 * as the kernel has them in /sys/kernel/debug.  Written by process_vm_writev(2), so
 * that a stopped process will do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "api/option_value.h"
#include "base/export_fault.h"
#include "tool/target.h"
#include "tool/tool.h"

static const char *const names[] = { "fail_page_alloc", "failslab" };

/* Files of the kernel's directory of a fault. */
#define FIELD(name, member, low, high)                                                             \
	{                                                                                          \
		name, offsetof(struct labyrinth_fault_attr, member), low, high                     \
	}
static const struct field {
	const char *name;
	size_t at;
	int64_t low, high;
} fields[] = {
	FIELD("probability", probability, 0, 100),
	FIELD("interval", interval, 0, INT32_MAX),
	FIELD("times", times, -1, INT32_MAX),
	FIELD("space", space, 0, INT64_MAX),
	FIELD("verbose", verbose, 0, 2),
	FIELD("task-filter", task_filter, 0, 1),
	FIELD("ignore-gfp-wait", ignore_gfp_wait, 0, 1),
	FIELD("ignore-gfp-highmem", ignore_gfp_highmem, 0, 1),
	FIELD("min-order", min_order, 0, 10),
};
enum { NR_FIELDS = sizeof(fields) / sizeof(*fields) };

static int64_t *value_of(struct labyrinth_fault_attr *attr, const struct field *field)
{
	return (int64_t *)((char *)attr + field->at);
}

static bool put(const struct target *target, const void *at, uint64_t word)
{
	struct iovec local = { &word, sizeof(word) };
	struct iovec remote = { (void *)(uintptr_t)at, sizeof(word) };

	return process_vm_writev(target->pid, &local, 1, &remote, 1, 0) == sizeof(word);
}

static int refused(const struct target *target)
{
	if (errno == ESRCH)
		return target_gone(target);
	return tool_die(TOOL_NOT_OURS, "process %d cannot be written to: %s", (int)target->pid,
			strerror(errno));
}

/* ---- what is there ---- */

static int read_fault(const struct target *target, struct lab_export_fault *fault)
{
	memset(fault, 0, sizeof(*fault));
	if (!target->head.fault)
		return tool_die(TOOL_NO_LIBRARY, "process %d has a Labyrinth without faults",
				(int)target->pid);
	if (!target_read(target, target->head.fault, fault, sizeof(*fault)))
		return refused(target);
	if (fault->version != LAB_EXPORT_FAULT_VERSION || fault->bytes < sizeof(*fault))
		return tool_die(TOOL_NO_LIBRARY,
				"process %d has a Labyrinth whose faults are of another version",
				(int)target->pid);
	return TOOL_OK;
}

static void show(struct lab_export_fault *fault)
{
	unsigned int i, f;

	for (i = 0; i < LABYRINTH_NR_FAULTS; i++) {
		printf("%s\n", names[i]);
		for (f = 0; f < NR_FIELDS; f++)
			printf("  %-18s %" PRId64 "\n", fields[f].name,
			       *value_of(&fault->attr[i], &fields[f]));
		printf("  %-18s %" PRIu64 "\n", "injected", fault->attr[i].injected);
	}
	printf("seed %" PRIu64 "\n", fault->seed);
}

/* ---- what it shall be ---- */

/* "1/10/0/-1", as the boot parameter */
static bool read_four(struct labyrinth_fault_attr *attr, const char *text)
{
	uint64_t number[4];

	if (!lab_option_fault(text, strlen(text), number))
		return false;
	attr->interval = number[0];
	attr->probability = number[1];
	attr->space = (int64_t)number[2];
	attr->times = (int64_t)number[3];
	return true;
}

static int read_pair(struct labyrinth_fault_attr *attr, char *pair)
{
	const struct field *field;
	char *equals = strchr(pair, '='), *end;
	int64_t value;

	if (!equals)
		return read_four(attr, pair) ? TOOL_OK
					     : tool_die(TOOL_USAGE,
							"neither ATTRIBUTE=VALUE nor "
							"INTERVAL/PROBABILITY/SPACE/TIMES: %s",
							pair);
	*equals = '\0';
	for (field = fields; field < fields + NR_FIELDS; field++)
		if (strcmp(field->name, pair) == 0)
			break;
	if (field == fields + NR_FIELDS)
		return tool_die(TOOL_USAGE, "no such attribute: %s; labyrinth fault PID shows them",
				pair);
	errno = 0;
	value = strtoll(equals + 1, &end, 10);
	if (errno || *end || end == equals + 1 || value < field->low || value > field->high)
		return tool_die(TOOL_USAGE, "bad value \"%s\"; %s takes %" PRId64 " to %" PRId64,
				equals + 1, pair, field->low, field->high);
	*value_of(attr, field) = value;
	return TOOL_OK;
}

/* from now on every request of the process meets the watchers */
static bool watch(const struct target *target, const struct lab_export_fault *fault)
{
	uint64_t watchers;
	unsigned int i;

	for (i = 0; i < 2; i++)
		if (!put(target, (void *)fault->bound[i], LAB_EXPORT_BOUND_CLOSED))
			return false;
	return put(target, (void *)fault->gate, LAB_EXPORT_GATE_CLOSED) &&
	       target_read(target, (void *)fault->watchers, &watchers, sizeof(watchers)) &&
	       (watchers & fault->watcher ||
		put(target, (void *)fault->watchers, watchers | fault->watcher));
}

static int change(const struct target *target, const struct lab_export_fault *fault,
		  unsigned int which, struct labyrinth_fault_attr *attr)
{
	const char *at = target->head.fault + offsetof(struct lab_export_fault, attr) +
			 which * sizeof(*attr);
	unsigned int f;

	/* with a probability of 0 the others do not count: that one last */
	if (!put(target, at, 0))
		return refused(target);
	for (f = NR_FIELDS; f-- > 0;)
		if (!put(target, at + fields[f].at, (uint64_t)*value_of(attr, &fields[f])))
			return refused(target);
	return watch(target, fault) ? TOOL_OK : refused(target);
}

int tool_fault(int argc, char **argv)
{
	struct lab_export_fault fault;
	struct target target;
	unsigned int which;
	int err;

	if (argc < 2 || argc == 3)
		return tool_usage("fault");
	err = target_open(&target, argv[1], false);
	if (!err)
		err = read_fault(&target, &fault);
	if (err)
		return err;
	if (argc == 2) {
		show(&fault);
		return TOOL_OK;
	}
	for (which = 0; which < LABYRINTH_NR_FAULTS; which++)
		if (strcmp(names[which], argv[2]) == 0)
			break;
	if (which == LABYRINTH_NR_FAULTS)
		return tool_die(TOOL_USAGE,
				"no such fault: %s; there are fail_page_alloc, failslab", argv[2]);
	for (argv += 3; *argv; argv++) {
		err = read_pair(&fault.attr[which], *argv);
		if (err)
			return err;
	}
	return change(&target, &fault, which, &fault.attr[which]);
}
