/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "base/fail.h"
#include "base/sys.h"
#include "os/thread.h"
#include "os/wiped.h"

/* ---- wiped words ---- */

struct lab_wiped lab_wiped __attribute__((aligned(LAB_PAGE_BYTES)));

bool lab_wiped_init(void)
{
	/* 1: done, 2: refused; a child inherits both, and the advice */
	static lab_word_t state;
	uint64_t was = lab_word_get(&state);

	if (LAB_UNLIKELY(!was)) {
		was = lab_sys6(SYS_madvise, (long)&lab_wiped, sizeof(lab_wiped), MADV_WIPEONFORK, 0,
			       0, 0)
			      ? 2
			      : 1;
		lab_word_set(&state, was);
	}
	return was == 1;
}

/* ---- signals ---- */

static uint64_t bit_of(int signo)
{
	return 1ull << (signo - 1);
}

static uint64_t set_mask(const uint64_t *mask)
{
	uint64_t old = 0;

	(void)lab_sys6(SYS_rt_sigprocmask, SIG_SETMASK, (long)mask, (long)&old, sizeof(old), 0, 0);
	return old;
}

uint64_t lab_os_block_signals(void)
{
	uint64_t all = ~(bit_of(SIGSEGV) | bit_of(SIGBUS) | bit_of(SIGILL) | bit_of(SIGFPE) |
			 bit_of(SIGTRAP) | bit_of(SIGSYS));
	uint64_t old = 0;

	(void)lab_sys6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&all, (long)&old, sizeof(old), 0, 0);
	return old;
}

void lab_os_restore_signals(uint64_t mask)
{
	(void)set_mask(&mask);
}

uint64_t lab_os_signals_blocked(void)
{
	return set_mask(NULL);
}

/* ---- sleeping and waking ---- */

static struct timespec time_of(unsigned int ms)
{
	return (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };
}

int lab_os_on_signal(int signo, void (*handler)(int signo))
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART | SA_ONSTACK };

	sigfillset(&sa.sa_mask);
	return sigaction(signo, &sa, NULL) ? -errno : 0;
}

void lab_os_nap(unsigned int ms)
{
	struct timespec time = time_of(ms);

	(void)lab_sys6(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&time, 0, 0, 0);
}

/* the lower half is the first: all CPUs we run on are little-endian */
void lab_os_futex_wait(lab_word_t *word, uint32_t value, unsigned int ms)
{
	struct timespec time = time_of(ms);

	(void)lab_sys6(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, (long)value, (long)&time, 0, 0);
}

void lab_os_futex_wake(lab_word_t *word)
{
	(void)lab_sys6(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

/* ---- the thread ---- */

static void *thread_main(void *run)
{
	((void (*)(void))run)();
	return NULL;
}

/* libc takes the thread-local variables of the program out of the stack it is given */
static int add_tls(struct dl_phdr_info *info, size_t size, void *sum)
{
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*(size_t *)sum += info->dlpi_phdr[i].p_memsz + info->dlpi_phdr[i].p_align;
	return 0;
}

static size_t stack_bytes(void)
{
	size_t bytes = LAB_OS_THREAD_STACK;

	(void)dl_iterate_phdr(add_tls, &bytes);
	return (bytes + 4 * LAB_PAGE_BYTES - 1) & ~(LAB_PAGE_BYTES - 1);
}

int lab_os_thread_start(void (*run)(void), const char *name)
{
	uint64_t mask = lab_os_signals_blocked();
	size_t stack = stack_bytes();
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all;
	int err;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, NULL);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	do {
		err = pthread_attr_setstacksize(&attr, stack);
		if (!err)
			err = pthread_create(&thread, &attr, thread_main, (void *)run);
		stack *= 2; /* EINVAL: smaller than libc's own minimum */
	} while (err == EINVAL && stack < 64u << 20);
	if (!err)
		(void)pthread_setname_np(thread, name);
	(void)pthread_attr_destroy(&attr);
	lab_os_restore_signals(mask);
	return -err;
}

/* ---- the last thread ---- */

/* of the main thread, by /proc/self/stat: is it a zombie, and one other thread is left */
static bool is_main_gone_but_us(void)
{
	char text[512] = { 0 }, state = 0;
	unsigned int field = 2, threads = 0;
	long fd = lab_sys6(SYS_openat, AT_FDCWD, (long)"/proc/self/stat", O_RDONLY | O_CLOEXEC, 0,
			   0, 0);
	long n = fd < 0 ? fd : lab_sys6(SYS_read, fd, (long)text, sizeof(text), 0, 0, 0), i;

	if (fd >= 0)
		(void)lab_sys6(SYS_close, fd, 0, 0, 0, 0, 0);
	/* the second field is the name, in parentheses, and may hold anything */
	for (i = n - 1; i >= 0 && text[i] != ')'; i--)
		;
	for (i = i < 0 ? n : i + 1; i < n && field <= 20; i++) {
		if (text[i] == ' ')
			field++;
		else if (field == 3)
			state = text[i];
		else if (field == 20)
			threads = threads * 10 + (unsigned int)(text[i] - '0');
	}
	/* the zombie is counted until the whole process has ended */
	return state == 'Z' && threads == 2;
}

bool lab_os_is_last_thread(void)
{
	long head = 0, len = 0;

	/* libc gives every thread such a list, the kernel takes it from those that end */
	if (lab_sys6(SYS_get_robust_list, lab_getpid(), (long)&head, (long)&len, 0, 0, 0) || head)
		return false;
	return is_main_gone_but_us();
}
