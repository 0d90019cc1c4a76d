/* SPDX-License-Identifier: MIT */
/*
 * labyrinth histogram: sizes and lifetimes of all that a program allocates.  The
 * library counts into a file that both have in memory, so that it is complete even if
 * the program is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/export_histogram.h"
#include "tool/histogram.h"
#include "tool/tool.h"

static char path[256];

static void remove_file(void)
{
	(void)unlink(path);
}

/* a file that the program's processes find by its name, whatever they close */
static struct lab_histogram *make_file(void)
{
	const size_t bytes = (sizeof(struct lab_histogram) + 4095) & ~4095ul;
	const char *dir = getenv("TMPDIR");
	struct lab_histogram *h = MAP_FAILED;
	int fd;

	if (!dir || strlen(dir) > 200 || strchr(dir, ','))
		dir = "/tmp";
	snprintf(path, sizeof(path), "%s/labyrinth-histogram.XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return NULL;
	atexit(remove_file);
	if (ftruncate(fd, (off_t)bytes) == 0)
		h = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (h == MAP_FAILED)
		return NULL;
	h->magic = LAB_HISTOGRAM_MAGIC;
	h->version = LAB_HISTOGRAM_VERSION;
	h->bytes = sizeof(*h);
	return h;
}

/* by labyrinth run, with what is left of the command line */
static int run_program(char **argv, int argc)
{
	char **args = calloc((size_t)argc + 4, sizeof(*args));
	char *option;
	int n = 0;

	if (!args || asprintf(&option, "--histogram=%s", path) < 0)
		return tool_die(TOOL_FAILED, "no memory");
	args[n++] = (char *)"run";
	args[n++] = option;
	while (*argv)
		args[n++] = *argv++;
	return tool_run(n, args);
}

static int wait_for(pid_t pid)
{
	int status;

	/* a signal from the terminal is the program's; the figures are ours */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	if (waitpid(pid, &status, 0) != pid)
		return tool_die(TOOL_FAILED, "cannot wait for it: %s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct wish {
	const char *out, *svg;
	bool json;
};

static int print_all(const struct wish *wish, const struct lab_histogram *h)
{
	FILE *to = wish->out ? fopen(wish->out, "we") : stderr;

	if (!to)
		return tool_die(TOOL_FAILED, "cannot write %s: %s", wish->out, strerror(errno));
	if (wish->json)
		histogram_json(to, h);
	else
		histogram_text(to, h);
	if (wish->out && fclose(to))
		return tool_die(TOOL_FAILED, "cannot write %s: %s", wish->out, strerror(errno));
	return wish->svg ? histogram_svg(wish->svg, h) : TOOL_OK;
}

/* ours are first; what is not is for labyrinth run */
static int read_wish(struct wish *wish, char ***argv)
{
	for (; **argv; ++*argv) {
		if (strcmp(**argv, "--json") == 0)
			wish->json = true;
		else if (strncmp(**argv, "--output=", 9) == 0 && (**argv)[9])
			wish->out = **argv + 9;
		else if (strncmp(**argv, "--svg=", 6) == 0 && (**argv)[6])
			wish->svg = **argv + 6;
		else
			break;
	}
	return **argv ? TOOL_OK : tool_usage("histogram");
}

int tool_histogram(int argc, char **argv)
{
	struct wish wish = { NULL, NULL, false };
	struct lab_histogram *h;
	int code, err;
	pid_t pid;

	argv++;
	err = read_wish(&wish, &argv);
	if (err)
		return err;
	h = make_file();
	if (!h)
		return tool_die(TOOL_FAILED, "cannot make %s: %s", path, strerror(errno));
	pid = fork();
	if (pid < 0)
		return tool_die(TOOL_FAILED, "cannot run it: %s", strerror(errno));
	if (pid == 0)
		_exit(run_program(argv, argc));
	code = wait_for(pid);
	if (!h->processes)
		return code ? code
			    : tool_die(TOOL_NO_LIBRARY,
				       "the program did not take Labyrinth: it is static, "
				       "set-user-ID, or cleared LD_PRELOAD");
	err = print_all(&wish, h);
	return err ? err : code;
}
