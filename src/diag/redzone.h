/* SPDX-License-Identifier: MIT */
/*
 * What follows each object is filled and looked at when the object is freed, so that
 * a write past its end is found: the red zones of mm/slub.c.
 */
#ifndef LAB_DIAG_REDZONE_H
#define LAB_DIAG_REDZONE_H

#include "diag/watch.h"

#define LAB_REDZONE_BYTE 0xcc /* SLUB_RED_ACTIVE */
/* bytes more than asked for: some of the zone, and the word that ends it */
#define LAB_REDZONE_PAD 16u

/**
 * lab_redzone_start() - from now on; from the constructor, by the one thread there is
 *
 * Objects in use have no red zone, and are remembered.
 *
 * Return: 0; -ENOSPC: there are too many of them, and nothing is done.
 */
LAB_NODISCARD int lab_redzone_start(void);

/** lab_redzone_alloc() - @bytes are the caller's, the rest of the object is not */
void lab_redzone_alloc(void *ptr, size_t bytes);

/**
 * lab_redzone_bytes() - how many bytes of an object are the caller's
 * @usable: how many the object has
 */
size_t lab_redzone_bytes(const void *ptr, size_t usable);

/**
 * lab_redzone_free() - look at the red zone
 *
 * If it was written to, that is reported and the process ends.
 *
 * Context, of all three: MT-Safe, AS-Safe.  Wait-free.
 */
void lab_redzone_free(void *ptr, size_t usable);

#endif /* LAB_DIAG_REDZONE_H */
