/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stddef.h>

#include "base/sys.h"
#include "os/cpu.h"
#include "os/os.h"
#include "os/rseq.h"
#include "os/wiped.h"

/* glibc >= 2.35 exports where it registered the area; weak for the others */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

lab_word_t lab_rseq_gate = 1;
lab_word_t lab_page_gate = 1;
struct lab_hot_gates lab_hot_gates = { LAB_BOUND_CLOSED, LAB_BOUND_CLOSED, 0 };

static lab_word_t *const gates[] = { &lab_rseq_gate, &lab_page_gate };
static lab_word_t *const bounds[] = { &lab_hot_gates.sizes, &lab_hot_gates.frames };
enum { NR_GATES = sizeof(gates) / sizeof(*gates) };
static_assert(sizeof(bounds) == sizeof(gates), "as many of each");

static uint64_t registered = 1; /* the gate when it is open, or 1 */

static int membarrier(int command)
{
	return (int)lab_sys6(SYS_membarrier, command, 0, 0, 0, 0, 0);
}

static void step(lab_word_t *gate, lab_step_fn *how, uint64_t arg)
{
	uint64_t old;

	/* release: pairs with lab_bound_is_above() [gate.bound] */
	(void)lab_word_step(gate, &old, how, arg, memory_order_release, memory_order_relaxed);
}

static void step_all(lab_step_fn *gate, lab_step_fn *bound, uint64_t arg)
{
	unsigned int i;

	for (i = 0; i < NR_GATES; i++) {
		step(gates[i], gate, arg);
		step(bounds[i], bound, arg);
	}
}

/* nobody keeps it closed: it opens, if there are sequences to use */
static uint64_t settled(uint64_t bound, uint64_t open)
{
	return !(open & 1) && (bound & ~LAB_BOUND_CLOSED) < LAB_BOUND_ONE
		       ? bound & ~LAB_BOUND_CLOSED
		       : bound;
}

static bool step_open(uint64_t *raw, uint64_t open)
{
	if (*raw != 1)
		return false;
	*raw = open;
	return true;
}

static bool bound_open(uint64_t *raw, uint64_t open)
{
	*raw = settled(*raw, open);
	return true;
}

bool lab_cpu_init(void)
{
	if (!LAB_RSEQ_USABLE || !&__rseq_offset || !&__rseq_size || !__rseq_size)
		return false;
	registered = (uint64_t)__rseq_offset;
	lab_hot_gates.rseq = registered;
	/* 0.5 us now; 13 ms, if the process had several threads (measured) */
	(void)membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ);
	step_all(step_open, bound_open, registered);
	return true;
}

static bool step_enter(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	*raw = *raw & 1 ? *raw + 2 : 3;
	return true;
}

static bool bound_enter(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	*raw = (*raw | LAB_BOUND_CLOSED) + LAB_BOUND_ONE;
	return true;
}

static bool step_leave(uint64_t *raw, uint64_t open)
{
	*raw = *raw == 3 ? open : *raw - 2;
	return true;
}

static bool bound_leave(uint64_t *raw, uint64_t open)
{
	*raw = settled(*raw - LAB_BOUND_ONE, open);
	return true;
}

static bool step_shut(uint64_t *raw, uint64_t open)
{
	if (*raw != open)
		return false;
	*raw = 1;
	return true;
}

static bool bound_shut(uint64_t *raw, uint64_t unused)
{
	(void)unused;
	*raw |= LAB_BOUND_CLOSED;
	return true;
}

void lab_cpu_fini(void)
{
	step_all(step_shut, bound_shut, registered);
	/* lab_hot_gates.rseq stays: who has passed a gate is about to read it */
	registered = 1;
}

void lab_vfork_enter(void)
{
	step_all(step_enter, bound_enter, 0);
}

void lab_vfork_leave(void)
{
	step_all(step_leave, bound_leave, registered);
}

/* as if for a child that never ends */
void lab_hot_close(void)
{
	step(&lab_hot_gates.sizes, bound_enter, 0);
	step(&lab_hot_gates.frames, bound_enter, 0);
}

void lab_hot_meter(void)
{
	step(&lab_hot_gates.sizes, bound_enter, 0);
}

void lab_page_close(void)
{
	step(&lab_page_gate, step_enter, 0);
}

static bool step_raise(uint64_t *raw, uint64_t n)
{
	if ((uint32_t)*raw >= n)
		return false;
	*raw += n - (uint32_t)*raw;
	return true;
}

void lab_bound_raise(lab_word_t *gate, uint32_t n)
{
	step(gate, step_raise, n);
}

/* ---- all CPUs at once ---- */

bool lab_rseq_claim(void)
{
	uint64_t idle = 0;

	if (!lab_wiped_init())
		return false;
	/* acquire: pairs with lab_rseq_unclaim() [drain.claim] */
	return atomic_compare_exchange_strong_explicit(&lab_wiped.drain, &idle, 1,
						       memory_order_acquire, memory_order_relaxed);
}

void lab_rseq_unclaim(void)
{
	/* release: pairs with lab_rseq_claim() [drain.claim] */
	atomic_store_explicit(&lab_wiped.drain, 0, memory_order_release);
}

bool lab_rseq_is_claimed(void)
{
	return lab_word_get(&lab_wiped.drain);
}

bool lab_rseq_barrier(void)
{
	uint64_t gate;

	return lab_rseq_open(&gate) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) == 0;
}

unsigned int lab_cpus_nr(void)
{
	uint8_t mask[256];
	/* the bytes that the kernel's own sets have */
	long got = lab_sys6(SYS_sched_getaffinity, 0, sizeof(mask), (long)mask, 0, 0, 0);

	return got > 0 && (unsigned long)got * 8 < LAB_NR_CPUS ? (unsigned int)got * 8
							       : LAB_NR_CPUS;
}

static lab_word_t possible = LAB_NR_CPUS;

/* the highest number of a list like "0-3,8-11", and one */
static unsigned int list_end(const char *text, long len)
{
	unsigned int n = 0;
	long i;

	for (i = 0; i < len && text[i] != '\n'; i++) {
		if (text[i] < '0' || text[i] > '9')
			n = 0;
		else if (n <= LAB_NR_CPUS)
			n = n * 10 + (unsigned int)(text[i] - '0');
	}
	return n + 1;
}

void lab_cpus_learn(void)
{
	static const char file[] = "/sys/devices/system/cpu/possible";
	unsigned int n = lab_cpus_nr();
	char text[64] = "";
	long fd = lab_sys6(SYS_openat, AT_FDCWD, (long)file, O_RDONLY | O_CLOEXEC, 0, 0, 0), len;

	if (fd >= 0) {
		len = lab_sys6(SYS_read, fd, (long)text, sizeof(text), 0, 0, 0);
		/* cut short, it does not tell the end */
		if (len > 0 && text[len - 1] == '\n')
			n = list_end(text, len);
		(void)lab_sys6(SYS_close, fd, 0, 0, 0, 0, 0);
	}
	lab_word_set(&possible, n < LAB_NR_CPUS ? n : LAB_NR_CPUS);
}

const char *lab_cpus_export(void)
{
	return (const char *)&possible;
}

unsigned int lab_cpus_possible(void)
{
	return (unsigned int)lab_word_get(&possible);
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
