/* SPDX-License-Identifier: MIT */
/* What labyrinth histogram prints. */
#ifndef LAB_TOOL_HISTOGRAM_H
#define LAB_TOOL_HISTOGRAM_H

#include <stdbool.h>
#include <stdio.h>

#include "base/export_histogram.h"

/** histogram_text() - a table with bars; histogram_json() - one object */
void histogram_text(FILE *to, const struct lab_histogram *h);
void histogram_json(FILE *to, const struct lab_histogram *h);

/** histogram_svg() - a plot, by gnuplot(1); returns an exit code, having said why */
int histogram_svg(const char *path, const struct lab_histogram *h);

#endif /* LAB_TOOL_HISTOGRAM_H */
