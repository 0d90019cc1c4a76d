/* SPDX-License-Identifier: MIT */
/*
 * What gcc's -fsanitize=thread calls, and what --orders knows of the orders of the
 * accesses: after FastTrack (Flanagan, Freund, PLDI 2009), with the clocks kept in
 * logged memory, so that they go back with all else.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore.h"

enum { SHADOWS = 1 << 14 };

/* one word of 8 bytes */
static struct shadow {
	uintptr_t word;
	uint16_t released[EX_THREADS + 1]; /* what an acquire here makes known */
	uint16_t read[EX_THREADS + 1];	   /* clock of the last plain read of each */
	uint16_t write;			   /* clock of the last plain write, */
	uint16_t writer;		   /* and of whom: 1 + thread */
	uint32_t pad;
} shadows[SHADOWS];

static uint16_t clocks[EX_THREADS][EX_THREADS + 1];

static struct shadow *shadow_of(uintptr_t at)
{
	uintptr_t word = at & ~7ul;
	size_t i = (word >> 3) * 0x9e3779b97f4a7c15ull >> 50;

	while (shadows[i].word && shadows[i].word != word)
		i = (i + 1) % SHADOWS;
	if (!shadows[i].word) {
		ex_log(&shadows[i].word, 8);
		shadows[i].word = word;
	}
	return &shadows[i];
}

/* the linker's names for what is EX_BOOKS */
extern char __start_ex_books[], __stop_ex_books[];

static bool counts(const volatile void *at)
{
	return ex_orders && ex_running && !ex_is_stack((const void *)at) &&
	       !((const volatile char *)at >= __start_ex_books &&
		 (const volatile char *)at < __stop_ex_books);
}

static bool is_before(unsigned int clock, unsigned int thread)
{
	return thread == ex_self || clock <= clocks[ex_self][thread];
}

static void join(uint16_t *to, const uint16_t *from)
{
	unsigned int i;

	ex_log(to, 8);
	for (i = 0; i < EX_THREADS; i++)
		if (to[i] < from[i])
			to[i] = from[i];
}

static void plain(const void *at, size_t bytes, bool writes)
{
	uintptr_t word = (uintptr_t)at & ~7ul;

	if (!counts(at))
		return;
	for (; word < (uintptr_t)at + bytes; word += 8) {
		struct shadow *s = shadow_of(word);
		unsigned int t;

		if (s->writer && !is_before(s->write, s->writer - 1u))
			ex_fail("a plain access that is not ordered with a write of another",
				writes ? "write" : "read", 0);
		for (t = 0; writes && t < EX_THREADS; t++)
			if (s->read[t] && !is_before(s->read[t], t))
				ex_fail("a plain write that is not ordered with a read of another",
					"write", 0);
		ex_log(s, sizeof(*s));
		if (writes) {
			s->write = (uint16_t)(clocks[ex_self][ex_self] + 1);
			s->writer = (uint16_t)(ex_self + 1);
		} else {
			s->read[ex_self] = (uint16_t)(clocks[ex_self][ex_self] + 1);
		}
	}
}

static bool acquires(int order)
{
	return order == memory_order_acquire || order == memory_order_acq_rel ||
	       order == memory_order_seq_cst || order == memory_order_consume;
}

static bool releases(int order)
{
	return order == memory_order_release || order == memory_order_acq_rel ||
	       order == memory_order_seq_cst;
}

/* an atomic access has been made; @keeps: a read-modify-write, which goes on with a release */
static void ordered(const volatile void *at, int order, bool loads, bool stores)
{
	struct shadow *s;

	if (!counts(at))
		return;
	s = shadow_of((uintptr_t)at);
	if (loads && acquires(order))
		join(clocks[ex_self], s->released);
	if (!stores)
		return;
	if (!loads) {
		ex_log(s->released, 8);
		memset(s->released, 0, sizeof(s->released));
	}
	if (releases(order)) {
		/* an access has the clock of its thread plus one: ours so far are known */
		ex_log(clocks[ex_self], 8);
		clocks[ex_self][ex_self]++;
		join(s->released, clocks[ex_self]);
	}
}

/* before an atomic access */
static void stop(const volatile void *at, uintptr_t where)
{
	if (!ex_is_stack((const void *)at))
		ex_stop(where);
}

#define HERE ((uintptr_t)__builtin_return_address(0))

#define ATOMIC(bits, type)                                                                         \
	type __tsan_atomic##bits##_load(const volatile type *at, int order);                       \
	type __tsan_atomic##bits##_load(const volatile type *at, int order)                        \
	{                                                                                          \
		type value;                                                                        \
		stop(at, HERE);                                                                    \
		value = *at;                                                                       \
		ordered(at, order, true, false);                                                   \
		return value;                                                                      \
	}                                                                                          \
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order);                \
	void __tsan_atomic##bits##_store(volatile type *at, type value, int order)                 \
	{                                                                                          \
		stop(at, HERE);                                                                    \
		ex_log((const void *)at, sizeof(type));                                            \
		*at = value;                                                                       \
		ordered(at, order, false, true);                                                   \
	}                                                                                          \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *at, type *expect,         \
							  type value, int won, int lost);          \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *at, type *expect,         \
							  type value, int won, int lost)           \
	{                                                                                          \
		stop(at, HERE);                                                                    \
		if (*at != *expect) {                                                              \
			ex_log(expect, sizeof(type));                                              \
			*expect = *at;                                                             \
			ordered(at, lost, true, false);                                            \
			return 0;                                                                  \
		}                                                                                  \
		ex_log((const void *)at, sizeof(type));                                            \
		*at = value;                                                                       \
		ordered(at, won, true, true);                                                      \
		return 1;                                                                          \
	}                                                                                          \
	int __tsan_atomic##bits##_compare_exchange_weak(volatile type *at, type *expect,           \
							type value, int won, int lost);            \
	int __tsan_atomic##bits##_compare_exchange_weak(volatile type *at, type *expect,           \
							type value, int won, int lost)             \
	{                                                                                          \
		stop(at, HERE);                                                                    \
		if (*at != *expect) {                                                              \
			ex_log(expect, sizeof(type));                                              \
			*expect = *at;                                                             \
			ordered(at, lost, true, false);                                            \
			return 0;                                                                  \
		}                                                                                  \
		ex_log((const void *)at, sizeof(type));                                            \
		*at = value;                                                                       \
		ordered(at, won, true, true);                                                      \
		return 1;                                                                          \
	}                                                                                          \
	RMW(bits, type, exchange, value)                                                           \
	RMW(bits, type, fetch_add, (type)(old + value))                                            \
	RMW(bits, type, fetch_sub, (type)(old - value))                                            \
	RMW(bits, type, fetch_and, (type)(old & value))                                            \
	RMW(bits, type, fetch_or, (type)(old | value))

#define RMW(bits, type, name, result)                                                              \
	type __tsan_atomic##bits##_##name(volatile type *at, type value, int order);               \
	type __tsan_atomic##bits##_##name(volatile type *at, type value, int order)                \
	{                                                                                          \
		type old;                                                                          \
		stop(at, HERE);                                                                    \
		ex_log((const void *)at, sizeof(type));                                            \
		old = *at;                                                                         \
		*at = (result);                                                                    \
		ordered(at, order, true, true);                                                    \
		return old;                                                                        \
	}

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

#define PLAIN(name, bytes)                                                                         \
	void __tsan_read##name(void *at);                                                          \
	void __tsan_read##name(void *at)                                                           \
	{                                                                                          \
		ex_settle();                                                                       \
		plain(at, bytes, false);                                                           \
	}                                                                                          \
	void __tsan_write##name(void *at);                                                         \
	void __tsan_write##name(void *at)                                                          \
	{                                                                                          \
		plain(at, bytes, true);                                                            \
		ex_log(at, bytes);                                                                 \
	}                                                                                          \
	void __tsan_unaligned_read##name(void *at);                                                \
	void __tsan_unaligned_read##name(void *at)                                                 \
	{                                                                                          \
		__tsan_read##name(at);                                                             \
	}                                                                                          \
	void __tsan_unaligned_write##name(void *at);                                               \
	void __tsan_unaligned_write##name(void *at)                                                \
	{                                                                                          \
		__tsan_write##name(at);                                                            \
	}

PLAIN(1, 1)
PLAIN(2, 2)
PLAIN(4, 4)
PLAIN(8, 8)
PLAIN(16, 16)

void __tsan_read_range(void *at, size_t bytes);
void __tsan_read_range(void *at, size_t bytes)
{
	plain(at, bytes, false);
}

void __tsan_write_range(void *at, size_t bytes);
void __tsan_write_range(void *at, size_t bytes)
{
	plain(at, bytes, true);
	ex_log(at, bytes);
}

void __tsan_init(void);
void __tsan_init(void)
{
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}

/* nothing that is explored has fences: --orders does not know them */
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
	(void)order;
}

void __tsan_func_entry(void *where);
void __tsan_func_entry(void *where)
{
	(void)where;
}

void __tsan_func_exit(void);
void __tsan_func_exit(void)
{
}
