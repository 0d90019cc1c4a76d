/* SPDX-License-Identifier: MIT */
/* Routed pages: out of their stacks and the heap, and back. */
#include "map/map.h"
#include "os/mm.h"
#include "os/os.h"
#include "pcp/flow.h"

struct lab_map lab_map;

/*
 * POP_TURNS: entries of a stack that turn out not to be ours any more, before
 * we go to the heap.  FLUSH: pages that go back to the heap when a stack is
 * full; stack space for as many pointers is what it costs.
 */
enum { POP_TURNS = 4, FLUSH = 16 };

static unsigned int class_of(unsigned int n)
{
	return LAB_PCP_MAP + n - 1;
}

static uintptr_t address(lab_pfn_t pfn)
{
	return (uintptr_t)lab_frame_address(pfn);
}

static void count_routed(lab_pfn_t pfn)
{
	lab_word_add(&lab_map.routed[pfn % LAB_MAP_SHARDS].n, 1);
}

/* the kinds of eight frames at once; @pfn is a multiple of eight */
static bool win_eight(lab_pfn_t pfn, uint8_t from, uint8_t to)
{
	const uint64_t each = 0x0101010101010101ull;

	return lab_word_swap((lab_word_t *)&lab_mem.kind[pfn], from * each, to * each);
}

/* the first frames of @n that could be won, up to one that could not */
static unsigned int win_run(lab_pfn_t pfn, unsigned int n, uint8_t from, uint8_t to)
{
	unsigned int i = 0;

	while (i < n) {
		if ((pfn + i) % 8 == 0 && n - i >= 8 && win_eight(pfn + i, from, to))
			i += 8;
		else if (lab_map_win(pfn + i, from, to))
			i++;
		else
			break;
	}
	return i;
}

/* ---- back to the heap ---- */

void lab_map_give_fresh(lab_pfn_t pfn, size_t n)
{
	unsigned int now;

	lab_flow_gave(LAB_PCP_MAP, n);
	for (; n > 0; n -= now, pfn += now) {
		unsigned int first = pfn % LAB_BLOCK_FRAMES;

		now = LAB_BLOCK_FRAMES - first < n ? LAB_BLOCK_FRAMES - first : (unsigned int)n;
		lab_block_set_clean(pfn / LAB_BLOCK_FRAMES, first, now);
		lab_kind_fill(pfn, now, LAB_KIND_FREE);
		/* giving counts them as dirty */
		lab_zone_give(pfn, now);
		lab_word_sub(&lab_zones[LAB_ZONE_HEAP].dirty, now);
	}
}

/*
 * Where the kernel refuses (too many mappings, a limit), the pages are lost:
 * nobody gets them again.  The program sees them unmapped all the same.
 */
void lab_map_restore(lab_pfn_t pfn, size_t n)
{
	if (lab_os_map_over(address(pfn), n << LAB_PAGE_SHIFT)) {
		lab_kind_fill(pfn, n, LAB_KIND_MAP_LOST);
		(void)lab_os_unmap(address(pfn), n << LAB_PAGE_SHIFT);
		lab_word_add(&lab_map.lost, n);
		return;
	}
	lab_map_give_fresh(pfn, n);
}

/* frames of one word of the block's bitmap, that we hold; @pfn is that of bit 0 */
static void restore_mask(lab_pfn_t pfn, uint64_t mask)
{
	while (mask) {
		unsigned int first = lab_ctz(mask);
		uint64_t run = mask >> first;
		unsigned int n = ~run ? lab_ctz(~run) : 64;

		lab_map_restore(pfn + first, n);
		mask &= ~lab_mask(first, n);
	}
}

/* ---- taking ---- */

static void *routed(lab_pfn_t pfn, unsigned int n, bool clean)
{
	void *pages = lab_frame_address(pfn);

	if (!clean)
		lab_os_clear(pages, (size_t)n << LAB_PAGE_SHIFT);
	count_routed(pfn);
	return pages;
}

void *lab_map_ready(void *page)
{
	lab_pfn_t pfn = lab_pfn_of(page);

	return LAB_LIKELY(lab_map_win(pfn, LAB_PCP_MAP, LAB_KIND_MAP)) ? routed(pfn, 1, false)
								       : NULL;
}

/* frames of an entry of which not all are there any more */
static void restore_entry(lab_pfn_t pfn, unsigned int n)
{
	unsigned int got;

	for (; n > 0; n -= got, pfn += got) {
		got = win_run(pfn, n, LAB_PCP_MAP, LAB_KIND_MAP_HELD);
		if (got)
			lab_map_restore(pfn, got);
		else
			got = 1;
	}
}

/* all frames of an entry are ours to hand out */
static bool win_entry(lab_pfn_t pfn, unsigned int n)
{
	unsigned int got = win_run(pfn, n, LAB_PCP_MAP, LAB_KIND_MAP);

	if (LAB_LIKELY(got == n))
		return true;
	/* nobody was told of these */
	lab_kind_fill(pfn, got, LAB_KIND_MAP_HELD);
	if (got)
		lab_map_restore(pfn, got);
	restore_entry(pfn + got, n - got);
	return false;
}

void *lab_map_take(unsigned int n)
{
	struct lab_frames frames;
	void *entry;
	int turn;

	for (turn = 0; turn < POP_TURNS; turn++) {
		entry = lab_pcp_pop(class_of(n));
		if (!entry)
			break;
		if (win_entry(lab_pfn_of(entry), n))
			return routed(lab_pfn_of(entry), n, false);
	}
	if (!lab_heap_take_run(n, 0, &frames))
		return NULL;
	lab_flow_took(LAB_PCP_MAP, n);
	lab_kind_fill(frames.pfn, n, LAB_KIND_MAP);
	return routed(frames.pfn, n, frames.nclean == n);
}

/* ---- giving back ---- */

/* up to @n pages off the stack to the heap, with those of @mask at @base */
static void flush(lab_pfn_t base, uint64_t mask, unsigned int n)
{
	void *chunk[FLUSH];
	unsigned int got, i;

	for (; n > 0; n -= got) {
		got = lab_pcp_pop_many(LAB_PCP_MAP, chunk, n < FLUSH ? n : FLUSH);
		if (!got)
			break;
		for (i = 0; i < got; i++) {
			lab_pfn_t pfn = lab_pfn_of(chunk[i]);

			if (!lab_map_win(pfn, LAB_PCP_MAP, LAB_KIND_MAP_HELD))
				continue;
			if ((pfn & ~63u) != base) {
				restore_mask(base, mask);
				base = pfn & ~63u;
				mask = 0;
			}
			mask |= 1ull << pfn % 64;
		}
	}
	restore_mask(base, mask);
}

/* one page of kind LAB_PCP_MAP whose entry found no room */
void lab_map_unstacked(void *page)
{
	lab_pfn_t pfn = lab_pfn_of(page);

	if (lab_pcp_push(LAB_PCP_MAP, page))
		return;
	if (lab_map_win(pfn, LAB_PCP_MAP, LAB_KIND_MAP_HELD))
		flush(pfn & ~63u, 1ull << pfn % 64, FLUSH);
}

/* frames of kind LAB_PCP_MAP that we made so */
static void stack(lab_pfn_t pfn, unsigned int n)
{
	void *entry = lab_frame_address(pfn);

	if (n == 1)
		lab_map_unstacked(entry);
	else if (!lab_pcp_push(class_of(n), entry))
		restore_entry(pfn, n);
}

/* frames as we made them */
static void release_unchanged(lab_pfn_t pfn, size_t n)
{
	while (n > 0) {
		unsigned int most = n < LAB_MAP_MAX ? (unsigned int)n : LAB_MAP_MAX;
		unsigned int got = win_run(pfn, most, LAB_KIND_MAP, LAB_PCP_MAP);

		if (got)
			stack(pfn, got);
		else
			got = 1; /* another context was first */
		pfn += got;
		n -= got;
	}
}

static void release_changed(lab_pfn_t pfn, size_t n, uint8_t kind)
{
	while (n > 0) {
		unsigned int most = n < LAB_BLOCK_FRAMES ? (unsigned int)n : LAB_BLOCK_FRAMES;
		unsigned int got = win_run(pfn, most, kind, LAB_KIND_MAP_HELD);

		if (got) {
			lab_map_restore(pfn, got);
			lab_word_add(&lab_map.restored, got);
		} else {
			got = 1;
		}
		pfn += got;
		n -= got;
	}
}

/* routed frames, of both kinds */
static void release(lab_pfn_t pfn, size_t n)
{
	size_t run;
	uint8_t kind;

	for (; n > 0; n -= run, pfn += run) {
		kind = lab_byte_get(&lab_mem.kind[pfn]);
		for (run = 1; run < n && lab_byte_get(&lab_mem.kind[pfn + run]) == kind; run++)
			;
		if (kind == LAB_KIND_MAP_CHANGED ||
		    (kind == LAB_KIND_MAP && LAB_UNLIKELY(lab_word_get(&lab_map.locked))))
			release_changed(pfn, run, kind);
		else if (kind == LAB_KIND_MAP)
			release_unchanged(pfn, run);
	}
}

/*
 * The parts that are the kernel's go first: only they can be refused, and then
 * nothing has happened yet.
 */
long lab_map_unmap(uintptr_t addr, size_t len)
{
	uintptr_t end = lab_align_up(addr + len, LAB_PAGE_BYTES), at, next;
	long result;

	if (addr % LAB_PAGE_BYTES || !len || end <= addr || end > LAB_OS_HOLE_PAGE)
		return lab_os_pass(SYS_munmap, addr, len, 0, 0);
	for (at = addr; at < end; at = next) {
		if (lab_map_page_at(at, end, &next) != LAB_MAP_KERNELS)
			continue;
		result = lab_os_pass(SYS_munmap, at, next - at, 0, 0);
		if (result)
			return result;
	}
	for (at = addr; at < end; at = next)
		if (lab_map_page_at(at, end, &next) == LAB_MAP_OURS)
			release(lab_pfn_of((void *)at), (next - at) >> LAB_PAGE_SHIFT);
	return 0;
}

void lab_map_trim(void)
{
	unsigned int n;
	void *entry;

	flush(0, 0, LAB_PCP_CAP(LAB_PCP_MAP));
	for (n = 2; n <= LAB_MAP_MAX; n++)
		while ((entry = lab_pcp_pop(class_of(n))))
			restore_entry(lab_pfn_of(entry), n);
}
