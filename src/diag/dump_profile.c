/* SPDX-License-Identifier: MIT */
/* Heap profiles: figures by stack. */
#include "diag/dump.h"
#include "diag/owner.h"
#include "diag/sample.h"
#include "gfp/warn_text.h"
#include "os/file.h"
#include "os/os.h"

struct sums {
	uint64_t live, live_bytes, total, total_bytes;
};

/* the figures of a stack; a free that has just overtaken us must not show as 2^64 */
static struct sums read_sums(const struct lab_export_stack_sums *stack)
{
	struct sums sums = { .live = lab_word_get(lab_depot_word(&stack->live)),
			     .live_bytes = lab_word_get(lab_depot_word(&stack->live_bytes)),
			     .total = lab_word_get(lab_depot_word(&stack->total)),
			     .total_bytes = lab_word_get(lab_depot_word(&stack->total_bytes)) };

	if ((int64_t)sums.live <= 0 || (int64_t)sums.live_bytes <= 0)
		sums.live = sums.live_bytes = 0;
	return sums;
}

/* bytes that stand behind the live samples of a stack */
static uint64_t live_estimate(const struct sums *sums)
{
	return (uint64_t)((double)sums->live_bytes *
			  lab_sample_scale(sums->live, sums->live_bytes));
}

/* objects; not by their mean size: of sums that change meanwhile that may be less than a byte */
static uint64_t live_objects(const struct sums *sums)
{
	return (uint64_t)((double)sums->live * lab_sample_scale(sums->live, sums->live_bytes));
}

/* ---- heap_v2 ---- */

static void add_up(const struct lab_export_stack_sums *stack, void *arg)
{
	struct sums one = read_sums(stack), *all = arg;

	all->live += one.live;
	all->live_bytes += one.live_bytes;
	all->total += one.total;
	all->total_bytes += one.total_bytes;
}

static void put_sums(struct lab_dump *dump, const struct sums *sums)
{
	lab_dump_dec(dump, sums->live);
	lab_dump_str(dump, ": ");
	lab_dump_dec(dump, sums->live_bytes);
	lab_dump_str(dump, " [");
	lab_dump_dec(dump, sums->total);
	lab_dump_str(dump, ": ");
	lab_dump_dec(dump, sums->total_bytes);
	lab_dump_str(dump, "] @");
}

static void put_heap_line(const struct lab_export_stack_sums *stack, void *arg)
{
	struct sums sums = read_sums(stack);
	struct lab_dump *dump = arg;
	unsigned int i;

	if (!sums.total || dump->err)
		return;
	put_sums(dump, &sums);
	for (i = 0; i < stack->n; i++) {
		lab_dump_str(dump, " ");
		lab_dump_hex(dump, stack->ips[i]);
	}
	lab_dump_str(dump, "\n");
}

static void put_maps(struct lab_dump *dump)
{
	int fd = lab_os_open_input("/proc/self/maps");
	long got;

	lab_dump_str(dump, "\nMAPPED_LIBRARIES:\n");
	lab_dump_flush(dump);
	if (fd < 0)
		return;
	while ((got = lab_os_read(fd, dump->line.text, sizeof(dump->line.text))) > 0) {
		dump->line.len = (unsigned int)got;
		lab_dump_flush(dump);
	}
	lab_os_close(fd);
}

int lab_dump_heap(int fd)
{
	struct sums all = { .live = 0 };
	struct lab_dump dump;

	lab_depot_each(add_up, &all);
	lab_dump_start(&dump, fd);
	lab_dump_str(&dump, "heap profile: ");
	put_sums(&dump, &all);
	lab_dump_str(&dump, " heap_v2/");
	lab_dump_dec(&dump, lab_sample_rate());
	lab_dump_str(&dump, "\n");
	lab_depot_each(put_heap_line, &dump);
	put_maps(&dump);
	return dump.err;
}

/* ---- collapsed ---- */

static void put_name(void *arg, const char *name)
{
	lab_dump_str(arg, name);
	lab_dump_str(arg, ";");
}

static void put_leaf(void *arg, const char *name)
{
	lab_dump_str(arg, name);
}

static void put_collapsed(const struct lab_export_stack_sums *stack, void *arg)
{
	const struct labyrinth_trace *trace = lab_warn_trace();
	struct sums sums = read_sums(stack);
	struct lab_dump *dump = arg;
	uintptr_t ips[LAB_STACK_MAX];
	unsigned int i, n = (unsigned int)stack->n;

	if (!sums.live || dump->err)
		return;
	for (i = 0; i < n; i++)
		ips[i] = stack->ips[n - 1 - i];
	if (trace && n > 1)
		trace->name(ips, n - 1, true, put_name, dump);
	if (trace && n)
		trace->name(ips + n - 1, 1, true, put_leaf, dump);
	else
		lab_dump_str(dump, "[unknown]");
	lab_dump_str(dump, " ");
	lab_dump_dec(dump, live_estimate(&sums));
	lab_dump_str(dump, "\n");
}

int lab_dump_collapsed(int fd)
{
	struct lab_dump dump;

	lab_dump_start(&dump, fd);
	lab_depot_each(put_collapsed, &dump);
	lab_dump_flush(&dump);
	return dump.err;
}

/* ---- leaks ---- */

enum { LEAKS = 10 };

struct leaks {
	uint64_t bytes, objects, nstacks;
	struct {
		const struct lab_export_stack_sums *stack;
		uint64_t bytes;
	} top[LEAKS];
};

static void see_leak(const struct lab_export_stack_sums *stack, void *arg)
{
	struct sums sums = read_sums(stack);
	uint64_t bytes = live_estimate(&sums);
	struct leaks *leaks = arg;
	unsigned int i;

	if (!bytes)
		return;
	leaks->bytes += bytes;
	leaks->objects += live_objects(&sums);
	leaks->nstacks++;
	for (i = LEAKS; i > 0 && leaks->top[i - 1].bytes < bytes; i--)
		if (i < LEAKS)
			leaks->top[i] = leaks->top[i - 1];
	if (i < LEAKS) {
		leaks->top[i].stack = stack;
		leaks->top[i].bytes = bytes;
	}
}

static void put_leak_frame(void *arg, const char *line)
{
	lab_dump_str(arg, "   ");
	lab_dump_str(arg, line);
	lab_dump_str(arg, "\n");
}

static void put_amount(struct lab_dump *dump, uint64_t bytes, uint64_t objects)
{
	lab_dump_str(dump, "about ");
	lab_dump_dec(dump, bytes);
	lab_dump_str(dump, " bytes in ");
	lab_dump_dec(dump, objects);
	lab_dump_str(dump, " objects");
}

static void put_leak(struct lab_dump *dump, const struct lab_export_stack_sums *stack,
		     uint64_t bytes)
{
	const struct labyrinth_trace *trace = lab_warn_trace();
	struct sums sums = read_sums(stack);

	lab_dump_str(dump, "  ");
	put_amount(dump, bytes, live_objects(&sums));
	lab_dump_str(dump, ", from\n");
	if (trace)
		trace->name(stack->ips, (unsigned int)stack->n, false, put_leak_frame, dump);
}

int lab_dump_leaks(int fd)
{
	struct leaks leaks = { .bytes = 0 };
	struct lab_dump dump;
	unsigned int i;

	lab_depot_each(see_leak, &leaks);
	lab_dump_start(&dump, fd);
	lab_dump_str(&dump, "labyrinth[");
	lab_dump_dec(&dump, (uint64_t)lab_getpid());
	lab_dump_str(&dump, "]: in use: ");
	put_amount(&dump, leaks.bytes, leaks.objects);
	lab_dump_str(&dump, ", allocated at ");
	lab_dump_dec(&dump, leaks.nstacks);
	lab_dump_str(&dump, " places\n");
	for (i = 0; i < LEAKS && leaks.top[i].stack; i++)
		put_leak(&dump, leaks.top[i].stack, leaks.top[i].bytes);
	lab_dump_flush(&dump);
	return dump.err;
}
