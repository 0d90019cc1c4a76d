/* SPDX-License-Identifier: MIT */
#include "gfp/warn_text.h"
#include "base/fail.h"
#include "gfp/flags.h"
#include "os/os.h"
#include "pcp/flow.h"

static lab_word_t trace; /* const struct labyrinth_trace *; 0: none */

LAB_PUBLIC int labyrinth_trace_register(const struct labyrinth_trace *with)
{
	if (with->version != LABYRINTH_TRACE_VERSION || with->slots < LABYRINTH_TRACE_SLOTS)
		return -1;
	/* release: pairs with lab_warn_trace() [warn.trace] */
	atomic_store_explicit(&trace, (uintptr_t)with, memory_order_release);
	return 0;
}

const struct labyrinth_trace *lab_warn_trace(void)
{
	/* acquire: pairs with labyrinth_trace_register() [warn.trace] */
	return (const void *)(uintptr_t)atomic_load_explicit(&trace, memory_order_acquire);
}

static void start(struct lab_line *line)
{
	lab_line_start(line);
	lab_line_str(line, "labyrinth[");
	lab_line_dec(line, (uint64_t)lab_getpid());
	lab_line_str(line, "]: ");
}

static void put(struct lab_line *line, const char *name, uint64_t value)
{
	lab_line_str(line, name);
	lab_line_dec(line, value);
}

static void put_mode(struct lab_line *line, const struct lab_warn_record *record)
{
	lab_line_str(line, "mode:");
	lab_line_gfp(line, record->gfp);
}

static void put_who(struct lab_line *line, const struct lab_warn_record *record, bool deferred)
{
	uint64_t now = deferred && record->ms ? lab_os_clock_ms() : 0;

	if (!deferred) {
		put(line, ", tid=", (uint64_t)lab_os_gettid());
		return;
	}
	lab_line_str(line, ", thread=");
	lab_line_hex(line, record->thread);
	if (now >= record->ms && now) {
		put(line, ",ago=", now - record->ms);
		lab_line_str(line, "ms");
	}
}

/* the kernel's words, and then what repeats it */
static void start_fault(struct lab_line *line, const struct lab_warn_fault *fault)
{
	lab_line_start(line);
	lab_line_str(line, "name ");
	lab_line_str(line, fault->name);
	put(line, ", interval ", fault->interval);
	put(line, ", probability ", fault->probability);
	put(line, ", space ", fault->space);
	if (fault->times == UINT64_MAX)
		lab_line_str(line, ", times -1");
	else
		put(line, ", times ", fault->times);
	put(line, ", bytes ", fault->bytes);
	put(line, ", seed ", fault->seed);
	lab_line_str(line, ", ");
}

static LAB_NOINLINE void say_head(const struct lab_warn_record *record, bool deferred)
{
	struct lab_line line;
	const char *comm = lab_os_comm();
	unsigned int i;

	start(&line);
	if (record->kind != LAB_WARN_RULE) {
		char name[16]; /* TASK_COMM_LEN */

		for (i = 0; i < sizeof(name) - 1 && comm[i]; i++)
			name[i] = comm[i];
		name[i] = '\0';
		lab_line_str(&line, name);
	}
	if (record->kind == LAB_WARN_FAILURE) {
		lab_line_str(&line, ": page allocation failure: ");
	} else if (record->kind == LAB_WARN_STALL) {
		put(&line, ": page allocation stall for ", record->seconds);
		lab_line_str(&line, " secs: ");
	} else if (record->kind == LAB_WARN_FAULT) {
		lab_line_str(&line, ": FAULT_INJECTION: forcing a failure.");
		(void)lab_line_put(&line, 2);
		start_fault(&line, &record->fault);
	} else {
		lab_line_str(&line, "WARNING: ");
		lab_line_str(&line, record->text);
		lab_line_str(&line, ", ");
	}
	if (record->kind != LAB_WARN_FAULT) {
		put(&line, "order:", record->order);
		lab_line_str(&line, ", ");
	}
	put_mode(&line, record);
	put_who(&line, record, deferred);
	(void)lab_line_put(&line, 2);
}

static void put_kb(struct lab_line *line, const char *name, uint64_t pages)
{
	put(line, name, pages * (LAB_PAGE_BYTES / 1024));
	lab_line_str(line, "kB");
}

static LAB_NOINLINE void say_zone(enum lab_zone_id id, const struct lab_warn_zone *zone)
{
	static const char *const name[] = { "heap", "reserve", "exclusive" };
	static const uint8_t cls[] = { LAB_PCP_PAGE, LAB_PCP_API, LAB_PCP_EXCL };
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(&line, "Node 0 ");
	lab_line_str(&line, name[id]);
	put_kb(&line, " free:", zone->free);
	put_kb(&line, " min:", zone->min);
	put_kb(&line, " low:", zone->low);
	put_kb(&line, " high:", zone->high);
	put_kb(&line, " reserved_highatomic:", zone->highatomic);
	put_kb(&line, " managed:", zone->managed);
	put_kb(&line, " mlocked:", zone->locked);
	put_kb(&line, " free_pcp:", lab_pcp_stacked(cls[id]));
	(void)lab_line_put(&line, 2);
}

static LAB_NOINLINE void say_text(const char *text)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(&line, text);
	(void)lab_line_put(&line, 2);
}

static void say_frame(void *unused, const char *text)
{
	(void)unused;
	say_text(text);
}

static void say_stack(int stack)
{
	const struct labyrinth_trace *with = lab_warn_trace();

	if (!with || stack == LAB_WARN_NO_STACK)
		return;
	say_text("Call Trace:");
	if (stack == LAB_WARN_STACK_HERE)
		with->print_here(say_frame, NULL);
	else
		with->print((unsigned int)stack, say_frame, NULL);
}

void lab_warn_say(const struct lab_warn_record *record, int stack, bool deferred)
{
	unsigned int id;

	say_head(record, deferred);
	if (record->kind == LAB_WARN_RULE)
		return;
	say_stack(stack);
	if (record->kind == LAB_WARN_FAULT)
		return;
	say_text("Mem-Info:");
	for (id = 0; id < LAB_NR_ZONES; id++)
		say_zone((enum lab_zone_id)id, &record->zone[id]);
}

void lab_warn_say_missed(uint64_t n)
{
	struct lab_line line;

	start(&line);
	put(&line, "warn_alloc: ", n);
	lab_line_str(&line, " callbacks suppressed");
	(void)lab_line_put(&line, 2);
}
