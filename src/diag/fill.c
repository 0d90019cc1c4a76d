/* SPDX-License-Identifier: MIT */
#include "diag/fill.h"
#include "base/fail.h"
#include "os/os.h"
#include "page/zone.h"
#include "slab/atomic.h"
#include "slab/cache.h"
#include "slab/large.h"

enum { ROW = 16, ROWS = 8, REPORTS = 10 };

static unsigned int fills;
static lab_word_t reports;

void lab_fill_start(unsigned int what)
{
	fills = what;
	lab_watch_start(LAB_WATCH_FILL);
}

/*
 * Written in the link of a frame that was poisoned, which no free page uses.  Frames
 * that become something else lose it: slabs write there, objects are seen in
 * lab_fill_alloc().  Only pages of the resident zones are marked, for those of the
 * heap may be routed to mmap(), which nobody watches.
 */
#define MARK 0x6465676e61686300ull

static lab_word_t *mark_of(const void *page)
{
	return &lab_frame_at(lab_pfn_of(page))->next;
}

/* ---- free pages ---- */

static void report(const unsigned char *start, const unsigned char *end)
{
	const unsigned char flipped = *start ^ LAB_PAGE_POISON;
	const bool bit = start == end && !(flipped & (flipped - 1));
	struct lab_line line;
	unsigned int row, i;

	if (lab_word_add(&reports, 1) >= REPORTS)
		return;
	lab_line_start_bug(&line);
	lab_line_str(&line, bit ? "pagealloc: single bit error" : "pagealloc: memory corruption");
	(void)lab_line_put(&line, 2);
	for (row = 0; row < ROWS && start <= end; row++) {
		lab_line_start(&line);
		lab_line_hex(&line, (uintptr_t)start);
		lab_line_str(&line, ":");
		for (i = 0; i < ROW && start <= end; i++, start++) {
			const char text[] = { ' ', "0123456789abcdef"[*start >> 4],
					      "0123456789abcdef"[*start & 15], '\0' };

			lab_line_str(&line, text);
		}
		(void)lab_line_put(&line, 2);
	}
}

/* the first and the last byte that differ from @want */
static bool differs(const void *page, uint64_t want, const unsigned char **start,
		    const unsigned char **end)
{
	const uint64_t *word = page, *last = word + LAB_PAGE_BYTES / 8 - 1;

	while (word <= last && *word == want)
		word++;
	if (word > last)
		return false;
	while (*last == want)
		last--;
	*start = (const void *)word;
	*end = (const unsigned char *)last + 7;
	while (**start == (want & 0xff))
		++*start;
	while (**end == (want & 0xff))
		--*end;
	return true;
}

/* unpoison_page() */
static void look_at(void *page)
{
	const unsigned char *start, *end, *s, *e;

	if (lab_word_get(mark_of(page)) != MARK)
		return;
	lab_word_set(mark_of(page), 0);
	if (differs(page, 0x0101010101010101ull * LAB_PAGE_POISON, &start, &end) &&
	    differs(page, 0, &s, &e))
		report(start, end);
}

static void look_at_all(char *pages, size_t bytes)
{
	size_t at;

	for (at = 0; at < bytes; at += LAB_PAGE_BYTES)
		look_at(pages + at);
}

static void poison(char *pages, size_t bytes)
{
	size_t at;

	for (at = 0; at < bytes; at += LAB_PAGE_BYTES) {
		lab_os_fill(pages + at, LAB_PAGE_POISON, LAB_PAGE_BYTES);
		if (lab_zone_of(lab_pfn_of(pages + at)) != LAB_ZONE_HEAP)
			lab_word_set(mark_of(pages + at), MARK);
	}
}

/* ---- both ---- */

/* an object lies here now: these frames hold no poison any more */
static void unmark(const char *ptr, size_t bytes)
{
	size_t at;

	for (at = 0; at < bytes; at += LAB_PAGE_BYTES)
		if (lab_word_get(mark_of(ptr + at)) == MARK)
			lab_word_set(mark_of(ptr + at), 0);
}

void lab_fill_alloc(void *ptr, const struct lab_request *request)
{
	size_t bytes = request->bytes;

	if (request->order != LAB_OBJECT) {
		if (fills & LAB_FILL_PAGES)
			look_at_all(ptr, bytes);
		if (fills & LAB_FILL_ON_ALLOC)
			lab_os_clear(ptr, bytes);
		return;
	}
	bytes = lab_object_bytes(ptr);
	if (fills & LAB_FILL_PAGES && lab_zone_of(lab_pfn_of(ptr)) != LAB_ZONE_HEAP)
		unmark(ptr, bytes);
	if (fills & LAB_FILL_ON_ALLOC)
		lab_large_clear(ptr, bytes);
}

void lab_fill_free(void *ptr, size_t bytes)
{
	if (fills & LAB_FILL_ON_FREE)
		lab_large_clear(ptr, bytes);
}

void lab_fill_free_pages(void *page, unsigned int order)
{
	if (fills & LAB_FILL_PAGES)
		poison(page, LAB_PAGE_BYTES << order);
	else if (fills & LAB_FILL_ON_FREE)
		lab_os_clear(page, LAB_PAGE_BYTES << order);
}
