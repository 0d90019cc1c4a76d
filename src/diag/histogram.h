/* SPDX-License-Identifier: MIT */
/* Sizes and lifetimes of objects and pages, for labyrinth histogram. */
#ifndef LAB_DIAG_HISTOGRAM_H
#define LAB_DIAG_HISTOGRAM_H

#include "base/export_histogram.h"
#include "diag/watch.h"

/**
 * lab_histogram_start() - count into a file, base/export_histogram.h
 *
 * Context: from the constructor.  System calls.
 * Return:  0, or a negative error: it is no such file, or there is no memory.
 */
LAB_NODISCARD int lab_histogram_start(const char *path);

/**
 * lab_histogram_alloc(), lab_histogram_free() - an object, or pages, begin and end
 *
 * Births are kept in a table of fixed size.  What finds no place there is counted,
 * but how long it lives is not known.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  Reads the clock, see lab_os_clock_ns().
 */
void lab_histogram_alloc(void *ptr, const struct lab_request *request);
void lab_histogram_free(void *ptr);

/** lab_histogram_split() - each of these pages is one by itself, as old as all were */
void lab_histogram_split(void *pages, unsigned int order);

#endif /* LAB_DIAG_HISTOGRAM_H */
