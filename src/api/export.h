/* SPDX-License-Identifier: MIT */
/* The figures as rows: of this process, for the statistics; base/export.h shows them. */
#ifndef LAB_API_EXPORT_H
#define LAB_API_EXPORT_H

#include "base/compiler.h"
#include "base/export.h"

extern LAB_HIDDEN struct lab_export lab_export;

/** lab_export_init() - fill it in; the constructor, when the stacks are set up
 *
 * The magic comes last: who finds it, finds the rest.
 */
void lab_export_init(void);

/* by enum lab_event */
extern LAB_HIDDEN const char *const lab_event_names[];

/** lab_export_row_at() - a line of the statistics; NULL: there are no more */
const struct lab_export_row *lab_export_row_at(unsigned int index);

/** lab_export_self() - a view of this process
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.
 */
struct lab_export_view lab_export_self(void);

#endif /* LAB_API_EXPORT_H */
