/* SPDX-License-Identifier: MIT */
/* Where the stacks lie in their CPU's area. */
#include "pcp/flow.h"

#define ONE(cls)                                                                                   \
	{                                                                                          \
		LAB_PCP_STACK(cls##u), LAB_PCP_CAP(cls##u)                                         \
	}
#define AT(cls)                                                                                    \
	{                                                                                          \
		LAB_PCP_STACK((cls)), LAB_PCP_CAP((cls))                                           \
	}
#define FOUR(cls)   AT((cls)), AT((cls) + 1u), AT((cls) + 2u), AT((cls) + 3u)
#define TWELVE(cls) FOUR(cls), FOUR((cls) + 4u), FOUR((cls) + 8u)

const struct lab_pcp_class lab_pcp_class[LAB_PCP_NR] = {
	{ 0, 0 },    TWELVE(1u), TWELVE(13u), TWELVE(25u), TWELVE(37u), TWELVE(49u),
	TWELVE(61u), ONE(73),	 ONE(74),     ONE(75),	   ONE(76),	ONE(77),
	TWELVE(78u), AT(90u),	 AT(91u),     AT(92u),
};

/* no stack reaches into the next one */
#define END(cls) (LAB_PCP_STACK(cls) + 8u * (LAB_PCP_CAP(cls) + 1u))
static_assert(END(4u) <= LAB_PCP_STACK(5u) && END(8u) <= LAB_PCP_STACK(9u) &&
		      END(24u) <= LAB_PCP_STACK(25u) && END(32u) <= LAB_PCP_STACK(33u) &&
		      END(56u) <= LAB_PCP_STACK(57u) && END(72u) <= LAB_PCP_STACK(73u) &&
		      END(73u) <= LAB_PCP_STACK(74u) && END(74u) <= LAB_PCP_STACK(76u) &&
		      END(76u) <= LAB_PCP_STACK(77u) && END(77u) <= LAB_PCP_STACK(78u) &&
		      END(92u) <= LAB_FLOW_AT && LAB_PCP_WIPED <= LAB_PCP_STACK(75u),
	      "stacks overlap");
static_assert(LAB_PCP_STACK(74u) / 4096 == (END(76u) - 1) / 4096 &&
		      LAB_PCP_STACK(75u) / 4096 == (END(75u) - 1) / 4096,
	      "the stacks of atomic requests lie on one page, and on one that fork() wipes");
