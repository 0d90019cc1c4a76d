/* SPDX-License-Identifier: MIT */
/* labyrinth run: a program with Labyrinth as its malloc, by LD_PRELOAD. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/option_keys.h"
#include "api/option_value.h"
#include "tool/tool.h"

#ifndef LABYRINTH_LIBDIR
#define LABYRINTH_LIBDIR ""
#endif

struct key {
	const char *name, *takes;
	enum lab_option_kind kind;
	uint64_t low, high;
};

#define KEY(key, takes, kind, low, high) { #key, takes, LAB_OPTION_##kind, low, high },
static const struct key keys[] = { LAB_OPTION_KEYS(KEY) };
#define KNOWN(key, takes, kind, low, high) " " #key
static const char known[] = LAB_OPTION_KEYS(KNOWN);

/* check_free=0: a library of its own */
static int no_check;
static int dry_run;

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

/* @name may have dashes for underscores */
static const struct key *find_key(const char *name, size_t len)
{
	size_t i, at;

	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		for (at = 0; at < len && keys[i].name[at] &&
			     keys[i].name[at] == (name[at] == '-' ? '_' : name[at]);
		     at++)
			;
		if (at == len && !keys[i].name[at])
			return &keys[i];
	}
	return NULL;
}

static void say_what(const struct key *key, const char *value, uint64_t number)
{
	printf("# %s: ", key->name);
	if (key->kind == LAB_OPTION_pages)
		printf("%llu pages of 4096 bytes\n", (unsigned long long)number);
	else if (key->kind == LAB_OPTION_text || key->kind == LAB_OPTION_fault)
		printf("%s\n", value);
	else
		printf("%llu\n", (unsigned long long)number);
}

static int set_option(const struct key *key, const char *value)
{
	uint64_t number;
	char *pair;
	int err;

	if (strchr(value, ',') ||
	    !lab_option_read(key->kind, value, strlen(value), key->low, key->high, &number)) {
		if (key->kind == LAB_OPTION_pages || key->kind == LAB_OPTION_number)
			return tool_die(TOOL_USAGE, "bad value \"%s\"; %s takes %s, %llu to %llu%s",
					value, key->name, key->takes, (unsigned long long)key->low,
					(unsigned long long)key->high,
					key->kind == LAB_OPTION_pages ? " pages of 4096 bytes"
								      : "");
		return tool_die(TOOL_USAGE, "bad value \"%s\"; %s takes %s", value, key->name,
				key->takes);
	}
	if (strcmp(key->name, "check_free") == 0)
		no_check = !number;
	if (dry_run)
		say_what(key, value, number);
	if (asprintf(&pair, "%s=%s", key->name, value) < 0)
		return tool_die(TOOL_FAILED, "no memory");
	err = append_env("LABYRINTH_OPTIONS", pair, ',', 0);
	free(pair);
	return err ? tool_die(TOOL_FAILED, "no memory") : 0;
}

/* --opt KEY=VALUE, KEY:VALUE */
static int add_pair(const char *pair)
{
	size_t n = pair ? strcspn(pair, "=:") : 0;
	const struct key *key;

	if (!pair || !pair[n] || !pair[n + 1])
		return tool_die(TOOL_USAGE, "--opt wants key=value%s%s", pair ? ": " : "",
				pair ? pair : "");
	key = find_key(pair, n);
	if (!key)
		return tool_die(TOOL_USAGE, "unknown option (known:%s): %s", known, pair);
	return set_option(key, pair + n + 1);
}

/* --KEY=VALUE; of a switch --KEY is 1 */
static int add_option(const char *word, const char *value)
{
	const struct key *key =
		strncmp(word, "--", 2) == 0 ? find_key(word + 2, strlen(word + 2)) : NULL;

	if (!key)
		return tool_die(TOOL_USAGE,
				"unknown option: %s (known: --opt --dry-run, and --KEY=VALUE of%s)",
				word, known);
	if (!value && key->kind != LAB_OPTION_on && key->kind != LAB_OPTION_format)
		return tool_die(TOOL_USAGE, "%s wants a value: %s=%s", word, word, key->takes);
	return set_option(key, value ? value : "1");
}

static int options(char ***argv)
{
	const char *word, *value;
	char **at;
	int err = 0;

	/* first, so that the others are printed wherever it stands */
	for (at = *argv; *at && strncmp(*at, "--", 2) == 0 && (*at)[2]; at++) {
		if (strcmp(*at, "--opt") == 0 && at[1])
			at++;
		else if (strcmp(*at, "--dry-run") == 0)
			dry_run = 1;
	}
	while (!err && (word = tool_option(argv, &value))) {
		if (strcmp(word, "--dry-run") == 0 && !value)
			continue;
		if (strcmp(word, "--opt") != 0)
			err = add_option(word, value);
		else
			err = add_pair(value ? value : **argv ? *(*argv)++ : NULL);
	}
	return err;
}

static int print_plan(char **argv)
{
	const char *set = getenv("LABYRINTH_OPTIONS");

	printf("LD_PRELOAD=%s\n", getenv("LD_PRELOAD"));
	printf("LABYRINTH_OPTIONS=%s\n", set ? set : "");
	for (; *argv; argv++)
		printf("%s%c", *argv, argv[1] ? ' ' : '\n');
	return TOOL_OK;
}

int tool_run(int argc, char **argv)
{
	char library[PATH_MAX];
	int err;

	(void)argc;
	argv++;
	err = options(&argv);
	if (err)
		return err;
	if (!*argv)
		return tool_die(TOOL_USAGE, "run what?: give a program after --");
	if (find_library(library, sizeof(library)))
		return tool_die(TOOL_FAILED, "%s not found beside this program or in: %s",
				no_check ? "liblabyrinth-preload-nocheck.so"
					 : "liblabyrinth-preload.so",
				*LABYRINTH_LIBDIR ? LABYRINTH_LIBDIR : "(not installed)");
	if (strpbrk(library, ": \t"))
		return tool_die(TOOL_FAILED,
				"LD_PRELOAD cannot name a path with a space or colon: %s", library);
	if (append_env("LD_PRELOAD", library, ':', 1))
		return tool_die(TOOL_FAILED, "no memory");
	if (dry_run)
		return print_plan(argv);
	execvp(*argv, argv);
	err = errno;
	tool_die(err, "cannot run %s: %s", *argv, strerror(err));
	return err == ENOENT ? 127 : 126;
}
