/* SPDX-License-Identifier: MIT */
#include "diag/sample.h"
#include "base/fail.h"
#include "diag/owner.h"
#include "gfp/warn_text.h"
#include "os/file.h"
#include "os/os.h"
#include "pcp/meter.h"
#include "slab/cache.h"
#include "slab/large.h"

static lab_word_t rate; /* bytes; 0: not started */
static lab_word_t seed;

/*
 * 1 + what may pass before the next sample, 0: not drawn yet; [0] in bytes, others
 * in objects of their class.  The process has no memory, so each of these may draw
 * for itself.
 */
static lab_word_t until[LAB_NR_CPUS][LAB_PCP_PAGE + 1];

void lab_sample_start(uint64_t bytes)
{
	if (!lab_word_swap(&rate, 0, bytes))
		return;
	lab_word_set(&seed, lab_os_clock_ns() ^ (uint64_t)lab_getpid() << 32);
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

/*
 * @n units of @unit bytes pass, and up to @room more that are counted in advance:
 * *ahead receives how many.  Return: is one of these due.
 */
static bool pass(lab_word_t *left, size_t n, size_t unit, unsigned int room, unsigned int *ahead)
{
	uint64_t old, now;
	bool due;

	do {
		old = lab_word_get(left);
		now = old ? old - 1 : (uint64_t)(draw() / (double)unit);
		due = now < n;
		now = due ? (uint64_t)(draw() / (double)unit) : now - n;
		*ahead = now < room ? (unsigned int)now : room;
	} while (!lab_word_swap(left, old, now - *ahead + 1));
	return due;
}

static void give_back(unsigned int cls, void *ptr)
{
	if (lab_pcp_push(cls, ptr))
		return;
	if (cls == LAB_PCP_PAGE)
		lab_page_give(ptr);
	else
		lab_cache_give(cls, ptr);
}

/* @n objects for malloc(), which are counted already; return: how many there are none of */
static unsigned int refill(unsigned int cls, unsigned int n)
{
	void *chunk[LAB_PCP_CHUNK];
	unsigned int got, put;

	while (n) {
		got = lab_pcp_pop_many(cls, chunk, n < LAB_PCP_CHUNK ? n : LAB_PCP_CHUNK);
		if (!got)
			break;
		put = lab_pcp_push_many(LAB_PCP_METER(cls), chunk, got);
		n -= put;
		if (put == got)
			continue;
		for (; put < got; put++)
			give_back(cls, chunk[put]);
		break;
	}
	return n;
}

/* objects that lab_sample_pop() moves at once */
enum { FILL = 56 };

static bool step_less(uint64_t *raw, uint64_t n)
{
	*raw = *raw > n ? *raw - n : 1;
	return true;
}

/* else malloc() does not look at those stacks, and each object comes here by itself */
static bool is_metered(unsigned int cls)
{
	uint64_t gate;

	return LAB_PCP_METERED(cls) && lab_gate_open(&lab_hot_gate, &gate);
}

void *lab_sample_pop(unsigned int cls)
{
	lab_word_t *left = &until[lab_pcp_cpu()][cls];
	uint64_t now = lab_word_get(left);
	void *chunk[FILL], *ptr;
	unsigned int want, got, put;

	/* 1: the next one is due */
	if (now <= 1 || !is_metered(cls))
		return NULL;
	want = 1 + lab_pcp_class[LAB_PCP_METER(cls)].cap;
	want = want < FILL ? want : FILL;
	got = lab_pcp_pop_many(cls, chunk, now - 1 < want ? (unsigned int)now - 1 : want);
	if (!got)
		return NULL;
	ptr = chunk[--got];
	put = got ? lab_pcp_push_many(LAB_PCP_METER(cls), chunk, got) : 0;
	for (; put < got; got--)
		give_back(cls, chunk[got - 1]);
	/* others may have counted meanwhile: never below what is due next */
	if (!lab_word_swap(left, now, now - put - 1))
		(void)lab_word_step(left, &now, step_less, put + 1, memory_order_relaxed,
				    memory_order_relaxed);
	lab_byte_set(lab_live_byte(ptr, lab_hot_kind[cls].shift), lab_live_value(ptr));
	return ptr;
}

static bool class_due(unsigned int cls)
{
	lab_word_t *left = &until[lab_pcp_cpu()][cls];
	unsigned int room = 0, ahead, none;
	bool due;

	if (is_metered(cls))
		room = lab_pcp_class[LAB_PCP_METER(cls)].cap;
	due = pass(left, 1, lab_class_bytes(cls), room, &ahead);
	none = refill(cls, ahead);
	if (none)
		lab_word_add(left, none);
	return due;
}

static bool bytes_due(size_t bytes)
{
	unsigned int ahead;

	return pass(&until[lab_pcp_cpu()][0], bytes, 1, 0, &ahead);
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
		lab_byte_set(lab_live_byte(ptr, lab_hot_kind[kind].shift), lab_live_marked(ptr));
	if (due || (owner && request->order != LAB_OBJECT))
		record(ptr, request, bytes, due, owner);
}
