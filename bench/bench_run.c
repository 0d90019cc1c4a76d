/* SPDX-License-Identifier: MIT */
/*
 * Run a program once and say what it cost.
 *
 *	bench_run [-c CPU] [-e NAME=VALUE]... [-o FILE] [-p FILE] [-s] [-t SECONDS]
 *		  [-w COMMAND] -- PROGRAM [ARGUMENT]...
 *
 *	-c  keep to this CPU
 *	-e  for the program's environment, which is otherwise a standard PATH, HOME, LC_ALL
 *	-o  its standard output goes there (default /dev/null)
 *	-p  its LD_PRELOAD
 *	-s  count its system calls, by the tracepoint raw_syscalls:sys_enter
 *	-t  kill it after so long (default 60)
 *	-w  it is a server: run COMMAND by sh, without the preload and not measured,
 *	    end the server by SIGTERM when it has ended
 *
 * Prints a line of key=value: microseconds of wall, user and system time, peak
 * resident KiB, page faults, context switches, system calls (-1: not counted), of
 * the program and all its children that were waited for; of resident memory, of
 * the largest of them.  This program is small, because ru_maxrss begins with the
 * size of who calls exec.
 *
 * Exit status: 0 done, 1 failed (the program or the command too), 2 usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ENV = 16 };

static char *child_env[MAX_ENV + 4];
static unsigned int nenv;
static pid_t child;
static volatile sig_atomic_t late;

static void die(const char *why)
{
	fprintf(stderr, "bench_run: %s: %s\n", why, strerror(errno));
	if (child > 0)
		kill(-child, SIGKILL);
	exit(1);
}

static void add_env(const char *name, const char *value)
{
	if (nenv == MAX_ENV || asprintf(&child_env[nenv++], "%s%s", name, value) < 0)
		die("environment");
}

static void pin(const char *word)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((unsigned int)strtoul(word, NULL, 10), &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("-c");
}

static void on_alarm(int signo)
{
	(void)signo;
	late = 1;
	kill(-child, SIGKILL);
}

/* a counter that children of the caller inherit, from their exec() on; -1: there is none */
static int count_syscalls(void)
{
	static const char *const places[] = {
		"/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
		"/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id",
	};
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr) };
	char text[32];
	unsigned int i;
	ssize_t n = -1;
	int fd;

	for (i = 0; i < 2 && n <= 0; i++) {
		fd = open(places[i], O_RDONLY);
		if (fd < 0)
			continue;
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (n <= 0)
		return -1;
	text[n] = '\0';
	attr.config = strtoull(text, NULL, 10);
	attr.inherit = 1;
	attr.disabled = 1;
	attr.enable_on_exec = 1;
	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static double time_us(struct timeval tv)
{
	return (double)tv.tv_sec * 1e6 + (double)tv.tv_usec;
}

static void start(char **argv, const char *out)
{
	child = fork();
	if (child < 0)
		die("fork");
	if (child)
		return;
	setpgid(0, 0);
	if (dup2(open(out, O_WRONLY | O_CREAT | O_TRUNC, 0644), 1) < 0)
		_exit(126);
	environ = child_env;
	execvp(argv[0], argv);
	_exit(127);
}

/* true if the client's command succeeded; the server is told to end in any case */
static bool serve(const char *command, const cpu_set_t *allowed)
{
	int status = 1;
	pid_t client = fork();

	if (client < 0)
		die("fork");
	if (!client) {
		sched_setaffinity(0, sizeof(*allowed), allowed);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	if (waitpid(client, &status, 0) != client)
		status = 1;
	kill(child, SIGTERM);
	return status == 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_run [-c CPU] [-e NAME=VALUE] [-o FILE] [-p FILE] [-s] "
			"[-t SECONDS] [-w COMMAND] -- PROGRAM [ARGUMENT]...\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *out = "/dev/null", *client = NULL, *cpu = NULL;
	unsigned int seconds = 60;
	cpu_set_t allowed;
	struct rusage ru;
	long long calls = -1;
	int opt, status = 0, counter = -1;
	bool fine = true;
	double begin;

	add_env("PATH=", "/usr/bin:/usr/sbin:/bin:/sbin");
	add_env("LC_ALL=", "C.UTF-8");
	add_env("HOME=", "/tmp");
	sched_getaffinity(0, sizeof(allowed), &allowed);
	while ((opt = getopt(argc, argv, "+c:e:o:p:st:w:")) != -1) {
		if (opt == 'c')
			cpu = optarg;
		else if (opt == 'e')
			add_env(optarg, "");
		else if (opt == 'o')
			out = optarg;
		else if (opt == 'p')
			add_env("LD_PRELOAD=", optarg);
		else if (opt == 's')
			counter = count_syscalls();
		else if (opt == 't')
			seconds = (unsigned int)strtoul(optarg, NULL, 10);
		else if (opt == 'w')
			client = optarg;
		else
			return usage();
	}
	if (optind == argc)
		return usage();
	if (cpu)
		pin(cpu);
	begin = now_us();
	start(argv + optind, out);
	signal(SIGALRM, on_alarm);
	alarm(seconds);
	if (client)
		fine = serve(client, &allowed);
	while (wait4(child, &status, 0, &ru) != child)
		if (errno != EINTR)
			die("wait4");
	if (counter >= 0 && read(counter, &calls, sizeof(calls)) != sizeof(calls))
		calls = -1;
	if (client && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM)
		status = 0;
	if (late || status || !fine) {
		fprintf(stderr, "bench_run: %s: %s, wait status %#x%s\n", argv[optind],
			late ? "too long" : "failed", (unsigned int)status,
			fine ? "" : ", the client failed");
		return 1;
	}
	printf("wall=%.0f user=%.0f sys=%.0f rss=%ld minor=%ld major=%ld voluntary=%ld "
	       "forced=%ld syscalls=%lld\n",
	       now_us() - begin, time_us(ru.ru_utime), time_us(ru.ru_stime), ru.ru_maxrss,
	       ru.ru_minflt, ru.ru_majflt, ru.ru_nvcsw, ru.ru_nivcsw, calls);
	return 0;
}
