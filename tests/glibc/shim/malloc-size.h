/* SPDX-License-Identifier: MIT */
/* What malloc() promises on every 64-bit ABI: the alignment of long double. */
#ifndef SHIM_MALLOC_SIZE_H
#define SHIM_MALLOC_SIZE_H

#include <stddef.h>

#define MALLOC_ALIGNMENT  _Alignof(max_align_t)
#define MALLOC_ALIGN_MASK (MALLOC_ALIGNMENT - 1)

#endif
