/* SPDX-License-Identifier: MIT */
/* What the parent of mmapdiff.c and its children tell each other. */
#ifndef MMAPDIFF_H
#define MMAPDIFF_H

#include <stdbool.h>
#include <stdint.h>

enum {
	PAGE = 4096,
	OBJECTS = 8,
	SPAN = 24, /* pages of an object, at most */
	OPS = 14,
	FILE_PAGES = 32,
	CHUNKS = 4, /* of a write: words written */
};

enum what {
	MAP_NEW,
	MAP_AT,
	UNMAP,
	PROTECT,
	PKEY_PROTECT,
	ADVISE,
	POSIX_ADVISE,
	LOCK,
	LOCK2,
	UNLOCK,
	SYNC,
	INCORE,
	SELF_ADVISE,
	FILE_PAGES_,
	REMAP,
	WRITE,
	FORK,
	NR_WHAT
};

struct op {
	uint8_t what, object, to_object;
	int16_t page, pages, to_page, new_pages;
	int16_t skew, cut; /* bytes added to the address, taken off the length */
	int32_t x, y;
	uint32_t seed;
};

struct result {
	int64_t value;
	int32_t err;
	uint32_t more;
};

struct object {
	uintptr_t base;
	uint32_t pages; /* 0: no object */
	bool mapped[SPAN];
};

/* One child's part of the memory that it shares with the parent. */
struct side {
	struct result result[OPS + OBJECTS];
	struct object object[OBJECTS];
	unsigned char file[FILE_PAGES][8];
};

struct shared {
	uint32_t nr;
	bool end;
	struct op op[OPS];
	struct side side[2];
};

extern struct shared *shared;

/**
 * mmapdiff_child() - do sequences until the parent is gone
 * @side:    0: the plain one, 1: the one under the library
 * @memory:  descriptor of what is shared
 * @in, @out: a byte comes in for each sequence, and goes out when it is done
 */
int mmapdiff_child(int side, int memory, int in, int out);

#endif /* MMAPDIFF_H */
