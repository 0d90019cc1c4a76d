/* SPDX-License-Identifier: MIT */
#ifndef LAB_PCP_METER_H
#define LAB_PCP_METER_H

#include "pcp/flow.h"

/*
 * Stacks that malloc() pops from while somebody samples, diag/sample.c: of each size up
 * to 4096 bytes and of pages.  They hold what was counted when it was put there.
 */
#define LAB_PCP_METERED(cls) ((cls) <= 48u || (cls) == LAB_PCP_PAGE)
#define LAB_PCP_METER(cls)   ((cls) == LAB_PCP_PAGE ? LAB_PCP_NR + 48u : LAB_PCP_NR - 1u + (cls))
#define LAB_METER_CAP(cls)   ((cls) <= 8u ? 32u : (cls) <= 40u ? 16u : (cls) <= 48u ? 8u : 16u)
#define LAB_METER_GROUP(cls, first, start)                                                         \
	((start) + ((cls) - (first)) * 8u * (LAB_METER_CAP(first) + 1u))
#define LAB_METER_STACK(cls)                                                                       \
	((cls) <= 8u	? LAB_METER_GROUP(cls, 1u, 57216u)                                         \
	 : (cls) <= 24u ? LAB_METER_GROUP(cls, 9u, 59328u)                                         \
	 : (cls) <= 40u ? LAB_METER_GROUP(cls, 25u, 61504u)                                        \
	 : (cls) <= 48u ? LAB_METER_GROUP(cls, 41u, 63680u)                                        \
			: 64256u)
static_assert(LAB_FLOW_AT + LAB_NR_FLOWS * sizeof(struct lab_flow) <= LAB_METER_STACK(1u),
	      "behind the counters");
static_assert(LAB_PCP_METER(LAB_PCP_PAGE) + 1 == LAB_PCP_ALL, "each has its place in the table");

#endif /* LAB_PCP_METER_H */
