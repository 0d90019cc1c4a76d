/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "os/cpu.h"
#include "os/os.h"
#include "page/block.h"
#include "page/frame.h"

/* The window is laid out in proportion to its sections, tables first. */
enum { NR_TABLES = 5, LOG2_SECTIONS = 14 };
static_assert(LAB_NR_SECTIONS == 1u << LOG2_SECTIONS, "sections are a power of two");

struct lab_mem lab_mem;
lab_byte_t lab_section_ready[LAB_NR_SECTIONS];

static lab_word_t window;   /* where it starts; 0: not chosen */
static lab_word_t sections; /* claimed so far */

/* log2 of the bytes of each table per byte of memory, and of memory itself */
static const uint8_t table_shift[NR_TABLES] = {
	LAB_PAGE_SHIFT,	    /* kind: 1 per frame */
	LAB_LIVE16_SHIFT,   /* 1 per 16 bytes */
	LAB_LIVE128_SHIFT,  /* 1 per 128 bytes */
	LAB_PAGE_SHIFT - 6, /* 64 per frame */
	LAB_BLOCK_SHIFT - 8 /* 256 per block */
};
static_assert(sizeof(struct lab_block) == 256, "table_shift says 256 bytes per block");

static size_t table_bytes(size_t nr_sections, unsigned int table)
{
	return (nr_sections << LAB_SECTION_SHIFT) >> table_shift[table];
}

/* bytes of a window that can hold so many sections */
static size_t window_bytes(size_t nr_sections)
{
	size_t bytes = nr_sections << LAB_SECTION_SHIFT;
	unsigned int table;

	for (table = 0; table < NR_TABLES; table++)
		bytes += lab_align_up(table_bytes(nr_sections, table), 1ul << LAB_SECTION_SHIFT);
	return bytes;
}

/* where a table lies in the window at @start; table NR_TABLES is the memory */
static uintptr_t table_address(uintptr_t start, size_t nr_sections, unsigned int table)
{
	unsigned int i;

	for (i = 0; i < table; i++)
		start += lab_align_up(table_bytes(nr_sections, i), 1ul << LAB_SECTION_SHIFT);
	return start;
}

static bool is_vacant(uintptr_t at)
{
	if (lab_os_map(at, LAB_PAGE_BYTES))
		return false;
	lab_os_unmap(at, LAB_PAGE_BYTES);
	return true;
}

/*
 * A stretch of free addresses well below the youngest mapping, away from what
 * the kernel maps next.  A guess, tried in three places: to ask for a hole of
 * this size is refused under a limit of address space, though what we do not
 * map is not counted, and emulators keep books of every page of it.  Each
 * piece is verified again when it is mapped, so a wrong guess costs sections,
 * not safety.
 */
static bool window_guess(size_t bytes, uintptr_t *start)
{
	uintptr_t at;

	if (lab_os_hole(LAB_PAGE_BYTES, &at) || at < 4 * bytes)
		return false;
	*start = (at - 3 * bytes) & ~((1ul << LAB_SECTION_SHIFT) - 1);
	return is_vacant(*start) && is_vacant(*start + bytes / 2) &&
	       is_vacant(*start + bytes - LAB_PAGE_BYTES);
}

/*
 * Where mappings lie low in the address space (valgrind) no guess fits: then
 * ask after all, for a hole four times as large, and take its middle.
 */
static bool window_ask(size_t bytes, uintptr_t *start)
{
	uintptr_t at;

	if (lab_os_hole(4 * bytes, &at))
		return false;
	*start = lab_align_up(at + bytes + bytes / 2, 1ul << LAB_SECTION_SHIFT);
	return true;
}

/* A window is an address with the log2 of its sections in the low bits. */
static uint64_t window_find(void)
{
	uintptr_t start;
	unsigned int log;

	for (log = LOG2_SECTIONS; log >= 6; log--)
		if (window_guess(window_bytes(1ul << log), &start))
			return start | log;
	for (log = LOG2_SECTIONS - 4; log >= 6; log--)
		if (window_ask(window_bytes(1ul << log), &start))
			return start | log;
	return 0;
}

int lab_mem_init(void)
{
	uint64_t chosen = lab_word_get(&window);
	uintptr_t start;
	size_t nr;

	if (!chosen) {
		chosen = window_find();
		if (!chosen)
			return -ENOMEM;
		if (!lab_word_swap(&window, 0, chosen))
			chosen = lab_word_get(&window);
	}
	nr = 1ul << (chosen & 63);
	start = chosen & ~63ull;
	/* everyone who comes here writes the same values */
	lab_mem.kind = (lab_byte_t *)table_address(start, nr, 0);
	lab_mem.frame = (struct lab_frame *)table_address(start, nr, 3);
	lab_mem.block = (struct lab_block *)table_address(start, nr, 4);
	lab_mem.nr_sections = nr;
	/* the window begins at a multiple of a section: nothing is rounded off */
	lab_mem.live[LAB_LIVE16_SHIFT] = table_address(start, nr, 1) -
					 (table_address(start, nr, NR_TABLES) >> LAB_LIVE16_SHIFT);
	lab_mem.live[LAB_LIVE128_SHIFT] =
		table_address(start, nr, 2) -
		(table_address(start, nr, NR_TABLES) >> LAB_LIVE128_SHIFT);
	lab_mem.live[LAB_PAGE_SHIFT] = table_address(start, nr, 0) -
				       (table_address(start, nr, NR_TABLES) >> LAB_PAGE_SHIFT);
	lab_mem.base = table_address(start, nr, NR_TABLES);
	return 0;
}

void lab_kind_fill(lab_pfn_t pfn, size_t n, uint8_t kind)
{
	while (n-- > 0)
		lab_kind_set(pfn++, kind);
}

size_t lab_nr_sections(void)
{
	return lab_word_get(&sections);
}

static bool step_claim_sections(uint64_t *raw, uint64_t n)
{
	if (n > lab_mem.nr_sections || *raw > lab_mem.nr_sections - n)
		return false;
	*raw += n;
	return true;
}

static int section_map(size_t first, size_t n)
{
	uintptr_t start = (uintptr_t)lab_mem.kind;
	unsigned int table;
	int err;

	for (table = 0; table < NR_TABLES; table++) {
		err = lab_os_map(table_address(start, lab_mem.nr_sections, table) +
					 table_bytes(first, table),
				 table_bytes(n, table));
		if (err)
			goto unmap_tables;
	}
	return 0;

unmap_tables:
	while (table-- > 0)
		lab_os_unmap(table_address(start, lab_mem.nr_sections, table) +
				     table_bytes(first, table),
			     table_bytes(n, table));
	return err;
}

static bool step_cover(uint64_t *raw, uint64_t section)
{
	if (*raw != section * LAB_SECTION_FRAMES)
		return false;
	*raw += LAB_SECTION_FRAMES;
	return true;
}

/* whoever comes last pushes the bound over all that is ready */
static void cover_more(void)
{
	uint64_t seen;
	size_t s;

	for (;;) {
		s = lab_word_get(&lab_mem.covered) / LAB_SECTION_FRAMES;
		if (s >= lab_mem.nr_sections || !lab_section_is_ready(s))
			break;
		/* release: pairs with lab_mem_covers_fast() [mem.covered] */
		(void)lab_word_step(&lab_mem.covered, &seen, step_cover, s, memory_order_release,
				    memory_order_relaxed);
	}
	lab_bound_raise(&lab_hot_gates.frames, (uint32_t)lab_word_get(&lab_mem.covered));
}

int lab_section_grow(size_t n, size_t *first)
{
	uint64_t got;
	size_t i;
	int err;

	do {
		if (!lab_word_step(&sections, &got, step_claim_sections, n, memory_order_relaxed,
				   memory_order_relaxed))
			return -ENOMEM;
		err = section_map(got, n);
		/* -EEXIST: the program sits there; the next place may be free */
	} while (err == -EEXIST);
	if (err) {
		/* nobody else came: let the next grower try the same place */
		(void)lab_word_swap(&sections, got + n, got);
		return err;
	}
	for (i = 0; i < n; i++)
		/* release: pairs with lab_section_is_ready() [section.ready] */
		atomic_store_explicit(&lab_section_ready[got + i], 1, memory_order_release);
	cover_more();
	*first = got;
	return 0;
}
