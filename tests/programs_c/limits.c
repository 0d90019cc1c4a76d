// SPDX-License-Identifier: MIT
/*
 * malloc under limits and in odd surroundings.  Modes:
 *
 *   work        allocate, resize and free all sizes, verified; in a thread too
 *   exhaust     allocate until NULL, for several sizes: errno is ENOMEM, the
 *               blocks there are remain intact, and freeing them all lets as
 *               many be had again.  A limit must be in force
 *   as-runtime  lower RLIMIT_AS while blocks are held, then as exhaust
 *   data-runtime  the same for RLIMIT_DATA
 *   threads     32 threads of the default stack size at work
 *   closed      after work, descriptors 0 to 2 are still closed
 *
 * Prints "limits: ok (backend)" and exits 0; see pattern.h for the others.
 */
#define _GNU_SOURCE
#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>

#define NR_LIVE	    256u
#define MAX_SIZE    (300u << 10)
#define NR_THREADS  32u
#define HEADROOM    (32ul << 20)
#define STEPS	    20000u
#define CHAIN_BYTES 24u /* least size of a block with a link */

__attribute__((weak)) const char *labyrinth_pcp_backend(void);

/* Blocks held while memory runs out are chained through themselves. */
struct link {
	uint64_t size, seed;
	struct link *next;
};

static void work(uint64_t seed, unsigned int steps)
{
	handle_t live[32] = { 0 };
	uint64_t dice, old_seed;
	size_t size, old_size;
	handle_t *slot;
	void *block;

	for (unsigned int i = 0; i < steps; i++) {
		dice = rng_next(&seed);
		slot = &live[dice % 32];
		size = 1 + rng_size(&seed, dice >> 16 & 255 ? MAX_SIZE : 4u << 20);
		if (*slot && dice >> 32 & 1) {
			old_size = block_size(*slot, &old_seed);
			block_verify(*slot);
			block = realloc(handle_block(*slot), size);
			if (block)
				block_check(block, old_size, old_seed,
					    old_size < size ? old_size : size);
		} else {
			if (*slot)
				block_verify(*slot);
			free(handle_block(*slot));
			block = dice >> 33 & 1 ? malloc(size) : calloc(size, 1);
		}
		if (!block)
			die(EXIT_NO_MEMORY, "NULL", block, size, i);
		*slot = block_fill(block, size, rng_next(&seed) >> 1);
	}
	for (unsigned int i = 0; i < 32; i++)
		free(handle_block(live[i]));
}

static void *work_thread(void *arg)
{
	work((uintptr_t)arg, STEPS / NR_THREADS);
	return NULL;
}

static int work_threads(unsigned int n)
{
	pthread_t threads[NR_THREADS];

	for (unsigned int i = 0; i < n; i++) {
		if (pthread_create(&threads[i], NULL, work_thread, (void *)(uintptr_t)(i + 1)))
			return EXIT_USAGE;
	}
	for (unsigned int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return EXIT_OK;
}

static void link_fill(struct link *link, size_t size, struct link *next)
{
	unsigned char *bytes = (unsigned char *)link;

	link->size = size;
	link->seed = (uintptr_t)link ^ size << 20;
	link->next = next;
	for (size_t at = CHAIN_BYTES; at < size; at += at < 4096 ? 1 : 509)
		bytes[at] = (unsigned char)(link->seed + at);
	if (size > CHAIN_BYTES)
		bytes[size - 1] = (unsigned char)(link->seed + size - 1);
}

static void link_check(const struct link *link)
{
	const unsigned char *bytes = (const unsigned char *)link;

	if (link->seed != ((uintptr_t)link ^ link->size << 20))
		die(EXIT_CORRUPT, "chain broken", link, link->size, 8);
	for (size_t at = CHAIN_BYTES; at < link->size; at += at < 4096 ? 1 : 509)
		if (at < link->size - 1 && bytes[at] != (unsigned char)(link->seed + at))
			die(EXIT_CORRUPT, "contents changed", link, link->size, at);
	if (link->size > CHAIN_BYTES &&
	    bytes[link->size - 1] != (unsigned char)(link->seed + link->size - 1))
		die(EXIT_CORRUPT, "last byte changed", link, link->size, link->size - 1);
}

/* Allocate until NULL; @size of 0: sizes of all kinds. */
static unsigned long fill_up(struct link **chain, size_t size)
{
	uint64_t seed = 42;
	unsigned long n = 0;
	struct link *link;
	size_t bytes;

	for (;; n++) {
		bytes = size ? size : CHAIN_BYTES + rng_size(&seed, 1u << 20);
		errno = 0;
		link = malloc(bytes);
		if (!link)
			break;
		link_fill(link, bytes, *chain);
		*chain = link;
	}
	if (errno != ENOMEM)
		die(EXIT_CORRUPT, "NULL with another errno than ENOMEM", NULL, bytes,
		    (uint64_t)errno);
	return n;
}

static void give_all(struct link **chain)
{
	struct link *next;

	for (struct link *link = *chain; link; link = link->next)
		link_check(link);
	for (; *chain; *chain = next) {
		next = (*chain)->next;
		free(*chain);
	}
}

static int exhaust_size(size_t size)
{
	struct link *chain = NULL;
	unsigned long first, again;

	first = fill_up(&chain, size);
	if (realloc(chain, 1ul << 40) || errno != ENOMEM)
		die(EXIT_CORRUPT, "realloc() to 1 TiB under a limit", NULL, size, 0);
	give_all(&chain);
	again = fill_up(&chain, size);
	give_all(&chain);
	fprintf(stderr, "limits: size %zu: %lu blocks, then %lu\n", size, first, again);
	/* Caches and half-empty slabs may keep some, but not much. */
	if (!first || again < first - first / 4)
		die(EXIT_NO_MEMORY, "less memory after freeing all (offset: now)", NULL, first,
		    again);
	return EXIT_OK;
}

static int exhaust(void)
{
	static const size_t sizes[] = { 3u << 20, 100u << 10, 0, 32768, 4096, 1000, 48, 64 };
	struct link *chain = NULL;
	struct rlimit as, data;

	getrlimit(RLIMIT_AS, &as);
	getrlimit(RLIMIT_DATA, &data);
	if (as.rlim_cur > 1ul << 30 && data.rlim_cur > 1ul << 30) {
		fprintf(stderr, "limits: exhaust needs RLIMIT_AS or RLIMIT_DATA up to 1 GiB\n");
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		exhaust_size(sizes[i]);
	/* Told only: small blocks may have spread over all there was. */
	fprintf(stderr, "limits: at the end %lu blocks of 3 MiB\n", fill_up(&chain, 3u << 20));
	give_all(&chain);
	return EXIT_OK;
}

static unsigned long status_bytes(const char *key)
{
	unsigned long kib = 0;
	char line[128];
	FILE *status = fopen("/proc/self/status", "r");

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, key, strlen(key)))
			kib = strtoul(line + strlen(key), NULL, 10);
	if (status)
		fclose(status);
	return kib << 10;
}

/* The limit falls to what is in use and a little, while blocks are held. */
static int lower(int resource, const char *key)
{
	struct link *held = NULL, *link;
	struct rlimit limit;

	for (unsigned int i = 0; i < 20000; i++) {
		link = malloc(CHAIN_BYTES + i % 700);
		if (!link)
			return EXIT_NO_MEMORY;
		link_fill(link, CHAIN_BYTES + i % 700, held);
		held = link;
	}
	limit.rlim_cur = status_bytes(key) + HEADROOM;
	/* What is reserved already counts for RLIMIT_AS, but is limited as well. */
	if (limit.rlim_cur > 1ul << 30)
		fprintf(stderr, "limits: %s %lu MiB\n", key, (unsigned long)limit.rlim_cur >> 20);
	limit.rlim_max = limit.rlim_cur;
	if (setrlimit(resource, &limit))
		return EXIT_USAGE;
	work(7, STEPS / 8);
	if (limit.rlim_cur <= 1ul << 30)
		exhaust();
	give_all(&held);
	return EXIT_OK;
}

static bool is_closed(int fd)
{
	return fcntl(fd, F_GETFD) < 0 && errno == EBADF;
}

static int run(const char *mode)
{
	if (!strcmp(mode, "work")) {
		work(1, STEPS);
		return work_threads(1);
	}
	if (!strcmp(mode, "exhaust"))
		return exhaust();
	if (!strcmp(mode, "as-runtime"))
		return lower(RLIMIT_AS, "VmSize:");
	if (!strcmp(mode, "data-runtime"))
		return lower(RLIMIT_DATA, "VmData:");
	if (!strcmp(mode, "threads"))
		return work_threads(NR_THREADS);
	if (!strcmp(mode, "closed")) {
		work(1, STEPS);
		return is_closed(0) && is_closed(1) && is_closed(2) ? EXIT_OK : EXIT_CORRUPT;
	}
	fprintf(stderr, "usage: limits work|exhaust|as-runtime|data-runtime|threads|closed\n");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	int verdict = run(argc > 1 ? argv[1] : "");

	if (verdict == EXIT_OK && argc > 1 && strcmp(argv[1], "closed"))
		printf("limits: ok (%s)\n",
		       labyrinth_pcp_backend ? labyrinth_pcp_backend() : "other");
	return verdict;
}
