/* SPDX-License-Identifier: MIT */
/* Pressure stall information, Documentation/accounting/psi.rst. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>

#include "base/sys.h"
#include "os/thread.h"

/* a program's own descriptors are small numbers, and stay the same ones */
enum { FD_LOWEST = 100 };

/* 1 + descriptor; 0: none.  Which file it was, so as not to close another. */
static lab_word_t psi_fd, psi_dev, psi_ino;

static long close_fd(long fd)
{
	return lab_sys6(SYS_close, fd, 0, 0, 0, 0, 0);
}

static int identify(long fd, uint64_t *dev, uint64_t *ino)
{
	struct stat st = { 0 };
	long err = lab_sys6(SYS_fstat, fd, (long)&st, 0, 0, 0, 0);

	*dev = st.st_dev;
	*ino = st.st_ino;
	return (int)err;
}

static bool is_ours(long fd)
{
	uint64_t dev, ino;

	return fd >= 0 && identify(fd, &dev, &ino) == 0 && dev == lab_word_get(&psi_dev) &&
	       ino == lab_word_get(&psi_ino);
}

int lab_os_psi_open(void)
{
	static const char trigger[] = "some 150000 2000000";
	uint64_t dev, ino;
	long fd, high, err;

	fd = (long)lab_word_get(&psi_fd) - 1;
	lab_word_set(&psi_fd, 0);
	if (is_ours(fd))
		(void)close_fd(fd);
	fd = lab_sys6(SYS_openat, AT_FDCWD, (long)"/proc/pressure/memory",
		      O_RDWR | O_NONBLOCK | O_CLOEXEC, 0, 0, 0);
	if (fd < 0)
		return (int)fd;
	high = lab_sys6(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FD_LOWEST, 0, 0, 0);
	if (high >= 0) {
		(void)close_fd(fd);
		fd = high;
	}
	err = lab_sys6(SYS_write, fd, (long)trigger, sizeof(trigger), 0, 0, 0);
	if (err >= 0)
		err = identify(fd, &dev, &ino);
	if (err < 0) {
		(void)close_fd(fd);
		return (int)err;
	}
	lab_word_set(&psi_dev, dev);
	lab_word_set(&psi_ino, ino);
	lab_word_set(&psi_fd, (uint64_t)fd + 1);
	return 0;
}

bool lab_os_psi_poll(void)
{
	struct pollfd at = { .fd = (int)lab_word_get(&psi_fd) - 1, .events = POLLPRI };
	struct timespec none = { 0, 0 };

	/* the program may have closed it, and opened something else under its number */
	if (at.fd < 0 || !is_ours(at.fd))
		return false;
	return lab_sys6(SYS_ppoll, (long)&at, 1, (long)&none, 0, 0, 0) == 1 && at.revents & POLLPRI;
}
