/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <sys/auxv.h>
#include <unistd.h>

#include "api/export.h"
#include "api/fault_api.h"
#include "api/heap.h"
#include "api/init.h"
#include "api/options.h"
#include "api/profile_api.h"
#include "api/stats.h"
#include "api/trace.h"
#include "base/fail.h"
#include "diag/fill.h"
#include "diag/histogram.h"
#include "diag/quarantine.h"
#include "diag/redzone.h"
#include "gfp/alloc.h"
#include "gfp/reclaim.h"
#include "gfp/scope.h"
#include "gfp/warn.h"
#include "map/map.h"
#include "os/os.h"
#include "os/wiped.h"
#include "page/exclusive.h"
#include "page/reserve.h"
#include "page/thp.h"
#include "page/watermark.h"
#include "pcp/pcp.h"
#include "slab/atomic.h"

/*
 * Frames that the resident zones begin with; ordinary slow paths add to them.
 * About 1 us of start-up each.
 */
enum { EXCLUSIVE_FIRST = 16 };

static lab_word_t done;

struct labyrinth_libc lab_libc;

/* the value of LABYRINTH_OPTIONS, but never in a set-user-ID program */
static const char *options_text(void)
{
	static const char name[] = "LABYRINTH_OPTIONS=";
	char **env;
	size_t i;

	if (!environ || getauxval(AT_SECURE))
		return NULL;
	for (env = environ; *env; env++) {
		for (i = 0; name[i] && (*env)[i] == name[i]; i++)
			;
		if (!name[i])
			return *env + i;
	}
	return NULL;
}

static void start_fills(void)
{
	unsigned int fills = (lab_options.init_on_alloc ? LAB_FILL_ON_ALLOC : 0) |
			     (lab_options.init_on_free ? LAB_FILL_ON_FREE : 0) |
			     (lab_options.page_poison ? LAB_FILL_PAGES : 0);

	if (fills)
		lab_fill_start(fills);
	if (*lab_options.histogram && lab_histogram_start(lab_options.histogram))
		lab_options_no_histogram(lab_options.histogram);
	/* where too much is in use already nothing is checked */
	if (lab_options.redzone && lab_redzone_start())
		lab_options_no_redzone();
	/* without memory for its ring nothing waits */
	if (lab_options.quarantine)
		(void)lab_quarantine_start(lab_options.quarantine * LAB_PAGE_BYTES);
}

void lab_init(void)
{
	const char *text;

	if (!lab_word_swap(&done, 0, 1))
		return;
	lab_os_set_ready();
	if (getauxval(AT_PAGESZ) != LAB_PAGE_BYTES)
		lab_bug("this kernel's pages are not of 4096 bytes: not supported");
	text = options_text();
	if (text)
		lab_options_parse(text);
	if (lab_options.check_free != LAB_CHECK_FREE)
		lab_options_wrong_build();
	/* where it is refused a child goes on counting where its parent was */
	(void)lab_wiped_init();
	lab_watermarks_tune(lab_options.min_free_kbytes, lab_options.watermark_scale_factor);
	lab_word_set(&lab_stall_ms, lab_options.stall_ms);
	if (lab_options.atomic_handlers)
		lab_scope_prepare();
	if (lab_hot_init())
		lab_hot_close();
	lab_pcp_init();
	lab_word_set(&lab_thp_from, lab_options.thp);
	(void)lab_reserve_init(LAB_ZONE_RESERVE, lab_options.reserve, LAB_RESERVE_LEAST);
	(void)lab_excl_init(lab_options.exclusive, EXCLUSIVE_FIRST, lab_options.dontdump);
	lab_atomic_init();
	lab_warn_init();
	lab_fault_options();
	start_fills();
	lab_kswapd_init(lab_options.kswapd, lab_options.psi);
	lab_word_set(&lab_map.limit, lab_options.mmap * LAB_PAGE_BYTES);
	lab_export_init();
	lab_stats_init();
}

LAB_PUBLIC void labyrinth_step_aside(const struct labyrinth_libc *libc)
{
	lab_libc = *libc;
	lab_watch_stop();
	lab_word_set(&lab_map.limit, 0);
	/* the stacks hold blocks of ours: no request may find them */
	lab_pcp_fini();
	lab_export.aside = 1;
}

LAB_PUBLIC void labyrinth_vfork_gate(int enter)
{
	if (enter)
		lab_vfork_enter();
	else
		lab_vfork_leave();
}

LAB_PUBLIC int labyrinth_option_deepbind(void)
{
	return lab_options.deepbind;
}

LAB_PUBLIC int labyrinth_option_atomic_handlers(void)
{
	return lab_options.atomic_handlers;
}

__attribute__((constructor(101))) static void start(void)
{
	lab_init();
}

/* after the preload layer has looked around, in its constructor 102 */
__attribute__((constructor(103))) static void start_late(void)
{
	if (lab_options.trace && !lab_is_aside())
		lab_trace_load();
	if (!lab_is_aside())
		lab_profile_options();
}

/* what the program frees after us must still work */
__attribute__((destructor(101))) static void finish(void)
{
	lab_quarantine_check();
	lab_stats_exit();
	lab_profile_exit();
}
