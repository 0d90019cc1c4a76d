/* SPDX-License-Identifier: MIT */
/*
 * Every distinct stack once, with figures of what was allocated there.  Mirrors
 * lib/stackdepot.c.  Stacks are never taken out, so a look-up needs no lock and
 * a handle stays good.  The memory is one mapping of a size that is known from
 * the start; what finds no room is counted.
 */
#ifndef LAB_DIAG_STACKDEPOT_H
#define LAB_DIAG_STACKDEPOT_H

#include "base/word.h"

/* 0: no stack is known.  Else the place of the stack, in units of 8 bytes. */
typedef uint32_t lab_stack_t;

enum { LAB_STACK_MAX = 32, LAB_DEPOT_HEADS = 1 << 14, LAB_DEPOT_VERSION = 1 };
#define LAB_DEPOT_BYTES (32ul << 20)
#define LAB_DEPOT_MAGIC 0x746f70656462616cull /* "labdepot" */

/* One stack.  Figures are sums over the objects that were sampled. */
struct lab_stack {
	uint32_t next; /* lab_stack_t of the next one of the same head */
	uint32_t hash;
	uint64_t n; /* of ips, LAB_STACK_MAX at most */
	lab_word_t live, live_bytes, total, total_bytes;
	uint64_t ips[];
};

/*
 * What labyrinth(1) reads from outside, under the name labyrinth_depot.  Only
 * what is read as a whole may follow a change of LAB_DEPOT_VERSION.
 */
struct labyrinth_depot {
	uint64_t magic;
	uint32_t version, nheads;
	lab_word_t heads; /* address of nheads words: a lab_stack_t each; 0: not started */
	lab_word_t used;  /* units of 8 bytes that are given out, at most units */
	uint64_t units;
	lab_word_t rate;    /* bytes between two samples, on average */
	lab_word_t refused; /* stacks that found no room */
	lab_word_t nstacks;
};
extern __attribute__((visibility("default"))) struct labyrinth_depot labyrinth_depot;

/**
 * lab_depot_init() - get the memory
 *
 * Context: MT-Safe, AS-Safe.  A system call; once is enough, twice does nothing.
 * Return:  0 or -ENOMEM.
 */
LAB_NODISCARD int lab_depot_init(void);

/**
 * lab_depot_save() - find a stack, or put it there
 * @ips: return addresses, the innermost first; @n of them, LAB_STACK_MAX at most
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call; page faults.
 * Order:   releases [depot.head].
 * Return:  its handle; 0: no room.
 */
lab_stack_t lab_depot_save(const uintptr_t *ips, unsigned int n);

/** lab_depot_stack() - the stack of a handle that is not 0 */
struct lab_stack *lab_depot_stack(lab_stack_t handle);

/**
 * lab_depot_each() - call @see for every stack
 *
 * Those that are put there meanwhile may be left out.
 * Context: MT-Safe, AS-Safe.  Wait-free but for @see.
 * Order:   acquires [depot.head].
 */
void lab_depot_each(void (*see)(const struct lab_stack *stack, void *arg), void *arg);

#endif /* LAB_DIAG_STACKDEPOT_H */
