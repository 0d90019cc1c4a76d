/* SPDX-License-Identifier: MIT */
/* Loading liblabyrinth-trace.so, for stacks in failure reports. */
#ifndef LAB_API_TRACE_H
#define LAB_API_TRACE_H

#include "base/compiler.h"

/**
 * lab_trace_load() - load the trace object that lies beside this library
 *
 * If that fails, one line on descriptor 2 says why, and reports have no stack.
 *
 * Context: at start-up, ordinary code: dlopen(3).
 */
void lab_trace_load(void);

#endif /* LAB_API_TRACE_H */
