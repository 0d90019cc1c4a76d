/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/bits.h"
#include "diag/histogram.h"
#include "os/os.h"

/* births: a power of two, and how many places one address may have */
enum { BIRTHS = 1 << 20, WINDOW = 16 };

/*
 * An object that is in use.  Who has the object has the entry: nobody else looks for
 * its address until it is given back.
 */
struct birth {
	lab_word_t ptr; /* 0: free */
	lab_word_t ns, bytes;
};

static struct birth *births; /* wiped in a child of fork(), which knows of none */
static struct lab_histogram *to;

static lab_word_t *word(uint64_t *counter)
{
	return (lab_word_t *)counter;
}

int lab_histogram_start(const char *path)
{
	const size_t room = BIRTHS * sizeof(*births);
	uintptr_t file, addr;
	int err = lab_os_map_file(path, lab_align_up(sizeof(*to), LAB_PAGE_BYTES), &file);

	if (err)
		return err;
	to = (struct lab_histogram *)file;
	if (to->magic != LAB_HISTOGRAM_MAGIC || to->version != LAB_HISTOGRAM_VERSION ||
	    to->bytes != sizeof(*to))
		return -EINVAL;
	if (lab_os_hole(room, &addr) || lab_os_map(addr, room))
		return -ENOMEM;
	(void)lab_os_wipe_on_fork(addr, room);
	lab_os_name(addr, room, "labyrinth histogram");
	births = (struct birth *)addr;
	lab_word_add(word(&to->processes), 1);
	lab_watch_start(LAB_WATCH_SIZES);
	return 0;
}

static struct birth *place(const void *ptr, unsigned int i)
{
	/* the places of an address are side by side */
	uint64_t hash = ((uintptr_t)ptr >> 4) * 0x9e3779b97f4a7c15ull >> 44;

	return &births[(hash + i) % BIRTHS];
}

static bool step_peak(uint64_t *raw, uint64_t now)
{
	if (*raw >= now)
		return false;
	*raw = now;
	return true;
}

static void raise(uint64_t *count, uint64_t *peak, uint64_t by)
{
	uint64_t now = lab_word_add(word(count), by) + by, old;

	(void)lab_word_step(word(peak), &old, step_peak, now, memory_order_relaxed,
			    memory_order_relaxed);
}

static bool remember(const void *ptr, uint64_t ns, uint64_t bytes)
{
	unsigned int i;

	for (i = 0; i < WINDOW; i++) {
		struct birth *birth = place(ptr, i);

		if (lab_word_get(&birth->ptr) || !lab_word_swap(&birth->ptr, 0, (uintptr_t)ptr))
			continue;
		lab_word_set(&birth->ns, ns);
		lab_word_set(&birth->bytes, bytes);
		return true;
	}
	lab_word_add(word(&to->lost), 1);
	return false;
}

/* and where it was, for nobody else */
static bool forget(const void *ptr, uint64_t *ns, uint64_t *bytes)
{
	unsigned int i;

	for (i = 0; i < WINDOW; i++) {
		struct birth *birth = place(ptr, i);

		if (lab_word_get(&birth->ptr) != (uintptr_t)ptr)
			continue;
		*ns = lab_word_get(&birth->ns);
		*bytes = lab_word_get(&birth->bytes);
		lab_word_set(&birth->ptr, 0);
		return true;
	}
	lab_word_add(word(&to->unknown), 1);
	return false;
}

static void begin(void *ptr, uint64_t ns, uint64_t bytes)
{
	struct lab_histogram_size *size = &to->size[lab_histogram_index(bytes)];

	lab_word_add(word(&size->count), 1);
	lab_word_add(word(&size->bytes), bytes);
	if (!remember(ptr, ns, bytes))
		return;
	raise(&size->live, &size->peak, 1);
	raise(&to->live, &to->live_peak, 1);
	raise(&to->held, &to->held_peak, bytes);
}

static void end(uint64_t bytes)
{
	lab_word_sub(word(&to->size[lab_histogram_index(bytes)].live), 1);
	lab_word_sub(word(&to->live), 1);
	lab_word_sub(word(&to->held), bytes);
}

void lab_histogram_alloc(void *ptr, const struct lab_request *request)
{
	begin(ptr, lab_os_clock_ns(), request->bytes);
}

void lab_histogram_free(void *ptr)
{
	uint64_t born, bytes, now, age;

	if (!forget(ptr, &born, &bytes))
		return;
	now = lab_os_clock_ns();
	age = now > born ? now - born : 1;
	lab_word_add(word(&to->size[lab_histogram_index(bytes)].time[lab_log2(age)]), 1);
	end(bytes);
}

void lab_histogram_split(void *pages, unsigned int order)
{
	uint64_t born, bytes;
	unsigned int i;

	if (!order || !forget(pages, &born, &bytes))
		return;
	end(bytes);
	for (i = 0; i < 1u << order; i++)
		begin((char *)pages + i * LAB_PAGE_BYTES, born, LAB_PAGE_BYTES);
}
