/* SPDX-License-Identifier: MIT */
/* The figures in their forms: by write(2) from a bounded buffer, in any context. */
#ifndef LAB_API_STATS_H
#define LAB_API_STATS_H

#include "base/compiler.h"
#include "labyrinth.h"

/* A CPU and all classes: objects, and the bytes of those that wait on its stacks. */
struct lab_stats_cpu {
	uint64_t stacked, bytes, taken, given;
};
struct lab_stats_cpu lab_stats_cpu(unsigned int cpu);

/**
 * lab_stats_text(), lab_stats_json(), lab_stats_prom() - all figures, on a descriptor
 *
 * Context: MT-Safe, AS-Safe.  Wait-free but for write(2).
 * Return:  0, or a negative error of write(2).
 */
int lab_stats_text(int fd);
int lab_stats_json(int fd);
int lab_stats_prom(int fd);

/** lab_stats_init() - obey the option stats_signal; from the constructor */
void lab_stats_init(void);

/** lab_stats_exit() - obey the option stats */
void lab_stats_exit(void);

#endif /* LAB_API_STATS_H */
