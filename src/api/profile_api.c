/* SPDX-License-Identifier: MIT */
/* page_owner and heap profiles: by call, by option, by signal and at exit. */
#include <errno.h>

#include "api/heap.h"
#include "api/options.h"
#include "api/profile_api.h"
#include "api/trace.h"
#include "base/fail.h"
#include "diag/dump.h"
#include "diag/owner.h"
#include "diag/sample.h"
#include "gfp/warn_text.h"
#include "os/file.h"
#include "os/thread.h"

/*
 * Records that the table holds: with the default rate the fewer stand for 16 GiB.  They
 * lie scattered, and each page of the table that is touched costs a fault.
 */
enum { RATE = 512 << 10, FEW_RECORDS = 1 << 15, RECORDS = 1 << 17 };

static int start(uint64_t watchers, uint64_t rate)
{
	int err;

	/* there free() does not look at live bytes, and would miss what was sampled */
	if (!LAB_CHECK_FREE)
		return -ENOTSUP;
	err = lab_depot_init();
	if (!err)
		err = lab_owner_init(watchers & LAB_WATCH_OWNER || rate < RATE ? RECORDS
									       : FEW_RECORDS);
	if (err)
		return err;
	if (!lab_warn_trace())
		lab_trace_load();
	lab_sample_start(rate);
	lab_watch_start(watchers);
	lab_word_set(lab_depot_word(&lab_depot.rate), lab_sample_rate());
	return 0;
}

LAB_PUBLIC int labyrinth_profile_start(size_t rate)
{
	if (rate > 1ul << 40)
		return -EINVAL;
	return start(LAB_WATCH_PROFILE, rate ? rate : RATE);
}

LAB_PUBLIC int labyrinth_page_owner_start(void)
{
	return start(LAB_WATCH_OWNER, RATE);
}

LAB_PUBLIC int labyrinth_profile_dump(int fd, enum labyrinth_profile_format format)
{
	if (!lab_is_sampled())
		return -EINVAL;
	switch (format) {
	case LABYRINTH_PROFILE_HEAP:
		return lab_dump_heap(fd);
	case LABYRINTH_PROFILE_COLLAPSED:
		return lab_dump_collapsed(fd);
	case LABYRINTH_PROFILE_LEAKS:
		return lab_dump_leaks(fd);
	}
	return -EINVAL;
}

static bool is_owned(void)
{
	return lab_word_get(&lab_watchers) & LAB_WATCH_OWNER;
}

LAB_PUBLIC int labyrinth_page_owner_dump(int fd)
{
	return is_owned() ? lab_dump_pages(fd) : -EINVAL;
}

LAB_PUBLIC int labyrinth_object_owner_dump(int fd)
{
	return is_owned() ? lab_dump_objects(fd) : -EINVAL;
}

/* ---- files ---- */

static void complain(const char *what, const char *which, int err)
{
	struct lab_line line;

	lab_line_start(&line);
	lab_line_str(&line, "labyrinth: ");
	lab_line_str(&line, what);
	lab_line_str(&line, which);
	lab_line_str(&line, ": error ");
	lab_line_dec(&line, (uint64_t)-err);
	(void)lab_line_put(&line, 2);
}

/* PREFIX.PID.NUMBER.KIND; of one at exit there is no number */
static void dump_file(uint64_t number, const char *kind, int (*dump)(int fd))
{
	const char *prefix = *lab_options.profile_dump ? lab_options.profile_dump : "labyrinth";
	struct lab_line path;
	int fd, err;

	lab_line_start(&path);
	lab_line_str(&path, prefix);
	lab_line_str(&path, ".");
	lab_line_dec(&path, (uint64_t)lab_getpid());
	if (number) {
		lab_line_str(&path, ".");
		lab_line_dec(&path, number);
	}
	lab_line_str(&path, kind);
	path.text[path.len] = '\0';
	fd = lab_os_open_output(path.text, true);
	err = fd < 0 ? fd : dump(fd);
	if (fd >= 0)
		lab_os_close(fd);
	if (err)
		complain("cannot write ", path.text, err);
}

static void dump_files(uint64_t number)
{
	if (lab_word_get(&lab_watchers) & LAB_WATCH_PROFILE) {
		dump_file(number, ".heap", lab_dump_heap);
		dump_file(number, ".folded", lab_dump_collapsed);
	}
	if (is_owned()) {
		dump_file(number, ".page_owner", lab_dump_pages);
		dump_file(number, ".object_owner", lab_dump_objects);
	}
}

static void on_signal(int signo)
{
	static lab_word_t number;

	(void)signo;
	dump_files(lab_word_add(&number, 1) + 1);
}

/* ---- options ---- */

LAB_STARTUP void lab_profile_options(void)
{
	bool profile = lab_options.profile || lab_options.profile_leak;
	int err = 0;

	if (profile || lab_options.page_owner)
		err = start((profile ? LAB_WATCH_PROFILE : 0) |
				    (lab_options.page_owner ? LAB_WATCH_OWNER : 0),
			    lab_options.profile_rate);
	if (err == -ENOTSUP)
		complain("profile:1 and page_owner:1 need check_free:1", "", err);
	else if (err)
		complain("profile:1 and page_owner:1: no memory", "", err);
	if (lab_options.profile_signal && lab_is_sampled())
		(void)lab_os_on_signal((int)lab_options.profile_signal, on_signal);
}

LAB_STARTUP void lab_profile_exit(void)
{
	if (!lab_is_sampled())
		return;
	if (*lab_options.profile_dump)
		dump_files(0);
	if (lab_options.profile_leak)
		(void)lab_dump_leaks(2);
}
