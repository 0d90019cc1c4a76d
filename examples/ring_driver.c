// SPDX-License-Identifier: MIT
/*
 * The receive ring of a network driver: buffers of one page, refilled in bulk.
 *
 * See ring_driver.md.
 *
 *   build: gcc -O2 -o ring_driver ring_driver.c -llabyrinth -pthread
 *   run:   LABYRINTH_OPTIONS=reserve:4m ./ring_driver [packets]        (200000)
 */
#include <labyrinth.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { RING = 64, REFILL_AT = 16, BUDGET = 32 };

/* What device and driver share: the device fills what it owns, and hands it over. */
struct descriptor {
	_Atomic(uint64_t *) buffer; /* the device's, while done is 0 */
	_Atomic int done;
};

static struct descriptor ring[RING];
static uint64_t total = 200000;
static _Atomic uint64_t sent;

/* ---- the device: another thread, in the place of hardware ---- */

static void *device(void *unused)
{
	for (uint64_t number = 0; number < total; number++) {
		struct descriptor *slot = &ring[number % RING];
		uint64_t *page;

		/* no buffer yet: hardware would drop, this one waits */
		while (atomic_load(&slot->done) || !(page = atomic_load(&slot->buffer)))
			sched_yield();
		for (int i = 0; i < 8; i++)
			page[i * 64] = number;
		atomic_store(&slot->done, 1);
		atomic_store(&sent, number + 1);
	}
	return unused;
}

/* ---- the driver ---- */

struct driver {
	uint64_t next;	 /* packet that is looked at next */
	uint64_t filled; /* slots that ever got a buffer */
	unsigned long refills, short_refills;
};

/*
 * As many slots as are empty, by one call; a short count is no failure.  GFP_ATOMIC, as
 * polling may not sleep.
 */
static void refill(struct driver *driver)
{
	void *page[RING] = { NULL };
	size_t want = RING - (size_t)(driver->filled - driver->next), got;

	got = labyrinth_alloc_pages_bulk(LABYRINTH_GFP_ATOMIC | LABYRINTH___GFP_NOWARN, want, page);
	driver->refills++;
	driver->short_refills += got < want;
	for (size_t i = 0; i < got; i++)
		atomic_store(&ring[driver->filled++ % RING].buffer, page[i]);
}

/* at most 32 packets at a time, as NAPI has it; returns how many were bad */
static unsigned long poll_ring(struct driver *driver)
{
	void *used[BUDGET];
	unsigned long bad = 0;
	size_t n = 0;

	for (; n < BUDGET; n++, driver->next++) {
		struct descriptor *slot = &ring[driver->next % RING];
		uint64_t *page = atomic_load(&slot->buffer);

		if (!page || !atomic_load(&slot->done))
			break;
		for (int i = 0; i < 8; i++)
			bad += page[i * 64] != driver->next;
		used[n] = page;
		atomic_store(&slot->buffer, NULL);
		atomic_store(&slot->done, 0);
	}
	labyrinth_free_pages_bulk(n, used);
	if (driver->filled - driver->next <= RING - REFILL_AT)
		refill(driver);
	if (!n)
		sched_yield();
	return bad;
}

/* when the device is opened there is time: ordinary requests let the reserve grow */
static void open_device(struct driver *driver)
{
	void *page[RING] = { NULL };
	struct labyrinth_zone_info zone;
	int tries = 0;

	do {
		labyrinth_alloc_pages_bulk(LABYRINTH_GFP_KERNEL, RING, page);
		labyrinth_free_pages_bulk(RING, page);
		labyrinth_zone_info(LABYRINTH_ZONE_RESERVE, &zone);
	} while (zone.free < zone.low + RING && ++tries < 100);
	refill(driver);
}

int main(int argc, char **argv)
{
	struct driver driver = { 0 };
	unsigned long bad = 0;
	pthread_t thread;

	if (argc > 1)
		total = strtoull(argv[1], NULL, 10);
	open_device(&driver);
	pthread_create(&thread, NULL, device, NULL);
	while (driver.next < total)
		bad += poll_ring(&driver);
	pthread_join(thread, NULL);
	for (int i = 0; i < RING; i++)
		labyrinth_free_page(ring[i].buffer);
	printf("%llu packets, %lu bad; %lu refills, %lu of them short\n",
	       (unsigned long long)driver.next, bad, driver.refills, driver.short_refills);
	return bad || driver.next != sent;
}
