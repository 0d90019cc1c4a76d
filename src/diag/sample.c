/* SPDX-License-Identifier: MIT */
#include "diag/sample.h"
#include "base/fail.h"
#include "diag/owner.h"
#include "gfp/warn_text.h"
#include "os/file.h"
#include "os/os.h"
#include "pcp/flow.h"
#include "slab/cache.h"
#include "slab/large.h"

static lab_word_t rate; /* bytes; 0: not started */
static lab_word_t seed;

void lab_sample_start(uint64_t bytes)
{
	if (lab_word_swap(&rate, 0, bytes))
		lab_word_set(&seed, lab_os_clock_ns() ^ (uint64_t)lab_getpid() << 32);
	/* by whoever comes before lab_watch_start() is done; twice does no harm */
	if (!lab_is_sampled())
		lab_hot_meter();
}

uint64_t lab_sample_rate(void)
{
	return lab_word_get(&rate);
}

/* ---- chance ---- */

static uint64_t random_word(void)
{
	/* splitmix64 */
	uint64_t x = lab_word_add(&seed, 0x9e3779b97f4a7c15ul);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ul;
	x = (x ^ x >> 27) * 0x94d049bb133111ebul;
	return x ^ x >> 31;
}

/* -ln of @x / 2^64, 1 <= @x, to six digits; libm is no library of ours */
static double minus_log(uint64_t x)
{
	unsigned int log = lab_log2(x);
	double m = (double)x / (double)(1ull << log), z = (m - 1) / (m + 1), zz = z * z;
	double ln = 2 * z * (1 + zz * (1. / 3 + zz * (1. / 5 + zz * (1. / 7 + zz / 9))));

	return (double)(64 - log) * 0.69314718055994531 - ln;
}

/* bytes up to the next sample */
static double draw(void)
{
	uint64_t mean = lab_word_get(&rate);

	return mean == 1 ? 0 : minus_log(random_word() | 1) * (double)mean;
}

double lab_sample_scale(uint64_t n, uint64_t bytes)
{
	double x, e;
	int i;

	if (!n || !bytes || lab_word_get(&rate) <= 1)
		return 1;
	x = (double)bytes / (double)n / (double)lab_word_get(&rate);
	if (x > 32)
		return 1;
	/* exp(-x), by squaring */
	x /= 1024;
	e = 1 - x * (1 - x / 2 * (1 - x / 3));
	for (i = 0; i < 10; i++)
		e *= e;
	return 1 / (1 - e);
}

/* ---- counting ---- */

/* @n units of @unit bytes pass a meter; return: is one of these due */
static bool pass(lab_word_t *meter, size_t n, size_t unit)
{
	uint64_t old, now;
	bool due;

	do {
		old = lab_word_get(meter);
		now = old ? old - 1 : (uint64_t)(draw() / (double)unit);
		due = now < n;
		now = due ? (uint64_t)(draw() / (double)unit) : now - n;
	} while (!lab_word_swap(meter, old, now + 1));
	return due;
}

/*
 * The meters of classes count objects, the one of no class counts bytes.  The process
 * has no memory, so that each of them may draw for itself.
 */
static bool class_due(unsigned int cls)
{
	return pass(lab_pcp_meter(cls), 1, lab_class_bytes(cls));
}

static bool bytes_due(size_t bytes)
{
	return pass(lab_pcp_meter(0), bytes, 1);
}

/* ---- recording ---- */

static LAB_NOINLINE lab_stack_t stack_here(void)
{
	const struct labyrinth_trace *trace = lab_warn_trace();
	uintptr_t ips[LAB_STACK_MAX];
	unsigned int n = trace ? trace->stack(ips, LAB_STACK_MAX) : 0;

	return lab_depot_save(ips, n);
}

static LAB_NOINLINE void record(void *ptr, const struct lab_request *request, size_t bytes,
				bool sampled, bool who)
{
	struct lab_owner owner = { .address = (uintptr_t)ptr,
				   .bytes = bytes,
				   .gfp = request->gfp,
				   .order = (int16_t)request->order,
				   .sampled = sampled };

	owner.stack = stack_here();
	/* four system calls that a profile can do without */
	if (who) {
		owner.ns = lab_os_clock_ns();
		owner.pid = (uint32_t)lab_os_gettid();
		owner.tgid = (uint32_t)lab_getpid();
		lab_os_task_name(owner.comm);
	}
	lab_owner_add(&owner);
}

static size_t bytes_of(const void *ptr, const struct lab_request *request)
{
	if (request->order != LAB_OBJECT)
		return LAB_PAGE_BYTES << request->order;
	return lab_object_bytes(ptr);
}

void lab_sample_alloc(void *ptr, const struct lab_request *request, bool owner)
{
	unsigned int kind = lab_mem_kind(ptr);
	bool is_class = kind <= LAB_PCP_PAGE && request->order == LAB_OBJECT;
	size_t bytes = bytes_of(ptr, request);
	bool due = is_class ? class_due(kind) : bytes_due(bytes);

	if (due && is_class)
		lab_byte_set(lab_live_byte(ptr, lab_live_shift(kind)), lab_live_marked(ptr));
	if (due || (owner && request->order != LAB_OBJECT))
		record(ptr, request, bytes, due, owner);
}
