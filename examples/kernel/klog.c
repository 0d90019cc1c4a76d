// SPDX-License-Identifier: MIT
/*
 * A log buffer as a driver would have it: written for the kernel's gfp.h, not
 * changed for user space.  The part below "user space" is what insmod would do.
 *
 * See README.md beside it.
 *
 *   build: gcc -O2 -I. -o klog klog.c -llabyrinth
 */
#include "gfp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KLOG_ORDER 2

struct klog_chunk {
	struct klog_chunk *next;
	struct page *pages;
	size_t used;
};

struct klog {
	struct klog_chunk *head;
	mempool_t *chunks; /* of struct klog_chunk */
	unsigned long scratch;
};

static void klog_exit(struct klog *log)
{
	struct klog_chunk *chunk;

	while ((chunk = log->head)) {
		log->head = chunk->next;
		__free_pages(chunk->pages, KLOG_ORDER);
		mempool_free(chunk, log->chunks);
	}
	mempool_destroy(log->chunks);
	free_page(log->scratch);
	kfree(log);
}

static struct klog *klog_init(gfp_t gfp)
{
	struct klog *log = kzalloc(sizeof(*log), gfp);

	if (!log)
		return NULL;
	log->scratch = __get_free_page(gfp | __GFP_ZERO);
	log->chunks = mempool_create_kmalloc_pool(4, sizeof(struct klog_chunk));
	if (!log->scratch || !log->chunks) {
		klog_exit(log);
		return NULL;
	}
	return log;
}

static struct klog_chunk *klog_grow(struct klog *log, gfp_t gfp)
{
	struct klog_chunk *chunk = mempool_alloc(log->chunks, gfp);

	if (!chunk)
		return NULL;
	chunk->pages = alloc_pages(gfp, KLOG_ORDER);
	if (!chunk->pages) {
		mempool_free(chunk, log->chunks);
		return NULL;
	}
	chunk->used = 0;
	chunk->next = log->head;
	log->head = chunk;
	return chunk;
}

/* may be called from interrupts: @gfp says so */
static int klog_write(struct klog *log, const char *text, size_t n, gfp_t gfp)
{
	struct klog_chunk *chunk = log->head;

	if (n > PAGE_SIZE << KLOG_ORDER)
		return -EINVAL;
	if (!chunk || chunk->used + n > PAGE_SIZE << KLOG_ORDER)
		chunk = klog_grow(log, gfp);
	if (!chunk)
		return -ENOMEM;
	memcpy((char *)page_address(chunk->pages) + chunk->used, text, n);
	chunk->used += n;
	return 0;
}

/* ---- user space: the interrupt is a signal ---- */

#include <signal.h>

static struct klog *the_log;
static volatile sig_atomic_t failures;

static void on_interrupt(int signo)
{
	(void)signo;
	failures += klog_write(the_log, "interrupt\n", 10, GFP_ATOMIC) != 0;
}

int main(void)
{
	size_t bytes = 0;
	int chunks = 0;

	the_log = klog_init(GFP_KERNEL);
	if (!the_log)
		return 1;
	signal(SIGUSR1, on_interrupt);
	for (int i = 0; i < 10000; i++)
		raise(SIGUSR1);
	for (struct klog_chunk *chunk = the_log->head; chunk; chunk = chunk->next, chunks++)
		bytes += chunk->used;
	klog_exit(the_log);
	printf("%zu bytes in %d chunks of 4 pages, %d failures\n", bytes, chunks, (int)failures);
	return failures || bytes != 100000;
}
