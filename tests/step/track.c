/* SPDX-License-Identifier: MIT */
/*
 * The blocks that we own.  A shadow bit per 16 bytes of the library's window
 * says whether they are owned, so a block that is handed out twice is found
 * when it is, whatever the sizes; patterns find those who write elsewhere.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "labyrinth.h"
#include "page/frame.h"
#include "step.h"

enum { MAX_BLOCKS = 8192, GRANULE = 16, LIGHT_BYTES = 16 };
/* of the library's window; a process here uses the first few sections */
#define SHADOW_SPAN (8ul << 30)

struct block {
	char *ptr;
	size_t size;
	uint64_t seed;
	int how;
	bool light;
};

static struct block blocks[MAX_BLOCKS];
static int top;	   /* blocks[top ..] are unused */
static int lowest; /* blocks[.. lowest) are all in use */
static uint64_t next_seed = 1;
static unsigned char *shadow;

void fail(const char *format, ...)
{
	char line[400];
	va_list args;
	int len;

	len = snprintf(line, sizeof(line), "FAILED  %s, at %lld (ip %#llx): ", context->name,
		       (long long)context->target, (unsigned long long)context->ip);
	va_start(args, format);
	len += vsnprintf(line + len, sizeof(line) - (size_t)len - 1, format, args);
	va_end(args);
	line[len++] = '\n';
	if (write(1, line, (size_t)len) < 0)
		_exit(3);
	_exit(1);
}

/* ---- shadow ---- */

/* the first bit of a block; @n: how many */
static size_t shadow_of(const struct block *b, size_t *n)
{
	uintptr_t offset = (uintptr_t)b->ptr - lab_mem.base;

	if (!shadow) {
		shadow = mmap(NULL, SHADOW_SPAN / GRANULE / 8, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (shadow == MAP_FAILED)
			fail("no memory for the shadow");
	}
	/* mremap() may have let the kernel choose */
	if (b->how == BY_UNMAP && offset >= SHADOW_SPAN) {
		*n = 0;
		return 0;
	}
	if (offset >= SHADOW_SPAN || b->size > SHADOW_SPAN - offset)
		fail("block %p lies outside the library's memory", (void *)b->ptr);
	*n = (b->size + GRANULE - 1) / GRANULE;
	return offset / GRANULE;
}

/* the bits of the byte at bit @from that lie in front of bit @end, and how many */
static unsigned char part_of_byte(size_t from, size_t end, size_t *n)
{
	size_t low = from % 8, high = end - from < 8 - low ? low + end - from : 8;

	*n = high - low;
	return (unsigned char)((1u << high) - (1u << low));
}

/* all @n bits from @from were the other value, and are @value now */
static bool shadow_flip(size_t from, size_t n, bool value)
{
	size_t end = from + n, some;

	while (from < end) {
		unsigned char *at = &shadow[from / 8];
		unsigned char mask = part_of_byte(from, end, &some);

		if (mask == 0xff) {
			some = (end - from) / 8;
			if (*at != (value ? 0 : 0xff) || memcmp(at, at + 1, some - 1))
				return false;
			memset(at, value ? 0xff : 0, some);
			some *= 8;
		} else {
			if ((*at & mask) != (value ? 0 : mask))
				return false;
			*at ^= mask;
		}
		from += some;
	}
	return true;
}

/* ---- patterns ---- */

static uint64_t word_of(uint64_t seed, size_t offset)
{
	return (seed + offset) * 0x9e3779b97f4a7c15u ^ seed << 21;
}

/* the next offset to look at: big blocks are written here and there */
static size_t next_offset(const struct block *b, size_t offset)
{
	if (b->light || offset + 8 < 64)
		return offset + 8 < (b->light ? (size_t)LIGHT_BYTES : 64) ? offset + 8
									  : SIZE_MAX / 2;
	if (b->size <= 8192)
		return offset + 8;
	return (offset | (64 * KIB - 1)) + 1;
}

static void pattern_write(const struct block *b)
{
	uint64_t word;
	size_t offset;

	for (offset = 0; offset + 8 <= b->size; offset = next_offset(b, offset)) {
		word = word_of(b->seed, offset);
		memcpy(b->ptr + offset, &word, 8);
	}
}

/* the first offset below @limit that does not hold its word, or SIZE_MAX */
static size_t pattern_wrong(const struct block *b, const char *at, size_t limit)
{
	uint64_t word;
	size_t offset;

	for (offset = 0; offset + 8 <= limit; offset = next_offset(b, offset)) {
		memcpy(&word, at + offset, 8);
		if (word != word_of(b->seed, offset))
			return offset;
	}
	return SIZE_MAX;
}

bool pattern_holds(const void *ptr, size_t size, uint64_t seed)
{
	struct block b = { .size = size, .seed = seed };

	return pattern_wrong(&b, ptr, size) == SIZE_MAX;
}

static void verify(const struct block *b)
{
	size_t wrong = pattern_wrong(b, b->ptr, b->size);

	if (wrong != SIZE_MAX)
		fail("block %p of %zu bytes changed at offset %zu", (void *)b->ptr, b->size, wrong);
}

void verify_all(void)
{
	int id;

	for (id = 0; id < top; id++)
		if (blocks[id].ptr)
			verify(&blocks[id]);
}

/* ---- ownership ---- */

int own(void *ptr, size_t size, int how, bool light)
{
	struct block *b;
	size_t first, n;
	int id;

	if (!ptr)
		fail("NULL for %zu bytes", size);
	if ((uintptr_t)ptr % GRANULE)
		fail("block %p is misaligned", ptr);
	for (id = lowest; id < top && blocks[id].ptr; id++)
		;
	if (id == MAX_BLOCKS)
		fail("the driver's table of blocks is full");
	b = &blocks[id];
	*b = (struct block){ ptr, size, next_seed++, how, light };
	lowest = id + 1;
	if (id == top)
		top++;
	first = shadow_of(b, &n);
	if (!shadow_flip(first, n, true))
		fail("block %p of %zu bytes was handed out twice", ptr, size);
	pattern_write(b);
	return id;
}

void *disown(int id)
{
	struct block *b = &blocks[id];
	void *ptr = b->ptr;
	size_t first, n;

	verify(b);
	first = shadow_of(b, &n);
	if (!shadow_flip(first, n, false))
		fail("the shadow of block %p is torn", ptr);
	b->ptr = NULL;
	if (id < lowest)
		lowest = id;
	while (top > 0 && !blocks[top - 1].ptr)
		top--;
	return ptr;
}

void *block_at(int id)
{
	return blocks[id].ptr;
}

uint64_t block_seed(int id)
{
	return blocks[id].seed;
}

void drop(int id)
{
	int how = blocks[id].how, before = errno;
	size_t size = blocks[id].size;
	void *ptr = disown(id);

	errno = ERRNO_SENTRY;
	if (how == BY_FREE)
		labyrinth_free(ptr);
	else if (how == BY_UNMAP && labyrinth_munmap(ptr, size))
		fail("munmap was refused: %d", errno);
	else if (how >= 0)
		labyrinth_free_pages(ptr, (unsigned int)how);
	if (errno != ERRNO_SENTRY)
		fail("a free changed errno to %d", errno);
	errno = before;
}

void drop_all(void)
{
	while (top > 0)
		drop(top - 1);
}

unsigned int live_of_class(unsigned int cls)
{
	unsigned int n = 0;
	int id;

	for (id = 0; id < top; id++)
		n += blocks[id].ptr && lab_mem_kind(blocks[id].ptr) == cls;
	return n;
}

/* ---- obtaining ---- */

static int take_any(size_t size, bool light)
{
	int before = errno, id;

	errno = ERRNO_SENTRY;
	id = own(labyrinth_heap_malloc(size), size, BY_FREE, light);
	if (errno != ERRNO_SENTRY)
		fail("a malloc changed errno to %d", errno);
	errno = before;
	return id;
}

int take(size_t size)
{
	return take_any(size, false);
}

int take_light(size_t size)
{
	return take_any(size, true);
}

int take_atomic(uint32_t gfp, unsigned int order)
{
	int before = errno, id = -1;
	void *page;

	errno = ERRNO_SENTRY;
	page = order ? labyrinth_alloc_pages(gfp, order) : labyrinth_alloc_page(gfp);
	if (page)
		id = own(page, LABYRINTH_PAGE_SIZE << order, (int)order, true);
	if (errno != ERRNO_SENTRY && (page || !(gfp & LABYRINTH___GFP_DIRECT_RECLAIM)))
		fail("a page call changed errno to %d", errno);
	errno = before;
	return id;
}

int take_object(size_t size)
{
	int before = errno, id = -1;
	void *ptr;

	errno = ERRNO_SENTRY;
	ptr = labyrinth_malloc(size, LABYRINTH_GFP_ATOMIC);
	if (ptr)
		id = own(ptr, size, BY_FREE, false);
	if (errno != ERRNO_SENTRY)
		fail("an atomic malloc changed errno to %d", errno);
	errno = before;
	return id;
}

int take_pages(uint32_t gfp, unsigned int order)
{
	int id = take_atomic(gfp, order);

	if (id < 0)
		fail("no pages of order %u, gfp %#x", order, gfp);
	return id;
}

int take_map(size_t size, bool changed)
{
	const int prot = PROT_READ | PROT_WRITE;
	int before = errno, id;
	char *ptr;
	size_t i;

	errno = ERRNO_SENTRY;
	ptr = labyrinth_mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ptr == MAP_FAILED)
		fail("mmap of %zu bytes: %d", size, errno);
	for (i = 0; i < size; i += 512)
		if (ptr[i])
			fail("byte %zu of a new mapping is not zero", i);
	id = own(ptr, size, BY_UNMAP, true);
	if (changed && labyrinth_mprotect(ptr, size, prot))
		fail("mprotect: %d", errno);
	if (errno != ERRNO_SENTRY)
		fail("mmap or mprotect changed errno to %d", errno);
	errno = before;
	return id;
}
