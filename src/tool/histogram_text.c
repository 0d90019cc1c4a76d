/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tool/histogram.h"
#include "tool/tool.h"

enum { BAR = 40 };

/* all sizes together */
static void sum_times(const struct lab_histogram *h, uint64_t time[LAB_HISTOGRAM_TIMES])
{
	unsigned int i, t;

	memset(time, 0, LAB_HISTOGRAM_TIMES * sizeof(*time));
	for (i = 0; i < LAB_HISTOGRAM_SIZES; i++)
		for (t = 0; t < LAB_HISTOGRAM_TIMES; t++)
			time[t] += h->size[i].time[t];
}

static uint64_t ended(const struct lab_histogram_size *size)
{
	uint64_t n = 0;
	unsigned int t;

	for (t = 0; t < LAB_HISTOGRAM_TIMES; t++)
		n += size->time[t];
	return n;
}

/* the doubling in which half of them have ended */
static unsigned int median(const uint64_t *time, uint64_t all)
{
	uint64_t n = 0;
	unsigned int t;

	for (t = 0; t < LAB_HISTOGRAM_TIMES - 1; t++) {
		n += time[t];
		if (2 * n >= all)
			break;
	}
	return t;
}

static const char *bar(uint64_t n, uint64_t most)
{
	static const char full[] = "########################################";

	return full + BAR - (most ? (n * BAR + most - 1) / most : 0);
}

/* 2^log nanoseconds */
static const char *duration(unsigned int log, char text[16])
{
	static const char *const unit[] = { "ns", "us", "ms", "s" };
	double value = (double)(1ull << log);
	unsigned int u = 0;

	while (u < 3 && value >= 1000) {
		value /= 1000;
		u++;
	}
	snprintf(text, 16, value < 10 && u ? "%.1f %s" : "%.0f %s", value, unit[u]);
	return text;
}

static void print_sizes(FILE *to, const struct lab_histogram *h)
{
	uint64_t most = 0, n;
	char text[16];
	unsigned int i;

	for (i = 0; i < LAB_HISTOGRAM_SIZES; i++)
		most = h->size[i].count > most ? h->size[i].count : most;
	fprintf(to, "%23s %11s %14s %10s %10s  %s\n", "bytes", "objects", "bytes asked for",
		"peak live", "half-life", "objects");
	for (i = 0; i < LAB_HISTOGRAM_SIZES; i++) {
		const struct lab_histogram_size *s = &h->size[i];

		if (!s->count)
			continue;
		n = ended(s);
		fprintf(to,
			"%11" PRIu64 " %11" PRIu64 " %11" PRIu64 " %14" PRIu64 "  %10" PRIu64
			" %10s  %s\n",
			lab_histogram_from(i), lab_histogram_from(i + 1) - 1, s->count, s->bytes,
			s->peak, n ? duration(median(s->time, n), text) : "-", bar(s->count, most));
	}
}

static void print_times(FILE *to, const struct lab_histogram *h)
{
	uint64_t time[LAB_HISTOGRAM_TIMES], most = 0;
	char from[16], until[16];
	unsigned int t;

	sum_times(h, time);
	for (t = 0; t < LAB_HISTOGRAM_TIMES; t++)
		most = time[t] > most ? time[t] : most;
	fprintf(to, "\n%23s %11s\n", "lifetime", "objects");
	for (t = 0; t < LAB_HISTOGRAM_TIMES - 1; t++)
		if (time[t])
			fprintf(to, "%11s %11s %11" PRIu64 "  %s\n", duration(t, from),
				duration(t + 1, until), time[t], bar(time[t], most));
	fprintf(to, "%23s %11" PRIu64 "\n", "not freed", h->live);
}

void histogram_text(FILE *to, const struct lab_histogram *h)
{
	uint64_t count = 0, bytes = 0;
	unsigned int i;

	for (i = 0; i < LAB_HISTOGRAM_SIZES; i++) {
		count += h->size[i].count;
		bytes += h->size[i].bytes;
	}
	fprintf(to,
		"labyrinth histogram: %" PRIu64 " objects, %" PRIu64 " bytes, in %" PRIu64
		" processes; at most %" PRIu64 " objects and %" PRIu64 " bytes at once\n\n",
		count, bytes, h->processes, h->live_peak, h->held_peak);
	print_sizes(to, h);
	print_times(to, h);
	if (h->lost || h->unknown)
		fprintf(to,
			"\nnot followed: %" PRIu64 " objects without a place in the table, %" PRIu64
			" frees of unknown ones\n",
			h->lost, h->unknown);
}

/* ---- for programs ---- */

static void json_times(FILE *to, const uint64_t *time)
{
	const char *comma = "";
	unsigned int t;

	fputs("[", to);
	for (t = 0; t < LAB_HISTOGRAM_TIMES; t++)
		if (time[t]) {
			fprintf(to, "%s{\"from_ns\":%llu,\"objects\":%" PRIu64 "}", comma,
				1ull << t, time[t]);
			comma = ",";
		}
	fputs("]", to);
}

void histogram_json(FILE *to, const struct lab_histogram *h)
{
	uint64_t time[LAB_HISTOGRAM_TIMES];
	const char *comma = "";
	unsigned int i;

	sum_times(h, time);
	fprintf(to,
		"{\"processes\":%" PRIu64 ",\"live\":%" PRIu64 ",\"live_peak\":%" PRIu64
		",\"live_bytes\":%" PRIu64 ",\"live_bytes_peak\":%" PRIu64 ",\"lost\":%" PRIu64
		",\"unknown\":%" PRIu64 ",\n\"lifetimes\":",
		h->processes, h->live, h->live_peak, h->held, h->held_peak, h->lost, h->unknown);
	json_times(to, time);
	fputs(",\n\"sizes\":[", to);
	for (i = 0; i < LAB_HISTOGRAM_SIZES; i++) {
		const struct lab_histogram_size *s = &h->size[i];

		if (!s->count)
			continue;
		fprintf(to,
			"%s\n{\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"objects\":%" PRIu64
			",\"bytes\":%" PRIu64 ",\"live\":%" PRIu64 ",\"live_peak\":%" PRIu64
			",\"lifetimes\":",
			comma, lab_histogram_from(i), lab_histogram_from(i + 1) - 1, s->count,
			s->bytes, s->live, s->peak);
		json_times(to, s->time);
		fputs("}", to);
		comma = ",";
	}
	fputs("]}\n", to);
}

/* ---- the plot ---- */

static void plot_data(FILE *to, const struct lab_histogram *h)
{
	uint64_t time[LAB_HISTOGRAM_TIMES];
	unsigned int i;

	fputs("$sizes << end\n", to);
	for (i = 0; i < LAB_HISTOGRAM_SIZES; i++)
		if (h->size[i].count)
			fprintf(to, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
				lab_histogram_from(i), lab_histogram_from(i + 1), h->size[i].count,
				h->size[i].peak);
	fputs("end\n$times << end\n", to);
	sum_times(h, time);
	for (i = 0; i < LAB_HISTOGRAM_TIMES - 1; i++)
		if (time[i])
			fprintf(to, "%g %g %" PRIu64 "\n", (double)(1ull << i) / 1e9,
				(double)(1ull << (i + 1)) / 1e9, time[i]);
	fputs("end\n", to);
}

static bool has_times(const struct lab_histogram *h)
{
	unsigned int i;

	for (i = 0; i < LAB_HISTOGRAM_SIZES; i++)
		if (ended(&h->size[i]))
			return true;
	return false;
}

int histogram_svg(const char *path, const struct lab_histogram *h)
{
	FILE *to;

	if (strpbrk(path, "\"\\\n"))
		return tool_die(TOOL_USAGE, "gnuplot cannot write to such a name: %s", path);
	to = popen("gnuplot", "we");
	if (!to)
		return tool_die(TOOL_FAILED, "no plot: gnuplot cannot be run");
	fprintf(to, "set terminal svg size 900,800 noenhanced\nset output \"%s\"\n", path);
	plot_data(to, h);
	fputs("set multiplot layout 2,1\nset logscale x\nset style fill solid 0.5\nset grid\n"
	      "set xlabel 'size, bytes'\nset ylabel 'objects'\nset logscale y\nset yrange [0.5:*]\n"
	      "set format x '%.0s%c'\n"
	      "plot $sizes using (sqrt($1*$2)):3:($2-$1) with boxes title 'allocated',"
	      " '' using (sqrt($1*$2)):4 with points pointtype 7 pointsize 0.5 title 'live at "
	      "once'\n",
	      to);
	if (has_times(h))
		fputs("set xlabel 'lifetime, s'\n"
		      "plot $times using (sqrt($1*$2)):3:($2-$1) with boxes title 'freed'\n",
		      to);
	fputs("unset multiplot\n", to);
	return pclose(to) == 0 ? TOOL_OK
			       : tool_die(TOOL_FAILED,
					  "no plot: gnuplot failed (Debian has it in gnuplot-nox)");
}
