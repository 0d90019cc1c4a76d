/* SPDX-License-Identifier: MIT */
/* Start-up.  There is none to wait for: zeroed memory is a valid allocator. */
#ifndef LAB_API_INIT_H
#define LAB_API_INIT_H

#include "base/compiler.h"
#include "labyrinth.h"

/**
 * lab_init() - options, per-CPU stacks, resident zones; the constructor
 *
 * Before it runs, requests are served by the bitmaps.  Idempotent.
 */
void lab_init(void);

/*
 * Where every request goes once Labyrinth has stepped aside for a program that
 * brings its own malloc: libc's allocator, which our symbols hide.  All NULL
 * otherwise.
 */
extern LAB_HIDDEN struct labyrinth_libc lab_libc;

static LAB_ALWAYS_INLINE bool lab_is_aside(void)
{
	return LAB_UNLIKELY(lab_libc.realloc != NULL);
}

#endif /* LAB_API_INIT_H */
