/* SPDX-License-Identifier: MIT */
#include "api/options.h"
#include "api/heap.h"
#include "api/option_keys.h"
#include "base/fail.h"
#include "map/map.h"

/*
 * 1 MiB and 128 KiB at most, unless somebody asks for more.  A reserve of this
 * size leaves 101 pages to atomic requests when the program is out of memory, see
 * page/watermark.h.
 */
struct lab_options lab_options = { .reserve = 256,
				   .exclusive = 32,
				   .mmap = LAB_MAP_MAX,
				   .watermark_scale_factor = 10,
				   .stall_ms = 10000,
				   .check_free = LAB_CHECK_FREE };

/* one key:value pair inside the text; not terminated */
struct pair {
	const char *key, *value;
	size_t key_len, value_len;
};

static bool key_is(const struct pair *pair, const char *name)
{
	size_t i;

	for (i = 0; i < pair->key_len && name[i] == pair->key[i]; i++)
		;
	return i == pair->key_len && !name[i];
}

/* decimal with an optional k, m or g; false if it is not a number */
static bool value_bytes(const struct pair *pair, uint64_t *bytes)
{
	size_t i;
	unsigned int shift = 0;

	*bytes = 0;
	for (i = 0; i < pair->value_len; i++) {
		char c = pair->value[i];

		if (c >= '0' && c <= '9' && !shift && *bytes < 1ull << 40)
			*bytes = *bytes * 10 + (uint64_t)(c - '0');
		else if (i && i + 1 == pair->value_len && (c | 32) == 'k')
			shift = 10;
		else if (i && i + 1 == pair->value_len && (c | 32) == 'm')
			shift = 20;
		else if (i && i + 1 == pair->value_len && (c | 32) == 'g')
			shift = 30;
		else
			return false;
	}
	if (*bytes >> (40 - shift))
		return false;
	*bytes <<= shift;
	return pair->value_len > 0;
}

static bool set_pages(const struct pair *pair, unsigned int *pages, uint64_t high)
{
	uint64_t bytes;

	if (!value_bytes(pair, &bytes) || bytes / LAB_PAGE_BYTES > high)
		return false;
	*pages = (unsigned int)((bytes + LAB_PAGE_BYTES - 1) / LAB_PAGE_BYTES);
	return true;
}

static bool set_switch(const struct pair *pair, bool *on)
{
	if (pair->value_len != 1 || (*pair->value != '0' && *pair->value != '1'))
		return false;
	*on = *pair->value == '1';
	return true;
}

static bool set_number(const struct pair *pair, uint64_t *number, uint64_t low, uint64_t high)
{
	uint64_t value;

	if (!value_bytes(pair, &value) || value < low || value > high)
		return false;
	*number = value;
	return true;
}

enum kind { KIND_pages, KIND_on, KIND_number };

struct option {
	const char *key, *takes;
	enum kind kind;
	void *to; /* unsigned int, bool, uint64_t, by kind */
	uint64_t low, high;
};

#define OPTION(key, takes, kind, low, high)                                                        \
	{ #key, takes, KIND_##kind, &lab_options.key, low, high },
static const struct option options[] = { LAB_OPTION_KEYS(OPTION) };

static const struct option *find(const struct pair *pair)
{
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (key_is(pair, options[i].key))
			return &options[i];
	return NULL;
}

static bool apply(const struct pair *pair, const struct option *option)
{
	switch (option->kind) {
	case KIND_pages:
		return set_pages(pair, option->to, option->high);
	case KIND_on:
		return set_switch(pair, option->to);
	default:
		return set_number(pair, option->to, option->low, option->high);
	}
}

static void say_unknown(const char *text)
{
	struct lab_line line;
	size_t i;

	lab_line_start(&line);
	lab_line_str(&line, "labyrinth: LABYRINTH_OPTIONS: unknown option \"");
	lab_line_str(&line, text);
	lab_line_str(&line, "\"; known:");
	for (i = 0; i < sizeof(options) / sizeof(*options); i++) {
		lab_line_str(&line, " ");
		lab_line_str(&line, options[i].key);
	}
	(void)lab_line_put(&line, 2);
}

static void say_takes(const struct option *option, const char *text)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(&line, "labyrinth: LABYRINTH_OPTIONS: bad value \"");
	lab_line_str(&line, text);
	lab_line_str(&line, "\"; ");
	lab_line_str(&line, option->key);
	lab_line_str(&line, " takes ");
	lab_line_str(&line, option->takes);
	if (option->kind != KIND_on) {
		lab_line_str(&line, ", ");
		lab_line_dec(&line, option->low);
		lab_line_str(&line, " to ");
		lab_line_dec(&line, option->high);
		if (option->kind == KIND_pages)
			lab_line_str(&line, " pages of 4096 bytes");
	}
	(void)lab_line_put(&line, 2);
}

static void complain(const struct pair *pair, const struct option *option)
{
	char text[64];
	size_t i, n = pair->key_len + (pair->value_len ? pair->value_len + 1 : 0);

	if (n > sizeof(text) - 1)
		n = sizeof(text) - 1;
	for (i = 0; i < n; i++)
		text[i] = pair->key[i];
	text[n] = '\0';
	if (option)
		say_takes(option, text);
	else
		say_unknown(text);
}

void lab_options_parse(const char *text)
{
	while (text && *text) {
		struct pair pair = { .key = text };
		const struct option *option;

		while (*text && *text != ':' && *text != '=' && *text != ',')
			text++;
		pair.key_len = (size_t)(text - pair.key);
		if (*text == ':' || *text == '=')
			text++;
		pair.value = text;
		while (*text && *text != ',')
			text++;
		pair.value_len = (size_t)(text - pair.value);
		if (*text == ',')
			text++;
		if (!pair.key_len && !pair.value_len)
			continue;
		option = find(&pair);
		if (!option || !apply(&pair, option))
			complain(&pair, option);
	}
}

void lab_options_wrong_build(void)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(
		&line,
		LAB_CHECK_FREE
			? "labyrinth: check_free:0 is a library of its own: preload "
			  "liblabyrinth-preload-nocheck.so, or labyrinth run --opt check_free=0"
			: "labyrinth: check_free:1 is a library of its own: preload "
			  "liblabyrinth-preload.so");
	(void)lab_line_put(&line, 2);
}
