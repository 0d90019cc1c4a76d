/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/bits.h"
#include "diag/owner.h"
#include "os/file.h"
#include "os/os.h"

enum { WAYS = 8 };

/*
 * The key of a slot: an address; with BUSY, its writer is at work.  An address
 * has one owner at a time, so of one key there is one writer at a time.
 */
enum { BUSY = 1 };

struct bucket {
	lab_word_t key[WAYS];
} LAB_LINE_ALIGNED;

/* The words of struct lab_owner, but the address. */
struct slot {
	lab_word_t seq; /* odd while it is written */
	lab_word_t bytes, ns;
	lab_word_t stack_gfp, pid_tgid, order_sampled;
	lab_word_t comm[2];
} LAB_LINE_ALIGNED;

static struct bucket *buckets;
static struct slot *slots;
static lab_word_t nr_buckets; /* a power of two; 0: not started */
static lab_word_t lost;

int lab_owner_init(size_t records)
{
	size_t n = 1;
	uintptr_t keys, at;
	int err;

	if (lab_word_get(&nr_buckets))
		return 0;
	while (n * WAYS < records)
		n *= 2;
	err = lab_os_reserve(n * sizeof(struct bucket), &keys);
	if (err)
		return err;
	err = lab_os_reserve(n * WAYS * sizeof(struct slot), &at);
	if (err) {
		(void)lab_os_unmap(keys, n * sizeof(struct bucket));
		return err;
	}
	lab_os_name(at, n * WAYS * sizeof(struct slot), "labyrinth-owner");
	buckets = (struct bucket *)keys;
	slots = (struct slot *)at;
	lab_word_set(&nr_buckets, n);
	return 0;
}

static size_t bucket_of(uintptr_t address, bool second)
{
	uint64_t hash = (uint64_t)(address >> 4) * 0x9e3779b97f4a7c15ul;

	return (second ? hash >> 8 : hash >> 32) & (lab_word_get(&nr_buckets) - 1);
}

static struct slot *slot_at(size_t bucket, unsigned int way)
{
	return &slots[bucket * WAYS + way];
}

/* ---- a slot ---- */

static void slot_write(struct slot *slot, const struct lab_owner *owner)
{
	uint64_t comm[2];

	lab_os_copy(comm, owner->comm, sizeof(comm));
	lab_word_set(&slot->seq, lab_word_get(&slot->seq) | 1);
	/* release: pairs with the fence of slot_read(), so that no word is seen before [owner.seq] */
	atomic_thread_fence(memory_order_release);
	lab_word_set(&slot->bytes, owner->bytes);
	lab_word_set(&slot->ns, owner->ns);
	lab_word_set(&slot->stack_gfp, owner->stack | (uint64_t)owner->gfp << 32);
	lab_word_set(&slot->pid_tgid, owner->pid | (uint64_t)owner->tgid << 32);
	lab_word_set(&slot->order_sampled, (uint16_t)owner->order | (uint64_t)owner->sampled << 16);
	lab_word_set(&slot->comm[0], comm[0]);
	lab_word_set(&slot->comm[1], comm[1]);
	/* release: pairs with slot_read() [owner.seq] */
	atomic_store_explicit(&slot->seq, lab_word_get(&slot->seq) + 1, memory_order_release);
}

/* false: somebody was writing */
static bool slot_read(struct slot *slot, struct lab_owner *owner)
{
	/* acquire: pairs with slot_write() [owner.seq] */
	uint64_t seq = atomic_load_explicit(&slot->seq, memory_order_acquire), word, comm[2];

	owner->bytes = lab_word_get(&slot->bytes);
	owner->ns = lab_word_get(&slot->ns);
	word = lab_word_get(&slot->stack_gfp);
	owner->stack = (lab_stack_t)word;
	owner->gfp = (uint32_t)(word >> 32);
	word = lab_word_get(&slot->pid_tgid);
	owner->pid = (uint32_t)word;
	owner->tgid = (uint32_t)(word >> 32);
	word = lab_word_get(&slot->order_sampled);
	owner->order = (int16_t)word;
	owner->sampled = word >> 16 & 1;
	comm[0] = lab_word_get(&slot->comm[0]);
	comm[1] = lab_word_get(&slot->comm[1]);
	lab_os_copy(owner->comm, comm, sizeof(comm));
	owner->comm[sizeof(owner->comm) - 1] = '\0';
	/* acquire: pairs with slot_write() [owner.seq] */
	atomic_thread_fence(memory_order_acquire);
	return !(seq & 1) && lab_word_get(&slot->seq) == seq;
}

/* ---- the table ---- */

/* the place of @key; NULL: nowhere; its writer may have been abandoned at work */
static lab_word_t *find(uintptr_t key, struct slot **slot)
{
	unsigned int second, way;

	for (second = 0; second < 2; second++) {
		size_t at = bucket_of(key, second);

		for (way = 0; way < WAYS; way++)
			if ((lab_word_get(&buckets[at].key[way]) & ~(uint64_t)BUSY) == key) {
				*slot = slot_at(at, way);
				return &buckets[at].key[way];
			}
	}
	return NULL;
}

static unsigned int room(size_t bucket)
{
	unsigned int way, n = 0;

	for (way = 0; way < WAYS; way++)
		n += !lab_word_get(&buckets[bucket].key[way]);
	return n;
}

/* a free place for @key, busy; NULL: none */
static lab_word_t *claim(uintptr_t key, struct slot **slot)
{
	size_t first = bucket_of(key, false), second = bucket_of(key, true), at;
	unsigned int turn, way;

	at = room(first) >= room(second) ? first : second;
	for (turn = 0; turn < 2; turn++, at = at == first ? second : first)
		for (way = 0; way < WAYS; way++) {
			uint64_t none = 0;

			/* acquire: pairs with lab_owner_remove() [owner.key] */
			if (atomic_compare_exchange_strong_explicit(
				    &buckets[at].key[way], &none, key | BUSY, memory_order_acquire,
				    memory_order_relaxed)) {
				*slot = slot_at(at, way);
				return &buckets[at].key[way];
			}
		}
	return NULL;
}

/* the figures of a stack: @n objects more, @bytes more; less, if negative */
static void account(lab_stack_t handle, int64_t n, int64_t bytes)
{
	struct lab_export_stack_sums *stack = handle ? lab_depot_stack(handle) : NULL;

	if (!stack)
		return;
	lab_word_add(lab_depot_word(&stack->live), (uint64_t)n);
	lab_word_add(lab_depot_word(&stack->live_bytes), (uint64_t)bytes);
	if (n > 0 && bytes > 0) {
		lab_word_add(lab_depot_word(&stack->total), (uint64_t)n);
		lab_word_add(lab_depot_word(&stack->total_bytes), (uint64_t)bytes);
	}
}

static bool put(const struct lab_owner *owner)
{
	struct slot *slot;
	lab_word_t *key;

	if (!lab_word_get(&nr_buckets))
		return false;
	/* what was freed behind our back, or abandoned */
	lab_owner_remove((const void *)owner->address, owner->order);
	key = claim(owner->address, &slot);
	if (!key) {
		lab_word_add(&lost, 1);
		return false;
	}
	slot_write(slot, owner);
	/* release: pairs with lab_owner_each() [owner.key] */
	atomic_store_explicit(key, owner->address, memory_order_release);
	return true;
}

void lab_owner_add(const struct lab_owner *owner)
{
	if (put(owner) && owner->sampled)
		account(owner->stack, 1, (int64_t)owner->bytes);
}

/* false: there is none, or of another order */
static bool take(const void *address, int order, struct lab_owner *owner)
{
	struct slot *slot;
	lab_word_t *key;

	if (!lab_word_get(&nr_buckets))
		return false;
	key = find((uintptr_t)address, &slot);
	if (!key)
		return false;
	if (slot_read(slot, owner) && !(lab_word_get(key) & BUSY)) {
		if (owner->order != order)
			return false;
	} else {
		owner->sampled = false;
		owner->stack = 0;
	}
	/* release: pairs with claim() [owner.key] */
	atomic_store_explicit(key, 0, memory_order_release);
	return true;
}

void lab_owner_remove(const void *address, int order)
{
	struct lab_owner owner;

	if (take(address, order, &owner) && owner.sampled)
		account(owner.stack, -1, -(int64_t)owner.bytes);
}

void lab_owner_split(const void *page, unsigned int order)
{
	struct lab_owner owner;
	unsigned int i, n = 1u << order;

	if (!order || !take(page, (int)order, &owner))
		return;
	owner.order = 0;
	owner.bytes = LAB_PAGE_BYTES;
	for (i = 0; i < n; i++) {
		owner.address = (uintptr_t)page + i * LAB_PAGE_BYTES;
		/* those that find no room count as freed */
		if (!put(&owner) && owner.sampled)
			account(owner.stack, 0, -(int64_t)LAB_PAGE_BYTES);
		else if (owner.sampled && i)
			account(owner.stack, 1, 0);
	}
}

void lab_owner_each(void (*see)(const struct lab_owner *owner, void *arg), void *arg)
{
	size_t at, n = lab_word_get(&nr_buckets);
	struct lab_owner owner;
	unsigned int way;

	for (at = 0; at < n; at++)
		for (way = 0; way < WAYS; way++) {
			lab_word_t *key = &buckets[at].key[way];

			/* acquire: pairs with put() [owner.key] */
			owner.address = atomic_load_explicit(key, memory_order_acquire);
			if (owner.address && !(owner.address & BUSY) &&
			    slot_read(slot_at(at, way), &owner) &&
			    lab_word_get(key) == owner.address)
				see(&owner, arg);
		}
}

uint64_t lab_owner_lost(void)
{
	return lab_word_get(&lost);
}
