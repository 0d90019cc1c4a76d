/* SPDX-License-Identifier: MIT */
/*
 * What it costs to start and end a program under a preload.
 *
 *	bench_start [-n COUNT] [-p FILE] [-e NAME=VALUE] PROGRAM [ARGUMENT]...
 *	bench_start -r [-p FILE] [-e NAME=VALUE] PROGRAM [ARGUMENT]...
 *
 * The first form starts PROGRAM COUNT times, one after the other, and prints
 * microseconds per start: wall from posix_spawn to wait4, and the child's user
 * and system time.  The second starts it once and prints KiB, read as it
 * is about to exit: ru_maxrss will not do, because exec hands down the size of
 * the process that called it.  FILE goes into the child's LD_PRELOAD, and -r
 * makes sure that it was mapped.
 *
 * Exit status: 0 done, 1 failed, 2 usage, 3 FILE was not mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_COUNT = 10000, MAX_ENV = 16 };

static char preload[4200];
static char *child_env[MAX_ENV + 1];

static void die(const char *why)
{
	fprintf(stderr, "bench_start: %s: %s\n", why, strerror(errno));
	exit(1);
}

static void pin(void)
{
	cpu_set_t allowed, one;
	int cpu;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	for (cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void add_env(char *entry)
{
	unsigned int i;

	for (i = 0; i < MAX_ENV; i++) {
		if (!child_env[i]) {
			child_env[i] = entry;
			return;
		}
	}
	errno = E2BIG;
	die("-e");
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static double cpu_us(const struct rusage *ru)
{
	return (double)(ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1e6 +
	       (double)(ru->ru_utime.tv_usec + ru->ru_stime.tv_usec);
}

static void start_once(char **argv, double *wall, double *cpu)
{
	double begin = now_us();
	struct rusage ru;
	int status, err;
	pid_t pid;

	err = posix_spawn(&pid, argv[0], NULL, NULL, argv, child_env);
	if (err) {
		errno = err;
		die(argv[0]);
	}
	if (wait4(pid, &status, 0, &ru) != pid)
		die("wait4");
	*wall = now_us() - begin;
	*cpu = cpu_us(&ru);
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr, "bench_start: %s: wait status %#x\n", argv[0],
			(unsigned int)status);
		exit(1);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int time_starts(char **argv, unsigned int count)
{
	static double wall[MAX_COUNT], cpu[MAX_COUNT];
	double wall_sum = 0, cpu_sum = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		start_once(argv, &wall[i], &cpu[i]);
		wall_sum += wall[i];
		cpu_sum += cpu[i];
	}
	qsort(wall, count, sizeof(wall[0]), compare);
	qsort(cpu, count, sizeof(cpu[0]), compare);
	printf("count=%u wall_mean=%.1f wall_min=%.1f wall_med=%.1f cpu_mean=%.1f cpu_min=%.1f "
	       "cpu_med=%.1f\n",
	       count, wall_sum / count, wall[0], wall[count / 2], cpu_sum / count, cpu[0],
	       cpu[count / 2]);
	return 0;
}

/* Reads /proc/@pid/@file into @buf as a string, as far as it fits. */
static void read_proc(pid_t pid, const char *file, char *buf, size_t size)
{
	size_t len = 0;
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	close(fd);
}

static unsigned long field(const char *status, const char *name)
{
	const char *p = strstr(status, name);

	return p ? strtoul(p + strlen(name), NULL, 10) : 0;
}

static int look_at(pid_t pid, const char *file)
{
	static char text[1 << 16];

	if (file) {
		read_proc(pid, "maps", text, sizeof(text));
		if (!strstr(text, file)) {
			fprintf(stderr, "bench_start: %s was not mapped\n", file);
			return 3;
		}
	}
	read_proc(pid, "status", text, sizeof(text));
	printf("peak=%lu anon=%lu file=%lu shmem=%lu locked=%lu\n", field(text, "\nVmHWM:"),
	       field(text, "\nRssAnon:"), field(text, "\nRssFile:"), field(text, "\nRssShmem:"),
	       field(text, "\nVmLck:"));
	return 0;
}

static int measure_size(char **argv, const char *file)
{
	bool seen_exec = false;
	int result = 1;
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		if (!ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			execve(argv[0], argv, child_env);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		int sig = WSTOPSIG(status);

		if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXIT << 8))) {
			result = look_at(pid, file);
			sig = 0;
		} else if (!seen_exec && sig == SIGTRAP) {
			seen_exec = true;
			sig = 0;
			ptrace(PTRACE_SETOPTIONS, pid, NULL,
			       (void *)(uintptr_t)(PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL));
		}
		if (ptrace(PTRACE_CONT, pid, NULL, (void *)(uintptr_t)sig))
			die("ptrace");
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr, "bench_start: %s: wait status %#x\n", argv[0],
			(unsigned int)status);
		return 1;
	}
	return result;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_start [-r] [-n COUNT] [-p FILE] [-e NAME=VALUE] "
			"PROGRAM [ARGUMENT]...\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *file = NULL;
	unsigned long count = 25;
	bool size = false;
	int opt;

	while ((opt = getopt(argc, argv, "+e:n:p:r")) != -1) {
		if (opt == 'e')
			add_env(optarg);
		else if (opt == 'n')
			count = strtoul(optarg, NULL, 10);
		else if (opt == 'p')
			file = optarg;
		else if (opt == 'r')
			size = true;
		else
			return usage();
	}
	if (optind == argc || !count || count > MAX_COUNT)
		return usage();
	if (file) {
		snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", file);
		add_env(preload);
	}
	pin();
	return size ? measure_size(argv + optind, file) : time_starts(argv + optind, count);
}
