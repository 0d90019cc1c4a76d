/* SPDX-License-Identifier: MIT */
/* labyrinth top: the classes of a process, live; slabtop(1) for a process. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tool/snapshot.h"
#include "tool/tool.h"

typedef unsigned long long ull;

/* one line of the table */
struct line {
	const struct snapshot_class *c;
	uint64_t up; /* objects that went up, a second */
};

/* ---- keys: slabtop's, and u for what moves ---- */

static uint64_t use_of(const struct line *l)
{
	return l->c->f.objects ? l->c->f.active * 1000 / l->c->f.objects : 0;
}

static uint64_t bytes_of(const struct line *l)
{
	const struct snapshot_class *c = l->c;

	if (c->per_slab)
		return c->f.slabs * c->slab_pages * 4096;
	return c->f.bytes + c->f.stacked * c->row.size;
}

static uint64_t objects_of(const struct line *l)
{
	return l->c->f.objects;
}

static uint64_t active_of(const struct line *l)
{
	return l->c->f.active;
}

static uint64_t size_of(const struct line *l)
{
	return l->c->row.size;
}

static uint64_t slabs_of(const struct line *l)
{
	return l->c->f.slabs;
}

static uint64_t per_slab_of(const struct line *l)
{
	return l->c->per_slab;
}

static uint64_t up_of(const struct line *l)
{
	return l->up;
}

static const struct sort {
	char key;
	const char *what;
	uint64_t (*of)(const struct line *l); /* NULL: by name */
} sorts[] = {
	{ 'c', "cache size", bytes_of }, { 'o', "objects", objects_of },
	{ 'a', "active", active_of },	 { 's', "object size", size_of },
	{ 'l', "slabs", slabs_of },	 { 'b', "objects per slab", per_slab_of },
	{ 'u', "use", use_of },		 { 'r', "objects a second", up_of },
	{ 'n', "name", NULL },
};

static const struct sort *sorted = sorts;

static const struct sort *find_sort(int key)
{
	size_t i;

	for (i = 0; i < sizeof(sorts) / sizeof(*sorts); i++)
		if (sorts[i].key == key)
			return &sorts[i];
	return NULL;
}

static int compare(const void *left, const void *right)
{
	const struct line *a = left, *b = right;
	uint64_t x, y;

	if (sorted->of) {
		x = sorted->of(a);
		y = sorted->of(b);
		if (x != y)
			return x < y ? 1 : -1;
	}
	return strverscmp(a->c->name, b->c->name);
}

/* ---- a screen ---- */

/* ends a line; on a terminal it also clears what stood there before */
static const char *eol = "\n";

static double percent(uint64_t part, uint64_t all)
{
	return all ? 100.0 * (double)part / (double)all : 0;
}

static void print_head(const struct target *t, const struct snapshot *s)
{
	static const char *const backends[] = { "no", "rseq", "trylock" };
	uint64_t active = 0, objects = 0, used = 0, slabs = 0, size = 0;
	char state = target_state(t->pid, NULL);
	unsigned int i;

	for (i = 0; i < s->nr_classes; i++) {
		struct line l = { &s->class[i], 0 };

		active += l.c->f.active;
		objects += l.c->f.objects;
		used += l.c->f.bytes;
		slabs += l.c->f.slabs;
		size += bytes_of(&l);
	}
	printf(" %s (%d), %s, Labyrinth %s, %s stacks%s, sorted by %s%s", t->comm, (int)t->pid,
	       state == 'T' || state == 't' ? "stopped" : "running", t->head.release,
	       backends[t->head.backend % 3], t->head.aside ? ", standing aside" : "", sorted->what,
	       eol);
	printf(" Active / Total Objects (%% used)    : %llu / %llu (%.1f%%)%s", (ull)active,
	       (ull)objects, percent(active, objects), eol);
	printf(" Active / Total Size (%% used)       : %.2fK / %.2fK (%.1f%%), RSS %luK%s",
	       (double)used / 1024, (double)size / 1024, percent(used, size), s->rss_kb, eol);
	printf(" Slabs, heap, reserve, exclusive    : %llu, %lluK", (ull)slabs,
	       (ull)s->zone[0].managed * 4);
	for (i = 1; i < SNAPSHOT_ZONES; i++)
		printf(", %llu of %llu free%s", (ull)s->zone[i].free, (ull)s->zone[i].managed,
		       s->zone[i].low && s->zone[i].free < s->zone[i].low ? " (low)" : "");
	printf("%s%s", eol, eol);
}

static void print_line(const struct line *l)
{
	const struct snapshot_class *c = l->c;

	printf("%8llu %8llu %3.0f%% %8.2fK %6llu %8llu %9lluK %8llu  %-20s%s", (ull)c->f.objects,
	       (ull)c->f.active, percent(c->f.active, c->f.objects), (double)c->row.size / 1024,
	       (ull)c->f.slabs, (ull)c->per_slab, (ull)bytes_of(l) / 1024, (ull)l->up, c->name,
	       eol);
}

/* @rows: lines that the screen has; 0: all */
static void print_screen(const struct target *t, const struct snapshot *s,
			 const struct snapshot *before, unsigned int rows)
{
	struct line lines[SNAPSHOT_CLASSES] = { 0 };
	unsigned int i, n = 0;

	for (i = 0; i < s->nr_classes; i++) {
		if (!s->class[i].f.taken)
			continue;
		lines[n].c = &s->class[i];
		lines[n].up = 0;
		if (before && s->at > before->at)
			lines[n].up = (uint64_t)((double)(s->class[i].f.taken -
							  before->class[i].f.taken) /
						 (s->at - before->at));
		n++;
	}
	qsort(lines, n, sizeof(*lines), compare);
	print_head(t, s);
	printf("%8s %8s %4s %9s %6s %8s %10s %8s  %-20s%s", "OBJS", "ACTIVE", "USE", "OBJ SIZE",
	       "SLABS", "OBJ/SLAB", "CACHE SIZE", "UP/s", "NAME", eol);
	/* head and title have six lines; the last one stays free, or the screen would roll */
	for (i = 0; i < n && (!rows || i + 7 < rows); i++)
		print_line(&lines[i]);
	fflush(stdout);
}

/* ---- the terminal ---- */

static struct termios before_us;
static volatile sig_atomic_t ended, resized;

static void on_signal(int signo)
{
	if (signo == SIGWINCH)
		resized = 1;
	else
		ended = signo;
}

/* on the alternate screen, long lines cut, keys one by one; the other function undoes it */
static int terminal_take(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &before_us))
		return tool_die(TOOL_FAILED, "standard input is no terminal; use -o");
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGWINCH, &sa, NULL);
	raw = before_us;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?7l\033[?25l\033[2J", stdout);
	return TOOL_OK;
}

static void terminal_give(void)
{
	fputs("\033[?25h\033[?7h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &before_us);
}

static unsigned int terminal_rows(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_row < 8)
		return 24;
	return size.ws_row;
}

/* true: it is time to end; returns early when a key was pressed */
static bool wait_key(double seconds)
{
	struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
	const struct sort *sort;
	char key;

	if (poll(&in, 1, (int)(seconds * 1000)) <= 0)
		return ended;
	/* input that has ended will not say q any more */
	if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q')
		return true;
	sort = find_sort(key);
	if (sort)
		sorted = sort;
	return ended;
}

static int live(const struct target *t, double delay)
{
	static struct snapshot a, b;
	struct snapshot *s = &a, *before = NULL, *next = &b;
	int code = snapshot_take(s, t);

	if (code || (code = terminal_take()))
		return code;
	eol = "\033[K\n";
	for (;;) {
		fputs(resized ? "\033[2J\033[H" : "\033[H", stdout);
		resized = 0;
		print_screen(t, s, before, terminal_rows());
		fputs("\033[J", stdout);
		fflush(stdout);
		if (wait_key(delay))
			break;
		before = s;
		s = next;
		next = before;
		code = snapshot_take(s, t);
		if (code)
			break;
	}
	terminal_give();
	/* said once more where it stays: the other screen is gone */
	if (code)
		(void)target_gone(t);
	return code;
}

/* ---- the command ---- */

struct settings {
	bool once;
	double delay;
};

/* the value of -x VALUE, -xVALUE or --long=VALUE */
static const char *value_of(const char *word, const char *value, char ***argv)
{
	if (value)
		return value;
	if (word[1] != '-' && word[2])
		return word + 2;
	return **argv ? *(*argv)++ : "";
}

static int settle(const char *word, const char *value, char ***argv, struct settings *to)
{
	char *end;

	if (strcmp(word, "-o") == 0 || strcmp(word, "--once") == 0) {
		to->once = true;
	} else if (strncmp(word, "-d", 2) == 0 || strcmp(word, "--delay") == 0) {
		value = value_of(word, value, argv);
		to->delay = strtod(value, &end);
		if (end == value || *end || !(to->delay >= 0.1 && to->delay <= 86400))
			return tool_die(TOOL_USAGE, "-d takes seconds, from 0.1 to 86400: %s",
					value);
	} else if (strncmp(word, "-s", 2) == 0 || strcmp(word, "--sort") == 0) {
		value = value_of(word, value, argv);
		sorted = value[0] && !value[1] ? find_sort(value[0]) : NULL;
		if (!sorted)
			return tool_die(TOOL_USAGE,
					"-s takes one of c o a s l b u r n (see labyrinth(1)): %s",
					value);
	} else {
		return tool_usage("top");
	}
	return TOOL_OK;
}

int tool_top(int argc, char **argv)
{
	struct settings settings = { .delay = 2 };
	static struct snapshot s;
	const char *word, *value;
	struct target t;
	int code;

	(void)argc;
	argv++;
	while ((word = tool_option(&argv, &value)))
		if ((code = settle(word, value, &argv, &settings)))
			return code;
	if (!argv[0] || argv[1])
		return tool_usage("top");
	code = target_open(&t, argv[0], false);
	if (code)
		return code;
	if (!settings.once && isatty(STDOUT_FILENO))
		return live(&t, settings.delay);
	code = snapshot_take(&s, &t);
	if (!code)
		print_screen(&t, &s, NULL, 0);
	return code;
}
