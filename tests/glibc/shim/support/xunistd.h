/* SPDX-License-Identifier: MIT */
#ifndef SHIM_SUPPORT_XUNISTD_H
#define SHIM_SUPPORT_XUNISTD_H

#include <support/support.h>
#include <sys/types.h>
#include <sys/wait.h>

SHIM_CALL pid_t xfork(void)
{
	pid_t pid = fork();

	if (pid < 0)
		FAIL_EXIT1("fork: %m");
	return pid;
}

SHIM_CALL int xopen(const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags, mode);

	if (fd < 0)
		FAIL_EXIT1("open %s: %m", path);
	return fd;
}

SHIM_CALL long xsysconf(int name)
{
	long value = sysconf(name);

	if (value < 0)
		FAIL_EXIT1("sysconf(%d): %m", name);
	return value;
}

SHIM_CALL void *xmmap(void *addr, size_t bytes, int prot, int flags, int fd)
{
	void *map = mmap(addr, bytes, prot, flags, fd, 0);

	if (map == MAP_FAILED)
		FAIL_EXIT1("mmap of %zu bytes: %m", bytes);
	return map;
}

SHIM_CALL void xmunmap(void *addr, size_t bytes)
{
	if (munmap(addr, bytes))
		FAIL_EXIT1("munmap: %m");
}

#endif
