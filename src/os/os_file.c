/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/sys.h"
#include "os/file.h"
#include "os/os.h"

int lab_os_reserve(size_t bytes, uintptr_t *addr)
{
	long got = lab_sys6(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (got < 0 && got > -4096)
		return (int)got;
	*addr = (uintptr_t)got;
	return 0;
}

int lab_os_open_input(const char *path)
{
	return (int)lab_sys6(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
}

int lab_os_open_output(const char *path, bool anew)
{
	long flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (anew ? O_TRUNC : O_APPEND);

	return (int)lab_sys6(SYS_openat, AT_FDCWD, (long)path, flags, 0644, 0, 0);
}

void lab_os_close(int fd)
{
	(void)lab_sys6(SYS_close, fd, 0, 0, 0, 0, 0);
}

long lab_os_read(int fd, void *to, size_t bytes)
{
	long got;

	do
		got = lab_sys6(SYS_read, fd, (long)to, (long)bytes, 0, 0, 0);
	while (got == -EINTR);
	return got;
}

long lab_os_write(int fd, const void *from, size_t bytes)
{
	long got;

	do
		got = lab_sys6(SYS_write, fd, (long)from, (long)bytes, 0, 0, 0);
	while (got == -EINTR);
	return got;
}

void lab_os_task_name(char *name)
{
	(void)lab_sys6(SYS_prctl, PR_GET_NAME, (long)name, 0, 0, 0, 0);
}
