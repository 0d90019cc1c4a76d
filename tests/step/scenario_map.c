/* SPDX-License-Identifier: MIT */
/* The operations of scenario.c that map and unmap. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "labyrinth.h"
#include "pcp/pcp.h"
#include "step.h"

enum { RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };

/* a mapping that the operation works on and returns, or another with its bytes */
static void set_up_kept(const struct scenario *s, bool changed)
{
	int id = take_map(s->size, changed);

	outcome = (struct outcome){ .seed = block_seed(id) };
	outcome.target = disown(id);
	outcome.size = s->size2 ? s->size2 : s->size;
	outcome.how = BY_UNMAP;
	outcome.allocates = true;
	/* of a mapping the first bytes are written */
	outcome.kept = 16;
}

void set_up_map(const struct scenario *s)
{
	/* what a stack holds would be taken first */
	if (s->arg)
		drop(take_map(s->size, false));
	outcome = (struct outcome){
		.size = s->size, .how = BY_UNMAP, .allocates = true, .zero = true
	};
}

void set_up_remap(const struct scenario *s)
{
	set_up_kept(s, s->arg);
}

void set_up_unmap(const struct scenario *s)
{
	unsigned int i, n = stack_cap(LAB_PCP_MAP + (unsigned int)(s->size / 4096) - 1);
	int ids[128], id = take_map(s->size, s->arg == 1);

	if (s->arg == 2) {
		/* it meets a full stack */
		for (i = 0; i < n; i++)
			ids[i] = take_map(s->size, false);
		for (i = 0; i < n; i++)
			drop(ids[i]);
	}
	if (s->arg == 3) {
		/* a part of it is changed */
		if (labyrinth_mprotect((char *)block_at(id) + 4096, 4096, PROT_READ))
			fail("setup: mprotect");
	}
	outcome = (struct outcome){ .seed = block_seed(id) };
	outcome.target = disown(id);
}

static void returned(void *result)
{
	outcome.result = result == MAP_FAILED ? NULL : result;
}

void op_map(const struct scenario *s)
{
	returned(labyrinth_mmap(NULL, s->size, RW, ANON, -1, 0));
}

void op_unmap(const struct scenario *s)
{
	if (labyrinth_munmap(outcome.target, s->size))
		fail("munmap was refused");
}

/* not to be written, and again */
void op_protect(const struct scenario *s)
{
	if (labyrinth_mprotect(outcome.target, s->size, PROT_READ) ||
	    labyrinth_mprotect(outcome.target, s->size, RW))
		fail("mprotect was refused");
	outcome.result = outcome.target;
}

void op_advise(const struct scenario *s)
{
	if (labyrinth_madvise(outcome.target, s->size, MADV_DONTFORK))
		fail("madvise was refused");
	outcome.result = outcome.target;
}

void op_remap(const struct scenario *s)
{
	returned(labyrinth_mremap(outcome.target, s->size, s->size2, MREMAP_MAYMOVE, NULL));
}

/* mapped over: what it held is gone */
void op_map_over(const struct scenario *s)
{
	outcome.kept = 0;
	outcome.zero = true;
	returned(labyrinth_mmap(outcome.target, s->size, RW, ANON | MAP_FIXED, -1, 0));
}

/* at the address of one that was just unmapped */
void op_map_again(const struct scenario *s)
{
	outcome.kept = 0;
	outcome.zero = true;
	if (labyrinth_munmap(outcome.target, s->size))
		fail("munmap was refused");
	returned(labyrinth_mmap(outcome.target, s->size, RW, ANON, -1, 0));
}
