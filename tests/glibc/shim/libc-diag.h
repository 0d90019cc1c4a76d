/* SPDX-License-Identifier: MIT */
/* The tests are compiled without warnings, so there is nothing to silence. */
#ifndef SHIM_LIBC_DIAG_H
#define SHIM_LIBC_DIAG_H

#define DIAG_PUSH_NEEDS_COMMENT
#define DIAG_POP_NEEDS_COMMENT
#define DIAG_IGNORE_NEEDS_COMMENT(version, option)
#define DIAG_IGNORE_Os_NEEDS_COMMENT(version, option)

#endif
