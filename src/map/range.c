/* SPDX-License-Identifier: MIT */
/*
 * Calls on a range that may hold anything: pages of ours, free frames of ours,
 * malloc's memory, mappings of the program's.  A free frame is mapped to the
 * kernel and must not be to the program, so the range is cut there, and what
 * the kernel does at a hole is done by hand.
 */
#include <errno.h>

#include "map/map.h"
#include "os/mm.h"

/* can this block be a later one of a huge block of malloc's: its frames bear no mark */
static bool is_body(size_t block)
{
	union lab_block_word w = { .raw = lab_word_get(&lab_block_at(block)->word) };

	return w.mapped && !w.whole && !w.free && w.zone == LAB_ZONE_HEAP &&
	       lab_byte_get(&lab_mem.kind[block * LAB_BLOCK_FRAMES]) == LAB_KIND_FREE;
}

static bool is_in_huge(lab_pfn_t pfn)
{
	size_t at = pfn / LAB_BLOCK_FRAMES, block = at;
	uint8_t kind;

	while (block > 0 && is_body(block) &&
	       lab_section_is_ready((block - 1) / LAB_SECTION_BLOCKS))
		block--;
	kind = lab_byte_get(&lab_mem.kind[block * LAB_BLOCK_FRAMES]);
	return (kind == LAB_KIND_HUGE || kind == LAB_KIND_MOVING || kind == LAB_KIND_HIDDEN_HUGE) &&
	       (at - block) << LAB_BLOCK_SHIFT <
		       lab_word_get(&lab_frame_at((lab_pfn_t)(block * LAB_BLOCK_FRAMES))->bytes);
}

/*
 * A frame that bears no mark: free, or in the hands of somebody who takes it or
 * gives it back in this moment, or inside a huge block of malloc's.
 */
static bool is_vacant(lab_pfn_t pfn)
{
	struct lab_block *block = lab_block_at(pfn / LAB_BLOCK_FRAMES);
	union lab_block_word w = { .raw = lab_word_get(&block->word) };
	unsigned int frame = pfn % LAB_BLOCK_FRAMES;

	if (!w.mapped)
		return false;
	/* of the resident zones some frames were never handed out */
	return w.whole || w.zone != LAB_ZONE_HEAP ||
	       (lab_word_get(&block->bits[frame / 64]) >> frame % 64 & 1) || !is_in_huge(pfn);
}

static enum lab_map_page frame_page(lab_pfn_t pfn)
{
	uint8_t kind = lab_byte_get(&lab_mem.kind[pfn]);

	if (lab_map_is_ours(kind))
		return LAB_MAP_OURS;
	if (kind == LAB_PCP_MAP || kind == LAB_KIND_MAP_HELD ||
	    (kind == LAB_KIND_FREE && is_vacant(pfn)))
		return LAB_MAP_HOLE;
	return LAB_MAP_KERNELS;
}

/* the next address where something of ours could be */
static uintptr_t section_after(uintptr_t at)
{
	uintptr_t offset = at - lab_mem.base;
	uintptr_t bytes = (uintptr_t)LAB_NR_SECTIONS << LAB_SECTION_SHIFT;

	if (at < lab_mem.base)
		return lab_mem.base;
	if (offset >= bytes)
		return UINTPTR_MAX;
	return lab_mem.base + (((offset >> LAB_SECTION_SHIFT) + 1) << LAB_SECTION_SHIFT);
}

enum lab_map_page lab_map_page_at(uintptr_t at, uintptr_t end, uintptr_t *next)
{
	enum lab_map_page first = LAB_MAP_KERNELS, page;
	uintptr_t to = at, step;

	while (to < end) {
		if (!lab_mem_covers((void *)to)) {
			page = LAB_MAP_KERNELS;
			step = section_after(to);
		} else {
			page = frame_page(lab_pfn_of((void *)to));
			step = to + LAB_PAGE_BYTES;
		}
		if (to == at)
			first = page;
		else if (page != first)
			break;
		to = step;
	}
	*next = to < end ? to : end;
	return first;
}

void lab_map_mark(uintptr_t addr, uintptr_t end)
{
	uintptr_t at, next;

	for (at = addr; at < end; at = next) {
		if (lab_map_page_at(at, end, &next) != LAB_MAP_OURS)
			continue;
		for (; at < next; at += LAB_PAGE_BYTES)
			(void)lab_map_win(lab_pfn_of((void *)at), LAB_KIND_MAP,
					  LAB_KIND_MAP_CHANGED);
	}
}

/* up to the next hole, from @at on; @at itself if it lies in one */
static uintptr_t next_hole(uintptr_t at, uintptr_t end)
{
	uintptr_t next, page = at & ~(LAB_PAGE_BYTES - 1);

	while (page < end && lab_map_page_at(page, end, &next) != LAB_MAP_HOLE)
		at = page = next;
	return at;
}

static long pass(const struct lab_map_call *call, uintptr_t addr, size_t len, size_t done)
{
	/* mincore()'s vector goes along with the address */
	long x = call->nr == SYS_mincore ? call->x + (long)(done >> LAB_PAGE_SHIFT) : call->x;

	if (call->cancellable)
		return lab_os_pass_cancellable(call->nr, addr, len, x);
	return lab_os_pass(call->nr, addr, len, x, call->y);
}

/*
 * At a hole: the same call where nothing is mapped, so that the kernel checks
 * the parameters, and its errors come in its order.
 */
static long pass_hole(const struct lab_map_call *call, uintptr_t at)
{
	return lab_os_pass(call->nr, LAB_OS_HOLE_PAGE + at % LAB_PAGE_BYTES, LAB_PAGE_BYTES,
			   call->x, call->y);
}

long lab_map_act(const struct lab_map_call *call, uintptr_t addr, size_t len)
{
	uintptr_t start = addr & ~(LAB_PAGE_BYTES - 1), at = addr, hole, next;
	uintptr_t end = lab_align_up(addr + len, LAB_PAGE_BYTES);
	long result = 0, holes = 0;

	/* without a length mlock() still takes the page of an address inside it */
	if (end <= start || end > LAB_OS_HOLE_PAGE)
		return pass(call, addr, len, 0);
	/* what the kernel refuses outright leaves pages as they were, so no mark either */
	if (call->changes && pass_hole(call, addr) == -EINVAL)
		return -EINVAL;
	/* PROT_GROWSDOWN begins at the first mapping in the range, wherever that is */
	if (call->grows_down && lab_map_page_at(at, end, &next) == LAB_MAP_HOLE && next < end)
		at = next;
	for (;;) {
		hole = next_hole(at, end);
		if (hole > at) {
			if (call->changes)
				lab_map_mark(at & ~(LAB_PAGE_BYTES - 1), hole);
			/* the last piece in the program's own length: the kernel rounds it */
			result = pass(call, at, (hole == end ? addr + len : hole) - at, at - start);
			if (result == -ENOMEM && call->goes_on)
				holes = result;
			else if (result)
				return result;
		}
		if (hole >= end)
			return holes;
		result = pass_hole(call, hole);
		if (result != -ENOMEM || !call->goes_on)
			return result;
		holes = result;
		(void)lab_map_page_at(hole, end, &next);
		if (next >= end)
			return holes;
		at = next;
	}
}
