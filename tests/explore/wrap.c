/* SPDX-License-Identifier: MIT */
/*
 * What the library may not do while it is explored, because the engine could not
 * take it back: system calls, and asking for the CPU or the time.  Memory that is
 * asked for is mapped once and for all, and what is given back is only cleared.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "explore.h"

int __real_lab_os_map(uintptr_t addr, size_t bytes);
int __wrap_lab_os_map(uintptr_t addr, size_t bytes);
int __wrap_lab_os_map(uintptr_t addr, size_t bytes)
{
	const size_t piece = 1ul << 16;
	size_t done;

	if (!ex_logging)
		return __real_lab_os_map(addr, bytes);
	if (ex_no_memory)
		return -12;
	/* in pieces: some may be there from another execution */
	for (done = 0; done < bytes; done += piece)
		(void)mmap((void *)(addr + done), bytes - done < piece ? bytes - done : piece,
			   PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	return 0;
}

#define NOTHING(name, ...)                                                                         \
	int __real_##name(__VA_ARGS__);                                                            \
	int __wrap_##name(__VA_ARGS__);                                                            \
	int __wrap_##name(__VA_ARGS__)

/* only what is not zero is written, and so logged */
static void zero(uintptr_t addr, size_t bytes)
{
	uint64_t *at = (uint64_t *)addr, *end = at + bytes / 8;

	for (; at < end; at++)
		if (*at) {
			ex_log(at, 8);
			*at = 0;
		}
}

NOTHING(lab_os_unmap, uintptr_t addr, size_t bytes)
{
	if (!ex_logging)
		return __real_lab_os_unmap(addr, bytes);
	zero(addr, bytes);
	return 0;
}

NOTHING(lab_os_discard, uintptr_t addr, size_t bytes)
{
	if (!ex_logging)
		return __real_lab_os_discard(addr, bytes);
	zero(addr, bytes);
	return 0;
}

NOTHING(lab_os_populate, uintptr_t addr, size_t bytes)
{
	return ex_logging ? 0 : __real_lab_os_populate(addr, bytes);
}

NOTHING(lab_os_probe, size_t bytes)
{
	return ex_logging ? (ex_no_memory ? -12 : 0) : __real_lab_os_probe(bytes);
}

/* guards would be in the way when blocks serve another purpose, one state further back */
NOTHING(lab_os_no_access, uintptr_t addr, size_t bytes)
{
	(void)addr;
	(void)bytes;
	return 0;
}

NOTHING(lab_os_lock_on_fault, uintptr_t addr, size_t bytes)
{
	(void)addr;
	(void)bytes;
	return 0;
}

enum { WIPED = 64 };

static struct {
	uintptr_t addr;
	size_t bytes;
} wiped[WIPED];

NOTHING(lab_os_wipe_on_fork, uintptr_t addr, size_t bytes)
{
	size_t i;

	for (i = 0; i < WIPED; i++)
		if (!wiped[i].bytes) {
			ex_log(&wiped[i], sizeof(wiped[i]));
			wiped[i].addr = addr;
			wiped[i].bytes = bytes;
			return 0;
		}
	ex_fail("too many ranges that fork() wipes", "wrap.c", 0);
}

NOTHING(lab_os_keep_on_fork, uintptr_t addr, size_t bytes)
{
	size_t i;

	(void)bytes;
	for (i = 0; i < WIPED; i++)
		if (wiped[i].addr == addr) {
			ex_log(&wiped[i], sizeof(wiped[i]));
			wiped[i].bytes = 0;
		}
	return 0;
}

void ex_wipe(void)
{
	size_t i;

	for (i = 0; i < WIPED; i++)
		zero(wiped[i].addr, wiped[i].bytes);
}

bool __wrap_lab_cpu_init(void);
bool __wrap_lab_cpu_init(void)
{
	/* the try-lock back end: sequences are the kernel's business */
	return false;
}

unsigned int __wrap_lab_cpu_now(void);
unsigned int __wrap_lab_cpu_now(void)
{
	return ex_cpu[ex_self];
}

unsigned int __wrap_lab_cpus_nr(void);
unsigned int __wrap_lab_cpus_nr(void)
{
	return 2;
}

uint64_t __wrap_lab_os_clock_ms(void);
uint64_t __wrap_lab_os_clock_ms(void)
{
	return 1000;
}

void __real_lab_os_clear(void *to, size_t bytes);
void __wrap_lab_os_clear(void *to, size_t bytes);
void __wrap_lab_os_clear(void *to, size_t bytes)
{
	size_t now;

	for (; bytes > 0; bytes -= now, to = (char *)to + now) {
		now = bytes < 256 ? bytes : 256;
		ex_log(to, now);
		memset(to, 0, now);
	}
}

_Noreturn void __wrap_lab_bug(const char *what);
_Noreturn void __wrap_lab_bug(const char *what)
{
	static char text[200];

	snprintf(text, sizeof(text), "the library reports: %s", what);
	ex_fail(text, "lab_bug", 0);
}
