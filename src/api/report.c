/* SPDX-License-Identifier: MIT */
#include "api/report.h"
#include "base/fail.h"
#include "map/map.h"
#include "page/exclusive.h"

static const char *const verb_name[] = { "free", "realloc", "malloc_usable_size" };

static void put_class(struct lab_line *line, uint64_t bytes)
{
	lab_line_str(line, " (size class ");
	lab_line_dec(line, bytes);
	lab_line_str(line, ")");
}

static void put_double(struct lab_line *line, const void *ptr, enum lab_verb verb)
{
	if (verb == LAB_VERB_FREE)
		lab_line_str(line, "double free");
	else {
		lab_line_str(line, verb_name[verb]);
		lab_line_str(line, " after free");
	}
	lab_line_str(line, " of ");
	lab_line_hex(line, (uintptr_t)ptr);
}

static void put_which(struct lab_line *line, const void *ptr, enum lab_verb verb, const char *which)
{
	lab_line_str(line, verb_name[verb]);
	lab_line_str(line, " of ");
	lab_line_hex(line, (uintptr_t)ptr);
	lab_line_str(line, which);
}

static const char inside[] = " which is inside a block, not its start";

/* is @ptr where an object of the class begins */
static bool is_start(const void *ptr, uint8_t cls)
{
	if (cls == LAB_PCP_PAGE)
		return (uintptr_t)ptr % LAB_PAGE_BYTES == 0;
	return (const char *)ptr == (char *)lab_frame_address(lab_slab_of(ptr, cls)) +
					    (size_t)lab_slab_index(ptr, cls) * lab_class[cls].size;
}

static void report_object(struct lab_line *line, const void *ptr, enum lab_verb verb, uint8_t cls)
{
	if (is_start(ptr, cls))
		put_double(line, ptr, verb);
	else
		put_which(line, ptr, verb, inside);
	put_class(line, lab_class_bytes(cls));
}

static void report_free_frame(struct lab_line *line, const void *ptr, enum lab_verb verb)
{
	if (!lab_mem_covers(ptr)) {
		put_which(line, ptr, verb, " which Labyrinth did not allocate");
	} else if (lab_large_contains(ptr)) {
		put_which(line, ptr, verb, inside);
		lab_line_str(line, " (large block)");
	} else {
		/* what it was is forgotten but for large runs, which leave a trace */
		put_double(line, ptr, verb);
		lab_line_str(line, lab_large_was(ptr) ? " (large block)" : " (memory is free)");
	}
}

_Noreturn void lab_report_block(const void *ptr, enum lab_verb verb)
{
	uint8_t kind = lab_mem_kind(ptr);
	struct lab_line line;

	lab_line_start_bug(&line);
	switch (kind) {
	case LAB_KIND_FREE:
		report_free_frame(&line, ptr, verb);
		break;
	case LAB_KIND_LARGE:
	case LAB_KIND_HUGE:
	case LAB_KIND_MOVING:
	case LAB_KIND_BODY:
		put_which(&line, ptr, verb, inside);
		lab_line_str(&line, " (large block)");
		break;
	case LAB_KIND_HIDDEN:
	case LAB_KIND_HIDDEN_HUGE:
		put_double(&line, ptr, verb);
		lab_line_str(&line, " (large block)");
		break;
	case LAB_KIND_API:
	case LAB_KIND_EXCL:
	case LAB_KIND_ORDER:
	case LAB_PCP_API:
	case LAB_PCP_ZERO:
		put_which(&line, ptr, verb, " which is a page of labyrinth_alloc_pages()");
		break;
	case LAB_KIND_MAP:
	case LAB_KIND_MAP_CHANGED:
	case LAB_KIND_MAP_HELD:
	case LAB_KIND_MAP_LOST:
	case LAB_PCP_MAP:
		put_which(&line, ptr, verb, " which is a page of mmap()");
		break;
	default:
		report_object(&line, ptr, verb, kind);
	}
	(void)lab_line_put(&line, 2);
	lab_die();
}

/* the owner byte of an exclusive page; of a parent's, as if inside of one */
static uint8_t owner_of(const void *page)
{
	return lab_excl_contains(page) ? lab_byte_get(lab_excl_owner(page)) : LAB_EXCL_BODY;
}

/* log2 of the pages in use that begin at @page; -1: none do */
static int live_order(const void *page, uint8_t kind)
{
	if ((uintptr_t)page % LAB_PAGE_BYTES)
		return -1;
	if (kind == LAB_KIND_API)
		return 0;
	if (kind == LAB_KIND_ORDER)
		return (int)lab_word_get(&lab_frame_at(lab_pfn_of(page))->npages);
	if (kind == LAB_KIND_EXCL && owner_of(page) >= LAB_EXCL_LIVE)
		return (int)(owner_of(page) - LAB_EXCL_LIVE);
	return -1;
}

static bool was_page(const void *page, uint8_t kind)
{
	if ((uintptr_t)page % LAB_PAGE_BYTES)
		return false;
	if (kind == LAB_KIND_EXCL)
		return owner_of(page) < LAB_EXCL_BODY;
	return kind == LAB_PCP_API || kind == LAB_PCP_ZERO ||
	       (kind == LAB_KIND_FREE && lab_mem_covers(page));
}

void lab_report_page(const void *page, unsigned int order)
{
	uint8_t kind = lab_mem_kind(page);
	int live = live_order(page, kind);
	struct lab_line line;

	lab_line_start_bug(&line);
	lab_line_str(&line,
		     live < 0 && was_page(page, kind) ? "double free of page " : "free of page ");
	lab_line_hex(&line, (uintptr_t)page);
	if (live >= 0) {
		lab_line_str(&line, " with order ");
		lab_line_dec(&line, order);
		lab_line_str(&line, ", allocated with order ");
		lab_line_dec(&line, (uint64_t)live);
	} else if (!was_page(page, kind)) {
		lab_line_str(&line, " which is not from labyrinth_alloc_pages()");
	}
	(void)lab_line_put(&line, 2);
}

void lab_report_split(const void *page, unsigned int order)
{
	int live = live_order(page, lab_mem_kind(page));
	struct lab_line line;

	lab_line_start_bug(&line);
	lab_line_str(&line, "split of page ");
	lab_line_hex(&line, (uintptr_t)page);
	lab_line_str(&line, " with order ");
	lab_line_dec(&line, order);
	if (live >= 0) {
		lab_line_str(&line, ", allocated with order ");
		lab_line_dec(&line, (uint64_t)live);
	} else {
		lab_line_str(&line, " which is not from labyrinth_alloc_pages()");
	}
	(void)lab_line_put(&line, 2);
}
