/* SPDX-License-Identifier: MIT */
/* One dispatcher: each watcher has a room of its own in this layer. */
#include "diag/watch.h"
#include "diag/fault.h"
#include "diag/fill.h"
#include "diag/histogram.h"
#include "diag/owner.h"
#include "diag/quarantine.h"
#include "diag/redzone.h"
#include "diag/sample.h"
#include "os/cpu.h"

lab_word_t lab_watchers;

static bool watches(enum lab_watcher who)
{
	return lab_word_get(&lab_watchers) & who;
}

static bool step_add(uint64_t *raw, uint64_t bits)
{
	*raw |= bits;
	return true;
}

void lab_watch_start(uint64_t watchers)
{
	uint64_t old = lab_word_get(&lab_watchers);

	/* before the bits, on which who comes in between relies; to close twice does no harm */
	if (watchers & ~LAB_WATCH_BY_SAMPLES && !(old & ~LAB_WATCH_BY_SAMPLES))
		lab_hot_close();
	if (!old)
		lab_page_close();
	(void)lab_word_step(&lab_watchers, &old, step_add, watchers, memory_order_relaxed,
			    memory_order_relaxed);
}

void lab_watch_stop(void)
{
	lab_word_set(&lab_watchers, LAB_WATCH_NONE);
}

bool lab_watch_refuses(const struct lab_request *request)
{
	return watches(LAB_WATCH_FAULT) && lab_fault_refuses(request);
}

void lab_watch_alloc(void *ptr, const struct lab_request *request)
{
	uint64_t on = lab_word_get(&lab_watchers);

	if (on & LAB_WATCH_FILL)
		lab_fill_alloc(ptr, request);
	if (on & LAB_WATCH_REDZONE && request->order == LAB_OBJECT)
		lab_redzone_alloc(ptr, request->bytes);
	if (on & LAB_WATCH_SIZES)
		lab_histogram_alloc(ptr, request);
	if (on & LAB_WATCH_BY_SAMPLES)
		lab_sample_alloc(ptr, request, on & LAB_WATCH_OWNER);
}

void lab_watch_object(void *ptr, size_t bytes)
{
	const struct lab_request request = { .bytes = bytes,
					     .gfp = LABYRINTH_GFP_KERNEL,
					     .order = LAB_OBJECT };

	lab_watch_alloc(ptr, &request);
}

void *lab_watch_free(void *ptr, size_t bytes)
{
	if (lab_is_sampled())
		lab_owner_remove(ptr, LAB_OBJECT);
	if (watches(LAB_WATCH_REDZONE))
		lab_redzone_free(ptr, bytes);
	if (watches(LAB_WATCH_SIZES))
		lab_histogram_free(ptr);
	if (watches(LAB_WATCH_FILL))
		lab_fill_free(ptr, bytes);
	return watches(LAB_WATCH_QUARANTINE) ? lab_quarantine_put(ptr, bytes) : ptr;
}

size_t lab_watch_pad(size_t bytes)
{
	return watches(LAB_WATCH_REDZONE) && bytes <= PTRDIFF_MAX ? LAB_REDZONE_PAD : 0;
}

size_t lab_watch_usable(const void *ptr, size_t bytes)
{
	return watches(LAB_WATCH_REDZONE) ? lab_redzone_bytes(ptr, bytes) : bytes;
}

void *lab_watch_next(bool short_of)
{
	return watches(LAB_WATCH_QUARANTINE) ? lab_quarantine_next(short_of) : NULL;
}

void lab_watch_free_pages(void *page, unsigned int order)
{
	if (lab_is_sampled())
		lab_owner_remove(page, (int)order);
	if (watches(LAB_WATCH_SIZES))
		lab_histogram_free(page);
	if (watches(LAB_WATCH_FILL))
		lab_fill_free_pages(page, order);
}

void lab_watch_forget(const void *ptr)
{
	lab_owner_remove(ptr, LAB_OBJECT);
}

void lab_watch_split(void *page, unsigned int order)
{
	if (lab_is_sampled())
		lab_owner_split(page, order);
	if (watches(LAB_WATCH_SIZES))
		lab_histogram_split(page, order);
}
