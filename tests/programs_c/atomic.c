// SPDX-License-Identifier: MIT
/*
 * Atomic requests in a handler, on an alternate stack of 16 KiB, from a full reserve.
 *
 *	atomic faults [N]     N allocations (10^6) of every kind: no page fault
 *	atomic killed [N]     the same under a filter that kills on any system call but
 *	                      rt_sigreturn, exit_group
 *	atomic only KIND      10^5 of one kind, under that filter
 *	atomic first KIND     the first calls of this kind in the process: no page fault
 *	atomic moved          the first section of the process, on another CPU than all before,
 *	                      frees and resizes what ordinary calls made: no page fault
 *	atomic forked [N]     exclusive pages while children are forked and reaped: no
 *	                      page fault in the parent
 *	atomic reports        failing requests write nothing; flush writes one report
 *	atomic unlocked [quiet]   zones that could not be locked; no exclusive request if quiet
 *	atomic enomem [filter]    malloc() returns NULL with ENOMEM, under RLIMIT_AS or when
 *	                      mmap() and mremap() fail by a filter; 100 atomic pages
 *	                      are there, and more, down to the floor
 *	atomic cgroup         while another thread waits for memory in page faults, for
 *	                      want of it in the cgroup: 10^5 atomic requests
 *	atomic kinds          their names
 *
 * exit: 0 well; 1 usage or surroundings; 2 a page fault; 3 not as promised;
 *       16 + kind: that kind failed; SIGSYS: a system call
 */
#define _GNU_SOURCE
#include "atomic.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WELL, USAGE, FAULT, BROKEN, KIND_FAILED = 16 };

#define STACK_BYTES (16u << 10)
#define FORKS	    20u

static unsigned long wanted = 1000000;
static unsigned long made;
static unsigned int only = -1u;
static bool use_filter, tell_where;
static volatile int verdict = -1;

/* ---- filters ---- */

#define LOAD(field)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (__u32)offsetof(struct seccomp_data, field))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define IF(nr, what) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), RETURN(what)
#define ARCH                                                                                       \
	LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),                  \
		RETURN(SECCOMP_RET_KILL_PROCESS), LOAD(nr)

static struct sock_filter kill_filter[] = {
	ARCH,
	IF(SYS_rt_sigreturn, SECCOMP_RET_ALLOW),
	IF(SYS_exit_group, SECCOMP_RET_ALLOW),
	RETURN(SECCOMP_RET_KILL_PROCESS),
};

static struct sock_filter enomem_filter[] = {
	ARCH,
	IF(SYS_mmap, SECCOMP_RET_ERRNO | ENOMEM),
	IF(SYS_mremap, SECCOMP_RET_ERRNO | ENOMEM),
	IF(SYS_brk, SECCOMP_RET_ERRNO | ENOMEM),
	RETURN(SECCOMP_RET_ALLOW),
};

static void filter_on(struct sock_filter *filter, size_t bytes)
{
	struct sock_fprog program = { .len = (unsigned short)(bytes / sizeof(*filter)),
				      .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0)) {
		perror("seccomp");
		_exit(USAGE);
	}
}

/* ---- in the handler ---- */

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static int run_kinds(void)
{
	unsigned int kind, n;

	do {
		for (kind = 0; kind < atomic_nr_kinds; kind++) {
			/* requests that fail are slow, and many: one round in 32 */
			if ((only != -1u && kind != only) ||
			    (only == -1u && atomic_is_failing(kind) && made % 32))
				continue;
			n = atomic_kinds[kind].run();
			if (!n)
				return KIND_FAILED + (int)kind;
			made += n;
		}
	} while (made < wanted);
	return WELL;
}

static void on_signal(int sig)
{
	long before, after;
	int result;

	(void)sig;
	if (use_filter) {
		filter_on(kill_filter, sizeof(kill_filter));
		verdict = run_kinds();
		return;
	}
	if (tell_where)
		atomic_where_begin();
	before = faults();
	result = run_kinds();
	after = faults();
	verdict = result == WELL && after != before ? FAULT : result;
	if (after == before)
		return;
	fprintf(stderr, "atomic: %ld page faults\n", after - before);
	if (tell_where)
		atomic_where_tell();
}

/* ---- before it ---- */

/* what is the program's own: its text and data, the stacks */
static void prefault(char *stack)
{
	extern char __executable_start[], edata[];

	/* page by page: there may be holes */
	for (char *at = __executable_start; at < edata; at += 4096)
		(void)madvise(at, 4096, MADV_POPULATE_READ);
	memset(stack, 1, STACK_BYTES);
	(void)faults();
}

/* requests that may wait grow the zones up to their caps; then all is free */
static bool fill_zone(enum labyrinth_zone zone, labyrinth_gfp_t gfp)
{
	struct labyrinth_zone_info info;
	void *chain = NULL, *page;

	do {
		page = labyrinth_alloc_page(LABYRINTH_GFP_KERNEL | gfp);
		if (!page)
			return false;
		*(void **)page = chain;
		chain = page;
		labyrinth_zone_info(zone, &info);
	} while (info.managed < info.cap);
	return atomic_release(chain);
}

static bool fill_zones(bool exclusive)
{
	return fill_zone(LABYRINTH_ZONE_RESERVE, 0) &&
	       (!exclusive || fill_zone(LABYRINTH_ZONE_EXCLUSIVE, LABYRINTH_GFP_EXCLUSIVE));
}

static void in_handler(void)
{
	static char memory[STACK_BYTES] __attribute__((aligned(4096)));
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	stack_t stack = { .ss_sp = memory, .ss_size = STACK_BYTES };

	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	prefault(memory);
	raise(SIGUSR1);
	/* no libc here: the filter is still on */
	if (use_filter)
		for (;;)
			syscall(SYS_exit_group, verdict);
}

static int say(void)
{
	if (verdict >= KIND_FAILED)
		printf("atomic: %s failed\n", atomic_kinds[verdict - KIND_FAILED].name);
	else
		printf("atomic: %s (%s), %lu allocations\n", verdict == WELL ? "ok" : "FAILED",
		       labyrinth_pcp_backend(), made);
	return verdict;
}

static bool choose(const char *name)
{
	for (only = 0; only < atomic_nr_kinds; only++)
		if (!strcmp(atomic_kinds[only].name, name))
			break;
	return only < atomic_nr_kinds;
}

static int first(const char *name)
{
	if (!choose(name))
		return USAGE;
	wanted = 1;
	in_handler();
	return say();
}

/* ---- another CPU ---- */

static bool stay_on(int nth)
{
	static cpu_set_t ours;
	cpu_set_t one;
	int cpu;

	if (!CPU_COUNT(&ours) && sched_getaffinity(0, sizeof(ours), &ours))
		return false;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &ours) || nth-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return !sched_setaffinity(0, sizeof(one), &one);
	}
	return false;
}

static int moved(void)
{
	if (!stay_on(1)) {
		printf("atomic: one CPU alone\n");
		return WELL;
	}
	return first("section_ordinary");
}

/* ---- fork ---- */

static bool one_fork(unsigned int i)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		void *page;

		/* the child has no zone of its own until it asks as who may wait */
		if (labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC | LABYRINTH_GFP_EXCLUSIVE |
					 LABYRINTH___GFP_NOWARN))
			_exit(1);
		page = labyrinth_alloc_page(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE);
		labyrinth_free_page(page);
		_exit(!page);
	}
	/* the first are reaped, of the others some live on meanwhile */
	return pid > 0 && (i % 2 || (waitpid(pid, &status, 0) == pid && status == 0));
}

/* what calls from here will use of the stack: fork() has write-protected it */
static __attribute__((noinline)) void touch_stack(void)
{
	volatile char deep[STACK_BYTES];

	for (unsigned int at = 0; at < STACK_BYTES; at += 1024)
		deep[at] = 1;
	(void)deep[0];
}

static int forked(void)
{
	static const char *const names[] = { "exclusive", "excl_zero", "excl_order",
					     "bulk_exclusive" };
	unsigned long each = wanted / FORKS / 4, n;
	long before, after;

	for (unsigned int i = 0; i < FORKS; i++) {
		for (unsigned int k = 0; k < 4; k++) {
			if (!choose(names[k]) || !one_fork(i))
				return BROKEN;
			/* the stack and the program's data are shared with the child */
			touch_stack();
			made = 0;
			atomic_touch();
			/* asked twice: the kernel writes its answer to this stack as well */
			(void)faults();
			before = faults();
			for (n = 0; n < each;) {
				unsigned int got = atomic_kinds[only].run();

				if (!got)
					return KIND_FAILED + (int)only;
				n += got;
			}
			after = faults();
			if (after != before) {
				fprintf(stderr, "atomic: %ld page faults after fork %u, %s\n",
					after - before, i, names[k]);
				return FAULT;
			}
		}
	}
	while (wait(NULL) > 0)
		;
	made = each * FORKS * 4;
	return WELL;
}

/* ---- reports ---- */

static uint64_t events(enum labyrinth_event event)
{
	return labyrinth_event_count(event);
}

static int reports(void)
{
	(void)choose("failing");
	wanted = 1;
	fprintf(stderr, "in the handler\n");
	in_handler();
	fprintf(stderr, "flush\n");
	if (verdict != WELL)
		return verdict;
	if (events(LABYRINTH_EV_FAIL_ATOMIC) < 6 || events(LABYRINTH_EV_FAIL_NOWAIT) < 2 ||
	    events(LABYRINTH_EV_FAIL_ATOMIC_MALLOC) < 4 || events(LABYRINTH_EV_WARN))
		return BROKEN;
	if (labyrinth_flush_reports() != 1 || labyrinth_flush_reports() != 0)
		return BROKEN;
	return events(LABYRINTH_EV_WARN) == 1 ? WELL : BROKEN;
}

/* ---- not locked ---- */

static int unlocked(bool quiet)
{
	struct labyrinth_zone_info info;
	void *page;

	for (int zone = LABYRINTH_ZONE_RESERVE; zone <= LABYRINTH_ZONE_EXCLUSIVE; zone++) {
		labyrinth_zone_info(zone, &info);
		if (info.locked || !info.managed)
			return BROKEN;
	}
	wanted = quiet ? 1 : 10000;
	if (quiet)
		(void)choose("pages");
	if (!quiet) {
		page = labyrinth_alloc_page(LABYRINTH_GFP_KERNEL | LABYRINTH_GFP_EXCLUSIVE);
		labyrinth_free_page(page);
		if (!page)
			return BROKEN;
	}
	in_handler();
	/* what it left for later is its one failure */
	return say();
}

/* ---- out of memory ---- */

struct link {
	struct link *next;
};

static unsigned int until_null(size_t bytes, struct link **chain)
{
	unsigned int n = 0;
	struct link *link;

	errno = 0;
	for (; (link = heap_malloc(bytes)); n++) {
		link->next = *chain;
		*chain = link;
	}
	return n;
}

/* the floor of GFP_ATOMIC, table A4 */
static uint64_t floor_of(const struct labyrinth_zone_info *info)
{
	uint64_t half = info->min - info->min / 2;

	return half - half / 4;
}

static int enomem(bool by_filter)
{
	static const size_t sizes[] = { 1 << 20, 65536, 9000, 4096, 1000, 64, 16 };
	struct labyrinth_zone_info info;
	struct link *chain = NULL, *next;
	void *pages = NULL, *page;
	unsigned int n;

	if (by_filter)
		filter_on(enomem_filter, sizeof(enomem_filter));
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		(void)until_null(sizes[i], &chain);
		if (errno != ENOMEM)
			return BROKEN;
	}
	errno = 0;
	for (n = 0; n < 100; n++) {
		page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC);
		if (!page || errno)
			return BROKEN;
		*(void **)page = pages;
		pages = page;
	}
	while ((page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC))) {
		*(void **)page = pages;
		pages = page;
		n++;
	}
	labyrinth_zone_info(LABYRINTH_ZONE_RESERVE, &info);
	/* exactly down to the floor */
	if (info.free + info.reserved_highatomic != floor_of(&info))
		return BROKEN;
	made = n;
	if (atomic_release(pages) != n)
		return BROKEN;
	/* ordinary requests of a page leave what is below min to others */
	errno = 0;
	while ((page = labyrinth_alloc_page(LABYRINTH_GFP_NOWAIT)))
		if (labyrinth_zone_info(LABYRINTH_ZONE_RESERVE, &info) || info.free < info.min)
			break;
	if (!chain) /* the heap had nothing before mmap() failed */
		return WELL;
	for (; chain; chain = next) {
		next = chain->next;
		heap_free(chain);
	}
	page = heap_malloc(4096);
	heap_free(page);
	return page ? WELL : BROKEN;
}

/* ---- out of memory in a cgroup ---- */

static volatile unsigned long touched;

static void *eat(void *unused)
{
	char *memory = mmap(NULL, 1ul << 30, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)unused;
	for (size_t at = 0; memory != MAP_FAILED && at < 1ul << 30; at += 4096) {
		memory[at] = 1;
		touched++;
	}
	return NULL;
}

static bool lock_text(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	unsigned long from, end;
	char line[300], rights[5];
	bool well = file;

	while (well && fgets(line, sizeof(line), file))
		if (sscanf(line, "%lx-%lx %4s", &from, &end, rights) == 3 && line[0] != 'f' &&
		    !strcmp(rights, "r-xp") && !strstr(line, "[v"))
			well = !mlock((void *)from, end - from);
	if (file)
		fclose(file);
	return well;
}

static int cgroup(void)
{
	struct timespec nap = { .tv_nsec = 200000000 };
	unsigned long was;
	pthread_t thread;

	/* the program's own pages, before there are no more */
	wanted = 1;
	in_handler();
	say();
	fflush(stdout);
	/* short of memory the kernel takes text away, ours too, which nobody has locked */
	if (verdict != WELL || !lock_text() || pthread_create(&thread, NULL, eat, NULL))
		return USAGE;
	do {
		was = touched;
		nanosleep(&nap, NULL);
	} while (was != touched || !was);
	if (was >= 1ul << 18)
		return USAGE; /* no limit was in force */
	wanted = 100000;
	made = 0;
	in_handler();
	/* the other one cannot end by itself */
	say();
	fflush(stdout);
	_exit(verdict);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "", *arg = argc > 2 ? argv[2] : NULL;
	unsigned int i;

	tell_where = getenv("ATOMIC_WHERE");
	if (!strcmp(mode, "kinds")) {
		for (i = 0; i < atomic_nr_kinds; i++)
			puts(atomic_kinds[i].name);
		return WELL;
	}
	if (!strcmp(mode, "enomem")) {
		verdict = enomem(arg && !strcmp(arg, "filter"));
		return say();
	}
	if (!strcmp(mode, "moved"))
		(void)stay_on(0);
	if (!fill_zones(!arg || strcmp(arg, "quiet")) || !atomic_prepare()) {
		fprintf(stderr, "atomic: no full reserve\n");
		return USAGE;
	}
	if (!strcmp(mode, "first") && arg)
		return first(arg);
	if (!strcmp(mode, "moved"))
		return moved();
	if (!strcmp(mode, "reports"))
		return reports();
	if (!strcmp(mode, "unlocked"))
		return unlocked(arg);
	if (!strcmp(mode, "cgroup"))
		return cgroup();
	if (!strcmp(mode, "only") && arg) {
		wanted = 100000;
		use_filter = true;
		if (!choose(arg))
			return USAGE;
		in_handler();
	}
	if (arg)
		wanted = strtoul(arg, NULL, 0);
	if (!strcmp(mode, "forked")) {
		verdict = forked();
		return say();
	}
	use_filter = !strcmp(mode, "killed");
	if (!use_filter && strcmp(mode, "faults"))
		return USAGE;
	in_handler();
	return say();
}
