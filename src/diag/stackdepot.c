/* SPDX-License-Identifier: MIT */
#include "diag/stackdepot.h"
#include "os/file.h"
#include "os/os.h"

struct lab_export_depot lab_depot = { .version = LAB_EXPORT_DEPOT_VERSION,
				      .bytes = sizeof(lab_depot) };

int lab_depot_init(void)
{
	uintptr_t at;
	int err;

	if (lab_word_get(lab_depot_word(&lab_depot.memory)))
		return 0;
	err = lab_os_reserve(LAB_DEPOT_BYTES, &at);
	if (err)
		return err;
	lab_os_name(at, LAB_DEPOT_BYTES, "labyrinth-depot");
	/* the heads come first: no handle is 0 */
	lab_word_set(lab_depot_word(&lab_depot.used), LAB_DEPOT_HEADS);
	if (!lab_word_swap(lab_depot_word(&lab_depot.memory), 0, at))
		(void)lab_os_unmap(at, LAB_DEPOT_BYTES);
	return 0;
}

static uintptr_t base(void)
{
	return lab_word_get(lab_depot_word(&lab_depot.memory));
}

struct lab_export_stack_sums *lab_depot_stack(lab_stack_t handle)
{
	return (struct lab_export_stack_sums *)(base() + (uintptr_t)handle * LAB_DEPOT_UNIT);
}

static uint32_t hash_of(const uintptr_t *ips, unsigned int n)
{
	uint64_t hash = n;
	unsigned int i;

	for (i = 0; i < n; i++)
		hash = (hash ^ ips[i]) * 0x9e3779b97f4a7c15ul, hash ^= hash >> 29;
	return (uint32_t)(hash >> 32);
}

static bool is_same(const struct lab_export_stack_sums *stack, uint32_t hash, const uintptr_t *ips,
		    unsigned int n)
{
	unsigned int i;

	if (stack->hash != hash || stack->n != n)
		return false;
	for (i = 0; i < n && stack->ips[i] == ips[i]; i++)
		;
	return i == n;
}

/* from @first on, up to @last, which is known already */
static lab_stack_t find(lab_stack_t first, lab_stack_t last, uint32_t hash, const uintptr_t *ips,
			unsigned int n)
{
	lab_stack_t at;

	for (at = first; at != last; at = lab_depot_stack(at)->next)
		if (is_same(lab_depot_stack(at), hash, ips, n))
			return at;
	return 0;
}

static bool step_take(uint64_t *raw, uint64_t units)
{
	if (*raw + units > LAB_DEPOT_BYTES / LAB_DEPOT_UNIT)
		return false;
	*raw += units;
	return true;
}

/* a new one, in no list yet */
static lab_stack_t make(uint32_t hash, const uintptr_t *ips, unsigned int n)
{
	struct lab_export_stack_sums *stack;
	uint64_t at;
	unsigned int i;

	if (!lab_word_step(lab_depot_word(&lab_depot.used), &at, step_take,
			   sizeof(*stack) / LAB_DEPOT_UNIT + n, memory_order_relaxed,
			   memory_order_relaxed)) {
		lab_word_add(lab_depot_word(&lab_depot.refused), 1);
		return 0;
	}
	stack = lab_depot_stack((lab_stack_t)at);
	stack->hash = hash;
	stack->n = n;
	for (i = 0; i < n; i++)
		stack->ips[i] = ips[i];
	return (lab_stack_t)at;
}

lab_stack_t lab_depot_save(const uintptr_t *ips, unsigned int n)
{
	lab_word_t *head;
	lab_stack_t ours = 0, other;
	uint64_t first, known = 0;
	uint32_t hash;

	if (!base())
		return 0;
	hash = hash_of(ips, n);
	head = (lab_word_t *)base() + hash % LAB_DEPOT_HEADS;
	/* acquire: pairs with the exchange below [depot.head] */
	first = atomic_load_explicit(head, memory_order_acquire);
	for (;;) {
		other = find((lab_stack_t)first, (lab_stack_t)known, hash, ips, n);
		if (other)
			return other;
		if (!ours) {
			ours = make(hash, ips, n);
			if (!ours)
				return 0;
		}
		known = first;
		lab_depot_stack(ours)->next = (uint32_t)first;
		/* release: pairs with the loads of [depot.head] */
		if (atomic_compare_exchange_strong_explicit(
			    head, &first, ours, memory_order_acq_rel, memory_order_acquire))
			break;
	}
	lab_word_add(lab_depot_word(&lab_depot.nstacks), 1);
	return ours;
}

void lab_depot_each(void (*see)(const struct lab_export_stack_sums *stack, void *arg), void *arg)
{
	const lab_word_t *heads = (const lab_word_t *)base();
	lab_stack_t at;
	unsigned int i;

	for (i = 0; heads && i < LAB_DEPOT_HEADS; i++) {
		/* acquire: pairs with lab_depot_save() [depot.head] */
		at = (lab_stack_t)atomic_load_explicit(&heads[i], memory_order_acquire);
		for (; at; at = lab_depot_stack(at)->next)
			see(lab_depot_stack(at), arg);
	}
}
