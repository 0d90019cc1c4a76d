/* SPDX-License-Identifier: MIT */
/* Pages of the reserve are cleared ahead, as far as there is demand. */
#include "os/os.h"
#include "page/event.h"
#include "page/reserve.h"

/* pages to clear ahead: two for each that was missed */
static LAB_RESIDENT lab_word_t zero_debt;
enum { ZERO_AHEAD = 2, ZERO_DEBT_MAX = 64 };

void lab_reserve_zero_miss(void)
{
	if (lab_word_get(&zero_debt) < ZERO_DEBT_MAX)
		lab_word_add(&zero_debt, ZERO_AHEAD);
}

unsigned int lab_reserve_zero_some(unsigned int want)
{
	struct lab_zone *zone = lab_zone_at(LAB_ZONE_RESERVE);
	struct lab_frames frames;
	unsigned int got;
	uint64_t left;

	if (LAB_LIKELY(!lab_word_get(&zero_debt)))
		return 0;
	want = (unsigned int)lab_word_pay(&zero_debt, want);
	if (!want)
		return 0;
	got = lab_reserve_take_dirty(want, lab_word_get(&zone->low), &frames);
	lab_word_sub(&zone->taken, got);
	for (left = got ? frames.mask : 0; left; left &= left - 1)
		lab_os_clear(lab_frame_address(frames.pfn + lab_ctz(left)), LAB_PAGE_BYTES);
	if (got)
		lab_reserve_give_zeroed(&frames);
	lab_event_add(LAB_EV_ZEROED, got);
	return got;
}
