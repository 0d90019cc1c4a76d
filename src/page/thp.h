/* SPDX-License-Identifier: MIT */
/*
 * Transparent huge pages for blocks that a big heap grows by.  A block is 2 MiB, aligned,
 * so one huge page: one page fault in place of 512, and one entry of the TLB.  What it
 * costs is memory that is resident before it is used, so small heaps have none, and time
 * where parts are given back and it is cut up again: nobody has them unasked.
 */
#ifndef LAB_PAGE_THP_H
#define LAB_PAGE_THP_H

#include "page/block.h"

/* frames that are mapped already when growth asks for huge pages; 0: it never does */
extern LAB_HIDDEN lab_word_t lab_thp_from;

/**
 * lab_thp_prefer() - these blocks, just mapped and claimed, may be huge pages
 * @managed: frames that the heap had before
 *
 * Advice: refused or not, nothing else changes.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  A system call (madvise).
 * Mirrors: MADV_HUGEPAGE, mm/khugepaged.c.
 */
void lab_thp_prefer(size_t block, size_t n, uint64_t managed);

/**
 * lab_thp_forgo() - memory of this block goes back in part, or serves one big allocation
 *
 * Else the kernel (khugepaged) puts a huge page together again, holes and all.  Each
 * such block may be a mapping of its own to the kernel, so only the first FORGO_MAX do.
 *
 * Context: as above; the caller holds frames of the block, or has claimed it.
 */
void lab_thp_forgo(size_t block);

#endif /* LAB_PAGE_THP_H */
