/* SPDX-License-Identifier: MIT */
#include "gfp/flags.h"
#include "gfp/scope.h"
#include "gfp/warn.h"
#include "page/event.h"

#define ZONES	 (LABYRINTH___GFP_DMA | LABYRINTH___GFP_DMA32 | LABYRINTH___GFP_HIGHMEM)
#define MOBILITY (LABYRINTH___GFP_MOVABLE | LABYRINTH___GFP_RECLAIMABLE)

/* ---- names ---- */

struct name {
	labyrinth_gfp_t mask;
	const char *text;
};

#define COMPOSITE(flag)                                                                            \
	{                                                                                          \
		LABYRINTH_GFP_##flag, "GFP_" #flag                                                 \
	}
#define SINGLE(flag)                                                                               \
	{                                                                                          \
		LABYRINTH___GFP_##flag, "__GFP_" #flag                                             \
	}

/* the kernel's order: what has most bits first, so that it is found before its parts */
static const struct name names[] = {
	COMPOSITE(TRANSHUGE),
	COMPOSITE(TRANSHUGE_LIGHT),
	COMPOSITE(HIGHUSER_MOVABLE),
	COMPOSITE(HIGHUSER),
	COMPOSITE(USER),
	COMPOSITE(KERNEL_ACCOUNT),
	COMPOSITE(KERNEL),
	COMPOSITE(NOFS),
	COMPOSITE(ATOMIC),
	COMPOSITE(NOIO),
	COMPOSITE(NOWAIT),
	COMPOSITE(DMA),
	COMPOSITE(DMA32),
	SINGLE(RECLAIM),
	SINGLE(HIGHMEM),
	SINGLE(MOVABLE),
	SINGLE(RECLAIMABLE),
	SINGLE(HIGH),
	SINGLE(IO),
	SINGLE(FS),
	SINGLE(ZERO),
	SINGLE(DIRECT_RECLAIM),
	SINGLE(KSWAPD_RECLAIM),
	SINGLE(WRITE),
	SINGLE(NOWARN),
	SINGLE(RETRY_MAYFAIL),
	SINGLE(NOFAIL),
	SINGLE(NORETRY),
	SINGLE(MEMALLOC),
	SINGLE(COMP),
	SINGLE(NOMEMALLOC),
	SINGLE(HARDWALL),
	SINGLE(THISNODE),
	SINGLE(ACCOUNT),
	SINGLE(ZEROTAGS),
	SINGLE(EXCLUSIVE),
};

struct text {
	char *buf;
	size_t size, len;
};

static void text_char(struct text *text, char c)
{
	if (text->len + 1 < text->size)
		text->buf[text->len] = c;
	text->len++;
}

static void text_str(struct text *text, const char *str)
{
	while (*str)
		text_char(text, *str++);
}

static void text_hex(struct text *text, labyrinth_gfp_t value)
{
	int shift = 28;

	text_str(text, "0x");
	while (shift && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		text_char(text, "0123456789abcdef"[value >> shift & 15]);
}

int lab_gfp_format(char *buf, size_t size, labyrinth_gfp_t gfp)
{
	struct text text = { .buf = buf, .size = size };
	labyrinth_gfp_t left = gfp;
	size_t i;

	text_hex(&text, gfp);
	text_char(&text, '(');
	for (i = 0; left && i < sizeof(names) / sizeof(*names); i++) {
		if ((left & names[i].mask) != names[i].mask)
			continue;
		text_str(&text, names[i].text);
		left &= ~names[i].mask;
		if (left)
			text_char(&text, '|');
	}
	if (left)
		text_hex(&text, left);
	text_char(&text, ')');
	if (size)
		buf[text.len < size ? text.len : size - 1] = '\0';
	return (int)text.len;
}

void lab_line_gfp(struct lab_line *line, labyrinth_gfp_t gfp)
{
	/* the last byte is kept for the newline; the terminator may stand there */
	size_t room = sizeof(line->text) - line->len;
	int len = lab_gfp_format(line->text + line->len, room, gfp);

	line->len += (size_t)len < room ? (unsigned int)len : (unsigned int)room - 1;
}

/* ---- rules ---- */

/* two or three of the zones; GFP_ZONE_BAD says the same of all sixteen combinations */
static bool zones_are_bad(labyrinth_gfp_t gfp)
{
	labyrinth_gfp_t zones = gfp & ZONES;

	return zones & (zones - 1);
}

static void broken(lab_word_t *done, labyrinth_gfp_t gfp, unsigned int order, const char *text)
{
	lab_event_add(LAB_EV_BAD_GFP, 1);
	lab_warn_once(done, gfp, order, text);
}

static LAB_COLD bool refuse(labyrinth_gfp_t gfp, unsigned int order)
{
	static LAB_RESIDENT lab_word_t unknown, large;

	if (gfp & ~LAB_GFP_KNOWN)
		broken(&unknown, gfp, order, "unknown flags: refused");
	else if (gfp & LABYRINTH___GFP_NOWARN)
		lab_event_add(LAB_EV_BAD_GFP, 1);
	else
		broken(&large, gfp, order, "the order is above the largest, 9: refused");
	return false;
}
static_assert(LABYRINTH_MAX_PAGE_ORDER == 9, "the text above names it");

static LAB_COLD void put_right(labyrinth_gfp_t *gfp, unsigned int order)
{
	static LAB_RESIDENT lab_word_t zones, mobility, nofail;

	if (zones_are_bad(*gfp)) {
		broken(&zones, *gfp, order,
		       "more than one of __GFP_DMA, __GFP_DMA32, __GFP_HIGHMEM: all dropped");
		*gfp &= ~ZONES;
	}
	if ((*gfp & MOBILITY) == MOBILITY) {
		broken(&mobility, *gfp, order,
		       "both __GFP_MOVABLE and __GFP_RECLAIMABLE: both dropped");
		*gfp &= ~MOBILITY;
	}
	if (*gfp & LABYRINTH___GFP_NOFAIL && order > 1)
		broken(&nofail, *gfp, order,
		       "__GFP_NOFAIL with an order above 1: it may wait long");
}

bool lab_gfp_check(labyrinth_gfp_t *gfp, unsigned int order)
{
	if (LAB_UNLIKELY(*gfp & ~LAB_GFP_KNOWN) || LAB_UNLIKELY(order > LABYRINTH_MAX_PAGE_ORDER))
		return refuse(*gfp, order);
	if (LAB_UNLIKELY(zones_are_bad(*gfp)) || LAB_UNLIKELY((*gfp & MOBILITY) == MOBILITY) ||
	    LAB_UNLIKELY(*gfp & LABYRINTH___GFP_NOFAIL && order > 1))
		put_right(gfp, order);
	return true;
}

LAB_COLD void lab_gfp_check_failed(labyrinth_gfp_t gfp, unsigned int order)
{
	static LAB_RESIDENT lab_word_t waitless, atomic;

	if (!(gfp & LABYRINTH___GFP_NOFAIL))
		return;
	if (lab_scope_is_atomic())
		broken(&atomic, gfp, order, "__GFP_NOFAIL in an atomic section: it has failed");
	else if (!(gfp & LABYRINTH___GFP_DIRECT_RECLAIM))
		broken(&waitless, gfp, order,
		       "__GFP_NOFAIL without __GFP_DIRECT_RECLAIM: it has failed");
}

LAB_COLD void lab_gfp_check_exact(labyrinth_gfp_t *gfp, unsigned int order)
{
	static LAB_RESIDENT lab_word_t exact;
	const labyrinth_gfp_t never = LABYRINTH___GFP_COMP | LABYRINTH___GFP_HIGHMEM;

	if (!(*gfp & never))
		return;
	broken(&exact, *gfp, order, "exact pages with __GFP_COMP or __GFP_HIGHMEM: both dropped");
	*gfp &= ~never;
}
