/* SPDX-License-Identifier: MIT */
/*
 * mmap() and its kin as the program calls them, beside libc's own
 * functions, in one process and by turns.
 *
 *	LD_PRELOAD=liblabyrinth-preload.so bench_mmap [-t MS] [-r ROUNDS]
 *
 * A round times both sides of a case, the one that begins alternating; the
 * figures are medians over the rounds, and the ratio is the median of the
 * rounds' ratios.  Prints one line of key=value per case.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	MAX_ROUNDS = 999,
	RW = PROT_READ | PROT_WRITE,
	ANON = MAP_PRIVATE | MAP_ANONYMOUS
};

/* libc's own functions, which the library hides */
static struct {
	void *(*mmap)(void *at, size_t len, int prot, int flags, int fd, off_t offset);
	int (*munmap)(void *at, size_t len);
	int (*mprotect)(void *at, size_t len, int prot);
	int (*madvise)(void *at, size_t len, int advice);
	long (*syscall)(long nr, ...);
} libc;

static void *find(void *handle, const char *name)
{
	void *found = handle ? dlsym(handle, name) : NULL;

	if (!found) {
		fprintf(stderr, "bench_mmap: no %s in libc.so.6\n", name);
		exit(1);
	}
	return found;
}

static void find_libc(void)
{
	void *handle = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);

	*(void **)&libc.mmap = find(handle, "mmap");
	*(void **)&libc.munmap = find(handle, "munmap");
	*(void **)&libc.mprotect = find(handle, "mprotect");
	*(void **)&libc.madvise = find(handle, "madvise");
	*(void **)&libc.syscall = find(handle, "syscall");
}

static char *ordinary; /* a mapping that is not routed */

static void touch(char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i += PAGE)
		((volatile char *)p)[i] = 1;
}

/* a side of a case: does it @n times */
#define SIDE(name, body)                                                                           \
	static void name(unsigned int n)                                                           \
	{                                                                                          \
		while (n-- > 0) {                                                                  \
			body                                                                       \
		}                                                                                  \
	}
#define MAP_BOTH(name, len, touched)                                                               \
	SIDE(ours_##name, char *p = mmap(NULL, len, RW, ANON, -1, 0); touch(p, touched);           \
	     munmap(p, len);)                                                                      \
	SIDE(kernels_##name, char *p = libc.mmap(NULL, len, RW, ANON, -1, 0); touch(p, touched);   \
	     libc.munmap(p, len);)

MAP_BOTH(page, PAGE, PAGE)
MAP_BOTH(pages16, 16 * PAGE, 16 * PAGE)
MAP_BOTH(pages16_one, 16 * PAGE, PAGE)
MAP_BOTH(passed, 32 * PAGE, 0)
MAP_BOTH(passed_touched, 32 * PAGE, PAGE)
SIDE(ours_protect, mprotect(ordinary, PAGE, n & 1 ? PROT_READ : RW);)
SIDE(kernels_protect, libc.mprotect(ordinary, PAGE, n & 1 ? PROT_READ : RW);)
SIDE(ours_advise, madvise(ordinary, PAGE, MADV_DONTNEED);)
SIDE(kernels_advise, libc.madvise(ordinary, PAGE, MADV_DONTNEED);)
SIDE(ours_nothing, madvise(ordinary, PAGE, MADV_NORMAL);)
SIDE(kernels_nothing, libc.madvise(ordinary, PAGE, MADV_NORMAL);)
SIDE(ours_syscall, syscall(SYS_getppid);)
SIDE(kernels_syscall, libc.syscall(SYS_getppid);)

static const struct {
	const char *name, *what;
	void (*ours)(unsigned int n), (*kernels)(unsigned int n);
} cases[] = {
	{ "page", "mmap + touch + munmap of a page", ours_page, kernels_page },
	{ "pages-16", "the same of 16 pages, all touched", ours_pages16, kernels_pages16 },
	{ "pages-16-one", "the same, one page touched", ours_pages16_one, kernels_pages16_one },
	{ "passed", "mmap + munmap of 32 pages: passed", ours_passed, kernels_passed },
	{ "passed-touched", "the same, a page touched", ours_passed_touched,
	  kernels_passed_touched },
	{ "mprotect", "mprotect, to and fro: passed", ours_protect, kernels_protect },
	{ "madvise", "madvise(DONTNEED): passed", ours_advise, kernels_advise },
	{ "madvise-normal", "madvise(NORMAL), which does nothing: passed", ours_nothing,
	  kernels_nothing },
	{ "syscall", "syscall(SYS_getppid): passed", ours_syscall, kernels_syscall },
};

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double time_side(void (*side)(unsigned int n), unsigned int n)
{
	double start = now_ns();

	side(n);
	return (now_ns() - start) / n;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned int n)
{
	qsort(values, n, sizeof(*values), compare);
	return values[n / 2];
}

/* as often as takes @us microseconds */
static unsigned int fitting(void (*side)(unsigned int n), double us)
{
	double each;

	side(100);
	each = time_side(side, 200);
	return (unsigned int)(us * 1000 / each) + 1;
}

static void run(unsigned int c, unsigned int rounds, double us)
{
	static double ours[MAX_ROUNDS], kernels[MAX_ROUNDS], ratio[MAX_ROUNDS];
	unsigned int n_ours = fitting(cases[c].ours, us), n_kernels = fitting(cases[c].kernels, us);
	unsigned int r;
	double m, k;

	for (r = 0; r < rounds; r++) {
		if (r % 2)
			ours[r] = time_side(cases[c].ours, n_ours);
		kernels[r] = time_side(cases[c].kernels, n_kernels);
		if (r % 2 == 0)
			ours[r] = time_side(cases[c].ours, n_ours);
		ratio[r] = ours[r] / kernels[r];
	}
	m = median(ours, rounds);
	k = median(kernels, rounds);
	printf("case=%s ours=%.1f kernel=%.1f ratio=%.4f inverse=%.1f rounds=%u what=\"%s\"\n",
	       cases[c].name, m, k, median(ratio, rounds), 1 / median(ratio, rounds), rounds,
	       cases[c].what);
}

int main(int argc, char **argv)
{
	unsigned int rounds = 101, c;
	double ms = 1;
	int opt;

	while ((opt = getopt(argc, argv, "t:r:")) != -1) {
		if (opt == 't')
			ms = strtod(optarg, NULL);
		else if (opt == 'r')
			rounds = (unsigned int)strtoul(optarg, NULL, 10);
		else
			rounds = 0;
	}
	if (optind != argc || !rounds || rounds > MAX_ROUNDS || ms <= 0) {
		fprintf(stderr, "usage: bench_mmap [-t MS] [-r ROUNDS (1 .. %d)]\n", MAX_ROUNDS);
		return 2;
	}
	find_libc();
	ordinary = libc.mmap(NULL, 1 << 20, RW, ANON, -1, 0);
	touch(ordinary, 1 << 20);
	for (c = 0; c < sizeof(cases) / sizeof(*cases); c++)
		run(c, rounds, ms * 1000);
	return 0;
}
