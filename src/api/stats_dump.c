/* SPDX-License-Identifier: MIT */
/* The figures at exit and on a signal: options stats, stats_signal, stats_file. */
#include <errno.h>

#include "api/options.h"
#include "api/stats.h"
#include "base/fail.h"
#include "os/file.h"
#include "os/os.h"
#include "os/thread.h"

LAB_PUBLIC int labyrinth_stats(int fd, enum labyrinth_stats_format format)
{
	switch (format) {
	case LABYRINTH_STATS_TEXT:
		return lab_stats_text(fd);
	case LABYRINTH_STATS_JSON:
		return lab_stats_json(fd);
	case LABYRINTH_STATS_PROM:
		return lab_stats_prom(fd);
	default:
		return -EINVAL;
	}
}

LAB_PUBLIC int labyrinth_stats_print(int fd)
{
	return lab_stats_text(fd);
}

/* the path with the process's number for %p; false: it is too long */
static LAB_NOINLINE bool file_name(char *to, size_t size)
{
	const char *from = lab_options.stats_file;
	struct lab_line pid;
	size_t n = 0, i;

	lab_line_start(&pid);
	lab_line_dec(&pid, (uint64_t)lab_getpid());
	for (; *from; from++) {
		if (n + pid.len + 1 >= size)
			return false;
		if (from[0] != '%' || from[1] != 'p') {
			to[n++] = *from;
			continue;
		}
		for (i = 0; i < pid.len; i++)
			to[n++] = pid.text[i];
		from++;
	}
	to[n] = '\0';
	return true;
}

static LAB_NOINLINE void complain(int err)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(&line, "labyrinth: stats_file cannot be written, error ");
	lab_line_dec(&line, (uint64_t)-err);
	(void)lab_line_put(&line, 2);
}

/* Samples of Prometheus replace those before, all else is appended. */
static LAB_NOINLINE int open_file(bool anew)
{
	char path[LAB_OPTION_TEXT];

	return file_name(path, sizeof(path)) ? lab_os_open_output(path, anew) : -ENAMETOOLONG;
}

static void dump(enum labyrinth_stats_format format)
{
	int fd = 2, err;

	if (*lab_options.stats_file) {
		fd = open_file(format == LABYRINTH_STATS_PROM);
		if (fd < 0) {
			complain(fd);
			return;
		}
	}
	err = labyrinth_stats(fd, format);
	if (fd == 2)
		return;
	lab_os_close(fd);
	if (err)
		complain(err);
}

static void on_signal(int signo)
{
	(void)signo;
	dump(lab_options.stats ? (enum labyrinth_stats_format)lab_options.stats
			       : LABYRINTH_STATS_TEXT);
}

LAB_STARTUP void lab_stats_init(void)
{
	if (lab_options.stats_signal)
		(void)lab_os_on_signal((int)lab_options.stats_signal, on_signal);
}

LAB_STARTUP void lab_stats_exit(void)
{
	if (lab_options.stats)
		dump((enum labyrinth_stats_format)lab_options.stats);
}
