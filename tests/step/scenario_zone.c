/* SPDX-License-Identifier: MIT */
/* The reserve as it shrinks, and grows again from what it gave back. */
#include "page/reserve.h"
#include "step.h"

void set_up_reserve(const struct scenario *s)
{
	lab_reserve_fill(LAB_ZONE_RESERVE);
	while (s->arg && lab_reserve_shrink(100))
		;
}

void op_shrink_reserve(const struct scenario *s)
{
	(void)s;
	(void)lab_reserve_shrink(LAB_RESERVE_LEAST);
}

void op_grow_reserve(const struct scenario *s)
{
	(void)s;
	lab_reserve_refill(LAB_ZONE_RESERVE);
}
