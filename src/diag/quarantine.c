/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fail.h"
#include "diag/quarantine.h"
#include "gfp/scope.h"
#include "os/os.h"
#include "slab/atomic.h"
#include "slab/cache.h"
#include "slab/large.h"

/* objects that wait, at least, and at most */
enum { SLOTS_LEAST = 1 << 10, SLOTS_MOST = 1 << 20, BYTES_EACH = 128 };

/*
 * A ring of addresses.  Who puts exchanges what he finds there for his own, so there
 * is nothing to wait for: if the ring has come round, that one leaves.
 */
static lab_word_t *slots;
static uint64_t mask; /* of a slot's number; 0: there is no ring */
static uint64_t limit;
static lab_word_t head, tail; /* objects put; looked for, by lab_quarantine_next() */
static lab_word_t held;	      /* bytes */

int lab_quarantine_start(size_t bytes)
{
	uint64_t n = 1ull << lab_order_of(bytes / BYTES_EACH + 1);
	uintptr_t addr;
	size_t room;

	n = n < SLOTS_LEAST ? SLOTS_LEAST : n > SLOTS_MOST ? SLOTS_MOST : n;
	room = lab_align_up(n * sizeof(*slots), LAB_PAGE_BYTES);
	if (lab_os_hole(room, &addr) || lab_os_map(addr, room))
		return -ENOMEM;
	lab_os_name(addr, room, "labyrinth quarantine");
	slots = (lab_word_t *)addr;
	limit = bytes;
	mask = n - 1;
	lab_watch_start(LAB_WATCH_QUARANTINE);
	return 0;
}

/* ---- one object ---- */

static void fill(char *ptr, size_t bytes)
{
	lab_os_fill(ptr, LAB_POISON_FREE, bytes - 1);
	ptr[bytes - 1] = (char)LAB_POISON_END;
}

/* the first byte that is not as it was left; @bytes: none */
static size_t first_change(const unsigned char *ptr, size_t bytes)
{
	size_t i = 0;

	while (i + 8 < bytes &&
	       *(const uint64_t *)(ptr + i) == 0x0101010101010101ull * LAB_POISON_FREE)
		i += 8;
	while (i + 1 < bytes && ptr[i] == LAB_POISON_FREE)
		i++;
	return i + 1 == bytes && ptr[i] == LAB_POISON_END ? bytes : i;
}

static _Noreturn LAB_COLD void report(const unsigned char *ptr, size_t bytes, size_t at, bool large)
{
	struct lab_line line;

	lab_line_start_bug(&line);
	lab_line_str(&line, "write after free to ");
	lab_line_hex(&line, (uintptr_t)ptr + at);
	lab_line_str(&line, ", byte ");
	lab_line_dec(&line, at);
	lab_line_str(&line, " of ");
	lab_line_hex(&line, (uintptr_t)ptr);
	if (large) {
		lab_line_str(&line, " (large block)");
	} else {
		lab_line_str(&line, " (size class ");
		lab_line_dec(&line, bytes);
		lab_line_str(&line, ")");
	}
	lab_line_str(&line, ": Poison overwritten, ");
	lab_line_hex(&line, ptr[at]);
	lab_line_str(&line, " instead of ");
	lab_line_hex(&line, at + 1 == bytes ? LAB_POISON_END : LAB_POISON_FREE);
	(void)lab_line_put(&line, 2);
	lab_die();
}

/* as it was before the program freed it, or a class's own part of free() did */
static bool come_in(void *ptr)
{
	unsigned int kind = lab_mem_kind(ptr);

	if (kind <= LAB_PCP_PAGE)
		return true;
	if (lab_is_atomic_class(kind))
		return lab_atomic_hide(ptr, kind);
	return lab_large_hide(ptr);
}

static void go_out(void *ptr)
{
	unsigned int kind = lab_mem_kind(ptr);

	if (lab_is_atomic_class(kind))
		lab_atomic_show(ptr, kind);
	else if (kind > LAB_PCP_PAGE)
		lab_large_show(ptr);
}

/* the object of an entry that has been taken out of the ring, looked at */
static void *leave(uint64_t entry)
{
	void *ptr = (void *)(uintptr_t)entry;
	size_t bytes, at;

	if (!ptr)
		return NULL;
	go_out(ptr);
	bytes = lab_object_bytes(ptr);
	lab_word_sub(&held, bytes);
	at = first_change(ptr, bytes);
	if (LAB_UNLIKELY(at < bytes))
		report(ptr, bytes, at, lab_mem_kind(ptr) > LAB_KIND_CLASS_MAX);
	return ptr;
}

static uint64_t swap(uint64_t number, uint64_t with)
{
	/* acq_rel: of put() and next(), what the object holds [quarantine.slot] */
	return atomic_exchange_explicit(&slots[number & mask], with, memory_order_acq_rel);
}

/* ---- the ring ---- */

void *lab_quarantine_put(void *ptr, size_t bytes)
{
	uint64_t entry = (uintptr_t)ptr;

	if (!mask || bytes > limit || lab_scope_is_atomic() || !come_in(ptr))
		return ptr;
	fill(ptr, bytes);
	lab_word_add(&held, bytes);
	return leave(swap(lab_word_add(&head, 1), entry));
}

/* the number of the oldest one that may be there; false: none is */
static bool step_tail(uint64_t *raw, uint64_t end)
{
	if (*raw >= end)
		return false;
	/* the ring has come round */
	if (end - *raw > mask + 1)
		*raw = end - (mask + 1);
	++*raw;
	return true;
}

void *lab_quarantine_next(bool all)
{
	uint64_t old, end;
	void *ptr;

	while (mask && (all || lab_word_get(&held) > limit)) {
		end = lab_word_get(&head);
		if (!lab_word_step(&tail, &old, step_tail, end, memory_order_relaxed,
				   memory_order_relaxed))
			return NULL;
		if (end - old > mask + 1)
			old = end - (mask + 1);
		ptr = leave(swap(old, 0));
		if (ptr)
			return ptr;
	}
	return NULL;
}

LAB_STARTUP void lab_quarantine_check(void)
{
	uint64_t i;

	for (i = 0; mask && i <= mask; i++)
		(void)leave(swap(i, 0));
}
