/* SPDX-License-Identifier: MIT */
#ifndef SHIM_SUPPORT_TEST_DRIVER_H
#define SHIM_SUPPORT_TEST_DRIVER_H

enum { DEFAULT_TIMEOUT = 20, EXIT_UNSUPPORTED = 77 };

static const unsigned int test_verbose __attribute__((unused));

#endif
