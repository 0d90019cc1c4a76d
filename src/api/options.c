/* SPDX-License-Identifier: MIT */
#include "api/options.h"
#include "api/heap.h"
#include "api/option_keys.h"
#include "api/option_value.h"
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
				   .profile_rate = 512 << 10,
				   .fail_min_order = 1,
				   .fail_verbose = 2,
				   .fail_ignore_gfp_wait = true,
				   .check_free = LAB_CHECK_FREE };

/* one key:value pair inside the text; not terminated */
struct pair {
	const char *key, *value;
	size_t key_len, value_len;
};

struct option {
	const char *key, *takes;
	enum lab_option_kind kind;
	void *to; /* unsigned int, uint64_t, bool or char[], by kind */
	uint64_t low, high;
};

#define OPTION(key, takes, kind, low, high)                                                        \
	{ #key, takes, LAB_OPTION_##kind, &lab_options.key, low, high },
static const struct option options[] = { LAB_OPTION_KEYS(OPTION) };

static const struct option *find(const struct pair *pair)
{
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (lab_option_word(pair->key, pair->key_len, options[i].key))
			return &options[i];
	return NULL;
}

static void set_text(char *to, const struct pair *pair)
{
	size_t i;

	for (i = 0; i < pair->value_len; i++)
		to[i] = pair->value[i];
	to[i] = '\0';
}

static bool apply(const struct pair *pair, const struct option *option)
{
	uint64_t number;

	if (!lab_option_read(option->kind, pair->value, pair->value_len, option->low, option->high,
			     &number))
		return false;
	switch (option->kind) {
	case LAB_OPTION_pages:
		*(unsigned int *)option->to = (unsigned int)number;
		break;
	case LAB_OPTION_on:
		*(bool *)option->to = number;
		break;
	case LAB_OPTION_fault:
	case LAB_OPTION_text:
		set_text(option->to, pair);
		break;
	default:
		*(uint64_t *)option->to = number;
	}
	return true;
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
	if (option->kind == LAB_OPTION_pages || option->kind == LAB_OPTION_number) {
		lab_line_str(&line, ", ");
		lab_line_dec(&line, option->low);
		lab_line_str(&line, " to ");
		lab_line_dec(&line, option->high);
		if (option->kind == LAB_OPTION_pages)
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

void lab_options_no_histogram(const char *path)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(&line, "labyrinth: histogram: this is no file of labyrinth histogram: ");
	lab_line_str(&line, path);
	(void)lab_line_put(&line, 2);
}

void lab_options_no_redzone(void)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(
		&line,
		"labyrinth: redzone:1: too many objects are in use already; none is looked at");
	(void)lab_line_put(&line, 2);
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
