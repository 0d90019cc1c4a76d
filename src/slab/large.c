/* SPDX-License-Identifier: MIT */
#include "slab/large.h"
#include "base/probe.h"
#include "os/os.h"
#include "pcp/flow.h"
#include "slab/sizeclass.h"

#define BLOCK_BYTES (1ul << LAB_BLOCK_SHIFT)
/* a run of frames lies inside one block */
#define LARGE_MAX BLOCK_BYTES

static size_t pages_of(size_t bytes)
{
	return (bytes + LAB_PAGE_BYTES - 1) >> LAB_PAGE_SHIFT;
}

static size_t blocks_of(size_t bytes)
{
	return (bytes + BLOCK_BYTES - 1) >> LAB_BLOCK_SHIFT;
}

/* one object more, of @n pages; the row of its pages is the next one */
static void count(unsigned int row, uint64_t n)
{
	lab_flow_took(row, 1);
	lab_flow_took(row + 1, n);
}

static void discount(unsigned int row, uint64_t n)
{
	lab_flow_gave(row, 1);
	lab_flow_gave(row + 1, n);
}

/* an object of @have pages has @n now */
static void recount(unsigned int row, uint64_t have, uint64_t n)
{
	if (n > have)
		lab_flow_took(row + 1, n - have);
	else if (n < have)
		lab_flow_gave(row + 1, have - n);
}

void *lab_large_make(lab_pfn_t pfn, unsigned int n)
{
	lab_word_set(&lab_frame_at(pfn)->npages, n);
	lab_kind_fill(pfn + 1, n - 1, LAB_KIND_BODY);
	lab_kind_set(pfn, LAB_KIND_LARGE);
	count(LAB_FLOW_LARGE, n);
	return lab_frame_address(pfn);
}

static void *large_alloc(size_t size, size_t align, bool *clean)
{
	unsigned int n = (unsigned int)pages_of(size);
	unsigned int order = align > LAB_PAGE_BYTES ? lab_log2(align) - LAB_PAGE_SHIFT : 0;
	struct lab_frames frames;

	if (!lab_heap_take_run(n, order, &frames))
		return NULL;
	*clean = frames.nclean == n;
	return lab_large_make(frames.pfn, n);
}

static void *huge_alloc(size_t size, size_t align, bool *clean)
{
	size_t bytes = pages_of(size) << LAB_PAGE_SHIFT;
	size_t block = lab_run_take(bytes, align > BLOCK_BYTES ? align : BLOCK_BYTES, clean);
	lab_pfn_t pfn;

	if (block == SIZE_MAX)
		return NULL;
	pfn = (lab_pfn_t)(block * LAB_BLOCK_FRAMES);
	lab_word_set(&lab_frame_at(pfn)->bytes, bytes);
	lab_kind_set(pfn, LAB_KIND_HUGE);
	count(LAB_FLOW_HUGE, bytes >> LAB_PAGE_SHIFT);
	return lab_frame_address(pfn);
}

void *lab_large_alloc(size_t size, size_t align, bool *clean)
{
	*clean = false;
	LAB_PROBE2(large_alloc, size, align);
	if (size <= LARGE_MAX && align <= LARGE_MAX)
		return large_alloc(size, align, clean);
	return huge_alloc(size, align, clean);
}

static bool is_huge(const void *ptr)
{
	return lab_mem_kind(ptr) == LAB_KIND_HUGE;
}

bool lab_large_free(void *ptr)
{
	lab_pfn_t pfn = lab_pfn_of(ptr);
	uint8_t kind = lab_byte_get(&lab_mem.kind[pfn]);
	unsigned int n;
	size_t bytes;

	/* large objects can afford it: of two who free at once, one wins */
	if (kind != LAB_KIND_LARGE && kind != LAB_KIND_HUGE)
		return false;
	if (!atomic_compare_exchange_strong_explicit(&lab_mem.kind[pfn], &kind, LAB_KIND_FREE,
						     memory_order_relaxed, memory_order_relaxed))
		return false;
	LAB_PROBE1(large_free, ptr);
	if (kind == LAB_KIND_HUGE) {
		bytes = lab_word_get(&lab_frame_at(pfn)->bytes);
		discount(LAB_FLOW_HUGE, bytes >> LAB_PAGE_SHIFT);
		lab_run_give(pfn / LAB_BLOCK_FRAMES, blocks_of(bytes));
	} else {
		n = (unsigned int)lab_word_get(&lab_frame_at(pfn)->npages);
		discount(LAB_FLOW_LARGE, n);
		lab_kind_fill(pfn + 1, n - 1, LAB_KIND_FREE);
		lab_zone_give(pfn, n);
	}
	return true;
}

bool lab_large_hide(void *ptr)
{
	lab_byte_t *at = &lab_mem.kind[lab_pfn_of(ptr)];
	uint8_t kind = lab_byte_get(at);

	return (kind == LAB_KIND_LARGE || kind == LAB_KIND_HUGE) &&
	       atomic_compare_exchange_strong_explicit(
		       at, &kind, kind == LAB_KIND_LARGE ? LAB_KIND_HIDDEN : LAB_KIND_HIDDEN_HUGE,
		       memory_order_relaxed, memory_order_relaxed);
}

void lab_large_show(void *ptr)
{
	lab_kind_set(lab_pfn_of(ptr),
		     lab_mem_kind(ptr) == LAB_KIND_HIDDEN ? LAB_KIND_LARGE : LAB_KIND_HUGE);
}

size_t lab_large_bytes(const void *ptr)
{
	struct lab_frame *frame = lab_frame_at(lab_pfn_of(ptr));

	return is_huge(ptr) ? lab_word_get(&frame->bytes)
			    : lab_word_get(&frame->npages) << LAB_PAGE_SHIFT;
}

size_t lab_object_bytes(const void *ptr)
{
	unsigned int kind = lab_mem_kind(ptr);

	return kind < LAB_CLASS_END ? lab_class_bytes(kind) : lab_large_bytes(ptr);
}

void lab_large_clear(void *ptr, size_t bytes)
{
	if (bytes > LARGE_MAX && is_huge(ptr) &&
	    lab_os_discard((uintptr_t)ptr, pages_of(bytes) << LAB_PAGE_SHIFT) == 0)
		return;
	lab_os_clear(ptr, bytes);
}

/* The frames of a huge object bear no mark: look for its head, for a report. */
bool lab_large_contains(const void *ptr)
{
	size_t block = lab_pfn_of(ptr) / LAB_BLOCK_FRAMES;

	for (;; block--) {
		lab_pfn_t head = (lab_pfn_t)(block * LAB_BLOCK_FRAMES);
		const char *start = lab_frame_address(head);

		if (!lab_mem_covers(start))
			return false;
		if (is_huge(start))
			return (size_t)((const char *)ptr - start) <
			       lab_word_get(&lab_frame_at(head)->bytes);
		if (block == 0)
			return false;
	}
}

bool lab_large_was(const void *ptr)
{
	struct lab_frame *frame = lab_frame_at(lab_pfn_of(ptr));

	return lab_word_get(&frame->npages) || lab_word_get(&frame->bytes);
}

/* ---- resizing ---- */

static void *large_resize(void *ptr, size_t size)
{
	lab_pfn_t pfn = lab_pfn_of(ptr);
	struct lab_frame *frame = lab_frame_at(pfn);
	unsigned int have = (unsigned int)lab_word_get(&frame->npages);
	unsigned int n;

	if (size > LARGE_MAX)
		return NULL;
	n = (unsigned int)pages_of(size);
	if (n > have) {
		if (!lab_heap_extend(pfn + have, n - have))
			return NULL;
		lab_kind_fill(pfn + have, n - have, LAB_KIND_BODY);
		lab_word_set(&frame->npages, n);
	} else if (n < have) {
		lab_word_set(&frame->npages, n);
		lab_kind_fill(pfn + n, have - n, LAB_KIND_FREE);
		lab_zone_give(pfn + n, have - n);
	}
	recount(LAB_FLOW_LARGE, have, n);
	return ptr;
}

/*
 * The pages move to a longer run, by one system call that moves and grows: it
 * moves all of them or nothing.  It is refused where the run is more than one
 * mapping; then the caller copies.
 *
 * While they are on their way the object is neither here nor there.  A call
 * that is abandoned in between (siglongjmp) leaves a kind that free() takes
 * for a leak.
 */
static void *huge_move(void *ptr, size_t bytes)
{
	lab_pfn_t from = lab_pfn_of(ptr), to;
	size_t had = lab_word_get(&lab_frame_at(from)->bytes), nfrom = blocks_of(had);
	size_t n = blocks_of(bytes), block;
	bool clean;

	/* mapped first, so that no mapping of the program's can be in the way */
	block = lab_run_take(bytes, BLOCK_BYTES, &clean);
	if (block == SIZE_MAX)
		return NULL;
	to = (lab_pfn_t)(block * LAB_BLOCK_FRAMES);
	lab_kind_set(from, LAB_KIND_MOVING);
	if (lab_os_move((uintptr_t)ptr, nfrom << LAB_BLOCK_SHIFT, (uintptr_t)lab_frame_address(to),
			n << LAB_BLOCK_SHIFT)) {
		lab_kind_set(from, LAB_KIND_HUGE);
		/* old kernels have unmapped the target before they refuse */
		lab_os_unmap((uintptr_t)lab_frame_address(to), n << LAB_BLOCK_SHIFT);
		lab_run_give_unmapped(block, n);
		return NULL;
	}
	lab_word_set(&lab_frame_at(to)->bytes, bytes);
	lab_kind_set(to, LAB_KIND_HUGE);
	lab_kind_set(from, LAB_KIND_FREE);
	lab_run_give_unmapped(from / LAB_BLOCK_FRAMES, nfrom);
	recount(LAB_FLOW_HUGE, had >> LAB_PAGE_SHIFT, bytes >> LAB_PAGE_SHIFT);
	return lab_frame_address(to);
}

static void *huge_resize(void *ptr, size_t size)
{
	lab_pfn_t pfn = lab_pfn_of(ptr);
	struct lab_frame *frame = lab_frame_at(pfn);
	size_t block = pfn / LAB_BLOCK_FRAMES;
	size_t have = lab_word_get(&frame->bytes);
	size_t bytes, nhave = blocks_of(have), n;

	if (size <= LARGE_MAX)
		return NULL;
	bytes = pages_of(size) << LAB_PAGE_SHIFT;
	n = blocks_of(bytes);
	if (n > nhave && !lab_run_extend(block + nhave, n - nhave))
		return huge_move(ptr, bytes);
	lab_word_set(&frame->bytes, bytes);
	if (n < nhave)
		lab_run_give(block + n, nhave - n);
	recount(LAB_FLOW_HUGE, have >> LAB_PAGE_SHIFT, bytes >> LAB_PAGE_SHIFT);
	return ptr;
}

void *lab_large_resize(void *ptr, size_t size)
{
	return is_huge(ptr) ? huge_resize(ptr, size) : large_resize(ptr, size);
}
