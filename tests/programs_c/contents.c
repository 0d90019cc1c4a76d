// SPDX-License-Identifier: MIT
/*
 * What blocks contain: nobody else's bytes, zeros where calloc() says so, the
 * old bytes after realloc(); also all of the usable size, between threads, in
 * the child of fork(), and with 3 GiB.  Plain glibc passes all of it.
 *
 *   gcc -std=gnu11 -O2 -Wall -Wextra -fno-builtin -o contents contents.c -pthread
 *   [LD_PRELOAD=...] ./contents [--seed N] [--direct] [CASE...]
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t sizes[LADDER_ROOM];

/* ---- usable size ---- */

static void *churn(void *stop)
{
	uint64_t rng = seed + 1;
	void *block[64] = { NULL };

	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
		size_t i = rng_below(&rng, COUNT(block));

		free(block[i]);
		block[i] = malloc(rng_size(&rng, 64 * KIB));
	}
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
	return NULL;
}

/* Never less than asked for, the same for life, and all of it may be written. */
static void test_usable_size(void)
{
	static char *block[LADDER_ROOM][2];
	static size_t usable[LADDER_ROOM];
	size_t n = ladder(sizes, 4 * MIB);
	pthread_t thread;
	int stop = 0;

	EXPECT(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL)");
	EXPECT(pthread_create(&thread, NULL, churn, &stop) == 0, "no thread");
	for (unsigned int round = 0; round < 3; round++) {
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < 2; k++) {
				block[i][k] = malloc(sizes[i]);
				usable[i] = malloc_usable_size(block[i][0]);
				EXPECT(usable[i] >= sizes[i], "usable(%zu) = %zu", sizes[i],
				       usable[i]);
				pattern_fill(block[i][k], malloc_usable_size(block[i][k]),
					     2 * i + k + round);
			}
		for (size_t i = 0; i < n; i++) {
			EXPECT(malloc_usable_size(block[i][0]) == usable[i],
			       "usable(%zu) changed from %zu to %zu", sizes[i], usable[i],
			       malloc_usable_size(block[i][0]));
			for (size_t k = 0; k < 2; k++) {
				EXPECT(pattern_wrong(block[i][k], malloc_usable_size(block[i][k]),
						     2 * i + k + round) < 0,
				       "%zu bytes: the usable part has changed", sizes[i]);
				free(block[i][k]);
			}
		}
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/* systemd and others write up to the usable size, then call realloc(). */
static void test_usable_bytes_survive_realloc(void)
{
	size_t n = ladder(sizes, 1 * MIB);

	for (size_t i = 0; i < n; i++) {
		char *block = malloc(sizes[i]);
		size_t usable = malloc_usable_size(block);

		pattern_fill(block, usable, i);
		block = realloc(block, 2 * usable + 100);
		EXPECT(pattern_wrong(block, usable, i) < 0, "%zu bytes, usable %zu", sizes[i],
		       usable);
		free(block);
	}
}

/* ---- contents ---- */

static void test_calloc_is_zero_after_dirty_use(void)
{
	size_t n = ladder(sizes, 8 * MIB);

	for (size_t i = 0; i < n; i++) {
		char *block[6];

		for (size_t k = 0; k < COUNT(block); k++) {
			block[k] = k == 0 ? memalign(64, sizes[i]) : malloc(sizes[i]);
			memset(block[k], 0xff, malloc_usable_size(block[k]));
		}
		for (size_t k = 0; k < COUNT(block); k++)
			free(block[k]);
		for (size_t k = 0; k < COUNT(block); k++) {
			size_t count = k % 2 && sizes[i] % 2 == 0 ? 2 : 1;

			block[k] = calloc(count, sizes[i] / count);
			EXPECT(zero_wrong(block[k], sizes[i]) < 0, "calloc(%zu, %zu) byte %td",
			       count, sizes[i] / count, zero_wrong(block[k], sizes[i]));
			if (sizes[i])
				memset(block[k], 0xaa, sizes[i]);
		}
		for (size_t k = 0; k < COUNT(block); k++)
			free(block[k]);
	}
}

/* One step of realloc(), with neighbours that must stay as they are. */
static char *resize(char *block, size_t from, size_t to, uint64_t id)
{
	size_t keep = from < to ? from : to, side = to < 64 * KIB ? to : 64;
	char *left = malloc(side), *right;

	pattern_fill(left, side, id + 1);
	block = realloc(block, to);
	EXPECT(is_aligned(block, 16), "realloc(%zu -> %zu) = %p", from, to, block);
	if (!EXPECT(block, "realloc(%zu -> %zu) is NULL", from, to))
		check_give_up("no block to go on with");
	right = malloc(side);
	pattern_fill(right, side, id + 2);
	EXPECT(malloc_usable_size(block) >= to, "realloc(%zu -> %zu): usable", from, to);
	EXPECT(pattern_wrong(block, keep, id) < 0, "realloc(%zu -> %zu): byte %td", from, to,
	       pattern_wrong(block, keep, id));
	pattern_fill(block, to, id + 3);
	EXPECT(pattern_wrong(left, side, id + 1) < 0, "realloc(%zu -> %zu): left", from, to);
	EXPECT(pattern_wrong(right, side, id + 2) < 0, "realloc(%zu -> %zu): right", from, to);
	free(left);
	free(right);
	return block;
}

static void test_realloc_keeps_contents(void)
{
	static const size_t big[] = { 128 * KIB, MIB, 32 * MIB, 64 * MIB };
	size_t n = ladder(sizes, 64 * MIB), from = 1;
	uint64_t id = seed, rng = seed;
	char *block = malloc(from);

	pattern_fill(block, from, id);
	for (size_t i = 2; i < n; i += 1 + (sizes[i] > MIB) * 4, id += 3) {
		block = resize(block, from, sizes[i], id);
		from = sizes[i];
	}
	for (size_t i = n - 1; i > 1; i -= i > 5 ? 1 + (sizes[i] > MIB) * 4 : 1, id += 3) {
		block = resize(block, from, sizes[i], id);
		from = sizes[i];
	}
	for (unsigned int i = 0; i < 4000; i++, id += 3) {
		size_t to = i % 100 ? 1 + rng_size(&rng, 256 * KIB) : big[i / 100 % COUNT(big)];

		block = resize(block, from, to, id);
		from = to;
	}
	free(block);
}

/* A block on its way through the threads; only who holds its index uses it. */
struct parcel {
	char *block;
	size_t size;
	uint64_t id;
};

enum { PARCELS = 1024, THREADS = 4, OWNED = PARCELS / (THREADS + 1), STEPS = 60000 };

static struct parcel parcels[PARCELS];
static unsigned int mailbox[OWNED];

static void parcel_step(struct parcel *parcel, uint64_t *rng)
{
	size_t size = rng_size(rng, rng_below(rng, 256) ? 64 * KIB : 4 * MIB), keep;
	uint64_t how = rng_below(rng, 8);

	if (parcel->block)
		EXPECT(pattern_wrong(parcel->block, parcel->size, parcel->id) < 0,
		       "%zu bytes at %p: byte %td", parcel->size, parcel->block,
		       pattern_wrong(parcel->block, parcel->size, parcel->id));
	if (parcel->block && how < 5) {
		free(parcel->block);
		parcel->block = NULL;
		return;
	}
	if (parcel->block) {
		keep = parcel->size < size ? parcel->size : size;
		parcel->block = realloc(parcel->block, size + !size);
		EXPECT(pattern_wrong(parcel->block, keep, parcel->id) < 0,
		       "realloc(%zu -> %zu): contents", parcel->size, size);
	} else if (how == 0) {
		parcel->block = memalign((size_t)8 << rng_below(rng, 13), size);
	} else if (how == 1) {
		parcel->block = calloc(1, size);
		EXPECT(zero_wrong(parcel->block, size) < 0, "calloc(%zu) is not zero", size);
	} else {
		parcel->block = malloc(size);
	}
	if (!EXPECT(parcel->block, "no memory for %zu bytes", size))
		check_give_up("no block to go on with");
	parcel->size = size;
	parcel->id = rng_next(rng);
	pattern_fill(parcel->block, size, parcel->id);
}

static void *exchange_parcels(void *number)
{
	unsigned int owned[OWNED];
	uint64_t rng = seed * 100 + (uintptr_t)number;

	for (unsigned int i = 0; i < OWNED; i++)
		owned[i] = (unsigned int)(uintptr_t)number * OWNED + i;
	for (unsigned int i = 0; i < STEPS; i++) {
		unsigned int *mine = &owned[rng_below(&rng, OWNED)];

		if (rng_below(&rng, 4) == 0)
			*mine = __atomic_exchange_n(&mailbox[rng_below(&rng, OWNED)], *mine,
						    __ATOMIC_ACQ_REL);
		parcel_step(&parcels[*mine], &rng);
	}
	return NULL;
}

static void test_random_blocks_between_threads(void)
{
	pthread_t thread[THREADS];

	for (unsigned int i = 0; i < OWNED; i++)
		mailbox[i] = THREADS * OWNED + i;
	for (uintptr_t i = 0; i < THREADS; i++)
		EXPECT(pthread_create(&thread[i], NULL, exchange_parcels, (void *)i) == 0,
		       "no thread");
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (unsigned int i = 0; i < PARCELS; i++) {
		if (!parcels[i].block)
			continue;
		EXPECT(pattern_wrong(parcels[i].block, parcels[i].size, parcels[i].id) < 0,
		       "%zu bytes: contents at the end", parcels[i].size);
		free(parcels[i].block);
	}
}

static void fork_child(char *const *block, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (pattern_wrong(block[i], 100 * i, i) >= 0)
			_exit(1);
		free(block[i]);
	}
	for (size_t i = 0; i < n; i++) {
		char *mine = calloc(1, 100 * i);

		if (!mine || zero_wrong(mine, 100 * i) >= 0)
			_exit(2);
		memset(mine, 0xff, 100 * i);
		free(mine);
	}
	_exit(0);
}

/* The child of a process whose other threads allocate has a whole heap. */
static void test_fork_while_threads_allocate(void)
{
	char *block[200];
	pthread_t thread[2];
	int stop = 0, status;

	for (size_t i = 0; i < COUNT(block); i++)
		pattern_fill(block[i] = malloc(100 * i), 100 * i, i);
	for (unsigned int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, churn, &stop);
	for (unsigned int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (pid == 0)
			fork_child(block, COUNT(block));
		EXPECT(waitpid(pid, &status, 0) == pid && status == 0, "child's status %#x",
		       status);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	for (size_t i = 0; i < COUNT(block); i++) {
		EXPECT(pattern_wrong(block[i], 100 * i, i) < 0, "%zu bytes: contents", 100 * i);
		free(block[i]);
	}
}

/* ---- huge blocks, and blocks of the C library ---- */

static void test_three_gigabytes_untouched(void)
{
	const size_t size = (size_t)3 << 30, more = size + 512 * (size_t)MIB;
	size_t before = resident();
	char *block = malloc(size);

	if (!EXPECT(block, "no 3 GiB"))
		return;
	EXPECT(malloc_usable_size(block) >= size, "usable size");
	block[0] = 1;
	block[size / 2] = 2;
	block[size - 1] = 3;
	block = realloc(block, more);
	if (!EXPECT(block, "no realloc to 3.5 GiB"))
		return;
	block[more - 1] = 4;
	EXPECT(block[0] == 1 && block[size / 2] == 2 && block[size - 1] == 3, "contents");
	block = realloc(block, 100);
	EXPECT(block[0] == 1, "contents after shrinking");
	free(block);
	block = calloc(3, size / 3);
	if (!EXPECT(block, "no 3 GiB by calloc"))
		return;
	for (size_t at = 0; at < size; at += size / 64)
		EXPECT(!block[at], "calloc is not zero at %zu", at);
	free(block);
	EXPECT(resident() < before + 64 * MIB, "%zu MiB stay resident",
	       (resident() - before) / MIB);
}

static void test_blocks_of_the_c_library(void)
{
	char *text[6] = { NULL };
	size_t room = 0;
	FILE *file;

	text[0] = strdup("labyrinth");
	text[1] = strndup("labyrinth", 4);
	if (asprintf(&text[2], "%01000d", 7) < 0)
		text[2] = NULL;
	text[3] = getcwd(NULL, 0);
	text[4] = realpath("/proc/self", NULL);
	file = fopen("/proc/self/maps", "r");
	EXPECT(file && getline(&text[5], &room, file) > 0, "getline");
	if (file)
		fclose(file);
	for (size_t i = 0; i < COUNT(text); i++) {
		EXPECT(text[i], "block %zu is NULL", i);
		EXPECT(!text[i] || malloc_usable_size(text[i]) > strlen(text[i]), "block %zu", i);
		text[i] = realloc(text[i], 10000);
		EXPECT(text[i], "realloc of block %zu", i);
		free(text[i]);
	}
}

static const struct check_test tests[] = {
	{ "usable_size", test_usable_size },
	{ "usable_bytes_survive_realloc", test_usable_bytes_survive_realloc },
	{ "calloc_is_zero_after_dirty_use", test_calloc_is_zero_after_dirty_use },
	{ "realloc_keeps_contents", test_realloc_keeps_contents },
	{ "random_blocks_between_threads", test_random_blocks_between_threads },
	{ "fork_while_threads_allocate", test_fork_while_threads_allocate },
	{ "three_gigabytes_untouched", test_three_gigabytes_untouched },
	{ "blocks_of_the_c_library", test_blocks_of_the_c_library },
};

int main(int argc, char **argv)
{
	return check_main(argc, argv, tests, COUNT(tests));
}
