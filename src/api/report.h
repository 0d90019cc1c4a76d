/* SPDX-License-Identifier: MIT */
/* What is said about misuse.  Every text here is a line of labyrinth(7). */
#ifndef LAB_API_REPORT_H
#define LAB_API_REPORT_H

#include "api/heap.h"

/** lab_report_block() - say what is wrong with a pointer, then die by SIGABRT
 * @ptr:  a pointer that is not the start of a live block
 * @verb: whose call brought it
 *
 * Context: MT-Safe, AS-Safe.  write(2).
 */
_Noreturn void lab_report_block(const void *ptr, enum lab_verb verb);

/** lab_report_page() - say what is wrong with a page given back; then go on
 * @order: what the caller said
 *
 * The kernel's way: the page is leaked, never reused (bad_page()).
 */
LAB_COLD void lab_report_page(const void *page, unsigned int order);

/** lab_report_split() - the same for labyrinth_split_page(): nothing was split */
void lab_report_split(const void *page, unsigned int order);

#endif /* LAB_API_REPORT_H */
