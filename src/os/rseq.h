/* SPDX-License-Identifier: MIT */
/* Picks the restartable sequences of this CPU type, by file. */
#ifndef LAB_OS_RSEQ_H
#define LAB_OS_RSEQ_H

#if defined(__x86_64__) && !defined(LAB_NO_RSEQ)
#include "os/rseq_many_x86_64.h"
#else
#include "os/rseq_none.h"
#endif

#endif /* LAB_OS_RSEQ_H */
