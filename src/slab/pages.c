/* SPDX-License-Identifier: MIT */
/* malloc's single pages, between their stack and the zones. */
#include "page/exclusive.h"
#include "page/reserve.h"
#include "pcp/flow.h"
#include "slab/cache.h"

/* frames of one bitmap word at a time: as many as a stack refill can use */
enum { PAGE_BATCH = 64 };

static unsigned int take_pages(struct lab_frames *out)
{
	unsigned int want = lab_pcp_is_usable(LAB_PCP_PAGE) ? PAGE_BATCH : 1, got;
	uint64_t low = lab_word_get(&lab_zones[LAB_ZONE_RESERVE].low);

	/* an ordinary slow path: the place where the reserve is refilled */
	lab_reserve_refill(LAB_ZONE_RESERVE);
	lab_excl_refill();
	got = lab_reserve_take_some(LAB_ZONE_RESERVE, want, low, out);
	return got ? got : lab_heap_take_some(want, out);
}

/* pages of @mask back to their zone; @pfn is that of bit 0 */
static void return_pages(lab_pfn_t pfn, uint64_t mask)
{
	uint64_t left;

	for (left = mask; left; left &= left - 1)
		lab_kind_set(pfn + lab_ctz(left), LAB_KIND_FREE);
	lab_zone_give_mask(pfn, mask);
	lab_flow_gave(LAB_PCP_PAGE, lab_popcount(mask));
}

void *lab_page_alloc(void)
{
	struct lab_frames frames;
	uint64_t left;
	void *result;

	if (!take_pages(&frames))
		return NULL;
	left = frames.mask;
	lab_flow_took(LAB_PCP_PAGE, lab_popcount(left));
	result = lab_frame_address(frames.pfn + lab_ctz(left));
	for (; left; left &= left - 1)
		lab_kind_set(frames.pfn + lab_ctz(left), LAB_PCP_PAGE);
	left = frames.mask & (frames.mask - 1);
	if (left)
		left = lab_pcp_push_mask(LAB_PCP_PAGE, lab_frame_address(frames.pfn),
					 LAB_PAGE_BYTES, left);
	if (left)
		return_pages(frames.pfn, left);
	return result;
}

/* stack space for this many pointers is what a flush may cost */
enum { FLUSH_CHUNK = 16 };

/* up to @n pages from the stack to their zones, with those of @mask at @base */
static void flush_pages(lab_pfn_t base, uint64_t mask, unsigned int n)
{
	void *chunk[FLUSH_CHUNK];
	unsigned int got, i;

	for (; n > 0; n -= got) {
		got = lab_pcp_pop_many(LAB_PCP_PAGE, chunk, n < FLUSH_CHUNK ? n : FLUSH_CHUNK);
		if (!got)
			break;
		for (i = 0; i < got; i++) {
			lab_pfn_t pfn = lab_pfn_of(chunk[i]);

			if ((pfn & ~63u) != base) {
				if (mask)
					return_pages(base, mask);
				base = pfn & ~63u;
				mask = 0;
			}
			mask |= 1ull << pfn % 64;
		}
	}
	if (mask)
		return_pages(base, mask);
}

void lab_page_free(void *ptr)
{
	lab_pfn_t pfn = lab_pfn_of(ptr);

	flush_pages(pfn & ~63u, 1ull << pfn % 64, lab_pcp_batch(LAB_PCP_PAGE));
}

void lab_page_give(void *ptr)
{
	lab_pfn_t pfn = lab_pfn_of(ptr);

	return_pages(pfn & ~63u, 1ull << pfn % 64);
}

void lab_page_trim(void)
{
	flush_pages(0, 0, LAB_PCP_CAP(LAB_PCP_PAGE));
}
