/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool/snapshot.h"
#include "tool/tool.h"

static const char *const zone_names[] = { "heap", "reserve", "exclusive" };

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool read_word(const struct target *t, const char *at, uint64_t *word)
{
	return target_read(t, at, word, sizeof(*word));
}

/* ---- zones ---- */

static bool read_zone(const struct target *t, const char *at, struct snapshot_zone *z)
{
	const struct lab_export_zone *o = &t->head.zone;

	return read_word(t, at + o->free, &z->free) && read_word(t, at + o->managed, &z->managed) &&
	       read_word(t, at + o->dirty, &z->dirty) && read_word(t, at + o->taken, &z->taken) &&
	       read_word(t, at + o->failed, &z->failed) && read_word(t, at + o->min, &z->min) &&
	       read_word(t, at + o->low, &z->low) && read_word(t, at + o->high, &z->high) &&
	       read_word(t, at + o->locked, &z->locked) && read_word(t, at + o->cap, &z->cap) &&
	       read_word(t, at + o->parked, &z->parked);
}

/* head of the exclusive zone; NULL: this process has none */
static bool exclusive_head(const struct target *t, const char **head)
{
	uint64_t at, born = 0;

	*head = NULL;
	if (!read_word(t, t->head.exclusive, &at))
		return false;
	if (at && read_word(t, (char *)(uintptr_t)at + t->head.excl_born, &born) && born)
		*head = (char *)(uintptr_t)at;
	return true;
}

static bool read_zones(struct snapshot *s, const struct target *t)
{
	const char *head;
	unsigned int i;

	memset(s->zone, 0, sizeof(s->zone));
	for (i = 0; i < SNAPSHOT_ZONES; i++)
		s->zone[i].name = zone_names[i];
	for (i = 0; i < 2; i++)
		if (!read_zone(t, t->head.zones.at + i * t->head.zones.stride, &s->zone[i]))
			return false;
	if (!exclusive_head(t, &head))
		return false;
	return !head || read_zone(t, head + t->head.excl_zone, &s->zone[2]);
}

/* ---- copies of the arrays ---- */

static size_t bytes_of(const struct lab_export_array *array)
{
	return (size_t)array->n * array->stride;
}

static bool copy_array(const struct target *t, const struct lab_export_array *array, char **to,
		       const char **view)
{
	*view = *to;
	*to += bytes_of(array);
	return target_read(t, array->at, *to - bytes_of(array), bytes_of(array));
}

static bool read_copies(struct snapshot *s, const struct target *t)
{
	/* all of it: stacks lie behind the counters, too */
	const size_t area = t->head.cpus.stride;
	uint64_t nr_cpus;
	char *to, *cpus;
	unsigned int i;

	if (!read_word(t, t->head.possible, &nr_cpus) || nr_cpus > t->head.cpus.n)
		return false;
	free(s->copies);
	s->copies = malloc(bytes_of(&t->head.classes) + bytes_of(&t->head.stacks) +
			   bytes_of(&t->head.others) + bytes_of(&t->head.caches) +
			   bytes_of(&t->head.atomics) + nr_cpus * area);
	to = s->copies;
	if (!to || !copy_array(t, &t->head.classes, &to, &s->view.classes) ||
	    !copy_array(t, &t->head.stacks, &to, &s->view.stacks) ||
	    !copy_array(t, &t->head.others, &to, &s->view.others) ||
	    !copy_array(t, &t->head.caches, &to, &s->view.caches) ||
	    !copy_array(t, &t->head.atomics, &to, &s->view.atomics))
		return false;
	s->view.cpus = cpus = to;
	s->view.nr_cpus = (unsigned int)nr_cpus;
	for (i = 0; i < nr_cpus; i++)
		if (!target_read(t, t->head.cpus.at + (size_t)i * t->head.cpus.stride,
				 cpus + i * area, area))
			return false;
	return true;
}

/* ---- classes ---- */

static bool read_rows(struct snapshot *s, const struct target *t)
{
	const struct lab_export_array *rows = &t->head.rows;
	unsigned int i;

	s->nr_classes = rows->n < SNAPSHOT_CLASSES ? rows->n : SNAPSHOT_CLASSES;
	for (i = 0; i < s->nr_classes; i++) {
		struct snapshot_class *c = &s->class[i];

		if (!target_read(t, rows->at + (size_t)i * rows->stride, &c->row, sizeof(c->row)))
			return false;
		snprintf(c->name, sizeof(c->name), "%.*s", (int)sizeof(c->row.name), c->row.name);
		if (c->row.cls)
			snprintf(c->name + strlen(c->name), 12, "-%u", c->row.size);
	}
	return true;
}

static void count_class(const struct snapshot *s, struct snapshot_class *c)
{
	const struct lab_export_class *cls =
		(const void *)(s->view.classes + (size_t)c->row.cls * s->head.classes.stride);
	const struct lab_export_stack *stack =
		(const void *)(s->view.stacks + (size_t)c->row.stack * s->head.stacks.stride);

	lab_export_row_read(&s->head, &s->view, &c->row, &c->f);
	c->per_slab = c->row.cls ? cls->nobj : 0;
	c->slab_pages = c->row.cls ? 1ull << cls->order : 0;
	c->cap = c->row.stack ? stack->cap : 0;
}

/* ---- events ---- */

static bool read_events(struct snapshot *s, const struct target *t)
{
	const struct lab_export_array *names = &t->head.event_names;
	unsigned int i;

	s->nr_events = t->head.events.n < SNAPSHOT_EVENTS ? t->head.events.n : SNAPSHOT_EVENTS;
	for (i = 0; i < s->nr_events; i++) {
		const char *name;
		size_t n;

		if (!read_word(t, t->head.events.at + (size_t)i * t->head.events.stride,
			       &s->event[i]))
			return false;
		/* names stay; those before them tell that they were read */
		if (s->event_name[i][0])
			continue;
		if (!target_read(t, names->at + (size_t)i * names->stride, &name, sizeof(name)))
			return false;
		for (n = 0; n + 1 < sizeof(s->event_name[i]); n++)
			if (!target_read(t, name + n, &s->event_name[i][n], 1) ||
			    !s->event_name[i][n])
				break;
	}
	return true;
}

static bool read_mmap(struct snapshot *s, const struct target *t)
{
	uint64_t word;
	unsigned int i;

	s->routed = 0;
	for (i = 0; i < t->head.routed.n; i++) {
		if (!read_word(t, t->head.routed.at + (size_t)i * t->head.routed.stride, &word))
			return false;
		s->routed += word;
	}
	return read_word(t, t->head.passed, &s->passed);
}

int snapshot_take(struct snapshot *s, const struct target *t)
{
	unsigned int i;

	s->head = t->head;
	if (!read_zones(s, t) || !read_rows(s, t) || !read_copies(s, t) || !read_events(s, t) ||
	    !read_mmap(s, t))
		return target_gone(t);
	s->at = now();
	for (i = 0; i < s->nr_classes; i++)
		count_class(s, &s->class[i]);
	s->rss_kb = target_rss_kb(t->pid);
	return TOOL_OK;
}

uint64_t snapshot_event(const struct snapshot *s, const char *name)
{
	unsigned int i;

	for (i = 0; i < s->nr_events; i++)
		if (strcmp(s->event_name[i], name) == 0)
			return s->event[i];
	return 0;
}

/* ---- free pages by order ---- */

/* 512 bits, or fewer: each page belongs to the greatest aligned run that is all free */
static void count_runs(const uint64_t *bits, unsigned int n, uint64_t runs[SNAPSHOT_ORDERS])
{
	unsigned int at, order, i;

	for (at = 0; at < n; at += 1u << order) {
		for (order = 0; order + 1 < SNAPSHOT_ORDERS - 1; order++) {
			unsigned int len = 2u << order;

			if (at % len || at + len > n)
				break;
			for (i = at; i < at + len && bits[i / 64] >> i % 64 & 1; i++)
				;
			if (i < at + len)
				break;
		}
		if (bits[at / 64] >> at % 64 & 1)
			runs[order]++;
		else
			order = 0;
	}
}

enum { SECTION_BLOCKS = 32, BLOCK_PAGES = 512 };

static void count_block(const struct target *t, const char *block,
			uint64_t runs[SNAPSHOT_ZONES][SNAPSHOT_ORDERS])
{
	uint64_t word, bits[BLOCK_PAGES / 64];
	unsigned int zone;

	memcpy(&word, block, sizeof(word));
	zone = word >> 13 & 3;
	/* mapped, not claimed as a whole, with pages that are free */
	if (!(word & 0x3ff) || word >> 10 & 1 || !(word >> 11 & 1) || zone >= SNAPSHOT_ZONES)
		return;
	memcpy(bits, block + t->head.block_bits, sizeof(bits));
	count_runs(bits, BLOCK_PAGES, runs[zone]);
}

static bool count_exclusive(const struct target *t, uint64_t runs[SNAPSHOT_ORDERS])
{
	uint64_t nwords, bits[BLOCK_PAGES / 64];
	const char *head;
	size_t at, n;

	if (!exclusive_head(t, &head))
		return false;
	if (!head)
		return true;
	if (!read_word(t, head + t->head.excl_nwords, &nwords))
		return false;
	for (at = 0; at < nwords; at += n) {
		n = nwords - at < BLOCK_PAGES / 64 ? nwords - at : BLOCK_PAGES / 64;
		if (!target_read(t, head + t->head.excl_bits + at * 8, bits, n * 8))
			return false;
		count_runs(bits, (unsigned int)n * 64, runs);
	}
	return true;
}

int snapshot_buddies(const struct target *t, uint64_t runs[SNAPSHOT_ZONES][SNAPSHOT_ORDERS])
{
	size_t bytes = (size_t)SECTION_BLOCKS * t->head.block_bytes, s;
	char *ready = malloc(t->head.ready.n), *blocks = malloc(bytes);
	uint64_t table = 0;
	bool ok = ready && blocks && target_read(t, t->head.ready.at, ready, t->head.ready.n) &&
		  read_word(t, t->head.mem_block, &table);
	unsigned int i;

	memset(runs, 0, sizeof(uint64_t) * SNAPSHOT_ZONES * SNAPSHOT_ORDERS);
	for (s = 0; ok && s < t->head.ready.n; s++) {
		if (!ready[s])
			continue;
		ok = target_read(t, (char *)(uintptr_t)table + s * bytes, blocks, bytes);
		for (i = 0; ok && i < SECTION_BLOCKS; i++)
			count_block(t, blocks + (size_t)i * t->head.block_bytes, runs);
	}
	ok = ok && count_exclusive(t, runs[2]);
	free(ready);
	free(blocks);
	return ok ? TOOL_OK : target_gone(t);
}
