/* SPDX-License-Identifier: MIT */
/*
 * Mappings that the program puts where it wants, and pages that it moves.  The
 * kernel does both as it always does; before it, frames that it will overwrite
 * are taken out of our hands, and after it, frames that it left empty are
 * filled again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "map/map.h"
#include "os/mm.h"
#include "os/os.h"
#include "pcp/flow.h"

#ifndef MAP_32BIT
#define MAP_32BIT 0 /* x86-64 has it */
#endif
/* With these an address means something else, or too little. */
enum { NOT_JUST_THERE = MAP_HUGETLB | MAP_32BIT | MAP_GROWSDOWN };

static uintptr_t page_end(uintptr_t addr, size_t len)
{
	return lab_align_up(addr + len, LAB_PAGE_BYTES);
}

static lab_pfn_t pfn_at(uintptr_t at)
{
	return lab_pfn_of((void *)at);
}

static bool is_covered(uintptr_t at)
{
	return lab_mem_covers((void *)at);
}

/* ---- holding frames ---- */

/* a free frame that the program is about to map over */
static bool hold_vacant(lab_pfn_t pfn)
{
	if (lab_map_win(pfn, LAB_PCP_MAP, LAB_KIND_MAP_HELD))
		return true;
	if (!lab_heap_take_at(pfn, 1))
		return false;
	lab_flow_took(LAB_PCP_MAP, 1);
	lab_kind_set(pfn, LAB_KIND_MAP_HELD);
	return true;
}

/* those frames of a range that are free */
static void hold_holes(uintptr_t addr, uintptr_t end)
{
	uintptr_t at, next;

	for (at = addr; at < end; at = next) {
		if (lab_map_page_at(at, end, &next) != LAB_MAP_HOLE)
			continue;
		for (; at < next; at += LAB_PAGE_BYTES)
			(void)hold_vacant(pfn_at(at));
	}
}

/* all pages of a range, up to one that another context was faster to take: where that is */
static uintptr_t hold_all(uintptr_t addr, uintptr_t end)
{
	while (addr < end && is_covered(addr) && hold_vacant(pfn_at(addr)))
		addr += LAB_PAGE_BYTES;
	return addr;
}

static void each_held(uintptr_t addr, uintptr_t end, uint8_t to)
{
	uintptr_t at;

	for (at = addr; at < end; at += LAB_PAGE_BYTES)
		if (is_covered(at))
			(void)lab_map_win(pfn_at(at), LAB_KIND_MAP_HELD, to);
}

/* held frames that are not the program's: fresh pages there, and back to the heap */
static void restore_held(uintptr_t addr, uintptr_t end)
{
	uintptr_t at;

	for (at = addr; at < end; at += LAB_PAGE_BYTES)
		if (is_covered(at) && lab_byte_get(&lab_mem.kind[pfn_at(at)]) == LAB_KIND_MAP_HELD)
			lab_map_restore(pfn_at(at), 1);
}

/* ---- mmap() at an address ---- */

static long map_fixed(uintptr_t addr, uintptr_t end, size_t len, int prot, int flags, int fd,
		      long offset)
{
	long result;

	lab_map_mark(addr, end);
	hold_holes(addr, end);
	result = lab_os_pass_mmap(addr, len, prot, flags, fd, offset);
	if (lab_os_failed(result))
		restore_held(addr, end);
	else
		each_held(addr, end, LAB_KIND_MAP_CHANGED);
	return result;
}

/* is all of it free frames of ours: then nothing is there for the program */
static bool is_hole(uintptr_t addr, uintptr_t end)
{
	uintptr_t next;

	return lab_map_page_at(addr, end, &next) == LAB_MAP_HOLE && next == end;
}

long lab_map_place(uintptr_t addr, size_t len, int prot, int flags, int fd, long offset)
{
	uintptr_t end = page_end(addr, len), held;

	if (!len || end <= addr || end > LAB_OS_HOLE_PAGE)
		return lab_os_pass_mmap(addr, len, prot, flags, fd, offset);
	if (flags & MAP_FIXED && addr % LAB_PAGE_BYTES == 0)
		return map_fixed(addr, end, len, prot, flags, fd, offset);
	/* wanted just there, and the kernel would say that it is taken */
	if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))) {
		addr = lab_align_up(addr, LAB_PAGE_BYTES);
		end = page_end(addr, len);
	}
	if (!(flags & NOT_JUST_THERE) && addr % LAB_PAGE_BYTES == 0 && is_hole(addr, end)) {
		held = hold_all(addr, end);
		if (held == end)
			return map_fixed(addr, end, len, prot,
					 (flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED, fd, offset);
		restore_held(addr, held);
	}
	return lab_os_pass_mmap(addr, len, prot, flags, fd, offset);
}

/*
 * The kernel found room where we believe a routed page to be: the program has
 * unmapped it past us.
 */
void lab_map_note(uintptr_t addr, size_t len)
{
	lab_map_mark(addr, page_end(addr, len));
}

/* ---- mremap() ---- */

static long extend(uintptr_t from, size_t old_len, size_t new_len)
{
	unsigned int n = (unsigned int)((new_len - old_len) >> LAB_PAGE_SHIFT);
	lab_pfn_t pfn = pfn_at(from + old_len);

	if (new_len - old_len > LAB_MAP_MAX * LAB_PAGE_BYTES || !is_covered(from + old_len) ||
	    !lab_heap_extend(pfn, n))
		return -ENOMEM;
	lab_os_clear(lab_frame_address(pfn), new_len - old_len);
	lab_flow_took(LAB_PCP_MAP, n);
	lab_kind_fill(pfn, n, LAB_KIND_MAP);
	return (long)from;
}

/* every page of it the program's, as we made it */
static bool is_unchanged(uintptr_t from, size_t len)
{
	uintptr_t at;

	for (at = from; at < from + len; at += LAB_PAGE_BYTES)
		if (!is_covered(at) || lab_byte_get(&lab_mem.kind[pfn_at(at)]) != LAB_KIND_MAP)
			return false;
	return true;
}

static bool has_hole(uintptr_t addr, uintptr_t end)
{
	uintptr_t at, next;

	for (at = addr; at < end; at = next)
		if (lab_map_page_at(at, end, &next) == LAB_MAP_HOLE)
			return true;
	return false;
}

/*
 * What was LOST while the kernel worked: a frame that it has left empty becomes
 * heap again, and where something lies, it is the program's.
 */
static void refill(uintptr_t addr, uintptr_t end)
{
	uintptr_t at;
	lab_pfn_t pfn;
	int err;

	for (at = addr; at < end; at += LAB_PAGE_BYTES) {
		pfn = pfn_at(at);
		if (!is_covered(at) || !lab_map_win(pfn, LAB_KIND_MAP_LOST, LAB_KIND_MAP_HELD))
			continue;
		err = lab_os_map(at, LAB_PAGE_BYTES);
		if (!err)
			lab_map_give_fresh(pfn, 1);
		else
			lab_kind_set(pfn,
				     err == -EEXIST ? LAB_KIND_MAP_CHANGED : LAB_KIND_MAP_LOST);
		lab_word_add(&lab_map.lost, err && err != -EEXIST);
	}
}

/*
 * Let the kernel see the holes that the program sees.  They are LOST, which
 * says just this, until they are filled again.
 */
static bool punch(uintptr_t addr, uintptr_t end)
{
	uintptr_t at, next;
	bool all = true;

	for (at = addr; at < end; at = next) {
		if (lab_map_page_at(at, end, &next) != LAB_MAP_HOLE)
			continue;
		for (; at < next; at += LAB_PAGE_BYTES) {
			if (!hold_vacant(pfn_at(at))) {
				all = false;
				continue;
			}
			lab_kind_set(pfn_at(at), LAB_KIND_MAP_LOST);
			(void)lab_os_unmap(at, LAB_PAGE_BYTES);
		}
	}
	return all;
}

/* pages of ours in a range are the kernel's alone, until refill() */
static void let_go(uintptr_t addr, uintptr_t end)
{
	uintptr_t at;

	lab_map_mark(addr, end);
	for (at = addr; at < end; at += LAB_PAGE_BYTES)
		if (is_covered(at))
			(void)lab_map_win(pfn_at(at), LAB_KIND_MAP_CHANGED, LAB_KIND_MAP_LOST);
}

/* the kernel does it; then our frames are put right */
static long move_by_kernel(uintptr_t from, size_t old_len, size_t new_len, int flags, uintptr_t to)
{
	uintptr_t end = from + old_len, to_end = flags & MREMAP_FIXED ? to + new_len : to;
	long result;

	if (punch(from, end)) {
		lab_map_mark(to, to_end);
		(void)punch(to, to_end);
		let_go(from, end);
		result = lab_os_pass_mremap(from, old_len, new_len, flags, to);
	} else {
		result = -EFAULT;
	}
	refill(from, end);
	refill(to, to_end);
	if (!lab_os_failed(result) && !(flags & MREMAP_FIXED))
		lab_map_note((uintptr_t)result, new_len);
	return result;
}

/*
 * Our frames are one mapping to the program but may be several to the kernel,
 * which then refuses to move them.
 */
static long move_by_copy(uintptr_t from, size_t old_len, size_t new_len, int flags, uintptr_t to)
{
	bool fixed = flags & MREMAP_FIXED;
	int map_flags = MAP_PRIVATE | MAP_ANONYMOUS | (fixed ? MAP_FIXED : 0);
	long result;

	if (fixed)
		result = lab_map_place(to, new_len, PROT_READ | PROT_WRITE, map_flags, -1, 0);
	else
		result = lab_os_pass_mmap(0, new_len, PROT_READ | PROT_WRITE, map_flags, -1, 0);
	if (lab_os_failed(result))
		return result;
	lab_os_copy((void *)result, (void *)from, old_len < new_len ? old_len : new_len);
	(void)lab_map_unmap(from, old_len);
	return result;
}

/* what the kernel refuses before it touches anything, whatever lies there */
static bool is_refused(uintptr_t from, size_t old_len, size_t new_len, int flags, uintptr_t to)
{
	const int known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	if (flags & ~known || from % LAB_PAGE_BYTES || !new_len)
		return true;
	if (new_len > LAB_OS_HOLE_PAGE || old_len > LAB_OS_HOLE_PAGE - from)
		return true;
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE))
		return true;
	if (flags & MREMAP_DONTUNMAP && old_len != new_len)
		return true;
	return flags & MREMAP_FIXED && (to % LAB_PAGE_BYTES || to > LAB_OS_HOLE_PAGE - new_len ||
					(to < from + old_len && from < to + new_len));
}

/* only the first page has to be mapped; whatever the tail holds is unmapped */
static long shrink(uintptr_t from, size_t old_len, size_t new_len, int flags)
{
	long result;

	if (has_hole(from, from + LAB_PAGE_BYTES))
		return -EFAULT;
	result = lab_os_pass_mremap(from, LAB_PAGE_BYTES, LAB_PAGE_BYTES, flags, 0);
	if (!lab_os_failed(result) && new_len < old_len)
		result = lab_map_unmap(from + new_len, old_len - new_len);
	return lab_os_failed(result) ? result : (long)from;
}

long lab_map_move(uintptr_t from, size_t old_len, size_t new_len, int flags, uintptr_t to)
{
	size_t old_bytes = lab_align_up(old_len, LAB_PAGE_BYTES);
	size_t new_bytes = lab_align_up(new_len, LAB_PAGE_BYTES);
	bool unchanged;
	long result;

	if (new_bytes < new_len || old_bytes < old_len ||
	    is_refused(from, old_bytes, new_bytes, flags, to))
		return lab_os_pass_mremap(from, old_len, new_len, flags, to);
	if (new_bytes <= old_bytes && !(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)))
		return shrink(from, old_bytes, new_bytes, flags);
	if (!old_bytes && has_hole(from, from + LAB_PAGE_BYTES))
		return -EFAULT;
	unchanged = old_bytes && is_unchanged(from, old_bytes);
	if (unchanged && !(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
		result = extend(from, old_bytes, new_bytes);
		if (!lab_os_failed(result) || !(flags & MREMAP_MAYMOVE))
			return result;
	}
	result = move_by_kernel(from, old_bytes, new_bytes, flags, to);
	if (result == -EFAULT && unchanged && !(flags & MREMAP_DONTUNMAP))
		result = move_by_copy(from, old_bytes, new_bytes, flags, to);
	return result;
}
