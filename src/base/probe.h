/* SPDX-License-Identifier: MIT */
/*
 * USDT probes, for gdb, perf, bpftrace and systemtap: a nop, and a note that says
 * where it is and where the arguments are.  On slow paths alone.  The list with the
 * arguments' meanings is in labyrinth(7); tests/check_probes.sh holds us to it.
 *
 * Without <sys/sdt.h> (systemtap-sdt-dev) there are none.
 */
#ifndef LAB_BASE_PROBE_H
#define LAB_BASE_PROBE_H

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define LAB_PROBE0(name)       DTRACE_PROBE(labyrinth, name)
#define LAB_PROBE1(name, a)    DTRACE_PROBE1(labyrinth, name, a)
#define LAB_PROBE2(name, a, b) DTRACE_PROBE2(labyrinth, name, a, b)
#else
#define LAB_PROBE0(name)       ((void)0)
#define LAB_PROBE1(name, a)    ((void)(a))
#define LAB_PROBE2(name, a, b) ((void)(a), (void)(b))
#endif

#endif /* LAB_BASE_PROBE_H */
