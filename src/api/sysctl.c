/* SPDX-License-Identifier: MIT */
/* Tunables by name, as in /proc/sys/vm/. */
#include <errno.h>

#include "gfp/alloc.h"
#include "page/reserve.h"
#include "page/watermark.h"

struct tunable {
	const char *name;
	uint64_t low, high;
	uint64_t (*get)(void);
	int (*set)(uint64_t value);
};

static uint64_t get_min_free(void)
{
	return lab_min_free_kbytes();
}

static int set_min_free(uint64_t value)
{
	lab_watermarks_tune(value, lab_watermark_scale_factor());
	return 0;
}

static uint64_t get_scale(void)
{
	return lab_watermark_scale_factor();
}

static int set_scale(uint64_t value)
{
	lab_watermarks_tune(lab_min_free_tuned(), value);
	return 0;
}

static uint64_t get_reserve(void)
{
	return lab_word_get(&lab_zone_at(LAB_ZONE_RESERVE)->cap) * LAB_PAGE_BYTES;
}

static int set_reserve(uint64_t value)
{
	return lab_reserve_resize((value + LAB_PAGE_BYTES - 1) / LAB_PAGE_BYTES);
}

static uint64_t get_stall(void)
{
	return lab_word_get(&lab_stall_ms);
}

static int set_stall(uint64_t value)
{
	lab_word_set(&lab_stall_ms, value);
	return 0;
}

static const struct tunable tunables[] = {
	{ "min_free_kbytes", 0, 1 << 20, get_min_free, set_min_free },
	{ "watermark_scale_factor", 1, LAB_SCALE_FACTOR_MAX, get_scale, set_scale },
	{ "reserve", 0, (uint64_t)LAB_RESERVE_MAX *LAB_PAGE_BYTES, get_reserve, set_reserve },
	{ "stall_ms", 0, 1 << 30, get_stall, set_stall },
};

static bool is_name(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return *a == *b;
}

LAB_PUBLIC int labyrinth_sysctl(const char *name, uint64_t *old, const uint64_t *value)
{
	const struct tunable *t = tunables, *end = t + sizeof(tunables) / sizeof(*t);

	while (t < end && !is_name(t->name, name))
		t++;
	if (t == end)
		return -ENOENT;
	if (value && (*value < t->low || *value > t->high))
		return -EINVAL;
	if (old)
		*old = t->get();
	return value ? t->set(*value) : 0;
}
