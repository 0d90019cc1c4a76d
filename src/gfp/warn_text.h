/* SPDX-License-Identifier: MIT */
/* A record of the ring of gfp/warn.c, and its text. */
#ifndef LAB_GFP_WARN_TEXT_H
#define LAB_GFP_WARN_TEXT_H

#include "gfp/trace.h"
#include "gfp/warn.h"
#include "page/zone.h"

enum lab_warn_kind { LAB_WARN_FAILURE, LAB_WARN_STALL, LAB_WARN_RULE, LAB_WARN_FAULT };

/* Where the stack of a report comes from. */
enum lab_warn_stack {
	LAB_WARN_NO_STACK = -2,
	LAB_WARN_STACK_HERE = -1, /* others: the slot that it was kept in */
};

/* pages */
struct lab_warn_zone {
	uint32_t free, min, low, high, managed, locked, highatomic;
};

struct lab_warn_record {
	uint32_t gfp;
	uint8_t order;	  /* 255: that or more */
	uint8_t kind;	  /* enum lab_warn_kind */
	uint8_t traced;	  /* a stack is wanted, or was kept */
	uint8_t rated;	  /* the rate limit has let it through */
	uint64_t ms;	  /* clock at the failure; 0: not known */
	uint64_t seconds; /* of a stall */
	uintptr_t thread; /* pthread_self() */
	const char *text; /* of a rule */
	union {
		struct lab_warn_zone zone[LAB_NR_ZONES];
		struct lab_warn_fault fault;
	};
};

/** lab_warn_trace() - the trace object's table; NULL: not loaded */
const struct labyrinth_trace *lab_warn_trace(void);

/** lab_warn_say() - write a record on descriptor 2
 * @stack:    enum lab_warn_stack, or a slot
 * @deferred: written later than it happened
 */
void lab_warn_say(const struct lab_warn_record *record, int stack, bool deferred);

/** lab_warn_say_missed() - "N callbacks suppressed" */
void lab_warn_say_missed(uint64_t n);

#endif /* LAB_GFP_WARN_TEXT_H */
