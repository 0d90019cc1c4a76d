/* SPDX-License-Identifier: MIT */
/* Where the stacks lie in their CPU's area. */
#include "pcp/meter.h"

#define ONE(cls)                                                                                   \
	{                                                                                          \
		LAB_PCP_STACK(cls##u), LAB_PCP_CAP(cls##u)                                         \
	}
#define AT(cls)                                                                                    \
	{                                                                                          \
		LAB_PCP_STACK((cls)), LAB_PCP_CAP((cls))                                           \
	}
#define METER(cls)                                                                                 \
	{                                                                                          \
		LAB_METER_STACK((cls)), LAB_METER_CAP((cls))                                       \
	}
#define METER4(cls)  METER(cls), METER((cls) + 1u), METER((cls) + 2u), METER((cls) + 3u)
#define METER12(cls) METER4(cls), METER4((cls) + 4u), METER4((cls) + 8u)
#define FOUR(cls)    AT((cls)), AT((cls) + 1u), AT((cls) + 2u), AT((cls) + 3u)
#define TWELVE(cls)  FOUR(cls), FOUR((cls) + 4u), FOUR((cls) + 8u)

const struct lab_pcp_class lab_pcp_class[LAB_PCP_ALL] = {
	{ 0, 0 },     TWELVE(1u),   TWELVE(13u),
	TWELVE(25u),  TWELVE(37u),  TWELVE(49u),
	TWELVE(61u),  ONE(73),	    ONE(74),
	ONE(75),      ONE(76),	    ONE(77),
	TWELVE(78u),  AT(90u),	    AT(91u),
	AT(92u),      METER12(1u),  METER12(13u),
	METER12(25u), METER12(37u), METER(LAB_PCP_PAGE),
};

/* no stack reaches into the next one */
#define END(cls)       (LAB_PCP_STACK(cls) + 8u * (LAB_PCP_CAP(cls) + 1u))
#define METER_END(cls) (LAB_METER_STACK(cls) + 8u * (LAB_METER_CAP(cls) + 1u))
static_assert(END(4u) <= LAB_PCP_STACK(5u) && END(8u) <= LAB_PCP_STACK(9u) &&
		      END(24u) <= LAB_PCP_STACK(25u) && END(40u) <= LAB_PCP_STACK(41u) &&
		      END(56u) <= LAB_PCP_STACK(57u) && END(72u) <= LAB_PCP_STACK(73u) &&
		      END(73u) <= LAB_PCP_STACK(74u) && END(74u) <= LAB_PCP_STACK(76u) &&
		      END(76u) <= LAB_PCP_STACK(77u) && END(77u) <= LAB_PCP_STACK(78u) &&
		      END(92u) <= 1u << LAB_CPU_SHIFT && LAB_PCP_WIPED <= LAB_PCP_STACK(75u) &&
		      END(92u) <= LAB_METER_STACK(1u) && METER_END(8u) <= LAB_METER_STACK(9u) &&
		      METER_END(24u) <= LAB_METER_STACK(25u) &&
		      METER_END(40u) <= LAB_METER_STACK(41u) &&
		      METER_END(48u) <= LAB_METER_STACK(LAB_PCP_PAGE) &&
		      METER_END(LAB_PCP_PAGE) <= 1u << LAB_CPU_SHIFT,
	      "stacks overlap");
static_assert(LAB_PCP_STACK(74u) / 4096 == (END(76u) - 1) / 4096 &&
		      LAB_PCP_STACK(75u) / 4096 == (END(75u) - 1) / 4096,
	      "the stacks of atomic requests lie on one page, and on one that fork() wipes");
