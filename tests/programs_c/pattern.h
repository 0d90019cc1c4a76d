/* SPDX-License-Identifier: MIT */
/*
 * Blocks that know what they contain, shared by the test programs here.
 *
 * A block of 16 bytes or more starts with its size and its seed and is filled
 * with words that both determine, so a second owner of any part of it is found
 * when either of them verifies.  A handle is the address with the size (when
 * it is below 16) and 11 bits of the seed in its unused upper bits: one word,
 * which handlers and threads can exchange atomically.
 *
 * All of it may be called in a signal handler; none of it calls the C library
 * but for write(2) and _exit(2).
 */
#ifndef TESTS_PATTERN_H
#define TESTS_PATTERN_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum verdict {
	EXIT_OK = 0,
	EXIT_USAGE = 1,
	EXIT_HANG = 2,
	EXIT_CORRUPT = 3,
	EXIT_CRASH = 4,
	EXIT_NO_MEMORY = 5,
};

typedef uint64_t handle_t; /* 0: no block */

#define TINY_LIMIT 16u
/* Beyond this size only the ends and every 32nd word are written. */
#define DENSE_LIMIT (64u << 10)
#define DENSE_END   4096u

static inline void put_text(char *line, size_t *len, size_t room, const char *text)
{
	while (*text && *len < room)
		line[(*len)++] = *text++;
}

static inline void put_hex(char *line, size_t *len, size_t room, uint64_t value)
{
	int shift = 60;

	put_text(line, len, room, "0x");
	while (shift > 0 && !(value >> shift))
		shift -= 4;
	for (; shift >= 0 && *len < room; shift -= 4)
		line[(*len)++] = "0123456789abcdef"[(value >> shift) & 15];
}

/* Say what is wrong with which block on stderr, and end the process. */
__attribute__((noreturn, noinline, unused)) static void
die(enum verdict verdict, const char *what, const volatile void *block, uint64_t size, uint64_t at)
{
	char line[200];
	size_t len = 0;

	put_text(line, &len, sizeof(line), verdict == EXIT_CORRUPT ? "CORRUPT: " : "FAIL: ");
	put_text(line, &len, sizeof(line), what);
	put_text(line, &len, sizeof(line), ", block ");
	put_hex(line, &len, sizeof(line), (uintptr_t)block);
	put_text(line, &len, sizeof(line), " size ");
	put_hex(line, &len, sizeof(line), size);
	put_text(line, &len, sizeof(line), " at offset ");
	put_hex(line, &len, sizeof(line), at);
	put_text(line, &len, sizeof(line) - 1, "\n");
	if (write(2, line, len) < 0)
		_exit(EXIT_USAGE);
	_exit(verdict);
}

static inline uint64_t rng_next(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* 0 .. max, each power of two as likely as the next: most blocks are small. */
static inline size_t rng_size(uint64_t *state, size_t max)
{
	unsigned int bits = 64 - (unsigned int)__builtin_clzl(max | 1);
	uint64_t mask = (2ull << rng_next(state) % bits) - 1;

	return (rng_next(state) & mask) % (max + 1);
}

static inline void *handle_block(handle_t handle)
{
	return (void *)(uintptr_t)(handle & 0xffffffffffffu);
}

static inline handle_t handle_make(void *block, size_t size, uint64_t seed)
{
	uint64_t tiny = size < TINY_LIMIT ? size + 1 : 0;

	return (uintptr_t)block | tiny << 48 | seed << 53;
}

/* The word at @idx of a block; tiny ones know 11 bits of their seed only. */
static inline uint64_t pattern_word(size_t size, uint64_t seed, size_t idx)
{
	if (size >= TINY_LIMIT && idx == 0)
		return size;
	if (size >= TINY_LIMIT && idx == 1)
		return seed;
	if (size < TINY_LIMIT)
		seed &= 0x7ff;
	return (seed ^ idx) * 0x9e3779b97f4a7c15u + (seed << 7 | 0x55);
}

/* The next word to write or read after @idx. */
static inline size_t pattern_next(size_t size, size_t idx)
{
	if (size <= DENSE_LIMIT || idx < DENSE_END / 8 || idx >= (size - DENSE_END) / 8)
		return idx + 1;
	idx = (idx | 31) + 1;
	return idx < (size - DENSE_END) / 8 ? idx : (size - DENSE_END) / 8;
}

/* Words go through memcpy() of a constant length: a plain, unaligned move. */
static inline handle_t block_fill(void *block, size_t size, uint64_t seed)
{
	unsigned char *bytes = block;
	uint64_t word;
	size_t idx = 0;

	for (; idx < size / 8; idx = pattern_next(size, idx)) {
		word = pattern_word(size, seed, idx);
		memcpy(bytes + idx * 8, &word, 8);
	}
	word = pattern_word(size, seed, size / 8);
	for (idx = size / 8 * 8; idx < size; idx++)
		bytes[idx] = (unsigned char)(word >> (idx % 8 * 8));
	return handle_make(block, size, seed);
}

/* Verify the first @limit bytes of a block that was filled with @size, @seed. */
static inline void block_check(const void *block, size_t size, uint64_t seed, size_t limit)
{
	const unsigned char *bytes = block;
	uint64_t word, want;
	size_t idx = 0;

	for (; idx < limit / 8; idx = pattern_next(size, idx)) {
		memcpy(&word, bytes + idx * 8, 8);
		if (word != pattern_word(size, seed, idx))
			die(EXIT_CORRUPT, "contents changed", block, size, idx * 8);
	}
	if (limit < size && size > DENSE_LIMIT)
		return;
	want = pattern_word(size, seed, limit / 8);
	for (idx = limit / 8 * 8; idx < limit; idx++)
		if (bytes[idx] != (unsigned char)(want >> (idx % 8 * 8)))
			die(EXIT_CORRUPT, "last bytes changed", block, size, idx);
}

/* The size and seed of a block; they are believed only if the handle agrees. */
static inline size_t block_size(handle_t handle, uint64_t *seed)
{
	uint64_t tiny = handle >> 48 & 31;
	uint64_t tag[2];

	*seed = handle >> 53;
	if (tiny)
		return tiny - 1;
	memcpy(tag, handle_block(handle), sizeof(tag));
	if ((tag[1] & 0x7ff) != handle >> 53 || tag[0] < TINY_LIMIT || tag[0] > 1ull << 40)
		die(EXIT_CORRUPT, "size and seed changed", handle_block(handle), tag[0], 0);
	*seed = tag[1];
	return tag[0];
}

/* Verify the whole block; returns its size. */
static inline size_t block_verify(handle_t handle)
{
	uint64_t seed;
	size_t size = block_size(handle, &seed);

	block_check(handle_block(handle), size, seed, size);
	return size;
}

#endif /* TESTS_PATTERN_H */
