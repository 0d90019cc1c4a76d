/* SPDX-License-Identifier: MIT */
/*
 * BUILD=coverage only: what libgcov calls of libc's stdio and malloc.  Of it coverage.sh
 * makes a copy that calls these: counters are written without a request to the heap that
 * is counted, also where that has no memory, or refuses on purpose.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* one file at a time, as libgcov has it; the largest has 60 KB */
static char content[1 << 20];
static size_t size, at;
static bool written;
static int open_fd;
#define STREAM ((FILE *)&open_fd)

FILE *coverage_fdopen(int fd, const char *mode);
size_t coverage_fread(void *to, size_t each, size_t n, FILE *file);
size_t coverage_fwrite(const void *from, size_t each, size_t n, FILE *file);
int coverage_fseek(FILE *file, long to, int whence);
int coverage_fclose(FILE *file);
void *coverage_malloc(size_t bytes);
void coverage_free(void *ptr);

FILE *coverage_fdopen(int fd, const char *mode)
{
	ssize_t n;

	(void)mode;
	size = at = 0;
	written = false;
	open_fd = fd;
	while ((n = pread(fd, content + size, sizeof(content) - size, (off_t)size)) > 0)
		size += (size_t)n;
	return n == 0 && size < sizeof(content) ? STREAM : NULL;
}

size_t coverage_fread(void *to, size_t each, size_t n, FILE *file)
{
	(void)file;
	if (n > (size - at) / each)
		n = (size - at) / each;
	memcpy(to, content + at, n * each);
	at += n * each;
	return n;
}

size_t coverage_fwrite(const void *from, size_t each, size_t n, FILE *file)
{
	(void)file;
	if (n > (sizeof(content) - at) / each)
		return 0;
	memcpy(content + at, from, n * each);
	at += n * each;
	size = at > size ? at : size;
	written = true;
	return n;
}

int coverage_fseek(FILE *file, long to, int whence)
{
	(void)file;
	if (whence != SEEK_SET || to < 0 || (size_t)to > size)
		return -1;
	at = (size_t)to;
	return 0;
}

/* also of the file that libgcov's messages go to */
int coverage_fclose(FILE *file)
{
	ssize_t n;
	size_t done;

	if (file != STREAM)
		return fclose(file);
	for (done = 0; written && done < size; done += (size_t)n) {
		n = pwrite(open_fd, content + done, size - done, (off_t)done);
		if (n <= 0)
			break;
	}
	return close(open_fd);
}

/* names, for one writing; all of it is free again when nothing is left */
static char names[64 * 1024];
static size_t named, live;

void *coverage_malloc(size_t bytes)
{
	void *name = names + named;

	bytes = (bytes + 15) & ~15ul;
	if (bytes > sizeof(names) - named)
		abort();
	named += bytes;
	live++;
	return name;
}

void coverage_free(void *ptr)
{
	if (ptr && --live == 0)
		named = 0;
}
