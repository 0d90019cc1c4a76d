/* SPDX-License-Identifier: MIT */
/*
 * Unwinding by libunwind, as of another process: it sees memory through the
 * functions below alone, so a stack may be a copy, and nothing is read that is
 * not known to be mapped.
 *
 * libunwind keeps a pool of its own under a mutex.  One context at a time is let
 * in here, with its signals blocked, see enter(), so nobody ever waits for that
 * mutex; who comes too late does without a stack.  What is large is static for
 * the same reason: a report may be written on an alternate stack of 16 KiB.
 */
#define _GNU_SOURCE
#include <libunwind.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "trace/trace.h"

enum { FRAMES_MAX = 64 };

/* exported for those that unwind other processes, but in no header */
int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t as, unw_word_t ip, unw_dyn_info_t *di,
				       unw_proc_info_t *pi, int need, void *arg);

static unw_addr_space_t space;
static _Atomic(int) user; /* 1: somebody is inside */

/* ---- what libunwind asks ---- */

/* .eh_frame_hdr: version, three encodings, then the address of .eh_frame */
struct hdr {
	uint8_t version, eh_frame_enc, count_enc, table_enc;
	int32_t eh_frame;
	uint32_t count; /* pairs of int32_t from here on, relative to the header */
	char table[];
};

static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *pi, int need,
			  void *arg)
{
	struct dl_find_object found;
	unw_dyn_info_t info;
	const struct hdr *hdr;

	if (object_find(ip, &found))
		return -UNW_ENOINFO;
	hdr = found.dlfo_eh_frame;
	/* what linkers have written for twenty years: sdata4 from here, udata4, datarel sdata4 */
	if (!hdr || hdr->version != 1 || hdr->eh_frame_enc != 0x1b || hdr->count_enc != 0x03 ||
	    hdr->table_enc != 0x3b)
		return -UNW_ENOINFO;
	memset(&info, 0, sizeof(info));
	info.start_ip = (unw_word_t)found.dlfo_map_start;
	info.end_ip = (unw_word_t)found.dlfo_map_end;
	info.format = UNW_INFO_FORMAT_REMOTE_TABLE;
	info.u.rti.segbase = (unw_word_t)hdr;
	info.u.rti.table_data = (unw_word_t)hdr->table;
	info.u.rti.table_len = hdr->count * 8ul / sizeof(unw_word_t);
	return UNW_OBJ(dwarf_search_unwind_table)(as, ip, &info, pi, need, arg);
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *pi, void *arg)
{
	/* libunwind takes back itself what the table search above has made */
	(void)as;
	(void)pi;
	(void)arg;
}

static int no_dyn_info(unw_addr_space_t as, unw_word_t *addr, void *arg)
{
	(void)as;
	(void)addr;
	(void)arg;
	return -UNW_ENOINFO;
}

/*
 * A stack that is not there, for unwind_step(): what lies between two of these
 * addresses is told by its distance, and so is what was read from there.
 */
enum { PROBE_REACH = 1 << 23 };
#define PROBE_SP     0x100000000000ul
#define PROBE_BP     0x200000000000ul
#define PROBE_BEHIND 0x300000000000ul

static int is_near(uintptr_t address, uintptr_t base)
{
	return address - base + PROBE_REACH < 2ul * PROBE_REACH;
}

static int probe_mem(const struct stack_view *view, unw_word_t addr, unw_word_t *value)
{
	(void)view;
	if (is_near(addr, PROBE_BP)) {
		*value = PROBE_BEHIND + (addr - PROBE_BP);
		return 0;
	}
	if (is_near(addr, PROBE_SP) || is_near(addr, PROBE_BEHIND)) {
		*value = PROBE_SP / 2;
		return 0;
	}
	if (!object_holds(addr, sizeof(*value)))
		return -UNW_EINVAL;
	memcpy(value, (const void *)addr, sizeof(*value));
	return 0;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *value, int write, void *arg)
{
	const struct stack_view *view = arg;
	uintptr_t off = addr - view->sp;

	(void)as;
	if (write)
		return -UNW_EINVAL;
	if (!view->bytes)
		return probe_mem(view, addr, value);
	if (addr >= view->sp && off < view->len && view->len - off >= sizeof(*value)) {
		memcpy(value, view->bytes + off, sizeof(*value));
		return 0;
	}
	if (!object_holds(addr, sizeof(*value)))
		return -UNW_EINVAL;
	memcpy(value, (const void *)addr, sizeof(*value));
	return 0;
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *value, int write,
		      void *arg)
{
	const struct stack_view *view = arg;

	(void)as;
	if (write)
		return -UNW_EREADONLYREG;
	switch (reg) {
	case UNW_X86_64_RIP:
		*value = view->ip;
		return 0;
	case UNW_X86_64_RSP:
		*value = view->sp;
		return 0;
	case UNW_X86_64_RBP:
		*value = view->bp;
		return 0;
	case UNW_X86_64_RBX:
		*value = view->bx;
		return 0;
	case UNW_X86_64_R12:
		*value = view->r12;
		return 0;
	case UNW_X86_64_R13:
		*value = view->r13;
		return 0;
	case UNW_X86_64_R14:
		*value = view->r14;
		return 0;
	case UNW_X86_64_R15:
		*value = view->r15;
		return 0;
	default:
		return -UNW_EBADREG;
	}
}

static int no_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *value, int write, void *arg)
{
	(void)as;
	(void)reg;
	(void)value;
	(void)write;
	(void)arg;
	return -UNW_EBADREG;
}

static int no_resume(unw_addr_space_t as, unw_cursor_t *cursor, void *arg)
{
	(void)as;
	(void)cursor;
	(void)arg;
	return -UNW_EINVAL;
}

static int no_name(unw_addr_space_t as, unw_word_t addr, char *name, size_t size, unw_word_t *off,
		   void *arg)
{
	(void)as;
	(void)addr;
	(void)name;
	(void)size;
	(void)off;
	(void)arg;
	return -UNW_ENOINFO;
}

int unwind_init(void)
{
	static unw_accessors_t accessors = { .find_proc_info = find_proc_info,
					     .put_unwind_info = put_unwind_info,
					     .get_dyn_info_list_addr = no_dyn_info,
					     .access_mem = access_mem,
					     .access_reg = access_reg,
					     .access_fpreg = no_fpreg,
					     .resume = no_resume,
					     .get_proc_name = no_name };

	space = unw_create_addr_space(&accessors, 0);
	if (!space)
		return -1;
	/* a cache would be a second lock, and wrong once an object is unloaded */
	unw_set_caching_policy(space, UNW_CACHE_NONE);
	return 0;
}

/* ---- one context at a time ---- */

/*
 * 0; -1: somebody is inside, or was when its thread stopped for ever, or when
 * this process was forked off: then libunwind's mutex may be locked for good.
 */
static int enter(sigset_t *saved)
{
	int nobody = 0;
	sigset_t all;

	/* a handler could leave by siglongjmp() and never call leave() */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, saved);
	if (atomic_compare_exchange_strong(&user, &nobody, 1))
		return 0;
	pthread_sigmask(SIG_SETMASK, saved, NULL);
	return -1;
}

static void leave(const sigset_t *saved)
{
	atomic_store(&user, 0);
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* places that were looked up, by address; whoever is inside uses them */
enum { PLACES = 1024 };
static struct known_place {
	uintptr_t pc;
	struct place place;
} known[PLACES];

/* symbol tables are read once for an address, not for each stack that it is in */
static const struct place *place_known(uintptr_t pc)
{
	struct known_place *at = &known[(pc ^ pc >> 10) % PLACES];

	if (at->pc != pc) {
		place_of(pc, &at->place);
		at->pc = pc;
	}
	return &at->place;
}

/* the name of a return address is that of the call before it */
static void put_frame(uintptr_t ip, int exact, labyrinth_trace_put_fn *put, void *arg)
{
	static struct place place;
	static char line[200];

	place = *place_known(exact ? ip : ip - 1);
	place.off += exact ? 0 : 1;
	if (place.symbol[0] && place.is_program)
		snprintf(line, sizeof(line), " %s+%#lx/%#lx", place.symbol, place.off, place.size);
	else if (place.symbol[0])
		snprintf(line, sizeof(line), " %s+%#lx/%#lx [%s]", place.symbol, place.off,
			 place.size, place.object);
	else if (place.object[0])
		snprintf(line, sizeof(line), " [<%s>+%#lx]", place.object, place.off);
	else
		snprintf(line, sizeof(line), " [<%#lx>]", ip);
	put(arg, line);
}

static void put_bare(uintptr_t ip, labyrinth_trace_put_fn *put, void *arg)
{
	const struct place *place = place_known(ip - 1);
	static char line[200];

	if (place->symbol[0])
		snprintf(line, sizeof(line), "%s", place->symbol);
	else if (place->object[0])
		snprintf(line, sizeof(line), "%s+%#lx", place->object, place->off);
	else
		snprintf(line, sizeof(line), "%#lx", ip);
	put(arg, line);
}

/* somebody is inside: no symbols, no libc */
static void put_address(uintptr_t ip, int bare, labyrinth_trace_put_fn *put, void *arg)
{
	char line[24], *at = &line[sizeof(line) - 1];

	*at = '\0';
	if (!bare) {
		*--at = ']';
		*(at - 1) = '>';
		at--;
	}
	for (; ip; ip >>= 4)
		*--at = "0123456789abcdef"[ip & 15];
	*--at = 'x';
	*--at = '0';
	if (!bare) {
		*--at = '<';
		*--at = '[';
	}
	*--at = ' ';
	put(arg, at + bare);
}

void unwind_name(const uintptr_t *ips, unsigned int n, int bare, labyrinth_trace_put_fn *put,
		 void *arg)
{
	sigset_t saved;
	unsigned int i;

	if (enter(&saved)) {
		for (i = 0; i < n; i++)
			put_address(ips[i], bare, put, arg);
		return;
	}
	for (i = 0; i < n; i++) {
		if (bare)
			put_bare(ips[i], put, arg);
		else
			put_frame(ips[i], 0, put, arg);
	}
	leave(&saved);
}

/* the frame that @cursor has just left, from what libunwind has made of the probe */
static void step_read(unw_cursor_t *cursor, struct step *step)
{
	unw_save_loc_t bp, ip;
	unw_word_t cfa;

	if (unw_get_reg(cursor, UNW_REG_SP, &cfa) ||
	    unw_get_save_loc(cursor, UNW_X86_64_RIP, &ip) ||
	    unw_get_save_loc(cursor, UNW_X86_64_RBP, &bp) || ip.type != UNW_SLT_MEMORY ||
	    ip.u.addr != cfa - sizeof(cfa))
		return;
	if (bp.type == UNW_SLT_MEMORY)
		step->bp = (intptr_t)(bp.u.addr - cfa);
	if (is_near(cfa, PROBE_SP)) {
		step->kind = STEP_SP;
		step->cfa = (intptr_t)(cfa - PROBE_SP);
	} else if (is_near(cfa, PROBE_BP)) {
		step->kind = STEP_BP;
		step->cfa = (intptr_t)(cfa - PROBE_BP);
	} else if (is_near(cfa, PROBE_BEHIND)) {
		/* aligned stacks keep the frame pointer where it points to */
		if (bp.type != UNW_SLT_MEMORY || bp.u.addr != PROBE_BP)
			return;
		step->kind = STEP_DEREF;
		step->cfa = (intptr_t)(cfa - PROBE_BEHIND);
		step->bp = 0;
	}
}

int unwind_step(uintptr_t pc, struct step *step)
{
	static const struct stack_view nowhere = { .sp = PROBE_SP, .bp = PROBE_BP };
	static struct stack_view view;
	static unw_cursor_t cursor;
	sigset_t saved;

	if (enter(&saved))
		return -1;
	view = nowhere;
	view.ip = pc;
	memset(step, 0, sizeof(*step));
	if (unw_init_remote(&cursor, space, &view) == 0) {
		if (unw_is_signal_frame(&cursor) > 0)
			step->kind = STEP_SIGNAL;
		else if (unw_step(&cursor) > 0)
			step_read(&cursor, step);
	}
	leave(&saved);
	return 0;
}

void unwind(const struct stack_view *view, labyrinth_trace_put_fn *put, void *arg)
{
	static unw_cursor_t cursor;
	int exact = 1, interrupted; /* the innermost is where capture() was */
	unsigned int n;
	unw_word_t ip;
	sigset_t saved;

	if (enter(&saved)) {
		put(arg, " [<another context is unwinding>]");
		return;
	}
	if (unw_init_remote(&cursor, space, (void *)view) == 0)
		for (n = 0; n < FRAMES_MAX; n++) {
			if (unw_get_reg(&cursor, UNW_REG_IP, &ip) || !ip)
				break;
			/* the kernel made a signal frame: nobody has called into it */
			interrupted = unw_is_signal_frame(&cursor) > 0;
			put_frame(ip, exact || interrupted, put, arg);
			exact = interrupted;
			if (unw_step(&cursor) <= 0)
				break;
		}
	leave(&saved);
}
