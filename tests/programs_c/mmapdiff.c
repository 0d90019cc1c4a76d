/* SPDX-License-Identifier: MIT */
/*
 * The same calls in two processes, one under the library and one not: every
 * result, errno, byte and permission has to be the same.
 *
 *	mmapdiff [-n SEQUENCES] [-s SEED] [-v] LIBRARY
 *
 * The parent makes up sequences of calls and writes them where both children
 * read them.  A sequence creates a few mappings, works on random ranges of
 * them, holes included, and ends.  Then the parent compares what the calls
 * returned, reads the pages by process_vm_readv() and /proc/PID/maps, and lets
 * both unmap everything.
 *
 * Where the kernel is free to choose, the children are made to agree:
 *   - Without the library, mappings are made at addresses of their own, so that
 *     none falls into a hole that the sequence has made.
 *   - mremap() that may grow in place or not counts as refused, and is undone.
 *   - Pages are read and written while they are mapped, as far as the child
 *     can tell from the results: a page of the library's does not fault when
 *     it is used after munmap().
 *   - What could be routed is touched at once, and what mremap() moves to a place
 *     of the kernel's choice before that.  Whether two mappings become one
 *     to the kernel, over which mremap() may then reach, depends on that.
 *   - Pages of one object may be several mappings to the kernel, which merges
 *     neighbours as they come, and mremap() is refused then in one child alone.
 *     Such a sequence ends there; of 10000, one may.
 *   - A mlock() that fails at a hole leaves pages before it present or not: they
 *     are touched.  A private page of a file that is not yet present shows
 *     what is written to the file later.
 *   - Of mincore() the reach of the vector counts, not what it says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mmapdiff.h"

static const char *const what_name[NR_WHAT] = {
	"mmap",	   "mmap at",	    "munmap",	       "mprotect",	   "pkey_mprotect",
	"madvise", "posix_madvise", "mlock",	       "mlock2",	   "munlock",
	"msync",   "mincore",	    "process_madvise", "remap_file_pages", "mremap",
	"write",   "fork"
};

struct shared *shared;
static bool verbose;

struct worker {
	pid_t pid;
	int to, from;
	char *maps;
	size_t maps_len;
};

static struct worker worker[2];
static uint64_t seed, calls, ended_early;
static uint64_t count[NR_WHAT], succeeded[NR_WHAT];

static uint32_t below(uint32_t n)
{
	uint64_t x = seed += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)((x ^ (x >> 31)) >> 8) % n;
}

#define ONE_OF(list) list[below(sizeof(list) / sizeof(*(list)))]

static const int prots[] = { 0, 1, 3, 3, 3, 3, 5, 7, 1, 2, 0x10, PROT_READ | PROT_GROWSDOWN };
static const int advices[] = { 0,  1,  2,  3,  4,  4,  4,  8,  8,  9,  10, 11,	12,  13, 14,
			       15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 99, 102, 103, -1 };
static const int map_flags[] = { MAP_PRIVATE | MAP_ANONYMOUS,
				 MAP_PRIVATE | MAP_ANONYMOUS,
				 MAP_SHARED | MAP_ANONYMOUS,
				 MAP_PRIVATE,
				 MAP_SHARED,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				 MAP_ANONYMOUS };
static const int remap_flags[] = { 0,
				   MREMAP_MAYMOVE,
				   MREMAP_MAYMOVE,
				   MREMAP_MAYMOVE | MREMAP_FIXED,
				   MREMAP_MAYMOVE | MREMAP_FIXED,
				   MREMAP_FIXED,
				   MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
				   MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED,
				   8 };

static void make_new(struct op *op)
{
	op->what = MAP_NEW;
	op->pages = (int16_t)(below(3) ? 1 + below(below(2) ? 2 : 16) : 1 + below(SPAN));
	op->x = PROT_READ | PROT_WRITE;
	op->y = MAP_PRIVATE | MAP_ANONYMOUS;
	if (below(8) == 0) {
		op->x = ONE_OF(prots);
		op->y = ONE_OF(map_flags);
		op->new_pages = (int16_t)below(4);
	}
	if (below(6) == 0)
		op->cut = (int16_t)below(PAGE);
}

static void make_range(struct op *op, unsigned int nr_objects)
{
	op->object = (uint8_t)below(nr_objects);
	op->page = (int16_t)below(below(2) ? 4 : 16);
	op->pages = (int16_t)(1 + below(below(2) ? 4 : 16));
	if (below(8) == 0) {
		op->page = 0;
		op->pages = 1;
	}
	if (below(10) == 0)
		op->cut = (int16_t)below(PAGE);
	if (below(30) == 0)
		op->pages = 0, op->cut = 0;
	if (below(40) == 0)
		op->skew = (int16_t)(1 + below(PAGE - 1));
}

static void make_remap(struct op *op)
{
	op->cut = op->skew = 0;
	op->x = ONE_OF(remap_flags);
	op->new_pages = below(3) ? op->pages : (int16_t)below(SPAN);
	op->to_page = (int16_t)below(8);
	op->y = (int32_t)below(2);
	op->to_object = (uint8_t)below(OBJECTS);
}

static void make_op(struct op *op, unsigned int nr_objects)
{
	static const uint8_t whats[] = { MAP_AT,  MAP_AT,	UNMAP,	UNMAP,	     PROTECT,
					 PROTECT, PKEY_PROTECT, ADVISE, ADVISE,	     POSIX_ADVISE,
					 LOCK,	  LOCK2,	UNLOCK, SYNC,	     INCORE,
					 REMAP,	  REMAP,	WRITE,	SELF_ADVISE, FILE_PAGES_,
					 WRITE,	  WRITE,	WRITE };

	op->what = ONE_OF(whats);
	if (below(150) == 0)
		op->what = FORK;
	op->seed = below(1u << 31);
	make_range(op, nr_objects);
	op->x = ONE_OF(prots);
	switch (op->what) {
	case MAP_AT:
		op->y = ONE_OF(map_flags) | (below(3)	? MAP_FIXED
					     : below(2) ? MAP_FIXED_NOREPLACE
							: 0);
		op->new_pages = (int16_t)below(8);
		break;
	case PKEY_PROTECT:
		op->y = (int)below(3) - 1;
		break;
	case ADVISE:
	case SELF_ADVISE:
		op->x = ONE_OF(advices);
		break;
	case POSIX_ADVISE:
	case SYNC:
		op->x = (int)below(8);
		break;
	case LOCK2:
		op->x = (int)below(3);
		break;
	case FILE_PAGES_:
		op->x = 0;
		op->y = 0;
		op->new_pages = (int16_t)below(8);
		break;
	case REMAP:
		make_remap(op);
		break;
	case WRITE:
	case FORK:
		op->cut = op->skew = 0;
		break;
	default:
		break;
	}
}

/*
 * What was freed lazily and is paged out afterwards may read as zero or as it did:
 * the kernel itself drops it only if the page is on this CPU's list (the same calls
 * with a move to another CPU between them: kept 1997 times of 2000, without 1).
 */
static void leave_to_the_kernel(void)
{
	bool lazy = false;
	uint32_t i;

	for (i = 0; i < shared->nr; i++) {
		struct op *op = &shared->op[i];

		if (op->what != ADVISE && op->what != SELF_ADVISE)
			continue;
		lazy |= op->x == MADV_FREE;
		if (lazy && op->x == MADV_PAGEOUT)
			op->x = MADV_COLD;
	}
}

static void make_sequence(void)
{
	unsigned int objects = 1 + below(3), i;

	memset(shared->op, 0, sizeof(shared->op));
	shared->nr = objects + 1 + below(OPS - objects);
	for (i = 0; i < objects; i++)
		make_new(&shared->op[i]);
	for (; i < shared->nr; i++)
		make_op(&shared->op[i], objects + 1);
	leave_to_the_kernel();
	shared->end = false;
}

static void print_sequence(void)
{
	uint32_t i;

	for (i = 0; i < shared->nr; i++) {
		const struct op *op = &shared->op[i];
		const struct result *a = &shared->side[0].result[i],
				    *b = &shared->side[1].result[i];

		printf("  %2u %-16s object %u page %d pages %d skew %d cut %d x %#x y %#x new %d "
		       "to %u/%d"
		       ": %lld errno %d more %#x | %lld errno %d more %#x%s\n",
		       i, what_name[op->what], op->object, op->page, op->pages, op->skew, op->cut,
		       op->x, op->y, op->new_pages, op->to_object, op->to_page, (long long)a->value,
		       a->err, a->more, (long long)b->value, b->err, b->more,
		       memcmp(a, b, sizeof(*a)) ? "   <--" : "");
	}
}

static _Noreturn void differ(uint64_t at, uint64_t before, const char *what)
{
	printf("FAILED  sequence %llu (-s %#llx -n 1): %s; kernel | library:\n",
	       (unsigned long long)at, (unsigned long long)before, what);
	print_sequence();
	exit(1);
}

static void go(uint64_t at, uint64_t before)
{
	unsigned int i;
	char c = 0;

	for (i = 0; i < 2; i++)
		if (write(worker[i].to, &c, 1) != 1)
			differ(at, before, "a child is gone");
	for (i = 0; i < 2; i++)
		if (read(worker[i].from, &c, 1) != 1)
			differ(at, before,
			       i ? "the child under the library died" : "the plain child died");
}

static void read_maps(struct worker *w)
{
	char path[40];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)w->pid);
	fd = open(path, O_RDONLY);
	w->maps_len = 0;
	while ((n = read(fd, w->maps + w->maps_len, (1 << 20) - 1 - w->maps_len)) > 0)
		w->maps_len += (size_t)n;
	w->maps[w->maps_len] = '\0';
	close(fd);
}

/* "rwxp" of the page, or "none" */
static void perms(const struct worker *w, uintptr_t at, char *out)
{
	const char *line = w->maps;
	char *rest;

	memcpy(out, "none", 5);
	while (*line) {
		uintptr_t from = strtoul(line, &rest, 16), to = strtoul(rest + 1, &rest, 16);

		if (at >= from && at < to) {
			memcpy(out, rest + 1, 4);
			return;
		}
		line = strchr(rest, '\n') + 1;
	}
}

/* the mapped pages of an object; those that cannot be read are marked */
static void read_pages(const struct worker *w, const struct object *o, unsigned char *to)
{
	uint32_t i;

	for (i = 0; i < o->pages; i++) {
		struct iovec local = { to + (size_t)i * PAGE, PAGE };
		struct iovec remote = { (void *)(o->base + (size_t)i * PAGE), PAGE };

		memset(local.iov_base, 0xee, PAGE);
		if (o->mapped[i] && process_vm_readv(w->pid, &local, 1, &remote, 1, 0) != PAGE)
			memset(local.iov_base, 0xdd, PAGE);
	}
}

/* is the first difference that mremap() found one mapping here and several there */
static bool is_merged_otherwise(void)
{
	const struct result *a = shared->side[0].result, *b = shared->side[1].result;
	uint32_t i;

	for (i = 0; i < shared->nr && !memcmp(&a[i], &b[i], sizeof(*a)); i++)
		;
	return i < shared->nr && shared->op[i].what == REMAP && shared->op[i].pages > 1 &&
	       ((a[i].err == EFAULT && b[i].value > 0) || (b[i].err == EFAULT && a[i].value > 0));
}

static void compare(uint64_t at, uint64_t before, bool with_maps)
{
	static unsigned char bytes[2][SPAN * PAGE];
	const struct side *a = &shared->side[0], *b = &shared->side[1];
	unsigned int i, k;
	char pa[5], pb[5];

	if (memcmp(a->result, b->result, sizeof(a->result)))
		differ(at, before, "results");
	if (memcmp(a->file, b->file, sizeof(a->file)))
		differ(at, before, "contents of the file");
	if (with_maps) {
		read_maps(&worker[0]);
		read_maps(&worker[1]);
	}
	for (i = 0; i < OBJECTS; i++) {
		const struct object *oa = &a->object[i], *ob = &b->object[i];

		if (oa->pages != ob->pages || memcmp(oa->mapped, ob->mapped, sizeof(oa->mapped)))
			differ(at, before, "what is mapped");
		read_pages(&worker[0], oa, bytes[0]);
		read_pages(&worker[1], ob, bytes[1]);
		if (memcmp(bytes[0], bytes[1], oa->pages * (size_t)PAGE)) {
			for (k = 0; bytes[0][k] == bytes[1][k]; k++)
				;
			printf("object %u, page %u, byte %u: %#x | %#x (0xdd: not readable)\n", i,
			       k / PAGE, k % PAGE, bytes[0][k], bytes[1][k]);
			differ(at, before, "bytes");
		}
		for (k = 0; with_maps && k < oa->pages; k++) {
			if (!oa->mapped[k])
				continue;
			perms(&worker[0], oa->base + k * (size_t)PAGE, pa);
			perms(&worker[1], ob->base + k * (size_t)PAGE, pb);
			if (memcmp(pa, pb, 4)) {
				printf("object %u page %u: %s | %s\n", i, k, pa, pb);
				differ(at, before, "permissions");
			}
		}
	}
}

static void tally(void)
{
	uint32_t i;

	for (i = 0; i < shared->nr; i++) {
		const struct result *r = &shared->side[0].result[i];

		count[shared->op[i].what]++;
		succeeded[shared->op[i].what] += !r->err && r->value >= 0;
	}
	calls += shared->nr;
}

static void start_worker(unsigned int side, char *program, const char *library, int memory)
{
	char number[4][12], preload[4096];
	int to[2], from[2];
	char *argv[] = { program, "--child", number[0], number[1], number[2], number[3], NULL };

	/* neither child holds an end of the other's */
	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		exit(3);
	worker[side].maps = malloc(1 << 20);
	worker[side].pid = fork();
	if (worker[side].pid == 0) {
		int in = dup(to[0]), out = dup(from[1]);

		snprintf(number[0], 12, "%u", side);
		snprintf(number[1], 12, "%d", dup(memory));
		snprintf(number[2], 12, "%d", in);
		snprintf(number[3], 12, "%d", out);
		snprintf(preload, sizeof(preload), "%s", library);
		if (side)
			setenv("LD_PRELOAD", preload, 1);
		else
			unsetenv("LD_PRELOAD");
		execv("/proc/self/exe", argv);
		_exit(3);
	}
	worker[side].to = to[1];
	worker[side].from = from[0];
	close(to[0]);
	close(from[1]);
}

static int parent(char *program, const char *library, uint64_t sequences)
{
	int memory = memfd_create("shared", MFD_CLOEXEC);
	uint64_t i, before;
	bool early;
	unsigned int k;

	if (memory < 0 || ftruncate(memory, sizeof(*shared)))
		return 3;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("mmapdiff: seed %#llx\n", (unsigned long long)seed);
	for (k = 0; k < 2; k++)
		start_worker(k, program, library, memory);
	for (i = 0; i < sequences; i++) {
		before = seed;
		make_sequence();
		go(i, before);
		if (verbose)
			print_sequence();
		early = is_merged_otherwise() && ended_early++ <= i / 10000;
		if (!early)
			compare(i, before, true);
		tally();
		shared->end = true;
		go(i, before);
		if (!early && memcmp(shared->side[0].result, shared->side[1].result,
				     sizeof(shared->side[0].result)))
			differ(i, before, "the last munmap");
	}
	for (k = 0; k < 2; k++) {
		close(worker[k].to);
		waitpid(worker[k].pid, NULL, 0);
	}
	for (k = 0; k < NR_WHAT; k++)
		printf("  %-16s %9llu, %llu without an error\n", what_name[k],
		       (unsigned long long)count[k], (unsigned long long)succeeded[k]);
	printf("mmapdiff: %llu sequences (%llu ended early), %llu calls: no difference\n",
	       (unsigned long long)sequences, (unsigned long long)ended_early,
	       (unsigned long long)calls);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t sequences = 10000;
	int opt;

	if (argc == 6 && !strcmp(argv[1], "--child"))
		return mmapdiff_child(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	seed = (uint64_t)getpid() << 32 ^ (uint64_t)time(NULL);
	while ((opt = getopt(argc, argv, "n:s:v")) != -1) {
		if (opt == 'n')
			sequences = strtoull(optarg, NULL, 0);
		else if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (opt == 'v')
			verbose = true;
		else
			optind = argc;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: mmapdiff [-n SEQUENCES] [-s SEED] [-v] LIBRARY\n");
		return 2;
	}
	return parent(argv[0], argv[optind], sequences);
}
