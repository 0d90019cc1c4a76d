/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <sched.h>
#include <stddef.h>

#include "base/sys.h"
#include "os/cpu.h"
#include "os/os.h"
#include "os/rseq.h"

/* glibc >= 2.35 exports where it registered the area; weak for the others */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

lab_word_t lab_rseq_gate = 1;

static uint64_t registered = 1; /* the gate when it is open, or 1 */

bool lab_cpu_init(void)
{
	if (!LAB_RSEQ_USABLE || !&__rseq_offset || !&__rseq_size || !__rseq_size)
		return false;
	registered = (uint64_t)__rseq_offset;
	(void)lab_word_swap(&lab_rseq_gate, 1, registered);
	return true;
}

static bool step_enter(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	*raw = *raw & 1 ? *raw + 2 : 3;
	return true;
}

static bool step_leave(uint64_t *raw, uint64_t open)
{
	*raw = *raw == 3 ? open : *raw - 2;
	return true;
}

void lab_cpu_fini(void)
{
	(void)lab_word_swap(&lab_rseq_gate, registered, 1);
	registered = 1;
}

void lab_vfork_enter(void)
{
	uint64_t old;

	(void)lab_word_step(&lab_rseq_gate, &old, step_enter, 0, memory_order_relaxed,
			    memory_order_relaxed);
}

void lab_vfork_leave(void)
{
	uint64_t old;

	(void)lab_word_step(&lab_rseq_gate, &old, step_leave, registered, memory_order_relaxed,
			    memory_order_relaxed);
}

void lab_cpus_ours(lab_byte_t ours[LAB_NR_CPUS])
{
	uint8_t mask[256] = { 0 };
	unsigned int cpu;

	(void)lab_sys6(SYS_sched_getaffinity, 0, sizeof(mask), (long)mask, 0, 0, 0);
	for (cpu = 0; cpu < LAB_NR_CPUS; cpu++)
		lab_byte_set(&ours[cpu], mask[cpu / 8] >> cpu % 8 & 1);
}

unsigned int lab_cpu_now(void)
{
	int cpu;

	/* before the constructor there is one thread, and the PLT may be unbound */
	if (!lab_os_is_ready())
		return 0;
	cpu = sched_getcpu();
	return cpu < 0 ? 0 : (unsigned int)cpu % LAB_NR_CPUS;
}
