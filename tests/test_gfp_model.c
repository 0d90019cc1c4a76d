/* SPDX-License-Identifier: MIT */
/*
 * Random calls against a model: sets of frames, the marks, and the rules of
 * gfp/alloc.h.  The model says of each call whether it succeeds, from where, what
 * errno is and what is counted.  Which frame it is the library may choose; the
 * model looks whether it may, and then has it too.  After each call the free
 * frames, the stacks and all counts have to be the model's.
 *
 * LAB_MODEL_CALLS: how many calls.
 */
#include "harness.h"

#include "gfp/reclaim.h"
#include "labyrinth.h"
#include "page/event.h"
#include "page/exclusive.h"
#include "page/highatomic.h"
#include "page/reserve.h"
#include "pcp/pcp.h"
#include "slab/atomic.h"

#define HIGH	     LABYRINTH___GFP_HIGH
#define MEMALLOC     LABYRINTH___GFP_MEMALLOC
#define NOMEMALLOC   LABYRINTH___GFP_NOMEMALLOC
#define DIRECT	     LABYRINTH___GFP_DIRECT_RECLAIM
#define NOFAIL	     LABYRINTH___GFP_NOFAIL
#define NORETRY	     LABYRINTH___GFP_NORETRY
#define MAYFAIL	     LABYRINTH___GFP_RETRY_MAYFAIL
#define NOWARN	     LABYRINTH___GFP_NOWARN
#define ZERO	     LABYRINTH___GFP_ZERO
#define EXCL	     LABYRINTH___GFP_EXCLUSIVE
#define ATOMIC	     LABYRINTH_GFP_ATOMIC
#define NOWAIT	     LABYRINTH_GFP_NOWAIT
#define KERNEL	     LABYRINTH_GFP_KERNEL
#define ZONES	     (LABYRINTH___GFP_DMA | LABYRINTH___GFP_DMA32 | LABYRINTH___GFP_HIGHMEM)
#define MOBILITY     (LABYRINTH___GFP_MOVABLE | LABYRINTH___GFP_RECLAIMABLE)
#define EXACT_NEVER  (LABYRINTH___GFP_COMP | LABYRINTH___GFP_HIGHMEM)
#define NOLOCK_FLAGS (NOWARN | ZERO | NOMEMALLOC | LABYRINTH___GFP_COMP)

enum { PHASE = 2000, MAX_HELD = 4096, MAX_BULK = 80, MAX_FRAMES = 1 << 20, MAX_BLOCKS = 8 };
enum { CAP_API = 64, CAP_EXCL = 8, BATCH_API = 16, BATCH_EXCL = 4, UNIT_FRAMES = 8 };

/* ---- the model's sets ---- */

enum state { FOREIGN, FREE, API, EXCLS, ZEROS, ASIDE, HELD, SLAB, NR_STATES };

struct pool;

struct set {
	struct pool *pool;
	lab_pfn_t first;
	unsigned int nwords;
	uint64_t bits[LAB_BLOCK_WORDS]; /* sorted: bit i is frame first + i */
	const lab_word_t *real;
};

struct pool {
	enum lab_zone_id id;
	uint64_t free, managed, failed;
	unsigned int nsets;
	struct set sets[MAX_BLOCKS];
};

static uint8_t state_of[MAX_FRAMES];
static uint16_t live_of[MAX_FRAMES]; /* objects of a slab */
static struct set *set_at[MAX_FRAMES / LAB_BLOCK_FRAMES];
static uint64_t count[NR_STATES];
static struct pool reserve = { .id = LAB_ZONE_RESERVE }, excl = { .id = LAB_ZONE_EXCLUSIVE };
static uint64_t want[LAB_NR_EVENTS], want_reports, seed, times[8];
static bool heap_is_dry, had_zeroed;
static unsigned int cpu;

static lab_pfn_t slabs[1024];
static unsigned int nslabs;

static void put(lab_pfn_t pfn, enum state to)
{
	struct set *set = set_at[pfn / LAB_BLOCK_FRAMES];
	enum state from = (enum state)state_of[pfn];
	unsigned int bit = pfn % LAB_BLOCK_FRAMES;

	must(set && from != to);
	if (from == FREE)
		set->pool->free--;
	if (to == FREE)
		set->pool->free++;
	if (from == FREE || to == FREE)
		set->bits[bit / 64] ^= 1ull << bit % 64;
	count[from]--;
	count[to]++;
	state_of[pfn] = (uint8_t)to;
}

static void put_all(enum state from, enum state to)
{
	for (struct pool *pool = &reserve; pool; pool = pool == &reserve ? &excl : NULL)
		for (unsigned int i = 0; count[from] && i < pool->nsets; i++)
			for (lab_pfn_t pfn = pool->sets[i].first, end = pfn + LAB_BLOCK_FRAMES;
			     pfn < end; pfn++)
				if (state_of[pfn] == from)
					put(pfn, to);
}

static bool word_has_run(uint64_t word, unsigned int order)
{
	uint64_t run = (1ull << (1u << order)) - 1;

	for (unsigned int bit = 0; bit < 64; bit += 1u << order)
		if ((word >> bit & run) == run)
			return true;
	return false;
}

static bool has_run(const struct pool *pool, unsigned int order)
{
	for (unsigned int i = 0; i < pool->nsets; i++) {
		const struct set *set = &pool->sets[i];
		unsigned int n = order > 6 ? 1u << (order - 6) : 1, word, full;

		for (word = 0; word + n <= set->nwords; word += n) {
			for (full = 0; full < n && !~set->bits[word + full]; full++)
				;
			if (full == n || (order < 6 && word_has_run(set->bits[word], order)))
				return true;
		}
	}
	return false;
}

static uint64_t low_of(const struct pool *pool)
{
	return lab_word_get(&lab_zone_at(pool->id)->low);
}

static uint64_t min_of(const struct pool *pool)
{
	return lab_word_get(&lab_zone_at(pool->id)->min);
}

/* ---- the rules ---- */

static bool is_atomic(labyrinth_gfp_t gfp)
{
	return gfp & HIGH && !(gfp & (DIRECT | NOMEMALLOC));
}

static bool is_memalloc(labyrinth_gfp_t gfp)
{
	return gfp & MEMALLOC && !(gfp & NOMEMALLOC);
}

/* table A4 */
static uint64_t floor_of(const struct pool *pool, labyrinth_gfp_t gfp)
{
	uint64_t min = min_of(pool), half = min - min / 2;

	return is_memalloc(gfp) ? 0 : is_atomic(gfp) ? half - half / 4 : gfp & HIGH ? half : min;
}

static struct pool *pool_of(labyrinth_gfp_t gfp)
{
	return gfp & EXCL ? &excl : &reserve;
}

static bool fits(const struct pool *pool, uint64_t floor, unsigned int order)
{
	return pool->free >= floor + (1u << order) && has_run(pool, order);
}

/* slabs without an object go back */
static void release_slabs(void)
{
	for (unsigned int i = nslabs; i-- > 0;) {
		if (live_of[slabs[i]])
			continue;
		put(slabs[i], FREE);
		slabs[i] = slabs[--nslabs];
	}
}

enum source { NONE, FROM_API, FROM_EXCLS, FROM_ZEROS, FROM_LOW, FROM_HEAP, FROM_FLOOR, FROM_UNIT };

static enum source above_floor(struct pool *pool, labyrinth_gfp_t gfp, unsigned int order)
{
	bool may = pool == &reserve && (is_atomic(gfp) || (!order && is_memalloc(gfp)));
	uint64_t aside = may ? count[ASIDE] : 0, floor = floor_of(pool, gfp);
	uint64_t left = floor > aside ? floor - aside : 0, all = pool->free + aside;

	if (aside && order && order <= 3 && all >= floor + (1u << order))
		return FROM_UNIT;
	if (fits(pool, left, order))
		return FROM_FLOOR;
	if (pool == &reserve)
		release_slabs();
	if (fits(pool, left, order))
		return FROM_FLOOR;
	return !order && aside && all > floor ? FROM_UNIT : NONE;
}

static enum source from_stack(labyrinth_gfp_t gfp)
{
	bool plenty = reserve.free > low_of(&reserve), zero = gfp & ZERO;

	if (gfp & EXCL)
		return count[EXCLS] ? FROM_EXCLS : NONE;
	if (zero && count[ZEROS])
		return FROM_ZEROS;
	if (count[API] && !(zero && plenty && had_zeroed))
		return FROM_API;
	return count[ZEROS] && !plenty ? FROM_ZEROS : NONE;
}

static enum source reclaimed(struct pool *pool, labyrinth_gfp_t gfp, unsigned int order)
{
	enum source source;

	want[LAB_EV_ALLOCSTALL]++;
	if (pool == &reserve)
		put_all(ASIDE, FREE);
	release_slabs();
	put_all(API, FREE);
	put_all(ZEROS, FREE);
	put_all(EXCLS, FREE);
	source = above_floor(pool, gfp, order);
	if (source == NONE && gfp & NOFAIL)
		source = above_floor(pool, gfp | HIGH, order);
	if (source == NONE && !(gfp & (NORETRY | MAYFAIL)))
		want[LAB_EV_STALL]++;
	return source;
}

static void count_failure(struct pool *pool, labyrinth_gfp_t gfp, unsigned int order)
{
	if (is_memalloc(gfp))
		want[LAB_EV_FAIL_MEMALLOC]++;
	else if (gfp & HIGH)
		want[is_atomic(gfp) ? LAB_EV_FAIL_ATOMIC : LAB_EV_FAIL_HIGH]++;
	else
		want[gfp & DIRECT ? LAB_EV_FAIL_KERNEL : LAB_EV_FAIL_NOWAIT]++;
	want[LAB_EV_FAIL_EXCLUSIVE] += pool == &excl;
	want[LAB_EV_FAIL_ORDER] += order > 0;
	want[LAB_EV_BAD_GFP] += gfp & NOFAIL && !(gfp & DIRECT);
	want_reports += !(gfp & NOWARN);
	pool->failed++;
}

/* a request with flags that are checked and effective; the model is as after it */
static enum source predict(labyrinth_gfp_t gfp, unsigned int order)
{
	struct pool *pool = pool_of(gfp);
	enum source source = order ? NONE : from_stack(gfp);

	if (source == NONE && fits(pool, low_of(pool), order))
		source = FROM_LOW;
	if (source == NONE && gfp & DIRECT && pool == &reserve && !heap_is_dry)
		source = FROM_HEAP;
	if (source == NONE)
		source = above_floor(pool, gfp, order);
	if (source == NONE && gfp & DIRECT)
		source = reclaimed(pool, gfp, order);
	if (source == NONE)
		count_failure(pool, gfp, order);
	times[source]++;
	return source;
}

/* lab_gfp_check(): false: EINVAL */
static bool checked(labyrinth_gfp_t *gfp, unsigned int order)
{
	if (*gfp & 0x7f000000u || order > LABYRINTH_MAX_PAGE_ORDER) {
		want[LAB_EV_BAD_GFP]++;
		return false;
	}
	if (__builtin_popcount(*gfp & ZONES) > 1) {
		want[LAB_EV_BAD_GFP]++;
		*gfp &= ~ZONES;
	}
	if ((*gfp & MOBILITY) == MOBILITY) {
		want[LAB_EV_BAD_GFP]++;
		*gfp &= ~MOBILITY;
	}
	want[LAB_EV_BAD_GFP] += *gfp & NOFAIL && order > 1;
	return true;
}

static labyrinth_gfp_t effective(labyrinth_gfp_t gfp)
{
	if (!(gfp & DIRECT) || !labyrinth_in_atomic())
		return gfp;
	want[LAB_EV_MIGHT_SLEEP]++;
	return (gfp & ~(KERNEL | HIGH | MEMALLOC)) | NOWAIT;
}

/* ---- what the library chose ---- */

static const struct lab_pcp_stack *stack(unsigned int cls)
{
	return (const struct lab_pcp_stack *)((char *)&lab_pcp_area[cpu] +
					      lab_pcp_class[cls].stack);
}

static const struct {
	unsigned int cls;
	enum state state;
} stacks[] = { { LAB_PCP_API, API }, { LAB_PCP_EXCL, EXCLS }, { LAB_PCP_ZERO, ZEROS } };

/* frames that were free and are on a stack now; how many */
static unsigned int adopt_stacked(void)
{
	unsigned int n = 0;

	for (unsigned int s = 0; s < 3; s++) {
		const struct lab_pcp_stack *from = stack(stacks[s].cls);

		for (unsigned int i = 0; i < from->count; i++) {
			lab_pfn_t pfn = lab_pfn_of(from->slot[i]);

			if (state_of[pfn] != FREE)
				continue;
			put(pfn, stacks[s].state);
			n++;
		}
	}
	return n;
}

/* an atomic run had to go below low: one more unit is set aside if it may */
static void adopt_unit(void)
{
	uint64_t allowed = reserve.managed / 100 / UNIT_FRAMES, none = count[ASIDE];

	allowed = allowed < 1 ? 1 : allowed > LAB_ASIDE_UNITS ? LAB_ASIDE_UNITS : allowed;
	if (reserve.managed < LAB_ASIDE_MIN || count[ASIDE] / UNIT_FRAMES >= allowed ||
	    !has_run(&reserve, LAB_ASIDE_ORDER))
		return;
	for (unsigned int i = 0; i < reserve.nsets; i++) {
		struct set *set = &reserve.sets[i];

		for (unsigned int at = 0; at < LAB_BLOCK_FRAMES; at += UNIT_FRAMES) {
			uint64_t gone = set->bits[at / 64] & ~lab_word_get(&set->real[at / 64]);

			if ((gone >> at % 64 & 0xff) != 0xff)
				continue;
			for (unsigned int f = 0; f < UNIT_FRAMES; f++)
				put(set->first + at + f, ASIDE);
		}
	}
	must(count[ASIDE] == none + UNIT_FRAMES);
}

static void take_frames(lab_pfn_t pfn, unsigned int n, enum state from)
{
	for (unsigned int i = 0; i < n; i++) {
		must(state_of[pfn + i] == from);
		put(pfn + i, HELD);
	}
}

/* the page is one that @source may give, and the model has given it as well */
static void settle(enum source source, const void *page, labyrinth_gfp_t gfp, unsigned int order)
{
	static const enum state of_stack[] = { 0, API, EXCLS, ZEROS };
	lab_pfn_t pfn = page ? lab_pfn_of(page) : 0;
	struct pool *pool = pool_of(gfp);
	unsigned int n = 1u << order;

	must(!page == (source == NONE));
	if (!page)
		return;
	must((uintptr_t)page % ((uintptr_t)LAB_PAGE_BYTES << order) == 0);
	must(pfn + n <= MAX_FRAMES);
	if (source == FROM_HEAP) {
		must(lab_zone_of(pfn) == LAB_ZONE_HEAP && !set_at[pfn / LAB_BLOCK_FRAMES]);
		return;
	}
	must(set_at[pfn / LAB_BLOCK_FRAMES] && set_at[pfn / LAB_BLOCK_FRAMES]->pool == pool);
	if (source == FROM_UNIT) {
		take_frames(pfn, n, ASIDE);
		for (; n < UNIT_FRAMES; n++)
			put(pfn + n, FREE);
		want[LAB_EV_HIGHATOMIC_HIT]++;
		return;
	}
	take_frames(pfn, n, source < FROM_LOW ? of_stack[source] : FREE);
	if (source == FROM_LOW && !order) {
		unsigned int others = adopt_stacked();

		must(others < (pool == &excl ? BATCH_EXCL : BATCH_API));
		must(pool->free >= low_of(pool));
	}
	if (source == FROM_FLOOR && order && is_atomic(gfp) && pool == &reserve)
		adopt_unit();
}

/* ---- the model is what is ---- */

static void check_pool(const struct pool *pool)
{
	const struct lab_zone *zone = lab_zone_at(pool->id);

	must(lab_word_get(&zone->free) == pool->free);
	must(lab_word_get(&zone->managed) == pool->managed);
	must(lab_word_get(&zone->failed) == pool->failed);
	for (unsigned int i = 0; i < pool->nsets; i++)
		for (unsigned int word = 0; word < pool->sets[i].nwords; word++)
			must(lab_word_get(&pool->sets[i].real[word]) == pool->sets[i].bits[word]);
}

static void check_events(void)
{
	static const enum lab_event exact[] = {
		LAB_EV_FAIL_KERNEL,    LAB_EV_FAIL_NOWAIT,	  LAB_EV_FAIL_HIGH,
		LAB_EV_FAIL_ATOMIC,    LAB_EV_FAIL_MEMALLOC,	  LAB_EV_FAIL_EXCLUSIVE,
		LAB_EV_FAIL_ORDER,     LAB_EV_FAIL_ATOMIC_MALLOC, LAB_EV_BAD_GFP,
		LAB_EV_MIGHT_SLEEP,    LAB_EV_ALLOCSTALL,	  LAB_EV_STALL,
		LAB_EV_HIGHATOMIC_HIT, LAB_EV_ZERO_HIT,		  LAB_EV_ZERO_MISS,
	};

	for (unsigned int i = 0; i < sizeof(exact) / sizeof(exact[0]); i++) {
		if (lab_word_get(&lab_events[exact[i]]) == want[exact[i]])
			continue;
		dprintf(1, "event %s: %llu, the model has %llu\n",
			labyrinth_event_name((enum labyrinth_event)exact[i]),
			(unsigned long long)lab_word_get(&lab_events[exact[i]]),
			(unsigned long long)want[exact[i]]);
		must(!"events are as the model's");
	}
}

static void check_all(void)
{
	check_pool(&reserve);
	check_pool(&excl);
	for (unsigned int s = 0; s < 3; s++) {
		const struct lab_pcp_stack *real = stack(stacks[s].cls);

		must(real->count == count[stacks[s].state]);
		for (unsigned int i = 0; i < real->count; i++)
			must(state_of[lab_pfn_of(real->slot[i])] == stacks[s].state);
	}
	must(lab_highatomic_frames() == count[ASIDE]);
	check_events();
}

/* ---- what the test holds ---- */

struct held {
	char *page;
	unsigned int n;	    /* pages */
	unsigned int order; /* of one block; of pages that were exact: 0 */
};

static struct held held[MAX_HELD];
static unsigned int nheld;
static void *objects[256];
static unsigned int nobjects;

static uint64_t tag_of(const char *page)
{
	return (uint64_t)(uintptr_t)page * 0x9e3779b97f4a7c15ull | 1;
}

static void hold(char *page, unsigned int n, unsigned int order, bool zero)
{
	static const char zeroes[LAB_PAGE_BYTES];

	must(nheld < MAX_HELD);
	held[nheld++] = (struct held){ page, n, order };
	for (unsigned int i = 0; i < n; i++, page += LAB_PAGE_BYTES) {
		if (zero && n <= 8)
			must(!memcmp(page, zeroes, sizeof(zeroes)));
		else if (zero)
			must(is_zero(page, 64) && is_zero(page + random_below(&seed, 4088), 8) &&
			     is_zero(page + 4088, 8));
		if (n <= 8)
			memset(page, 0xa5, LAB_PAGE_BYTES);
		memcpy(page, &(uint64_t){ tag_of(page) }, 8);
		memcpy(page + 4088, page, 8);
	}
}

static struct held drop(unsigned int at)
{
	struct held one = held[at];

	for (unsigned int i = 0; i < one.n; i++) {
		const char *page = one.page + (size_t)i * LAB_PAGE_BYTES;

		must(!memcmp(page, &(uint64_t){ tag_of(page) }, 8));
		must(!memcmp(page + 4088, page, 8));
	}
	held[at] = held[--nheld];
	return one;
}

/* one page, given back by itself */
static void model_free(const void *page)
{
	lab_pfn_t pfn = lab_pfn_of(page);
	const struct set *set = set_at[pfn / LAB_BLOCK_FRAMES];

	if (!set)
		return;
	if (set->pool == &excl)
		put(pfn, count[EXCLS] < CAP_EXCL ? EXCLS : FREE);
	else
		put(pfn, count[API] < CAP_API ? API : FREE);
}

static void free_one(unsigned int at)
{
	struct held one = drop(at);

	if (one.order && set_at[lab_pfn_of(one.page) / LAB_BLOCK_FRAMES]) {
		for (unsigned int i = 0; i < one.n; i++)
			put(lab_pfn_of(one.page) + i, FREE);
	} else {
		for (unsigned int i = 0; i < one.n && !one.order; i++)
			model_free(one.page + (size_t)i * LAB_PAGE_BYTES);
	}
	errno = 4711;
	if (one.order)
		labyrinth_free_pages(one.page, one.order);
	else if (one.n > 1)
		labyrinth_free_pages_exact(one.page, (size_t)one.n * LAB_PAGE_BYTES - 100);
	else
		labyrinth_free_page(one.page);
	must(errno == 4711);
}

/* ---- random calls ---- */

static unsigned int random_order(void)
{
	unsigned int order = (unsigned int)__builtin_ctzll(next_random(&seed) | 1ull << 9);

	return random_below(&seed, 500) ? order : 10 + order;
}

/* does a request that must not fail have its page after one round of reclaim */
static bool is_sure(labyrinth_gfp_t gfp, unsigned int order)
{
	struct pool *pool = pool_of(gfp);
	uint64_t all = pool->free + (pool == &excl ? count[EXCLS] : count[API] + count[ZEROS]);

	if (pool == &reserve)
		all += count[ASIDE];
	if (pool == &reserve && !heap_is_dry)
		return true;
	return !order && all > min_of(pool) - min_of(pool) / 2;
}

static labyrinth_gfp_t random_gfp(unsigned int order)
{
	static const labyrinth_gfp_t bases[] = { 0,
						 NOWAIT,
						 ATOMIC,
						 ATOMIC,
						 ATOMIC | ZERO,
						 KERNEL,
						 KERNEL | NORETRY,
						 KERNEL | HIGH | NORETRY,
						 ATOMIC | MEMALLOC,
						 NOWAIT | MEMALLOC,
						 ATOMIC | NOMEMALLOC,
						 KERNEL | NOFAIL };
	labyrinth_gfp_t gfp = bases[random_below(&seed, sizeof(bases) / sizeof(bases[0]))];
	unsigned int flips = (unsigned int)random_below(&seed, 4);

	while (flips-- > 0)
		gfp ^= 1u << random_below(&seed, 24);
	if (!random_below(&seed, 6))
		gfp |= EXCL;
	if (!random_below(&seed, 300))
		gfp |= 1u << (24 + random_below(&seed, 7));
	/* the test has one thread: nobody would end the wait */
	if (gfp & DIRECT && gfp & NOFAIL && !is_sure(gfp, order))
		gfp &= ~NOFAIL;
	return gfp;
}

/*
 * What is zeroed and may not wait is counted: from a stack it is known whether it
 * was cleared, else the library's choice of frames decides.
 */
static void count_zero(enum source source, labyrinth_gfp_t gfp)
{
	if (source == NONE || !(gfp & ZERO) || gfp & DIRECT)
		return;
	if (source == FROM_ZEROS ||
	    ((source == FROM_LOW || source == FROM_FLOOR) && !(gfp & EXCL) &&
	     lab_word_get(&lab_events[LAB_EV_ZERO_HIT]) > want[LAB_EV_ZERO_HIT]))
		want[LAB_EV_ZERO_HIT]++;
	else
		want[LAB_EV_ZERO_MISS]++;
}

/* @page: what a call for 2^order pages has returned, and errno, which was 4711 */
static void judge(char *page, int err, labyrinth_gfp_t gfp, unsigned int order)
{
	enum source source;

	if (!checked(&gfp, order)) {
		must(!page && err == EINVAL);
		return;
	}
	gfp = effective(gfp);
	source = predict(gfp, order);
	settle(source, page, gfp, order);
	must(err == (!page && gfp & DIRECT ? ENOMEM : 4711));
	count_zero(source, gfp);
	if (page)
		hold(page, 1u << order, order, gfp & ZERO);
}

static void call_pages(void)
{
	unsigned int order = random_order();
	labyrinth_gfp_t gfp = random_gfp(order);
	bool section = !random_below(&seed, 16);
	uintptr_t saved = 0;
	void *page;

	if (section)
		saved = labyrinth_gfp_save();
	errno = 4711;
	page = labyrinth_alloc_pages(gfp, order);
	judge(page, errno, gfp, order);
	if (section)
		labyrinth_gfp_restore(saved);
}

/* its fast path asks no rule: flags that keep them */
static void call_page(void)
{
	labyrinth_gfp_t gfp = random_gfp(0) & ~(ZONES | MOBILITY | 0x7f000000u);
	void *page;

	errno = 4711;
	page = labyrinth_alloc_page(gfp);
	judge(page, errno, gfp, 0);
}

static void call_zeroed(void)
{
	labyrinth_gfp_t gfp = random_gfp(0);
	void *page;

	errno = 4711;
	page = labyrinth_get_zeroed_page(gfp);
	judge(page, errno, gfp | ZERO, 0);
}

static void call_nolock(void)
{
	unsigned int order = random_order();
	void *page;

	errno = 4711;
	page = labyrinth_alloc_pages_nolock(order);
	judge(page, errno, NOLOCK_FLAGS, order);
}

static void call_named(void)
{
	void *page;

	errno = 4711;
	page = labyrinth_void_alloc_page_gfp_atomic_exclusive();
	judge(page, errno, ATOMIC | EXCL, 0);
}

static void call_exact(void)
{
	size_t size = random_below(&seed, random_below(&seed, 40) ? 9 * 4096 : 3 << 20);
	size_t pages = (size + 4095) / 4096;
	unsigned int order = 0;
	labyrinth_gfp_t gfp;
	char *page;
	int err;

	while (1ul << order < pages)
		order++;
	gfp = random_gfp(order);
	errno = 4711;
	page = labyrinth_alloc_pages_exact(size, gfp);
	err = errno;
	if (!size || pages > 512) {
		must(!page && err == EINVAL);
		return;
	}
	if (gfp & EXACT_NEVER) {
		want[LAB_EV_BAD_GFP]++;
		gfp &= ~EXACT_NEVER;
	}
	judge(page, err, gfp, order);
	if (!page)
		return;
	held[nheld - 1] = (struct held){ page, (unsigned int)pages, 0 };
	for (; pages < 1ul << order; pages++)
		model_free(page + pages * 4096);
}

static void call_split(void)
{
	unsigned int at = nheld ? (unsigned int)random_below(&seed, nheld) : 0;
	struct held one = held[at];

	if (!nheld || !one.order || one.order > 4)
		return;
	errno = 4711;
	labyrinth_split_page(one.page, one.order);
	must(errno == 4711 && nheld + one.n < MAX_HELD);
	held[at] = (struct held){ one.page, 1, 0 };
	for (unsigned int i = 1; i < one.n; i++)
		held[nheld++] = (struct held){ one.page + (size_t)i * 4096, 1, 0 };
}

/* ---- bulk ---- */

/* where the page of one slot comes from, of the reserve */
static enum source bulk_slot(labyrinth_gfp_t gfp, bool first)
{
	if (count[API])
		return FROM_API;
	if (reserve.free > low_of(&reserve))
		return FROM_LOW;
	return first ? predict(gfp, 0) : NONE;
}

/* all pages off the stack and out of the zone, of which some may have been on it between */
static void judge_bulk_excl(void **pages, const bool *ours, size_t n, size_t got,
			    labyrinth_gfp_t gfp)
{
	size_t at;

	for (at = 0; at < n; at++) {
		bool have = count[EXCLS] || excl.free > floor_of(&excl, gfp);

		if (!ours[at])
			continue;
		if (!have) {
			enum source source = predict(gfp, 0);

			must(source == NONE);
			break;
		}
		must(pages[at]);
		/* what lay on the stack and what in the zone changed meanwhile */
		must(state_of[lab_pfn_of(pages[at])] == FREE ||
		     state_of[lab_pfn_of(pages[at])] == EXCLS);
		put(lab_pfn_of(pages[at]), HELD);
		count_zero(FROM_EXCLS, gfp);
	}
	must(got == at);
	(void)adopt_stacked();
}

static size_t judge_bulk(void **pages, const bool *ours, size_t n, labyrinth_gfp_t gfp)
{
	bool first = true;
	size_t at;

	for (at = 0; at < n; at++) {
		enum source source;
		lab_pfn_t pfn;

		if (!ours[at])
			continue;
		source = bulk_slot(gfp, first);
		if (source == NONE)
			break;
		must(pages[at]);
		pfn = lab_pfn_of(pages[at]);
		if (first && !(source == FROM_API || source == FROM_LOW)) {
			settle(source, pages[at], gfp, 0);
			count_zero(source, gfp);
		} else {
			must(state_of[pfn] == (source == FROM_API ? API : FREE));
			put(pfn, HELD);
		}
		first = false;
	}
	return at;
}

static void call_bulk(void)
{
	static char elsewhere;
	void *pages[MAX_BULK];
	bool ours[MAX_BULK];
	size_t n = random_below(&seed, MAX_BULK), got, i;
	labyrinth_gfp_t gfp = random_gfp(0);
	int err;

	if (gfp & EXCL)
		gfp &= ~NOFAIL;
	for (i = 0; i < n; i++) {
		ours[i] = random_below(&seed, 8);
		pages[i] = ours[i] ? NULL : &elsewhere;
	}
	errno = 4711;
	got = labyrinth_alloc_pages_bulk(gfp, n, pages);
	err = errno;
	if (!checked(&gfp, 0)) {
		must(!got && err == EINVAL);
		return;
	}
	gfp = effective(gfp);
	if (gfp & EXCL)
		judge_bulk_excl(pages, ours, n, got, gfp);
	else
		must(got == judge_bulk(pages, ours, n, gfp));
	must(err == 4711 || (err == ENOMEM && gfp & DIRECT && got < n));
	for (i = 0; i < n; i++) {
		must(ours[i] ? !pages[i] == (i >= got) : pages[i] == &elsewhere);
		if (ours[i] && i < got)
			hold(pages[i], 1, 0, gfp & ZERO);
	}
}

static bool on_stack(const void *page)
{
	const struct lab_pcp_stack *api = stack(LAB_PCP_API);

	for (unsigned int i = 0; i < api->count; i++)
		if (api->slot[i] == page)
			return true;
	return false;
}

static void call_free_bulk(void)
{
	void *pages[MAX_BULK], *shelf[MAX_BULK];
	size_t n = random_below(&seed, MAX_BULK), m = 0, i;
	uint64_t room;

	for (i = 0; i < n; i++) {
		unsigned int at = nheld ? (unsigned int)random_below(&seed, nheld) : 0;
		struct set *set;

		pages[i] = NULL;
		if (!nheld || held[at].n != 1 || !random_below(&seed, 8))
			continue;
		pages[i] = drop(at).page;
		set = set_at[lab_pfn_of(pages[i]) / LAB_BLOCK_FRAMES];
		if (set && set->pool == &reserve)
			shelf[m++] = pages[i];
		else
			model_free(pages[i]);
	}
	errno = 4711;
	labyrinth_free_pages_bulk(n, pages);
	must(errno == 4711);
	for (i = 0; i < n; i++)
		must(!pages[i]);
	room = CAP_API - count[API];
	for (i = 0; i < m; i++)
		put(lab_pfn_of(shelf[i]), on_stack(shelf[i]) ? API : FREE);
	must(count[API] == CAP_API - room + (m < room ? m : room));
}

/* ---- objects, whose slabs give way ---- */

static void model_new_slab(lab_pfn_t pfn)
{
	must(state_of[pfn] == FREE);
	put(pfn, SLAB);
	live_of[pfn] = 0;
	slabs[nslabs++] = pfn;
}

static bool has_room(unsigned int size)
{
	for (unsigned int i = 0; i < nslabs; i++)
		if (lab_class[lab_mem.kind[slabs[i]]].size == size &&
		    live_of[slabs[i]] < lab_class[lab_mem.kind[slabs[i]]].nobj)
			return true;
	return false;
}

static void call_object(void)
{
	static const unsigned int sizes[] = { 256, 1024 };
	static const labyrinth_gfp_t gfps[] = { ATOMIC, NOWAIT, ATOMIC | MEMALLOC };
	unsigned int size = sizes[random_below(&seed, 2)];
	labyrinth_gfp_t gfp = gfps[random_below(&seed, 3)];
	bool room = has_room(size);
	void *ptr;

	if (nobjects == 256)
		return;
	errno = 4711;
	ptr = labyrinth_malloc(size, gfp);
	must(errno == 4711);
	if (!room) {
		if (!fits(&reserve, floor_of(&reserve, gfp), 0))
			release_slabs();
		must(!ptr == !fits(&reserve, floor_of(&reserve, gfp), 0));
	}
	if (!ptr) {
		must(!room);
		want[LAB_EV_FAIL_ATOMIC_MALLOC]++;
		reserve.failed--; /* that of the zone is for pages */
		count_failure(&reserve, gfp, 0);
		return;
	}
	if (state_of[lab_pfn_of(ptr)] != SLAB) {
		must(!room);
		model_new_slab(lab_pfn_of(ptr));
	}
	live_of[lab_pfn_of(ptr)]++;
	objects[nobjects++] = ptr;
}

static void free_object(void)
{
	unsigned int at = nobjects ? (unsigned int)random_below(&seed, nobjects) : 0;

	if (!nobjects)
		return;
	live_of[lab_pfn_of(objects[at])]--;
	labyrinth_free(objects[at]);
	objects[at] = objects[--nobjects];
	/* what is all free may be kept or go back */
	for (unsigned int i = nslabs; i-- > 0;) {
		struct set *set = set_at[slabs[i] / LAB_BLOCK_FRAMES];
		unsigned int bit = slabs[i] % LAB_BLOCK_FRAMES;

		if (live_of[slabs[i]] || !(lab_word_get(&set->real[bit / 64]) >> bit % 64 & 1))
			continue;
		put(slabs[i], FREE);
		slabs[i] = slabs[--nslabs];
	}
}

/* ---- phases ---- */

static void free_all(void)
{
	while (nheld)
		free_one(nheld - 1);
	while (nobjects)
		free_object();
}

/* everything is free, in the zones and in the model */
static void empty_stacks(void)
{
	free_all();
	(void)lab_pages_drain(lab_pcp_drain_all);
	(void)lab_highatomic_release();
	(void)lab_atomic_shrink();
	put_all(API, FREE);
	put_all(EXCLS, FREE);
	put_all(ZEROS, FREE);
	put_all(ASIDE, FREE);
	release_slabs();
}

static void refill(enum lab_zone_id id)
{
	if (id == LAB_ZONE_EXCLUSIVE)
		lab_excl_refill();
	else
		lab_reserve_refill(id);
}

/* the zone at its cap, all of it free, and the model's set of it */
static void learn(struct pool *pool)
{
	const labyrinth_gfp_t gfp = NOWAIT | MEMALLOC | (pool == &excl ? EXCL : 0);
	const struct lab_zone *zone = lab_zone_at(pool->id);
	static void *pages[MAX_HELD];
	unsigned int n = 0, i;

	do {
		while (n < MAX_HELD && (pages[n] = labyrinth_alloc_page(gfp)))
			n++;
		refill(pool->id);
	} while (lab_word_get(&zone->free));
	must(n == lab_word_get(&zone->managed));
	pool->nsets = 0;
	for (i = 0; i < n; i++) {
		lab_pfn_t pfn = lab_pfn_of(pages[i]);
		unsigned int block = pfn / LAB_BLOCK_FRAMES;

		must(pfn < MAX_FRAMES);
		if (!set_at[block] || set_at[block] >= &pool->sets[pool->nsets] ||
		    set_at[block] < pool->sets) {
			struct set *set = &pool->sets[pool->nsets++];

			must(pool->nsets <= MAX_BLOCKS);
			*set = (struct set){ .pool = pool,
					     .first = block * LAB_BLOCK_FRAMES,
					     .nwords = LAB_BLOCK_WORDS,
					     .real = lab_block_at(block)->bits };
			set_at[block] = set;
		}
		state_of[pfn] = HELD;
		labyrinth_free_page(pages[i]);
	}
	(void)lab_pages_drain(lab_pcp_drain_all);
	pool->managed = n;
}

/* the bits of the exclusive zone are its own */
static void learn_excl_bits(void)
{
	const struct lab_excl *zone = lab_excl_now();
	lab_pfn_t first = lab_pfn_of((void *)zone->base) - (lab_pfn_t)zone->origin;

	for (unsigned int i = 0; i < excl.nsets; i++) {
		size_t word = (excl.sets[i].first - first) / 64;

		must(word < zone->nwords);
		excl.sets[i].real = &zone->bits[word];
		if (zone->nwords - word < LAB_BLOCK_WORDS)
			excl.sets[i].nwords = (unsigned int)(zone->nwords - word);
	}
}

static void learn_all(uint64_t cap)
{
	unsigned int event;

	empty_stacks();
	must(labyrinth_sysctl("min_free_kbytes", NULL, &(uint64_t){ 0 }) == 0);
	must(labyrinth_sysctl("reserve", NULL, &(uint64_t){ cap * LAB_PAGE_BYTES }) == 0);
	memset(state_of, FOREIGN, sizeof(state_of));
	memset(set_at, 0, sizeof(set_at));
	learn(&reserve);
	learn(&excl);
	learn_excl_bits();
	must(reserve.managed == cap);
	memset(count, 0, sizeof(count));
	reserve.free = excl.free = 0;
	count[HELD] = reserve.managed + excl.managed;
	put_all(HELD, FREE);
	reserve.failed = lab_word_get(&lab_zone_at(LAB_ZONE_RESERVE)->failed);
	excl.failed = lab_word_get(&lab_zone_at(LAB_ZONE_EXCLUSIVE)->failed);
	for (event = 0; event < LAB_NR_EVENTS; event++)
		want[event] = lab_word_get(&lab_events[event]);
	check_all();
}

/* the heap has all it wants, or nothing at all */
static void new_phase(void)
{
	uint64_t kbytes = random_below(&seed, 3) ? 0 : random_below(&seed, 3 * reserve.managed);

	lab_os_fail_from(0, 0);
	empty_stacks();
	must(labyrinth_sysctl("min_free_kbytes", NULL, &kbytes) == 0);
	heap_is_dry = random_below(&seed, 3);
	must(heap_in_use() == 0);
	(void)lab_heap_purge(true);
	must(lab_word_get(&lab_zones[LAB_ZONE_HEAP].managed) == 0);
	if (heap_is_dry)
		lab_os_fail_from(1, ~0ull >> 1);
	check_all();
}

/* @target: pages that the test tends to hold */
static void one_call(uint64_t target)
{
	static void (*const calls[])(void) = { call_pages,  call_pages, call_pages,  call_page,
					       call_page,   call_page,	call_zeroed, call_nolock,
					       call_named,  call_exact, call_bulk,   call_object,
					       call_object, call_split };
	bool more = count[HELD] < target ? random_below(&seed, 3) : !random_below(&seed, 3);

	had_zeroed = lab_reserve_free_zeroed();
	if (more && nheld < MAX_HELD - 600)
		calls[random_below(&seed, sizeof(calls) / sizeof(calls[0]))]();
	else if (!random_below(&seed, 10))
		call_free_bulk();
	else if (!random_below(&seed, 4))
		free_object();
	else if (nheld)
		free_one((unsigned int)random_below(&seed, nheld));
	check_all();
}

static uint64_t how_many(void)
{
	const char *text = getenv("LAB_MODEL_CALLS");

	return text ? strtoull(text, NULL, 0) : HARNESS_SANITIZER[0] ? 60000 : 1000000;
}

static uint64_t reports(void)
{
	(void)labyrinth_flush_reports();
	return lab_word_get(&lab_events[LAB_EV_WARN]) +
	       lab_word_get(&lab_events[LAB_EV_WARN_SUPPRESSED]) +
	       lab_word_get(&lab_events[LAB_EV_WARN_LOST]);
}

/* how often each way was gone: a run that never comes by one tests nothing of it */
static void say_times(void)
{
	static const char *const names[] = { "refused",		"stack",     "exclusive stack",
					     "zeroed stack",	"above low", "the heap",
					     "above the floor", "set aside" };

	for (unsigned int i = 0; i < 8; i++) {
		print_message("  %s: %llu\n", names[i], (unsigned long long)times[i]);
		assert_true(times[i] > 0);
	}
}

/* Every call has the verdict, the errno and the counts of the model. */
static void test_random_calls_do_as_the_model_says(void **state)
{
	static const uint64_t caps[] = { 60, 256, 1200 };
	uint64_t calls = how_many(), at, target = 0, began = now_ms(), before = 0;
	unsigned int size = 0;

	(void)state;
	seed = new_seed("gfp_model");
	for (at = 0; at < calls; at++) {
		if (at == calls * size / 3) {
			lab_os_fail_from(0, 0);
			learn_all(caps[size++]);
			before = reports();
			want_reports = 0;
			new_phase();
		} else if (at % PHASE == 0) {
			new_phase();
		}
		if (at % 500 == 0)
			target = random_below(&seed, (reserve.managed + excl.managed) * 5 / 4);
		one_call(target);
		if (at % PHASE == PHASE - 1)
			must(reports() == before + want_reports);
	}
	lab_os_fail_from(0, 0);
	empty_stacks();
	check_all();
	say_times();
	print_message("gfp_model: %llu calls in %llu ms, %s\n", (unsigned long long)calls,
		      (unsigned long long)(now_ms() - began), labyrinth_pcp_backend());
}

static int saved_stderr;

/* reports are counted; nobody wants to read them */
static int silence(void **state)
{
	int fd = open("/dev/null", O_WRONLY);

	(void)state;
	saved_stderr = dup(2);
	must(saved_stderr >= 0 && fd >= 0 && dup2(fd, 2) == 2);
	close(fd);
	return 0;
}

static int end_silence(void **state)
{
	(void)state;
	return dup2(saved_stderr, 2) == 2 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random_calls_do_as_the_model_says, silence,
						end_silence),
	};

	if (labyrinth_sysctl("stall_ms", NULL, &(uint64_t){ 0 }))
		return 1;
	cpu = pin_to_one_cpu();
	must(lab_pcp_cpu() == cpu);
	return cmocka_run_group_tests_name("gfp_model", tests, NULL, NULL);
}
