/* SPDX-License-Identifier: MIT */
/* The figures for programs: JSON, and Prometheus' text format. */
#include "api/export.h"
#include "api/stats.h"
#include "base/fail.h"
#include "os/cpu.h"

/* Text on its way to a descriptor; the first error ends it. */
struct out {
	int fd, err;
	bool more; /* JSON: a member stands before */
	struct lab_line line;
};

/* longer than any text that is put at once */
enum { PIECE = 96 };

static void flush(struct out *out)
{
	if (!out->err)
		out->err = lab_line_flush(&out->line, out->fd);
	out->line.len = 0;
}

static void put(struct out *out, const char *text)
{
	if (out->line.len > sizeof(out->line.text) - PIECE)
		flush(out);
	lab_line_str(&out->line, text);
}

static void put_number(struct out *out, uint64_t value)
{
	if (out->line.len > sizeof(out->line.text) - PIECE)
		flush(out);
	lab_line_dec(&out->line, value);
}

static void begin(struct out *out, int fd)
{
	out->fd = fd;
	out->err = 0;
	out->more = false;
	lab_line_start(&out->line);
}

struct lab_stats_cpu lab_stats_cpu(unsigned int cpu)
{
	struct lab_stats_cpu sum = { 0, 0, 0, 0 };
	struct lab_export_view view = lab_export_self();
	const struct lab_export_row *row;
	struct lab_export_figures one;
	unsigned int i;

	for (i = 0; (row = lab_export_row_at(i)); i++) {
		lab_export_cpu(&lab_export, &view, row, cpu, &one);
		sum.stacked += one.stacked;
		sum.bytes += one.stacked * row->size;
		sum.taken += one.taken;
		sum.given += one.given;
	}
	return sum;
}

/* the figures of a zone by their names in both formats */
struct figure {
	const char *name;
	size_t at;
};

#define ZONE(member)                                                                               \
	{                                                                                          \
#member, offsetof(struct labyrinth_zone_info, member)                              \
	}
#define CLASS(member)                                                                              \
	{                                                                                          \
#member, offsetof(struct labyrinth_class_info, member)                             \
	}
#define CPU(member)                                                                                \
	{                                                                                          \
#member, offsetof(struct lab_stats_cpu, member)                                    \
	}
#define MMAP(member)                                                                               \
	{                                                                                          \
#member, offsetof(struct labyrinth_mmap_info, member)                              \
	}
static const struct figure zone_figures[] = {
	ZONE(managed),	   ZONE(free),	ZONE(min),    ZONE(low), ZONE(high),
	ZONE(locked),	   ZONE(taken), ZONE(failed), ZONE(cap), ZONE(reserved_highatomic),
	ZONE(free_zeroed), { 0 }
};
static const struct figure class_figures[] = {
	CLASS(size),   CLASS(per_slab), CLASS(slab_pages), CLASS(slabs), CLASS(objects),
	CLASS(active), CLASS(bytes),	CLASS(stacked),	   CLASS(taken), CLASS(given),
	{ 0 }
};
static const struct figure cpu_figures[] = {
	CPU(stacked), CPU(bytes), CPU(taken), CPU(given), { 0 }
};
static const struct figure mmap_figures[] = {
	MMAP(routed), MMAP(passed), MMAP(restored), MMAP(lost), { 0 }
};

static uint64_t figure_of(const struct figure *figure, const void *of)
{
	return *(const uint64_t *)(const void *)((const char *)of + figure->at);
}

/* ---- JSON ---- */

static void json_key(struct out *out, const char *key)
{
	put(out, out->more ? ",\"" : "\"");
	put(out, key);
	put(out, "\":");
	out->more = true;
}

static void json_open(struct out *out, const char *bracket)
{
	put(out, bracket);
	out->more = false;
}

static void json_close(struct out *out, const char *bracket)
{
	put(out, bracket);
	out->more = true;
}

static void json_text(struct out *out, const char *key, const char *text)
{
	json_key(out, key);
	put(out, "\"");
	put(out, text);
	put(out, "\"");
}

static void json_number(struct out *out, const char *key, uint64_t value)
{
	json_key(out, key);
	put_number(out, value);
}

static void json_element(struct out *out)
{
	put(out, out->more ? ",{" : "{");
	out->more = false;
}

static void json_figures(struct out *out, const struct figure *figure, const void *of)
{
	for (; figure->name; figure++)
		json_number(out, figure->name, figure_of(figure, of));
}

static LAB_NOINLINE void json_zones(struct out *out)
{
	struct labyrinth_zone_info info;
	unsigned int id;

	json_key(out, "zones");
	json_open(out, "[");
	for (id = 0; id < LABYRINTH_NR_ZONES; id++) {
		(void)labyrinth_zone_info((enum labyrinth_zone)id, &info);
		json_element(out);
		json_text(out, "name", labyrinth_zone_name((enum labyrinth_zone)id));
		json_figures(out, zone_figures, &info);
		json_close(out, "}");
	}
	json_close(out, "]");
}

static LAB_NOINLINE void json_classes(struct out *out)
{
	struct labyrinth_class_info info;
	unsigned int index;

	json_key(out, "classes");
	json_open(out, "[");
	for (index = 0; labyrinth_class_info(index, &info) == 0; index++) {
		if (!info.taken)
			continue;
		json_element(out);
		json_text(out, "name", info.name);
		json_figures(out, class_figures, &info);
		json_close(out, "}");
	}
	json_close(out, "]");
}

static LAB_NOINLINE void json_cpus(struct out *out)
{
	unsigned int cpu, nr = lab_cpus_possible();

	json_key(out, "cpus");
	json_open(out, "[");
	for (cpu = 0; cpu < nr; cpu++) {
		struct lab_stats_cpu sum = lab_stats_cpu(cpu);

		json_element(out);
		json_number(out, "cpu", cpu);
		json_figures(out, cpu_figures, &sum);
		json_close(out, "}");
	}
	json_close(out, "]");
}

static LAB_NOINLINE void json_events(struct out *out)
{
	struct labyrinth_mmap_info info;
	unsigned int id;

	json_key(out, "events");
	json_open(out, "{");
	for (id = 0; id < LABYRINTH_NR_EVENTS; id++)
		json_number(out, labyrinth_event_name((enum labyrinth_event)id),
			    labyrinth_event_count((enum labyrinth_event)id));
	json_close(out, "}");
	labyrinth_mmap_info(&info);
	json_key(out, "mmap");
	json_open(out, "{");
	json_figures(out, mmap_figures, &info);
	json_close(out, "}");
}

int lab_stats_json(int fd)
{
	struct out out;

	begin(&out, fd);
	json_open(&out, "{");
	json_text(&out, "labyrinth", lab_export.release);
	json_number(&out, "pid", (uint64_t)lab_getpid());
	json_text(&out, "pcp", labyrinth_pcp_backend());
	json_number(&out, "page_bytes", LAB_PAGE_BYTES);
	json_zones(&out);
	json_classes(&out);
	json_cpus(&out);
	json_events(&out);
	put(&out, "}\n");
	flush(&out);
	return out.err;
}

/* ---- Prometheus ---- */

/* "labyrinth_zone_free" and so on: what it is, then a sample for each zone */
static void prom_name(struct out *out, const char *group, const char *name)
{
	put(out, "labyrinth_");
	put(out, group);
	put(out, "_");
	put(out, name);
}

/* what only grows is a counter, all else a gauge */
static bool is_counter(const char *name)
{
	static const char *const counters[] = { "taken",  "given",    "failed", "routed",
						"passed", "restored", "lost",	"count" };
	size_t i, at;

	for (i = 0; i < sizeof(counters) / sizeof(*counters); i++) {
		for (at = 0; name[at] && name[at] == counters[i][at]; at++)
			;
		if (name[at] == counters[i][at])
			return true;
	}
	return false;
}

static void prom_family(struct out *out, const char *group, const char *name)
{
	put(out, "# TYPE ");
	prom_name(out, group, name);
	put(out, is_counter(name) ? "_total counter\n" : " gauge\n");
}

/* @label may be NULL */
static void prom_sample(struct out *out, const char *group, const char *name, const char *label,
			const char *value, uint64_t number)
{
	prom_name(out, group, name);
	put(out, is_counter(name) ? "_total" : "");
	if (label) {
		put(out, "{");
		put(out, label);
		put(out, "=\"");
		put(out, value);
		put(out, "\"}");
	}
	put(out, " ");
	put_number(out, number);
	put(out, "\n");
}

static LAB_NOINLINE void prom_zones(struct out *out, const struct figure *figure)
{
	struct labyrinth_zone_info info;
	unsigned int id;

	prom_family(out, "zone", figure->name);
	for (id = 0; id < LABYRINTH_NR_ZONES; id++) {
		(void)labyrinth_zone_info((enum labyrinth_zone)id, &info);
		prom_sample(out, "zone", figure->name, "zone",
			    labyrinth_zone_name((enum labyrinth_zone)id), figure_of(figure, &info));
	}
}

static LAB_NOINLINE void prom_classes(struct out *out, const struct figure *figure)
{
	struct labyrinth_class_info info;
	unsigned int index;

	prom_family(out, "class", figure->name);
	for (index = 0; labyrinth_class_info(index, &info) == 0; index++)
		if (info.taken)
			prom_sample(out, "class", figure->name, "class", info.name,
				    figure_of(figure, &info));
}

static LAB_NOINLINE void prom_cpus(struct out *out, const struct figure *figure)
{
	unsigned int cpu, nr = lab_cpus_possible();
	struct lab_line number;

	prom_family(out, "cpu", figure->name);
	for (cpu = 0; cpu < nr; cpu++) {
		struct lab_stats_cpu sum = lab_stats_cpu(cpu);

		lab_line_start(&number);
		lab_line_dec(&number, cpu);
		number.text[number.len] = '\0';
		prom_sample(out, "cpu", figure->name, "cpu", number.text, figure_of(figure, &sum));
	}
}

static LAB_NOINLINE void prom_events(struct out *out)
{
	struct labyrinth_mmap_info info;
	const struct figure *figure;
	unsigned int id;

	prom_family(out, "event", "count");
	for (id = 0; id < LABYRINTH_NR_EVENTS; id++)
		prom_sample(out, "event", "count", "event",
			    labyrinth_event_name((enum labyrinth_event)id),
			    labyrinth_event_count((enum labyrinth_event)id));
	labyrinth_mmap_info(&info);
	for (figure = mmap_figures; figure->name; figure++) {
		prom_family(out, "mmap", figure->name);
		prom_sample(out, "mmap", figure->name, NULL, NULL, figure_of(figure, &info));
	}
}

int lab_stats_prom(int fd)
{
	const struct figure *figure;
	struct out out;

	begin(&out, fd);
	for (figure = zone_figures; figure->name; figure++)
		prom_zones(&out, figure);
	for (figure = class_figures; figure->name; figure++)
		prom_classes(&out, figure);
	for (figure = cpu_figures; figure->name; figure++)
		prom_cpus(&out, figure);
	prom_events(&out);
	flush(&out);
	return out.err;
}
