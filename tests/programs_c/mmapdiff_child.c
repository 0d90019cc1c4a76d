/* SPDX-License-Identifier: MIT */
/* The children of mmapdiff.c: each does what it is told, and notes what came of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mmapdiff.h"

/* where the plain child's mappings begin */
#define NOBODY ((uintptr_t)1 << 40)

static struct side *me;
static bool is_plain; /* without the library */
static uintptr_t cursor = NOBODY;
static int file, self;
static sigjmp_buf back;
static volatile sig_atomic_t is_expected;

static void on_fault(int sig)
{
	if (!is_expected)
		_exit(5);
	siglongjmp(back, sig);
}

static void *fresh_address(void)
{
	cursor += 64 * PAGE;
	if (cursor > NOBODY + (1ul << 36))
		cursor = NOBODY;
	return (void *)cursor;
}

static struct object *free_object(void)
{
	unsigned int i;

	for (i = 0; i < OBJECTS; i++)
		if (!me->object[i].pages)
			return &me->object[i];
	return NULL;
}

static void set_mapped(struct object *o, int page, int pages, bool mapped)
{
	for (; pages > 0; pages--, page++)
		if (page >= 0 && page < (int)o->pages)
			o->mapped[page] = mapped;
}

static void start_object(struct object *o, uintptr_t base, int pages)
{
	o->base = base;
	o->pages = (uint32_t)pages;
	memset(o->mapped, 0, sizeof(o->mapped));
	set_mapped(o, 0, pages, true);
}

static int fd_of(const struct op *op)
{
	return op->y & MAP_ANONYMOUS ? -1 : file;
}

/* present, and as it was */
static void touch(char *page)
{
	__asm__ volatile("lock; orb $0, %0" : "+m"(*page));
}

/*
 * Pages that may be written are present: what the kernel moves to a place of its own
 * choice would else become one with what happens to lie there.
 */
static void touch_mapped(struct object *o, const struct op *op)
{
	volatile int i;

	is_expected = 1;
	for (i = 0; i < op->pages && op->page + i < (int)o->pages; i++)
		if (o->mapped[op->page + i] && !sigsetjmp(back, 1))
			touch((char *)o->base + (size_t)(op->page + i) * PAGE);
	is_expected = 0;
}

static void do_map_new(const struct op *op, struct result *r)
{
	struct object *o = free_object();
	bool may_be_routed = op->pages <= 16 && !op->new_pages &&
			     op->x == (PROT_READ | PROT_WRITE) &&
			     op->y == (MAP_PRIVATE | MAP_ANONYMOUS);
	void *at = is_plain || !may_be_routed ? fresh_address() : NULL;
	char *p;
	int i;

	if (!o)
		return;
	p = mmap(at, (size_t)op->pages * PAGE - (size_t)op->cut, op->x, op->y, fd_of(op),
		 (off_t)op->new_pages * PAGE);
	r->value = p != MAP_FAILED;
	if (p == MAP_FAILED || op->pages <= 0)
		return;
	start_object(o, (uintptr_t)p, op->pages);
	for (i = 0; may_be_routed && i < op->pages; i++)
		touch(p + (size_t)i * PAGE);
}

static void do_map_at(struct object *o, const struct op *op, char *at, size_t len, struct result *r)
{
	char *p = mmap(at, len, op->x, op->y, fd_of(op), (off_t)op->new_pages * PAGE);
	bool is_anon = op->y & MAP_PRIVATE && op->y & MAP_ANONYMOUS;
	size_t i;

	r->value = p == MAP_FAILED ? -1 : p == at;
	if (p != MAP_FAILED && p != at) {
		munmap(p, len);
		return;
	}
	if (p != at)
		return;
	set_mapped(o, op->page, op->pages, true);
	/* it may have become one with a routed page, which is touched */
	for (i = 0; is_anon && op->x & PROT_WRITE && i < len; i += PAGE)
		touch(p + i);
}

/* the kernel has put it behind itself: whether it could is no matter */
static void ungrow(char *at, size_t old_len, size_t new_len, struct result *r)
{
	munmap(at + old_len, new_len - old_len);
	r->value = -1;
	r->err = ENOMEM;
}

static void do_remap(struct object *o, const struct op *op, char *at, struct result *r)
{
	size_t old_len = (size_t)op->pages * PAGE, new_len = (size_t)op->new_pages * PAGE;
	struct object *to = &me->object[op->to_object], *made = free_object();
	bool fixed = op->x & MREMAP_FIXED, into = fixed && op->y && to->pages;
	char *target = into ? (char *)to->base + op->to_page * PAGE : fresh_address(), *p;
	bool was[SPAN];
	int i;

	if (into ? op->to_page + op->new_pages > (int)to->pages : !made)
		return;
	if (op->x & MREMAP_MAYMOVE && !fixed)
		touch_mapped(o, op);
	p = mremap(at, old_len, new_len, op->x, target);
	r->err = errno;
	r->value = p == MAP_FAILED ? -1 : p == at ? 1 : fixed ? 3 : 2;
	if (p == MAP_FAILED)
		return;
	if (p == at && new_len > old_len && !(op->x & MREMAP_MAYMOVE)) {
		ungrow(at, old_len, new_len, r);
		return;
	}
	/* away from where the kernel put it, which may be a hole that is worked on */
	if (op->x & MREMAP_MAYMOVE && !fixed && (p != at || new_len > old_len)) {
		p = mremap(p, new_len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED, fresh_address());
		r->value = p == MAP_FAILED ? -3 : 2;
	}
	if (p == at) {
		set_mapped(o, op->page + op->new_pages, op->pages - op->new_pages, false);
		return;
	}
	memcpy(was, o->mapped, sizeof(was));
	if (!(op->x & MREMAP_DONTUNMAP))
		set_mapped(o, op->page, op->pages, false);
	if (!into)
		start_object(made, (uintptr_t)p, op->new_pages);
	/* over a hole the kernel moves nothing, and leaves what was there */
	for (i = 0; i < op->new_pages; i++) {
		bool moved = i >= op->pages || was[op->page + i];

		if (moved || !into)
			set_mapped(into ? to : made, (into ? op->to_page : 0) + i, 1, moved);
	}
}

static uint32_t mix(uint32_t h, uint64_t x)
{
	return (h ^ (uint32_t)(x ^ x >> 32)) * 0x9e3779b1u + 0x7f4a7c15u;
}

/* write a few words, or find that one may not */
static void do_write(struct object *o, const struct op *op, struct result *r)
{
	volatile uint32_t rnd = op->seed;
	volatile int i;
	int sig;

	for (i = 0; i < op->pages; i++) {
		volatile uint64_t *word;

		if (!o->mapped[op->page + i])
			continue;
		rnd = mix(rnd, (uint64_t)i);
		word = (uint64_t *)(o->base + (size_t)(op->page + i) * PAGE + rnd % 512 * 8);
		is_expected = 1;
		sig = sigsetjmp(back, 1);
		if (!sig)
			*word = rnd;
		is_expected = 0;
		r->more = mix(r->more, (uint64_t)sig);
	}
}

/* what a child of fork() sees of the object */
static void do_fork(struct object *o, struct result *r)
{
	uint32_t h = 1, i, k;
	int ends[2];
	pid_t pid;

	if (pipe(ends))
		return;
	pid = fork();
	if (pid == 0) {
		is_expected = 1;
		for (i = 0; i < o->pages; i++) {
			int sig = o->mapped[i] ? sigsetjmp(back, 1) : 1;

			for (k = 0; !sig && k < PAGE / 8; k++)
				h = mix(h, ((volatile uint64_t *)(o->base + (size_t)i * PAGE))[k]);
			h = mix(h, (uint64_t)sig);
			/* its own copy */
			if (o->mapped[i] && !sigsetjmp(back, 1))
				*(volatile uint64_t *)(o->base + (size_t)i * PAGE) = h;
		}
		h = mix(h, (uint64_t)munmap((void *)o->base, (size_t)o->pages * PAGE));
		_exit(write(ends[1], &h, sizeof(h)) != sizeof(h));
	}
	close(ends[1]);
	if (read(ends[0], &r->more, sizeof(r->more)) != sizeof(r->more))
		r->more = 0;
	close(ends[0]);
	waitpid(pid, NULL, 0);
}

static void do_incore(char *at, size_t len, struct result *r)
{
	unsigned char vec[SPAN + 8];
	unsigned int i;

	memset(vec, 0x55, sizeof(vec));
	r->value = mincore(at, len, vec);
	r->err = errno;
	for (i = 0; i < sizeof(vec); i++)
		r->more = mix(r->more, vec[i] != 0x55);
}

static long on_range(const struct op *op, char *at, size_t len)
{
	struct iovec vec = { at, len };

	switch (op->what) {
	case PROTECT:
		return mprotect(at, len, op->x);
	case PKEY_PROTECT:
		return pkey_mprotect(at, len, op->x, op->y);
	case ADVISE:
		return madvise(at, len, op->x);
	case POSIX_ADVISE:
		return posix_madvise(at, len, op->x);
	case LOCK:
		return mlock(at, len);
	case LOCK2:
		return mlock2(at, len, (unsigned int)op->x);
	case UNLOCK:
		return munlock(at, len);
	case SYNC:
		return msync(at, len, op->x);
	case SELF_ADVISE:
		return process_madvise(self, &vec, 1, op->x, 0);
	default:
		return remap_file_pages(at, len, op->x, (size_t)op->new_pages, op->y);
	}
}

/* the range as it fits into the object; one that is skewed reaches a page further */
static struct op fitted(struct op op, const struct object *o)
{
	int pages = (int)o->pages;

	if (op.what == MAP_NEW || !pages)
		return op;
	op.page = (int16_t)(op.page % pages);
	if (op.skew && op.page + 1 == pages)
		op.skew = 0;
	if (op.page + op.pages + (op.skew != 0) > pages)
		op.pages = (int16_t)(pages - op.page - (op.skew != 0));
	return op;
}

static void do_op(const struct op *raw, struct result *r)
{
	struct object *o = &me->object[raw->object];
	struct op fit = fitted(*raw, o), *op = &fit;
	char *at = (char *)o->base + op->page * PAGE + op->skew;
	size_t len = (size_t)op->pages * PAGE - (size_t)op->cut;

	errno = 0;
	if (op->what == MAP_NEW) {
		do_map_new(op, r);
	} else if (!o->pages) {
		return;
	} else if (op->what == MAP_AT) {
		do_map_at(o, op, at, len, r);
	} else if (op->what == UNMAP) {
		r->value = munmap(at, len);
		if (!r->value)
			set_mapped(o, op->page, op->pages, false);
	} else if (op->what == INCORE) {
		do_incore(at, len, r);
		return;
	} else if (op->what == REMAP) {
		do_remap(o, op, at, r);
		return;
	} else if (op->what == WRITE) {
		do_write(o, op, r);
		return;
	} else if (op->what == FORK) {
		do_fork(o, r);
		return;
	} else {
		r->value = on_range(op, at, len);
	}
	r->err = errno;
	if ((op->what == LOCK || op->what == LOCK2) && r->value)
		touch_mapped(o, op);
}

/* all gone again, and the file as new */
static void end_sequence(void)
{
	unsigned int i;

	for (i = 0; i < OBJECTS; i++) {
		struct object *o = &me->object[i];

		if (!o->pages)
			continue;
		me->result[OPS + i].value = munmap((void *)o->base, (size_t)o->pages * PAGE);
		/* and once more: nothing is there, which is no error */
		me->result[OPS + i].more =
			(uint32_t)munmap((void *)o->base, (size_t)o->pages * PAGE);
		memset(o, 0, sizeof(*o));
	}
	if (ftruncate(file, 0) || ftruncate(file, FILE_PAGES * PAGE))
		_exit(4);
}

static void run_sequence(void)
{
	uint32_t i;

	memset(me->result, 0, sizeof(me->result));
	for (i = 0; i < shared->nr; i++)
		do_op(&shared->op[i], &me->result[i]);
	for (i = 0; i < FILE_PAGES; i++)
		if (pread(file, me->file[i], 8, (off_t)i * PAGE) != 8)
			_exit(4);
}

int mmapdiff_child(int side, int memory, int in, int out)
{
	static const int signals[] = { SIGSEGV, SIGBUS };
	struct sigaction action = { .sa_handler = on_fault };
	unsigned int i;
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	file = memfd_create("mmapdiff", 0);
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (shared == MAP_FAILED || file < 0 || ftruncate(file, FILE_PAGES * PAGE))
		return 3;
	me = &shared->side[side];
	is_plain = !side;
	for (i = 0; i < 2; i++)
		sigaction(signals[i], &action, NULL);
	while (read(in, &c, 1) == 1) {
		if (shared->end)
			end_sequence();
		else
			run_sequence();
		if (write(out, &c, 1) != 1)
			break;
	}
	return 0;
}
