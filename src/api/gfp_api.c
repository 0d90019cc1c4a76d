/* SPDX-License-Identifier: MIT */
#include "gfp/flags.h"
#include "gfp/warn.h"

LAB_PUBLIC int labyrinth_gfp_print(char *buf, size_t size, labyrinth_gfp_t gfp)
{
	return lab_gfp_format(buf, size, gfp);
}

LAB_PUBLIC int labyrinth_flush_reports(void)
{
	return (int)lab_warn_flush();
}
