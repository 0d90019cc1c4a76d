/* SPDX-License-Identifier: MIT */
/*
 * Watermarks of the resident zones, by the kernel's formula; mirrors
 * __setup_per_zone_wmarks() and calculate_min_free_kbytes(), mm/page_alloc.c.
 *
 *   min_free_kbytes  sqrt(16 * kB of both zones), 128 .. 262144; or as tuned
 *   min              a zone's share of it, by its managed pages
 *   low, high        min + delta, min + 2 delta
 *   delta            min / 4, but at least managed * scale factor / 10000
 *
 * The formula was made for gigabytes: of a zone of 16 MiB it leaves 3 %, and its
 * least, 128 kB, may be more than a zone.  So, unless min_free_kbytes was tuned, min
 * is half of a small zone, and at least LAB_MIN_FLOOR pages of others.  With these between low, where malloc()
 * stops taking pages, and the atomic floor, 0.375 min, lie 101 pages.
 */
#ifndef LAB_PAGE_WATERMARK_H
#define LAB_PAGE_WATERMARK_H

#include "page/zone.h"

#define LAB_MIN_FLOOR	     116u
#define LAB_SCALE_FACTOR     10u
#define LAB_SCALE_FACTOR_MAX 3000u

/**
 * lab_watermarks_tune() - set the tunables and compute all marks anew
 * @min_free_kbytes: 0: by the formula
 * @scale_factor:    1 .. LAB_SCALE_FACTOR_MAX
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  While it runs others may see the
 *          marks of one zone old and of the other new.
 */
void lab_watermarks_tune(uint64_t min_free_kbytes, uint64_t scale_factor);

/** lab_watermarks_update() - the same, after a zone grew or shrank */
void lab_watermarks_update(void);

/** lab_min_free_kbytes() - tuned or computed; the other one: 0 if not tuned */
uint64_t lab_min_free_kbytes(void);
uint64_t lab_min_free_tuned(void);

/** lab_watermark_scale_factor() - tuned, or LAB_SCALE_FACTOR */
uint64_t lab_watermark_scale_factor(void);

#endif /* LAB_PAGE_WATERMARK_H */
