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

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *value, int write, void *arg)
{
	const struct stack_view *view = arg;
	uintptr_t off = addr - view->sp;

	(void)as;
	if (write)
		return -UNW_EINVAL;
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

/* the name of a return address is that of the call before it */
static void put_frame(uintptr_t ip, int exact, labyrinth_trace_put_fn *put, void *arg)
{
	static struct place place;
	static char line[200];

	place_of(exact ? ip : ip - 1, &place);
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
