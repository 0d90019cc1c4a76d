/* SPDX-License-Identifier: MIT */
/* labyrinth run [--opt key=value] [--stats] -- program [argument ...] */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "option_keys.h"

#ifndef LABYRINTH_LIBDIR
#define LABYRINTH_LIBDIR ""
#endif

static const char usage[] =
	"usage: labyrinth run [--opt key=value]... [--stats] [--] program [argument ...]\n"
	"       labyrinth version\n"
	"\n"
	"Runs a program with Labyrinth as its malloc (LD_PRELOAD).\n"
	"  --opt key=value  set an option (see LABYRINTH_OPTIONS); may be repeated\n"
	"  --stats          the same as --opt stats=1: figures on stderr at exit\n";

static int die(int code, const char *what, const char *arg)
{
	fprintf(stderr, "labyrinth: %s%s%s\n", what, arg ? ": " : "", arg ? arg : "");
	return code;
}

/* --opt check_free=0: a library of its own */
static int no_check;

/* beside this program, as in a build directory, or where it was installed */
static int find_library(char *path, size_t size)
{
	const char *name = no_check ? "liblabyrinth-preload-nocheck.so" : "liblabyrinth-preload.so";
	/* in a build directory; in bin/ beside lib/ */
	static const char *const beside[] = { "", "/../lib" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	size_t i;

	slash = n > 0 ? memrchr(self, '/', (size_t)n) : NULL;
	for (i = 0; slash && i < sizeof(beside) / sizeof(*beside); i++) {
		*slash = '\0';
		if ((size_t)snprintf(path, size, "%s%s/%s", self, beside[i], name) < size &&
		    access(path, R_OK) == 0)
			return 0;
	}
	if (*LABYRINTH_LIBDIR &&
	    (size_t)snprintf(path, size, "%s/%s", LABYRINTH_LIBDIR, name) < size &&
	    access(path, R_OK) == 0)
		return 0;
	return -1;
}

static int append_env(const char *name, const char *value, char separator, int in_front)
{
	const char *old = getenv(name);
	char *text;
	int err;

	if (!old || !*old)
		return setenv(name, value, 1);
	if (asprintf(&text, "%s%c%s", in_front ? value : old, separator, in_front ? old : value) <
	    0)
		return -1;
	err = setenv(name, text, 1);
	free(text);
	return err;
}

static int add_option(const char *pair)
{
#define KEY(key, takes, kind, low, high)   #key,
#define KNOWN(key, takes, kind, low, high) " " #key
	static const char *const keys[] = { LAB_OPTION_KEYS(KEY) };
	size_t n = strcspn(pair, "=:"), i;

	if (strchr(pair, ',') || !pair[n] || !pair[n + 1])
		return die(2, "--opt wants key=value", pair);
	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (strlen(keys[i]) == n && strncmp(keys[i], pair, n) == 0)
			break;
	if (i == sizeof(keys) / sizeof(*keys))
		return die(2, "unknown option (known:" LAB_OPTION_KEYS(KNOWN) ")", pair);
	if (strncmp(pair, "check_free", n) == 0)
		no_check = strcmp(pair + n + 1, "0") == 0;
	return append_env("LABYRINTH_OPTIONS", pair, ',', 0) ? die(1, "no memory", NULL) : 0;
}

static int run(char **argv)
{
	char library[PATH_MAX];
	int err;

	for (; *argv && strncmp(*argv, "--", 2) == 0; argv++) {
		if (strcmp(*argv, "--") == 0) {
			argv++;
			break;
		}
		if (strcmp(*argv, "--stats") == 0)
			err = add_option("stats=1");
		else if (strncmp(*argv, "--opt=", 6) == 0)
			err = add_option(*argv + 6);
		else if (strcmp(*argv, "--opt") == 0)
			err = argv[1] ? add_option(*++argv) : die(2, "--opt wants key=value", NULL);
		else
			err = die(2, "unknown option", *argv);
		if (err)
			return err;
	}
	if (!*argv)
		return die(2, "run what?", "give a program after --");
	if (find_library(library, sizeof(library)))
		return die(1, "liblabyrinth-preload.so not found beside this program or in",
			   *LABYRINTH_LIBDIR ? LABYRINTH_LIBDIR : "(not installed)");
	if (strpbrk(library, ": \t"))
		return die(1, "LD_PRELOAD cannot name a path with a space or colon", library);
	if (append_env("LD_PRELOAD", library, ':', 1))
		return die(1, "no memory", NULL);
	execvp(*argv, argv);
	err = errno;
	fprintf(stderr, "labyrinth: cannot run %s: %s\n", *argv, strerror(err));
	return err == ENOENT ? 127 : 126;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	if (argc == 2 && (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0)) {
		puts("labyrinth 0.1");
		return 0;
	}
	if (argc == 2 && (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)) {
		fputs(usage, stdout);
		return 0;
	}
	fputs(usage, stderr);
	return 2;
}
