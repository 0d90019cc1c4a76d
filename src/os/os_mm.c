/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "os/mm.h"
#include "os/os.h"

/* linux/pidfd.h, since Linux 6.14 */
enum { PIDFD_SELF_THREAD_ = -10000, PIDFD_SELF_GROUP_ = -10001 };

long lab_os_pass_cancellable(long nr, uintptr_t addr, size_t len, long x)
{
	long result;
	int type, ignored;

	if (!lab_os_is_ready())
		return lab_os_pass(nr, addr, len, x, 0);
	/* as libc's own wrappers do around such a call */
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	result = lab_os_pass(nr, addr, len, x, 0);
	pthread_setcanceltype(type, &ignored);
	return result;
}

int lab_os_map_over(uintptr_t addr, size_t bytes)
{
	long got = lab_os_pass_mmap(addr, bytes, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	return lab_os_failed(got) ? (int)got : 0;
}

/* "/proc/self/fdinfo/N" */
static void fdinfo_path(char path[40], unsigned int fd)
{
	static const char dir[] = "/proc/self/fdinfo/";
	char digits[12];
	unsigned int n = 0, at = sizeof(dir) - 1;

	lab_os_copy(path, dir, at);
	do
		digits[n++] = (char)('0' + fd % 10);
	while ((fd /= 10));
	while (n > 0)
		path[at++] = digits[--n];
	path[at] = '\0';
}

/* the number after "\nPid:\t", or -1 */
static long pid_in(const char *text, long n)
{
	static const char key[] = "\nPid:\t";
	long i, k, pid = 0;

	for (i = 0; i + (long)sizeof(key) < n; i++) {
		for (k = 0; key[k] && text[i + k] == key[k]; k++)
			;
		if (key[k])
			continue;
		for (i += k; i < n && text[i] >= '0' && text[i] <= '9'; i++)
			pid = pid * 10 + (text[i] - '0');
		return pid;
	}
	return -1;
}

bool lab_os_pidfd_is_self(int pidfd)
{
	char path[40], text[256] = { 0 };
	long fd, n;

	if (pidfd == PIDFD_SELF_THREAD_ || pidfd == PIDFD_SELF_GROUP_)
		return true;
	if (pidfd < 0)
		return false;
	fdinfo_path(path, (unsigned int)pidfd);
	fd = lab_sys6(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
	if (fd < 0)
		return false;
	n = lab_sys6(SYS_read, fd, (long)text, sizeof(text), 0, 0, 0);
	(void)lab_sys6(SYS_close, fd, 0, 0, 0, 0, 0);
	return n > 0 && pid_in(text, n) == lab_sys6(SYS_getpid, 0, 0, 0, 0, 0, 0);
}
