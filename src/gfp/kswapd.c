/* SPDX-License-Identifier: MIT */
/*
 * The refiller's thread, asked for by kswapd:1; kswapd(), mm/vmscan.c.
 *
 * Its word is wiped by fork(), so a child knows that it has none.
 */
#include "base/fail.h"
#include "base/probe.h"
#include "gfp/alloc.h"
#include "gfp/reclaim.h"
#include "gfp/warn.h"
#include "os/cpu.h"
#include "os/os.h"
#include "os/thread.h"
#include "os/wiped.h"
#include "page/event.h"
#include "page/reserve.h"

/*
 *   HERE    the thread exists, or somebody is about to start it
 *   ASLEEP  it waits on the word, or is about to
 *   WOKEN   it has been told to look at the zones since it looked last
 */
enum { HERE = 1, ASLEEP = 2, WOKEN = 4 };

/*
 * NAP_MS is the kernel's.  Asleep for good it gets up each BEAT_MS: for the
 * system's pressure, reports, and to end when all other threads have.
 */
enum { NAP_MS = 100, BEAT_MS = 1000, RETRY_MS = 1000 };

static bool wanted;
static bool with_psi;
static lab_word_t next_try_ms;

static lab_word_t *const word = &lab_wiped.kswapd;

bool lab_kswapd_is_here(void)
{
	return LAB_UNLIKELY(wanted) && lab_word_get(word) & HERE;
}

/* ---- the zones ---- */

static bool is_at_least(enum lab_zone_id id, const lab_word_t *mark)
{
	return !lab_gfp_is_ours(id) || lab_word_get(&lab_zone_at(id)->free) >= lab_word_get(mark);
}

static bool is_balanced(void)
{
	return is_at_least(LAB_ZONE_RESERVE, &lab_zone_at(LAB_ZONE_RESERVE)->high) &&
	       is_at_least(LAB_ZONE_EXCLUSIVE, &lab_zone_at(LAB_ZONE_EXCLUSIVE)->high);
}

/* grows with every page that was made resident, or came free */
static uint64_t sum_of_zones(void)
{
	uint64_t sum = 0;
	unsigned int id;

	for (id = LAB_ZONE_RESERVE; id <= LAB_ZONE_EXCLUSIVE; id++)
		sum += lab_word_get(&lab_zone_at(id)->managed) +
		       lab_word_get(&lab_zone_at(id)->free);
	return sum;
}

/* the caches of the program and the stacks of the CPUs, not more often than NAP_MS */
static bool ask_others(void)
{
	static uint64_t next_ms;
	uint64_t now = lab_os_clock_ms();

	if (now < next_ms)
		return false;
	next_ms = now + NAP_MS;
	(void)lab_shrink();
	(void)lab_pages_drain(lab_pcp_drain_all);
	return true;
}

/*
 * Work until every zone is at high.  False: it cannot be done now, because all
 * that may become resident is, and is handed out.
 */
static bool balance(void)
{
	while (!is_balanced()) {
		uint64_t before = sum_of_zones();

		lab_event_add(LAB_EV_PAGEOUTRUN, 1);
		lab_upkeep();
		if (sum_of_zones() <= before && !ask_others())
			return false;
	}
	lab_upkeep();
	return true;
}

/* ---- sleep ---- */

static bool step_lie_down(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	*raw = *raw & WOKEN ? HERE : HERE | ASLEEP;
	return true;
}

static bool step_get_up(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	*raw = HERE;
	return true;
}

/* true: told to look at the zones, at most @ms later; what was freed until then is seen */
static bool sleep_for(unsigned int ms)
{
	uint64_t was;

	/* acquire: pairs with lab_kswapd_wake() [kswapd.word] */
	(void)lab_word_step(word, &was, step_lie_down, 0, memory_order_acquire,
			    memory_order_relaxed);
	if (was & WOKEN)
		return true;
	lab_os_futex_wait(word, HERE | ASLEEP, ms);
	/* acquire: pairs with lab_kswapd_wake() [kswapd.word] */
	(void)lab_word_step(word, &was, step_get_up, 0, memory_order_acquire, memory_order_relaxed);
	return was & WOKEN;
}

void lab_kswapd_wake(enum lab_zone_id zone)
{
	uint64_t was;

	(void)zone;
	if (!lab_kswapd_is_here())
		return;
	/* release: pairs with sleep_for(): what was taken from the zone [kswapd.word] */
	was = atomic_fetch_or_explicit(word, WOKEN, memory_order_release);
	if (was & ASLEEP && !(was & WOKEN)) {
		lab_event_add(LAB_EV_KSWAPD_WAKE, 1);
		lab_os_futex_wake(word);
	}
}

/* true: to work again; false: the process is at its end but for us */
static bool sleep_for_good(void)
{
	while (!sleep_for(BEAT_MS)) {
		if (with_psi && lab_os_psi_poll()) {
			(void)lab_shrink();
			(void)lab_heap_purge(false);
		}
		if (lab_word_get(&lab_warn_pending))
			(void)lab_warn_flush();
		if (lab_os_is_last_thread())
			return false;
	}
	return true;
}

/* ---- the thread ---- */

static void say(const char *what, int err)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(&line, what);
	lab_line_str(&line, " (error ");
	lab_line_dec(&line, (uint64_t)-err);
	lab_line_str(&line, ")");
	(void)lab_line_put(&line, 2);
}

static void run(void)
{
	bool alive = true;

	while (alive) {
		bool done;

		LAB_PROBE0(kswapd_wake);
		done = balance();

		LAB_PROBE1(kswapd_sleep, done);
		if (sleep_for(NAP_MS))
			lab_event_add(LAB_EV_KSWAPD_LOW_HIT, 1);
		else if (done && !is_balanced())
			lab_event_add(LAB_EV_KSWAPD_HIGH_HIT, 1);
		else
			alive = sleep_for_good();
	}
	lab_word_set(word, 0);
}

/* a handler, which may have interrupted pthread_create(), has signals blocked */
static bool may_be_handler(void)
{
	return lab_os_signals_blocked() != 0;
}

static void start(void)
{
	uint64_t now = lab_os_clock_ms();
	int err;

	if (now < lab_word_get(&next_try_ms) || !lab_word_swap(word, 0, HERE))
		return;
	/* here, not in the thread: for a moment it takes the lowest free number */
	err = with_psi ? lab_os_psi_open() : 0;
	if (err)
		say("labyrinth: psi:1: no trigger on /proc/pressure/memory, going on without", err);
	err = lab_os_thread_start(run, "kswapd");
	if (!err)
		return;
	if (!lab_word_get(&next_try_ms))
		say("labyrinth: kswapd:1: no thread, ordinary calls refill instead", err);
	lab_word_set(&next_try_ms, now + RETRY_MS);
	lab_word_set(word, 0);
}

void lab_kswapd_start(void)
{
	if (LAB_LIKELY(!wanted) || lab_word_get(word) & HERE || lab_vfork_lives() ||
	    may_be_handler())
		return;
	start();
}

LAB_STARTUP void lab_kswapd_init(bool thread, bool psi)
{
	if (!thread)
		return;
	if (!lab_wiped_init()) {
		say("labyrinth: kswapd:1: no MADV_WIPEONFORK, ordinary calls refill instead", 0);
		return;
	}
	with_psi = psi;
	wanted = true;
	lab_reserve_draw();
	start();
}
