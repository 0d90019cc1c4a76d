/* SPDX-License-Identifier: MIT */
/* malloc's single pages, between their stack and the zones. */
#include "base/gather.h"
#include "page/reserve.h"
#include "pcp/flow.h"
#include "slab/cache.h"

enum { BATCH_MAX = LAB_PCP_CAP(LAB_PCP_PAGE) / 2 };

/*
 * A refill is an eighth of what this CPU's programs have: it costs what CPUs share the
 * same however large it is, but what is on a stack is nobody else's.
 */
enum { REFILL_MIN = 8, REFILL_SHIFT = 3 };

static unsigned int refill_size(void)
{
	int64_t n = lab_flow_kept(LAB_PCP_PAGE) >> REFILL_SHIFT;

	if (!lab_pcp_is_usable(LAB_PCP_PAGE))
		return 1;
	return n < REFILL_MIN ? REFILL_MIN : n < BATCH_MAX ? (unsigned int)n : BATCH_MAX;
}

/*
 * The first of a row of flushes is small, as the next refill may undo it, and one after
 * another is twice as large: pages that go back together share words of the bitmaps.
 * By CPU: pages of the last one; 0: a refill came after it.  Hints.
 */
enum { FLUSH_MIN = 64 };

static struct row {
	lab_word_t flushed;
} LAB_LINE_ALIGNED row[LAB_NR_CPUS];

static void end_row(void)
{
	lab_word_set(&row[lab_pcp_cpu()].flushed, 0);
}

static unsigned int flush_size(void)
{
	lab_word_t *flushed = &row[lab_pcp_cpu()].flushed;
	uint64_t n = lab_word_get(flushed) * 2;

	n = n < FLUSH_MIN ? FLUSH_MIN : n < BATCH_MAX ? n : BATCH_MAX;
	lab_word_set(flushed, n);
	return (unsigned int)n;
}

/* pages that the reserve has above low */
static unsigned int take_reserved(unsigned int want, struct lab_frames out[LAB_BLOCK_WORDS])
{
	uint64_t low = lab_word_get(&lab_zones[LAB_ZONE_RESERVE].low);

	out[1].mask = 0;
	return lab_reserve_take_some(LAB_ZONE_RESERVE, want < 64 ? want : 64, low, out);
}

/*
 * Who has few pages gets them from the reserve.  Who has many gets them there last, as CPUs
 * would hand those few to and fro; unless the heap cannot grow: it would be swept first.
 */
static unsigned int take_pages(struct lab_frames out[LAB_BLOCK_WORDS])
{
	unsigned int want = refill_size(), got = 0;

	end_row();
	/* an ordinary slow path: the place where the resident zones are refilled */
	lab_zones_follow();
	if (want <= REFILL_MIN || lab_heap_is_refused())
		got = take_reserved(want, out);
	if (!got)
		got = lab_heap_take_some(want, out, LAB_BLOCK_WORDS);
	return got ? got : take_reserved(want, out);
}

/* pages on their way back, by words of bitmaps and then by blocks */
struct gift {
	struct lab_gather words;
	struct lab_giving blocks;
};

/* word 0 begins with frame 0 */
static void return_pages(void *giving, uint32_t word, uint64_t mask)
{
	lab_zone_give_part(giving, word * 64, mask);
}

/* pages are nobody's any more, and go back with others of their word */
static void gather_pages(struct gift *gift, void *const *page, unsigned int n)
{
	uint32_t word = LAB_PFN_NONE;
	uint64_t mask = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		lab_pfn_t pfn = lab_pfn_of(page[i]);

		if (pfn / 64 != word) {
			if (mask)
				lab_gather_add(&gift->words, word, mask, return_pages,
					       &gift->blocks);
			word = pfn / 64;
			mask = 0;
		}
		lab_kind_set(pfn, LAB_KIND_FREE);
		mask |= 1ull << pfn % 64;
	}
	lab_gather_add(&gift->words, word, mask, return_pages, &gift->blocks);
}

/* pages of @mask at once; @pfn is that of bit 0 */
static void give_back(lab_pfn_t pfn, uint64_t mask)
{
	uint64_t left;

	for (left = mask; left; left &= left - 1)
		lab_kind_set(pfn + lab_ctz(left), LAB_KIND_FREE);
	lab_zone_give_mask(pfn, mask);
	lab_flow_gave(LAB_PCP_PAGE, lab_popcount(mask));
}

/* frames become pages, all but the lowest of them stacked; @result: NULL, then that one */
static void stack_pages(const struct lab_frames *frames, void **result)
{
	char *first = lab_frame_address(frames->pfn);
	uint64_t left;

	for (left = frames->mask; left; left &= left - 1)
		lab_kind_set(frames->pfn + lab_ctz(left), LAB_PCP_PAGE);
	left = frames->mask;
	if (!*result) {
		*result = first + ((size_t)lab_ctz(left) << LAB_PAGE_SHIFT);
		left &= left - 1;
	}
	if (left)
		left = lab_pcp_push_mask(LAB_PCP_PAGE, first, LAB_PAGE_BYTES, left);
	if (left)
		give_back(frames->pfn, left);
}

void *lab_page_alloc(void)
{
	struct lab_frames frames[LAB_BLOCK_WORDS];
	unsigned int got = take_pages(frames), i;
	void *result = NULL;

	if (!got)
		return NULL;
	lab_flow_took(LAB_PCP_PAGE, got);
	for (i = 0; i < LAB_BLOCK_WORDS && frames[i].mask; i++)
		stack_pages(&frames[i], &result);
	return result;
}

/* stack space for this many pointers is what a flush may cost */
enum { FLUSH_CHUNK = 8 };

/* @page, and up to @n pages from the stack, to their zones */
static void flush_pages(void *page, unsigned int n)
{
	void *chunk[FLUSH_CHUNK];
	unsigned int got, all = 1;
	struct gift gift = { .words.used = 0 };

	gather_pages(&gift, &page, 1);
	for (; n > 0; n -= got) {
		got = lab_pcp_pop_many(LAB_PCP_PAGE, chunk, n < FLUSH_CHUNK ? n : FLUSH_CHUNK);
		if (!got)
			break;
		gather_pages(&gift, chunk, got);
		all += got;
	}
	lab_gather_end(&gift.words, return_pages, &gift.blocks);
	lab_zone_give_rest(&gift.blocks);
	lab_flow_gave(LAB_PCP_PAGE, all);
}

void lab_page_free(void *ptr)
{
	flush_pages(ptr, flush_size());
}

void lab_page_give(void *ptr)
{
	lab_pfn_t pfn = lab_pfn_of(ptr);

	give_back(pfn & ~63u, 1ull << pfn % 64);
}
