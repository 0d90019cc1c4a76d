/* SPDX-License-Identifier: MIT */
/*
 * A temporary file in $TMPDIR.  check_glibc.sh gives each run a directory of its
 * own and removes it afterwards, so no name is to be remembered here.
 */
#ifndef SHIM_SUPPORT_TEMP_FILE_H
#define SHIM_SUPPORT_TEMP_FILE_H

#include <support/support.h>

SHIM_CALL int create_temp_file(const char *base, char **path)
{
	const char *dir = getenv("TMPDIR");
	char *name = xasprintf("%s/%s.XXXXXX", dir ? dir : "/tmp", base);
	int fd = mkstemp(name);

	if (fd < 0)
		FAIL_EXIT1("%s: %m", name);
	if (path)
		*path = name;
	else
		free(name);
	return fd;
}

#endif
