/* SPDX-License-Identifier: MIT */
/*
 * What memory holds when it is handed out and when it is free: init_on_alloc,
 * init_on_free and page_poison; mm/page_poison.c.
 */
#ifndef LAB_DIAG_FILL_H
#define LAB_DIAG_FILL_H

#include "diag/watch.h"

enum lab_fill {
	LAB_FILL_ON_ALLOC = 1 << 0, /* zero what is handed out */
	LAB_FILL_ON_FREE = 1 << 1,  /* zero what is given back */
	LAB_FILL_PAGES = 1 << 2	    /* free pages hold LAB_PAGE_POISON, and are looked at */
};

#define LAB_PAGE_POISON 0xaa /* include/linux/poison.h */

/** lab_fill_start() - from now on; @what: of enum lab_fill; from the constructor */
void lab_fill_start(unsigned int what);

/** lab_fill_alloc(), lab_fill_free() - an object, or pages, of @bytes
 *
 * Pages that were poisoned and hold neither the poison nor zeroes (they were cleared
 * ahead, or the system has taken them) are reported on descriptor 2, ten times at
 * most; the program goes on, as the kernel does.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free; write(2) where there is something to report.
 */
void lab_fill_alloc(void *ptr, const struct lab_request *request);
void lab_fill_free(void *ptr, size_t bytes);
void lab_fill_free_pages(void *page, unsigned int order);

#endif /* LAB_DIAG_FILL_H */
