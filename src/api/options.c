/* SPDX-License-Identifier: MIT */
#include "api/options.h"
#include "api/heap.h"
#include "base/fail.h"

/* 384 KiB and 128 KiB: 512 KiB in all unless somebody asks for more */
struct lab_options lab_options = { .reserve_pages = 96,
				   .exclusive_pages = 32,
				   .check_free = LAB_CHECK_FREE };

/* zones are bounded by what one refill step's arithmetic can count */
enum { ZONE_MAX_PAGES = 1 << 18 };

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

static bool set_pages(const struct pair *pair, unsigned int *pages)
{
	uint64_t bytes;

	if (!value_bytes(pair, &bytes) || bytes / LAB_PAGE_BYTES > ZONE_MAX_PAGES)
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

static bool known(const struct pair *pair)
{
	return key_is(pair, "reserve") || key_is(pair, "exclusive") || key_is(pair, "stats") ||
	       key_is(pair, "check_free") || key_is(pair, "deepbind");
}

static bool apply(const struct pair *pair)
{
	if (key_is(pair, "reserve"))
		return set_pages(pair, &lab_options.reserve_pages);
	if (key_is(pair, "exclusive"))
		return set_pages(pair, &lab_options.exclusive_pages);
	if (key_is(pair, "check_free"))
		return set_switch(pair, &lab_options.check_free);
	if (key_is(pair, "stats"))
		return set_switch(pair, &lab_options.stats);
	return set_switch(pair, &lab_options.deepbind);
}

static void complain(const struct pair *pair, const char *what)
{
	struct lab_line line;
	char text[64];
	size_t i, n = pair->key_len + (pair->value_len ? pair->value_len + 1 : 0);

	if (n > sizeof(text) - 1)
		n = sizeof(text) - 1;
	for (i = 0; i < n; i++)
		text[i] = pair->key[i];
	text[n] = '\0';
	lab_line_start(&line);
	lab_line_str(&line, "labyrinth: LABYRINTH_OPTIONS: ");
	lab_line_str(&line, what);
	lab_line_str(&line, " \"");
	lab_line_str(&line, text);
	lab_line_str(&line, "\"; known: reserve:SIZE exclusive:SIZE check_free:0|1 "
			    "stats:0|1 deepbind:0|1");
	(void)lab_line_put(&line, 2);
}

void lab_options_parse(const char *text)
{
	while (text && *text) {
		struct pair pair = { .key = text };

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
		if (!known(&pair))
			complain(&pair, "unknown option");
		else if (!apply(&pair))
			complain(&pair, "bad value");
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
