/* SPDX-License-Identifier: MIT */
/* How the exclusive zone comes to be, grows, and comes to be again in a child. */
#include <errno.h>

#include "base/fail.h"
#include "os/os.h"
#include "page/event.h"
#include "page/exclusive.h"
#include "page/watermark.h"

/*
 * Pages that one refill makes resident: about 30 us of work.  And no more than this
 * part of the zone, as they are lost with a thread that is frozen half-way: the
 * others shall find more than min, which is half of a small zone.
 */
enum { REFILL_STEP = 16, REFILL_PART = 4, REVIVE_TURNS = 2 };

/*
 * The first page is so many frames into the first block: a multiple of what the
 * largest runs of a small zone are aligned to.  A page of the map of live bytes
 * describes MAP_FRAMES frames; the zone's own are in the second half of one, as
 * programs have the slots that their calls go through at the start of a page or at
 * its end: see ORIGIN in page/reserve.c.  The stacks have theirs at 0x418.
 */
enum { ORIGIN = 192, MAP_FRAMES = 128 };

/* What the constructor was told, and what a child has to know of its parent's zone. */
static struct {
	lab_word_t cap, step, dontdump;
	lab_word_t populated; /* pages of the zone that were resident last */
} config;

/* ---- complaints ---- */

enum { TEXT_NONE, TEXT_IN_WORK, TEXT_READY };

static lab_word_t text_state;
static struct lab_line text;

const char *lab_excl_complaint(void)
{
	/* acquire: pairs with complain() [excl.text] */
	return atomic_load_explicit(&text_state, memory_order_acquire) == TEXT_READY ? text.text
										     : NULL;
}

/* the first to come writes the text; an abandoned one is never read */
static void complain(const char *what, int err, uint64_t bytes)
{
	uint64_t limit = lab_os_lock_limit();

	if (!lab_word_swap(&text_state, TEXT_NONE, TEXT_IN_WORK))
		return;
	lab_line_str(&text, what);
	lab_line_str(&text, " (error ");
	lab_line_dec(&text, (uint64_t)-err);
	lab_line_str(&text, ")");
	if (bytes) {
		lab_line_str(&text, ": it needs ");
		lab_line_dec(&text, bytes / 1024);
		lab_line_str(&text, " KiB of RLIMIT_MEMLOCK, which is ");
		if (limit == UINT64_MAX)
			lab_line_str(&text, "unlimited");
		else
			lab_line_dec(&text, limit / 1024);
		lab_line_str(&text,
			     "; raise it (ulimit -l) or make the zone smaller (exclusive:SIZE)");
	}
	text.text[text.len] = '\0';
	/* release: pairs with lab_excl_complaint() [excl.text] */
	atomic_store_explicit(&text_state, TEXT_READY, memory_order_release);
}

/* ---- layout ---- */

/*
 * Frames from the start of the first block:
 *
 *	0 .. meta - 1            no access
 *	meta .. ORIGIN - 2       metadata
 *	ORIGIN - 1               no access
 *	ORIGIN .. end - 1        pages
 *	end ..                   no access: the rest of the last block, at least one
 */
struct layout {
	size_t meta, end, cap, nblocks;
};

static struct layout layout_for(size_t cap)
{
	struct layout at = { .end = ORIGIN + cap, .cap = cap };
	size_t bytes;

	at.nblocks = (at.end + LAB_BLOCK_FRAMES) / LAB_BLOCK_FRAMES;
	bytes = lab_align_up(sizeof(struct lab_excl) + at.nblocks * LAB_BLOCK_FRAMES / 8,
			     LAB_PAGE_BYTES);
	at.meta = ORIGIN - 1 - bytes / LAB_PAGE_BYTES;
	return at;
}

static lab_pfn_t pfn_at(size_t block, size_t frame)
{
	return (lab_pfn_t)(block * LAB_BLOCK_FRAMES + frame);
}

static uintptr_t address(size_t block, size_t frame)
{
	return (uintptr_t)lab_frame_address(pfn_at(block, frame));
}

/* ---- blocks ---- */

/* @n blocks that read as zero, off the heap's books; SIZE_MAX: out of memory */
static size_t claim_blocks(size_t n)
{
	struct lab_zone *heap = &lab_zones[LAB_ZONE_HEAP];
	bool clean;
	size_t first = lab_run_take(n << LAB_BLOCK_SHIFT, 1ul << LAB_BLOCK_SHIFT, &clean), i;

	if (first == SIZE_MAX)
		return SIZE_MAX;
	if (!clean && lab_os_discard(address(first, 0), n << LAB_BLOCK_SHIFT)) {
		lab_run_give(first, n);
		return SIZE_MAX;
	}
	lab_word_sub(&heap->managed, n * LAB_BLOCK_FRAMES);
	lab_word_sub(&heap->taken, n * LAB_BLOCK_FRAMES);
	for (i = first; i < first + n; i++)
		lab_block_release(i, LAB_ZONE_EXCLUSIVE, LAB_BLOCK_EMPTY);
	return first;
}

/* the owner bytes of all pages, and of frames beside them that nobody uses */
static uintptr_t owners(size_t first, const struct layout *at, size_t *bytes)
{
	size_t from = ORIGIN / MAP_FRAMES * MAP_FRAMES;

	*bytes = lab_align_up(at->end - from, MAP_FRAMES) / MAP_FRAMES << LAB_PAGE_SHIFT;
	return (uintptr_t)lab_live_byte((void *)address(first, from), LAB_LIVE128_SHIFT);
}

/* a zone that nobody has seen: its range goes, and with it what was advised */
static void undo(size_t first, const struct layout *at)
{
	struct lab_zone *heap = &lab_zones[LAB_ZONE_HEAP];
	size_t bytes;
	uintptr_t map = owners(first, at, &bytes);

	lab_kind_fill(pfn_at(first, ORIGIN), at->cap, LAB_KIND_FREE);
	lab_os_unmap(address(first, 0), at->nblocks << LAB_BLOCK_SHIFT);
	/* blocks of the heap need theirs in a child: else these serve nobody any more */
	if (lab_os_keep_on_fork(map, bytes))
		return;
	lab_word_add(&heap->managed, at->nblocks * LAB_BLOCK_FRAMES);
	lab_word_add(&heap->taken, at->nblocks * LAB_BLOCK_FRAMES);
	lab_run_give_unmapped(first, at->nblocks);
}

/* ---- residency ---- */

static bool step_populate(uint64_t *raw, uint64_t limit_and_n)
{
	uint64_t limit = limit_and_n >> 32, n = limit_and_n & 0xffffffff;

	if (*raw >= limit)
		return false;
	*raw = *raw + n < limit ? *raw + n : limit;
	return true;
}

/* @n pages from page @from on are free */
static void add_free(struct lab_excl *excl, size_t from, size_t n)
{
	size_t bit = excl->origin + from;

	lab_word_add(&excl->zone.managed, n);
	lab_event_add(LAB_EV_REFILL, n);
	lab_excl_add(excl, bit, n);
}

static int populate(struct lab_excl *excl, uint64_t step)
{
	uint64_t cap = lab_word_get(&excl->zone.cap), from, n;
	int err;

	if (!lab_word_step(&excl->zone.populated, &from, step_populate, cap << 32 | step,
			   memory_order_relaxed, memory_order_relaxed))
		return -ENOMEM;
	n = cap - from < step ? cap - from : step;
	err = lab_os_populate(excl->base + (from << LAB_PAGE_SHIFT), n << LAB_PAGE_SHIFT);
	if (!err && !lab_word_get(&excl->born))
		err = -ESTALE;
	if (err) {
		/* ours to try again, unless another step came after it */
		(void)lab_word_swap(&excl->zone.populated, from + n, from);
		return err;
	}
	add_free(excl, from, n);
	lab_word_set(&config.populated, from + n);
	return 0;
}

static uint64_t refill_step(const struct lab_excl *excl)
{
	uint64_t part = (lab_word_get(&excl->zone.cap) + REFILL_PART - 1) / REFILL_PART;

	return part < REFILL_STEP ? part : REFILL_STEP;
}

void lab_excl_refill(void)
{
	struct lab_excl *excl = lab_excl_now();

	if (!lab_excl_is_ours())
		return;
	if (lab_word_get(&excl->zone.free) < lab_word_get(&excl->zone.goal) &&
	    lab_word_get(&excl->zone.populated) < lab_word_get(&excl->zone.cap) &&
	    populate(excl, refill_step(excl)) == 0)
		lab_watermarks_update();
}

/* ---- building ---- */

static void wipe_on_fork(uintptr_t from, size_t bytes)
{
	int err = lab_os_wipe_on_fork(from, bytes);

	if (err)
		complain("exclusive zone: this kernel cannot wipe it in a child of fork(): pages "
			 "are "
			 "copied on write",
			 err, 0);
	lab_os_unmergeable(from, bytes);
}

static void advise(uintptr_t from, size_t bytes)
{
	wipe_on_fork(from, bytes);
	lab_os_no_huge(from, bytes);
	if (lab_word_get(&config.dontdump))
		lab_os_no_dump(from, bytes);
	lab_os_name(from, bytes, "labyrinth exclusive");
}

/* all zero, and resident */
static void clear_owners(size_t first, const struct layout *at)
{
	size_t bytes;
	uintptr_t map = owners(first, at, &bytes);

	wipe_on_fork(map, bytes);
	lab_os_clear((void *)map, bytes);
}

/* One call locks all that will ever be resident, as it becomes so. */
static bool lock_all(uintptr_t from, size_t bytes)
{
	int err = lab_os_lock_on_fault(from, bytes);

	if (err)
		complain("exclusive zone: its pages are not locked in memory", err, bytes);
	return !err;
}

static int set_guards(size_t first, const struct layout *at)
{
	size_t all = at->nblocks * LAB_BLOCK_FRAMES;
	int err = lab_os_no_access(address(first, 0), at->meta << LAB_PAGE_SHIFT);

	if (!err)
		err = lab_os_no_access(address(first, ORIGIN - 1), LAB_PAGE_BYTES);
	if (!err)
		err = lab_os_no_access(address(first, at->end), (all - at->end) << LAB_PAGE_SHIFT);
	return err;
}

/*
 * All is set but what makes it known.  The watermarks let nobody in before they are
 * computed.
 */
static void fill_in(struct lab_excl *excl, size_t first, const struct layout *at, bool locked)
{
	excl->base = address(first, ORIGIN);
	excl->nwords = at->nblocks * LAB_BLOCK_WORDS;
	excl->origin = ORIGIN;
	excl->meta_pages = ORIGIN - 1 - at->meta;
	excl->bytes = at->cap << LAB_PAGE_SHIFT;
	lab_word_set(&excl->zone.cap, at->cap);
	lab_word_set(&excl->zone.locked, locked ? at->cap : 0);
	lab_word_set(&excl->zone.min, at->cap);
	lab_word_set(&excl->zone.low, at->cap);
	lab_word_set(&excl->zone.high, at->cap);
	lab_word_set(&excl->zone.goal, at->cap);
	lab_kind_fill(pfn_at(first, ORIGIN), at->cap, LAB_KIND_EXCL);
}

/* NULL: out of memory */
static struct lab_excl *build(const struct layout *at, uint64_t step)
{
	size_t first = claim_blocks(at->nblocks), bytes;
	struct lab_excl *excl;
	bool locked;

	if (first == SIZE_MAX)
		return NULL;
	excl = (struct lab_excl *)address(first, at->meta);
	bytes = (at->end - at->meta) << LAB_PAGE_SHIFT;
	advise((uintptr_t)excl, bytes);
	/* a child that finds itself in here is told by this word, see publish() */
	lab_word_set(&excl->born, 1);
	clear_owners(first, at);
	locked = lock_all((uintptr_t)excl, bytes);
	if (set_guards(first, at) ||
	    lab_os_populate((uintptr_t)excl, (ORIGIN - 1 - at->meta) << LAB_PAGE_SHIFT))
		goto undo;
	fill_in(excl, first, at, locked);
	if (populate(excl, step) == 0)
		return excl;
undo:
	undo(first, at);
	return NULL;
}

/* false: wiped on the way, so worth nothing; or another context was first */
static bool publish(uint64_t was, struct lab_excl *excl)
{
	/* a fork() from here on leaves the child with a zone that is void, as it is not born */
	if (!lab_word_get(&excl->born))
		return false;
	/* release: pairs with lab_excl_now() [excl.zone] */
	return atomic_compare_exchange_strong_explicit(&lab_excl_current, &was,
						       (uint64_t)(uintptr_t)excl,
						       memory_order_release, memory_order_relaxed);
}

/* by all who come: whoever was first may be frozen, or abandoned */
static void mark(void)
{
	struct lab_excl *excl = lab_excl_now();

	if (!lab_excl_is_ours() || LAB_LIKELY(lab_word_get(&excl->marked)))
		return;
	lab_watermarks_update();
	lab_word_set(&excl->marked, 1);
}

static int renew(uint64_t was, uint64_t step)
{
	struct layout at = layout_for(lab_word_get(&config.cap));
	struct lab_excl *excl = build(&at, step);

	if (!excl)
		return -ENOMEM;
	if (!publish(was, excl)) {
		undo(((uintptr_t)excl - lab_mem.base) >> LAB_BLOCK_SHIFT, &at);
		return -EAGAIN;
	}
	mark();
	return 0;
}

int lab_excl_init(unsigned int cap, unsigned int step, bool dontdump)
{
	if (!cap)
		return 0;
	lab_word_set(&config.step, step < cap ? step : cap);
	lab_word_set(&config.dontdump, dontdump);
	lab_word_set(&config.populated, 0);
	lab_word_set(&lab_zones[LAB_ZONE_EXCLUSIVE].cap, cap);
	lab_word_set(&config.cap, cap);
	return renew(lab_word_get(&lab_excl_current), step < cap ? step : cap);
}

bool lab_excl_revive(void)
{
	uint64_t step = lab_word_get(&config.step), had = lab_word_get(&config.populated), was;
	bool made = false;
	unsigned int turn;

	/* a second turn for who was made a child by a handler's fork() in the first one */
	for (turn = 0; turn < REVIVE_TURNS && lab_word_get(&config.cap); turn++) {
		/* before we look whose it is: else we could replace what another has just made */
		was = lab_word_get(&lab_excl_current);
		if (LAB_LIKELY(lab_excl_is_ours()))
			break;
		made = renew(was, had > step ? had : step) == 0;
	}
	mark();
	return made && lab_excl_is_ours();
}
