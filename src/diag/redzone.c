/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/fail.h"
#include "diag/redzone.h"
#include "os/os.h"
#include "slab/cache.h"
#include "slab/large.h"

/*
 * An object is what was asked for, the zone, and a word: that size, so disguised that
 * neither a plain overflow nor the end of another object passes for it.
 */
static uint64_t *last_word(const void *ptr, size_t usable)
{
	return (uint64_t *)((uintptr_t)ptr + usable - sizeof(uint64_t));
}

static uint64_t disguise(const void *ptr)
{
	return ((uintptr_t)ptr ^ 0x7a656e6f64657221ull) * 0x9e3779b97f4a7c15ull;
}

/* ---- objects from before ---- */

/* what the loader and early constructors have; a hash, and never more than half full */
enum { EARLY = 4096 };
static lab_word_t early[EARLY];
static lab_word_t nr_early;

static lab_word_t *find_early(const void *ptr)
{
	uint64_t at = ((uintptr_t)ptr >> 4) * 0x9e3779b97f4a7c15ull >> 52, seen;

	if (LAB_LIKELY(!lab_word_get(&nr_early)))
		return NULL;
	for (; (seen = lab_word_get(&early[at % EARLY])); at++)
		if (seen == (uintptr_t)ptr)
			return &early[at % EARLY];
	return NULL;
}

static bool add_early(const void *ptr)
{
	uint64_t at = ((uintptr_t)ptr >> 4) * 0x9e3779b97f4a7c15ull >> 52;

	if (lab_word_add(&nr_early, 1) >= EARLY / 2)
		return false;
	while (lab_word_get(&early[at % EARLY]))
		at++;
	lab_word_set(&early[at % EARLY], (uintptr_t)ptr);
	return true;
}

/* the objects that begin in a frame of a class */
static bool add_objects(lab_pfn_t pfn, unsigned int kind)
{
	const unsigned int shift = lab_live_shift(kind);
	char *page = lab_frame_address(pfn);
	size_t at;

	for (at = 0; at < LAB_PAGE_BYTES; at += 1ul << shift) {
		uint8_t live = lab_byte_get(lab_live_byte(page + at, shift));

		if (live & LAB_LIVE &&
		    !add_early((void *)(((uintptr_t)(page + at) & ~127ul) | (live & 127))))
			return false;
	}
	return true;
}

int lab_redzone_start(void)
{
	uint64_t covered = lab_word_get(&lab_mem.covered);
	lab_pfn_t pfn;

	for (pfn = 0; pfn < covered; pfn++) {
		unsigned int kind = lab_byte_get(&lab_mem.kind[pfn]);

		if (kind != LAB_KIND_FREE && kind <= LAB_PCP_PAGE) {
			if (!add_objects(pfn, kind))
				return -ENOSPC;
		} else if ((kind == LAB_KIND_LARGE || kind == LAB_KIND_HUGE) &&
			   !add_early(lab_frame_address(pfn))) {
			return -ENOSPC;
		}
	}
	lab_watch_start(LAB_WATCH_REDZONE);
	return 0;
}

/* ---- one object ---- */

void lab_redzone_alloc(void *ptr, size_t bytes)
{
	size_t usable = lab_object_bytes(ptr);

	lab_os_fill((char *)ptr + bytes, LAB_REDZONE_BYTE, usable - bytes - sizeof(uint64_t));
	*last_word(ptr, usable) = bytes ^ disguise(ptr);
}

/* more than there is room for: the word was overwritten */
static uint64_t asked_for(const void *ptr, size_t usable)
{
	return *last_word(ptr, usable) ^ disguise(ptr);
}

size_t lab_redzone_bytes(const void *ptr, size_t usable)
{
	uint64_t bytes;

	if (find_early(ptr))
		return usable;
	bytes = asked_for(ptr, usable);
	return bytes <= usable - sizeof(uint64_t) ? bytes : usable - LAB_REDZONE_PAD;
}

static _Noreturn LAB_COLD void report(const void *ptr, size_t usable, const unsigned char *at)
{
	uint64_t bytes = asked_for(ptr, usable);
	const bool large = lab_mem_kind(ptr) > LAB_KIND_CLASS_MAX;
	struct lab_line line;

	lab_line_start_bug(&line);
	lab_line_str(&line, "write past the end of ");
	lab_line_hex(&line, (uintptr_t)ptr);
	if (at) {
		lab_line_str(&line, ", byte ");
		lab_line_dec(&line, (uint64_t)(at - (const unsigned char *)ptr));
		lab_line_str(&line, " of ");
		lab_line_dec(&line, bytes);
	}
	if (large) {
		lab_line_str(&line, " (large block)");
	} else {
		lab_line_str(&line, " (size class ");
		lab_line_dec(&line, usable);
		lab_line_str(&line, ")");
	}
	lab_line_str(&line, ": Right Redzone overwritten");
	if (at) {
		lab_line_str(&line, ", ");
		lab_line_hex(&line, *at);
		lab_line_str(&line, " instead of ");
		lab_line_hex(&line, LAB_REDZONE_BYTE);
	} else {
		lab_line_str(&line, ", and the size behind it");
	}
	(void)lab_line_put(&line, 2);
	lab_die();
}

void lab_redzone_free(void *ptr, size_t usable)
{
	const unsigned char *at, *end = (const unsigned char *)last_word(ptr, usable);
	lab_word_t *was_early = find_early(ptr);
	uint64_t bytes;

	if (was_early) {
		/* not 0: others may lie behind it */
		lab_word_set(was_early, 1);
		return;
	}
	bytes = asked_for(ptr, usable);
	if (bytes > usable - sizeof(uint64_t))
		report(ptr, usable, NULL);
	for (at = (const unsigned char *)ptr + bytes; at < end; at++)
		if (*at != LAB_REDZONE_BYTE)
			report(ptr, usable, at);
}
