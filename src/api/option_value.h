/* SPDX-License-Identifier: MIT */
/*
 * What the value of an option means, for the library and for the launcher: a
 * number or a text, neither terminated nor trusted.
 */
#ifndef LAB_API_OPTION_VALUE_H
#define LAB_API_OPTION_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* the kinds of api/option_keys.h */
enum lab_option_kind {
	LAB_OPTION_pages,
	LAB_OPTION_number,
	LAB_OPTION_on,
	LAB_OPTION_format,
	LAB_OPTION_signal,
	LAB_OPTION_fault,
	LAB_OPTION_text
};

/* a text with its zero byte */
#define LAB_OPTION_TEXT 256u

/** lab_option_word() - do these bytes spell @word */
static inline bool lab_option_word(const char *text, size_t len, const char *word)
{
	size_t i;

	for (i = 0; i < len && word[i] && word[i] == text[i]; i++)
		;
	return i == len && !word[i];
}

/** lab_option_bytes() - decimal with an optional k, m or g; false if it is not a number */
static inline bool lab_option_bytes(const char *text, size_t len, uint64_t *bytes)
{
	unsigned int shift = 0;
	size_t i;

	*bytes = 0;
	for (i = 0; i < len; i++) {
		char c = text[i];

		if (c >= '0' && c <= '9' && !shift && *bytes < 1ull << 40)
			*bytes = *bytes * 10 + (uint64_t)(c - '0');
		else if (i && i + 1 == len && (c | 32) == 'k')
			shift = 10;
		else if (i && i + 1 == len && (c | 32) == 'm')
			shift = 20;
		else if (i && i + 1 == len && (c | 32) == 'g')
			shift = 30;
		else
			return false;
	}
	if (*bytes >> (40 - shift))
		return false;
	*bytes <<= shift;
	return len > 0;
}

/**
 * lab_option_signal() - a signal that may be given another meaning
 *
 * By number or by name, SIG or not; 0: none.  Not those that an instruction raises,
 * nor those that nobody can catch, nor libc's own.
 */
static inline bool lab_option_signal(const char *text, size_t len, uint64_t *signal)
{
	static const struct {
		char name[8];
		uint8_t number; /* the same on x86-64 and aarch64 */
	} names[] = {
		{ "HUP", 1 },	{ "INT", 2 },	  { "QUIT", 3 },  { "USR1", 10 },  { "USR2", 12 },
		{ "PIPE", 13 }, { "ALRM", 14 },	  { "TERM", 15 }, { "CHLD", 17 },  { "CONT", 18 },
		{ "TSTP", 20 }, { "TTIN", 21 },	  { "TTOU", 22 }, { "URG", 23 },   { "XCPU", 24 },
		{ "XFSZ", 25 }, { "VTALRM", 26 }, { "PROF", 27 }, { "WINCH", 28 }, { "IO", 29 },
		{ "PWR", 30 },
	};
	size_t i, n = sizeof(names) / sizeof(*names);

	if (lab_option_bytes(text, len, signal)) {
		if (*signal == 0 || (*signal >= 34 && *signal <= 64))
			return true;
		for (i = 0; i < n; i++)
			if (names[i].number == *signal)
				return true;
		return false;
	}
	if (len > 3 && lab_option_word(text, 3, "SIG")) {
		text += 3;
		len -= 3;
	}
	for (i = 0; i < n; i++) {
		*signal = names[i].number;
		if (lab_option_word(text, len, names[i].name))
			return true;
	}
	return false;
}

/** lab_option_format() - 0, 1 or text, json, prom: enum labyrinth_stats_format; 0: off */
static inline bool lab_option_format(const char *text, size_t len, uint64_t *format)
{
	static const char *const words[] = { "0", "text", "json", "prom" };

	for (*format = 0; *format < sizeof(words) / sizeof(*words); ++*format)
		if (lab_option_word(text, len, words[*format]))
			return true;
	*format = 1;
	return lab_option_word(text, len, "1");
}

/**
 * lab_option_fault() - "interval/probability/space/times"; commas will do as well
 *
 * Mirrors setup_fault_attr(), lib/fault-inject.c: -1 times is no limit.
 */
static inline bool lab_option_fault(const char *text, size_t len, uint64_t number[4])
{
	const char *end = text + len, *at;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		for (at = text; at < end && *at != '/' && *at != ','; at++)
			;
		if (i == 3 && lab_option_word(text, (size_t)(at - text), "-1"))
			number[i] = UINT64_MAX;
		else if (!lab_option_bytes(text, (size_t)(at - text), &number[i]))
			return false;
		if ((at == end) != (i == 3))
			return false;
		text = at + 1;
	}
	return number[1] <= 100;
}

/**
 * lab_option_read() - the number that a value stands for, if it is one of its kind
 * @low, @high: bounds of pages, numbers, and of the length of a text
 * @number:     receives it; of a text or a fault, its length
 */
static inline bool lab_option_read(enum lab_option_kind kind, const char *text, size_t len,
				   uint64_t low, uint64_t high, uint64_t *number)
{
	uint64_t fault[4];

	switch (kind) {
	case LAB_OPTION_on:
		*number = len == 1 && *text == '1';
		return len == 1 && (*text == '0' || *text == '1');
	case LAB_OPTION_format:
		return lab_option_format(text, len, number);
	case LAB_OPTION_signal:
		return lab_option_signal(text, len, number);
	case LAB_OPTION_fault:
		if (!lab_option_fault(text, len, fault))
			return false;
		/* fall through */
	case LAB_OPTION_text:
		*number = len;
		return len >= low && len <= high;
	case LAB_OPTION_pages:
		if (!lab_option_bytes(text, len, number) || *number / 4096 > high)
			return false;
		*number = (*number + 4095) / 4096;
		return true;
	default:
		return lab_option_bytes(text, len, number) && *number >= low && *number <= high;
	}
}

#endif /* LAB_API_OPTION_VALUE_H */
