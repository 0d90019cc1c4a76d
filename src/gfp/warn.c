/* SPDX-License-Identifier: MIT */
#include "gfp/warn.h"
#include "base/bits.h"
#include "base/probe.h"
#include "gfp/flags.h"
#include "gfp/scope.h"
#include "gfp/warn_text.h"
#include "os/os.h"
#include "page/event.h"
#include "page/highatomic.h"

enum {
	SLOTS = LABYRINTH_TRACE_SLOTS,
	WORDS = (sizeof(struct lab_warn_record) + 7) / 8,
};

/* the life of a slot: FREE -> FILLING -> READY -> WRITING -> FREE */
enum { FREE, FILLING, READY, WRITING };

/*
 *   state   see above
 *   gen     +1 with every claim                  wraps; tells a late writer that
 *                                                its slot has been given up
 *   since   second in which the state was entered, 0: the clock was not free
 */
union slot_word {
	uint64_t raw;
	struct {
		uint64_t state : 2;
		uint64_t gen : 30;
		uint64_t since : 32;
	};
};
static_assert(sizeof(union slot_word) == 8, "a slot's state must stay one machine word");

/*
 * A late writer may still write into a slot that has a new owner, so words are
 * atomic and their sum tells a record of one writer from a mixture of two.
 */
struct slot {
	lab_word_t word;
	lab_word_t sum;
	lab_word_t record[WORDS];
} LAB_LINE_ALIGNED;

union image {
	struct lab_warn_record record;
	uint64_t word[WORDS];
};

lab_word_t lab_warn_interval_ms = 10000;
lab_word_t lab_warn_stuck_s = 60;

static lab_word_t ring; /* struct slot *; 0: none */

/* ms, or 0 where asking would be a system call */
static uint64_t free_clock(void)
{
	return lab_os_clock_is_free() ? lab_os_clock_ms() : 0;
}

LAB_STARTUP void lab_warn_init(void)
{
	const size_t bytes = lab_align_up(SLOTS * sizeof(struct slot), LAB_PAGE_BYTES);
	uintptr_t addr;

	/* the first reading of the clock takes page faults: not in a handler, then */
	(void)free_clock();
	if (lab_word_get(&ring) || lab_os_hole(bytes, &addr) || lab_os_map(addr, bytes))
		return;
	(void)lab_os_wipe_on_fork(addr, bytes);
	if (lab_os_populate(addr, bytes)) {
		(void)lab_os_unmap(addr, bytes);
		return;
	}
	lab_os_name(addr, bytes, "labyrinth reports");
	lab_word_set(&ring, addr);
}

static struct slot *slot_at(unsigned int i)
{
	return (struct slot *)(uintptr_t)lab_word_get(&ring) + i;
}

/*
 * Until when it is quiet, for a child of fork(), whose own words were wiped:
 * written where page faults do not matter, when a report is.
 */
static lab_word_t inherited_quiet, inherited_stalled, inherited_faulted;

/* does the rate limit let one report through now; of several callers one wins */
static bool rate_take(lab_word_t *until, const lab_word_t *inherited, uint64_t now)
{
	uint64_t old = lab_word_get(until), interval = lab_word_get(&lab_warn_interval_ms);

	if (!interval)
		return true;
	if (!old && now < lab_word_get(inherited))
		return false;
	return now >= old && lab_word_swap(until, old, now + interval);
}

static bool suppress(void)
{
	lab_event_add(LAB_EV_WARN_SUPPRESSED, 1);
	lab_word_add(&lab_wiped.warn_missed, 1);
	return false;
}

static bool may_write(labyrinth_gfp_t gfp)
{
	return gfp & LABYRINTH___GFP_DIRECT_RECLAIM && !lab_scope_is_atomic();
}

/* ---- a record ---- */

static void read_zones(struct lab_warn_zone *to)
{
	unsigned int id;

	for (id = 0; id < LAB_NR_ZONES; id++) {
		const struct lab_zone *zone = lab_zone_at(id);

		to[id] = (struct lab_warn_zone){ .free = (uint32_t)lab_word_get(&zone->free),
						 .min = (uint32_t)lab_word_get(&zone->min),
						 .low = (uint32_t)lab_word_get(&zone->low),
						 .high = (uint32_t)lab_word_get(&zone->high),
						 .managed = (uint32_t)lab_word_get(&zone->managed),
						 .locked = (uint32_t)lab_word_get(&zone->locked) };
		if (id == LAB_ZONE_RESERVE)
			to[id].highatomic = (uint32_t)lab_highatomic_frames();
	}
}

static LAB_NOINLINE void fill(union image *image, enum lab_warn_kind kind, labyrinth_gfp_t gfp,
			      unsigned int order)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		image->word[i] = 0;
	image->record.gfp = gfp;
	image->record.order = order < 255 ? (uint8_t)order : 255;
	image->record.kind = (uint8_t)kind;
	/* before the constructor there may be no thread pointer, and there is no ring */
	if (lab_os_is_ready())
		image->record.thread = (uintptr_t)__builtin_thread_pointer();
	image->record.traced = kind != LAB_WARN_RULE;
	if (kind == LAB_WARN_FAILURE || kind == LAB_WARN_STALL)
		read_zones(image->record.zone);
}

static uint64_t sum_of(const union image *image, uint64_t gen)
{
	uint64_t sum = gen + 1;
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		sum = (sum ^ image->word[i]) * 0x9e3779b97f4a7c15ull;
	return sum;
}

/* ---- leaving a record ---- */

static bool step_claim(uint64_t *raw, uint64_t now)
{
	union slot_word word = { .raw = *raw };

	if (word.state != FREE)
		return false;
	word.state = FILLING;
	word.gen++;
	word.since = now;
	*raw = word.raw;
	return true;
}

static struct slot *claim(unsigned int *index, union slot_word *word, uint64_t now)
{
	uint64_t old;
	unsigned int i;

	for (i = 0; lab_word_get(&ring) && i < SLOTS; i++) {
		struct slot *slot = slot_at(i);

		/* acquire: pairs with leave_slot(), whose reader is done with it [warn.slot] */
		if (!lab_word_step(&slot->word, &old, step_claim, now / 1000, memory_order_acquire,
				   memory_order_relaxed))
			continue;
		word->raw = old;
		(void)step_claim(&word->raw, now / 1000);
		*index = i;
		return slot;
	}
	return NULL;
}

/* from one state to the next, unless the slot has been given up meanwhile */
static bool leave_slot(struct slot *slot, union slot_word word, unsigned int state)
{
	union slot_word next = word;

	next.state = state;
	/* release: pairs with claim() and take_and_write() [warn.slot] */
	return atomic_compare_exchange_strong_explicit(&slot->word, &word.raw, next.raw,
						       memory_order_release, memory_order_relaxed);
}

/* leave a record; false: there was no room */
static bool defer(union image *image)
{
	const struct labyrinth_trace *trace = lab_warn_trace();
	uint64_t now = free_clock();
	union slot_word word;
	struct slot *slot;
	unsigned int index, i;

	slot = claim(&index, &word, now);
	if (!slot)
		return false;
	image->record.ms = now;
	if (trace && image->record.traced)
		trace->capture(index);
	else
		image->record.traced = 0;
	for (i = 0; i < WORDS; i++)
		lab_word_set(&slot->record[i], image->word[i]);
	lab_word_set(&slot->sum, sum_of(image, word.gen));
	if (!leave_slot(slot, word, READY))
		return true; /* given up, and counted by whoever did */
	/* release: pairs with lab_warn_flush() [warn.pending] */
	atomic_store_explicit(&lab_warn_pending, 1, memory_order_release);
	return true;
}

/* ---- writing ---- */

/* the report that is about to be written is one; count it, and say what went before */
static void count_report(void)
{
	uint64_t n = atomic_exchange_explicit(&lab_wiped.warn_missed, 0, memory_order_relaxed);

	lab_event_add(LAB_EV_WARN, 1);
	if (n)
		lab_warn_say_missed(n);
}

static bool write_record(const struct lab_warn_record *record, unsigned int index)
{
	if (record->kind == LAB_WARN_FAILURE) {
		if (!record->rated &&
		    !rate_take(&lab_wiped.warn_quiet_until, &inherited_quiet, lab_os_clock_ms()))
			return suppress();
		lab_word_set(&inherited_quiet, lab_word_get(&lab_wiped.warn_quiet_until));
		count_report();
	}
	if (record->kind == LAB_WARN_FAULT) {
		if (!record->rated &&
		    !rate_take(&lab_wiped.fault_quiet_until, &inherited_faulted, lab_os_clock_ms()))
			return false;
		lab_word_set(&inherited_faulted, lab_word_get(&lab_wiped.fault_quiet_until));
	}
	lab_warn_say(record, record->traced ? (int)index : LAB_WARN_NO_STACK, true);
	return true;
}

static void lost(const struct slot *slot)
{
	union image image;

	/* a rule is not lost for good: it will be broken again */
	image.word[0] = lab_word_get(&slot->record[0]);
	if (image.record.kind != LAB_WARN_RULE)
		lab_event_add(LAB_EV_WARN_LOST, 1);
}

static bool step_take(uint64_t *raw, uint64_t now)
{
	union slot_word word = { .raw = *raw };

	if (word.state != READY)
		return false;
	word.state = WRITING;
	word.since = now;
	*raw = word.raw;
	return true;
}

static LAB_NOINLINE bool take_and_write(struct slot *slot, unsigned int index, uint64_t now)
{
	union slot_word word;
	union image image;
	bool written = false;
	unsigned int i;

	/* acquire: pairs with leave_slot() [warn.slot] */
	if (!lab_word_step(&slot->word, &word.raw, step_take, now, memory_order_acquire,
			   memory_order_relaxed))
		return false;
	(void)step_take(&word.raw, now);
	for (i = 0; i < WORDS; i++)
		image.word[i] = lab_word_get(&slot->record[i]);
	if (lab_word_get(&slot->sum) == sum_of(&image, word.gen))
		written = write_record(&image.record, index);
	else
		lost(slot);
	(void)leave_slot(slot, word, FREE);
	return written;
}

/* a writer or flusher that does not come back: free its slot */
static void give_up(struct slot *slot, uint64_t now)
{
	union slot_word word = { .raw = lab_word_get(&slot->word) }, next;

	if (word.state != FILLING && word.state != WRITING)
		return;
	next = word;
	if (!word.since || now < word.since) {
		/* it could not ask the time: its age counts from here */
		next.since = now;
		(void)lab_word_swap(&slot->word, word.raw, next.raw);
	} else if (now - word.since > lab_word_get(&lab_warn_stuck_s)) {
		next.state = FREE;
		if (lab_word_swap(&slot->word, word.raw, next.raw) && word.state == FILLING)
			lab_event_add(LAB_EV_WARN_LOST, 1);
	}
}

unsigned int lab_warn_flush(void)
{
	uint64_t now;
	unsigned int i, n = 0;

	/* acquire: pairs with defer(): what it announces is seen below [warn.pending] */
	(void)atomic_exchange_explicit(&lab_warn_pending, 0, memory_order_acquire);
	if (!lab_word_get(&ring))
		return 0;
	now = (uint32_t)(lab_os_clock_ms() / 1000);
	for (i = 0; i < SLOTS; i++) {
		give_up(slot_at(i), now);
		n += take_and_write(slot_at(i), i, now);
	}
	return n;
}

/* ---- the calls ---- */

static void count_failure(labyrinth_gfp_t gfp, unsigned int order)
{
	const labyrinth_gfp_t direct = gfp & LABYRINTH___GFP_DIRECT_RECLAIM;
	const labyrinth_gfp_t never = gfp & LABYRINTH___GFP_NOMEMALLOC;

	if (gfp & LABYRINTH___GFP_MEMALLOC && !never)
		lab_event_add(LAB_EV_FAIL_MEMALLOC, 1);
	else if (gfp & LABYRINTH___GFP_HIGH)
		lab_event_add(direct || never ? LAB_EV_FAIL_HIGH : LAB_EV_FAIL_ATOMIC, 1);
	else
		lab_event_add(direct ? LAB_EV_FAIL_KERNEL : LAB_EV_FAIL_NOWAIT, 1);
	if (gfp & LABYRINTH___GFP_EXCLUSIVE)
		lab_event_add(LAB_EV_FAIL_EXCLUSIVE, 1);
	if (order)
		lab_event_add(LAB_EV_FAIL_ORDER, 1);
}

static LAB_NOINLINE void warn_at_once(labyrinth_gfp_t gfp, unsigned int order)
{
	union image image;

	(void)lab_warn_flush();
	if (!rate_take(&lab_wiped.warn_quiet_until, &inherited_quiet, lab_os_clock_ms())) {
		(void)suppress();
		return;
	}
	lab_word_set(&inherited_quiet, lab_word_get(&lab_wiped.warn_quiet_until));
	fill(&image, LAB_WARN_FAILURE, gfp, order);
	count_report();
	lab_warn_say(&image.record, LAB_WARN_STACK_HERE, false);
}

static LAB_NOINLINE void warn_later(labyrinth_gfp_t gfp, unsigned int order)
{
	uint64_t now = free_clock();
	union image image;

	/* where the clock is not free the limit is held when the record is written */
	if (now && !rate_take(&lab_wiped.warn_quiet_until, &inherited_quiet, now)) {
		(void)suppress();
		return;
	}
	fill(&image, LAB_WARN_FAILURE, gfp, order);
	image.record.rated = now != 0;
	if (!defer(&image))
		lab_event_add(LAB_EV_WARN_LOST, 1);
}

LAB_COLD void lab_warn_alloc(labyrinth_gfp_t gfp, unsigned int order)
{
	LAB_PROBE2(page_failure, gfp, order);
	count_failure(gfp, order);
	if (gfp & LABYRINTH___GFP_NOWARN)
		return;
	if (may_write(gfp))
		warn_at_once(gfp, order);
	else
		warn_later(gfp, order);
}

LAB_COLD void lab_warn_stall(labyrinth_gfp_t gfp, unsigned int order, uint64_t seconds)
{
	union image image;

	lab_event_add(LAB_EV_STALL, 1);
	if (gfp & LABYRINTH___GFP_NOWARN ||
	    !rate_take(&lab_wiped.warn_stalled_until, &inherited_stalled, lab_os_clock_ms()))
		return;
	lab_word_set(&inherited_stalled, lab_word_get(&lab_wiped.warn_stalled_until));
	fill(&image, LAB_WARN_STALL, gfp, order);
	image.record.seconds = seconds;
	lab_warn_say(&image.record, LAB_WARN_STACK_HERE, false);
}

LAB_COLD void lab_warn_fault(labyrinth_gfp_t gfp, const struct lab_warn_fault *fault,
			     bool with_stack)
{
	const bool at_once = may_write(gfp);
	uint64_t now = at_once ? lab_os_clock_ms() : free_clock();
	union image image;

	/* what waits was first, also where its turn is settled when it is written */
	if (at_once)
		lab_warn_poll();
	if (now && !rate_take(&lab_wiped.fault_quiet_until, &inherited_faulted, now))
		return;
	fill(&image, LAB_WARN_FAULT, gfp, 0);
	image.record.traced = with_stack;
	image.record.rated = now != 0;
	image.record.fault = *fault;
	if (!at_once) {
		(void)defer(&image);
		return;
	}
	lab_word_set(&inherited_faulted, lab_word_get(&lab_wiped.fault_quiet_until));
	lab_warn_say(&image.record, with_stack ? LAB_WARN_STACK_HERE : LAB_WARN_NO_STACK, false);
}

LAB_COLD void lab_warn_once(lab_word_t *done, labyrinth_gfp_t gfp, unsigned int order,
			    const char *text)
{
	union image image;

	if (lab_word_get(done) || !lab_word_swap(done, 0, 1))
		return;
	fill(&image, LAB_WARN_RULE, gfp, order);
	image.record.text = text;
	if (may_write(gfp))
		lab_warn_say(&image.record, LAB_WARN_NO_STACK, false);
	else if (!defer(&image))
		lab_word_set(done, 0); /* no room: the next time */
}
