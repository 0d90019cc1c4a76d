/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "api/trace.h"
#include <dlfcn.h>
#include <limits.h>
#include <string.h>

#include "base/fail.h"
#include "gfp/warn_text.h"

static const char name[] = "liblabyrinth-trace.so";

/* weak: a static program has no loader, and must link without it */
#pragma weak dlopen
#pragma weak dlerror
#pragma weak dladdr
#pragma weak dlsym

static void say_why(const char *why)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(&line, "labyrinth: trace:1: no stacks in reports: ");
	lab_line_str(&line, why);
	(void)lab_line_put(&line, 2);
}

/* is this code in a library with a path: then the path of its neighbour */
static const char *neighbour(char *path, size_t size)
{
	const char *slash;
	Dl_info info;
	size_t n;

	if (!dladdr((const void *)&lab_trace_load, &info) || !info.dli_fname)
		return NULL;
	slash = strrchr(info.dli_fname, '/');
	n = slash ? (size_t)(slash + 1 - info.dli_fname) : 0;
	if (!n || n + sizeof(name) > size)
		return NULL;
	memcpy(path, info.dli_fname, n);
	memcpy(path + n, name, sizeof(name));
	return path;
}

/* is there another copy of this library before us, to which all calls go */
static bool is_shadowed(void)
{
	void *seen = dlsym(RTLD_DEFAULT, "labyrinth_trace_register");

	return seen && seen != (void *)labyrinth_trace_register;
}

/* a copy: the next call of the loader's frees what dlerror() has said */
static const char *keep(const char *why)
{
	static char kept[PATH_MAX];
	size_t n = strnlen(why, sizeof(kept) - 1);

	memcpy(kept, why, n);
	return kept;
}

void lab_trace_load(void)
{
	/* start-up has one thread; PATH_MAX would be too much for a frame */
	static char path[PATH_MAX];
	const char *file, *why;

	if (!dlopen || !dlerror || !dladdr || !dlsym) {
		say_why("a static program cannot load liblabyrinth-trace.so");
		return;
	}
	if (is_shadowed())
		return;
	file = neighbour(path, sizeof(path));
	if (file && dlopen(file, RTLD_NOW | RTLD_LOCAL) && lab_warn_trace())
		return;
	/* the library is part of the program, say: ask where libraries are */
	why = dlerror();
	if (why)
		why = keep(why);
	if (dlopen(name, RTLD_NOW | RTLD_LOCAL) && lab_warn_trace())
		return;
	if (!why)
		why = dlerror();
	say_why(why ? why
		    : "liblabyrinth-trace.so is of another version, or does not see this library "
		      "(a program that contains it has to be linked with -rdynamic)");
}
