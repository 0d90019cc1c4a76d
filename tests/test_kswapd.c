/* SPDX-License-Identifier: MIT */
/* Each test runs in a child: this process never asks for the thread. */
#include "harness.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sys/resource.h>

#include "gfp/reclaim.h"
#include "gfp/warn.h"
#include "labyrinth.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "os/wiped.h"
#include "page/event.h"
#include "page/reserve.h"

static struct lab_zone *const zone = &lab_zones[LAB_ZONE_RESERVE];

enum { ASLEEP_WORD = 3, MAX_TAKEN = 512 };

static struct lab_frames taken[MAX_TAKEN];
static unsigned int nr_taken;

static uint64_t nr_free(void)
{
	return lab_word_get(&zone->free);
}

static uint64_t count(enum lab_event event)
{
	return lab_word_get(&lab_events[event]);
}

/* by direct means, which wake nobody */
static void take_down_to(uint64_t left)
{
	while (nr_free() > left) {
		must(nr_taken < MAX_TAKEN);
		must(lab_reserve_take(LAB_ZONE_RESERVE, 0, 0, &taken[nr_taken]));
		nr_taken++;
	}
}

static void give_all(void)
{
	while (nr_taken > 0)
		lab_zone_give(taken[--nr_taken].pfn, 1);
}

static bool is_asleep(void)
{
	return lab_word_get(&lab_wiped.kswapd) == ASLEEP_WORD;
}

static bool comes_true(bool (*is_true)(void), unsigned int ms)
{
	uint64_t until = now_ms() + ms;

	while (!is_true())
		if (now_ms() > until)
			return false;
		else
			usleep(1000);
	return true;
}

/* past its nap: asleep, and stays so */
static void wait_for_sleep(void)
{
	usleep(150000);
	must(comes_true(is_asleep, 1000));
}

static bool is_at_high(void)
{
	return nr_free() >= lab_word_get(&zone->high);
}

/* threads whose name is "kswapd", and all; @id receives the last one of that name */
static unsigned int count_threads(const char *name, int *id)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned int n = 0;
	struct dirent *entry;

	must(dir);
	while ((entry = readdir(dir))) {
		char path[64], comm[32] = "";
		int fd;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", entry->d_name);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, comm, sizeof(comm) - 1) <= 0)
			comm[0] = '\0';
		close(fd);
		comm[strcspn(comm, "\n")] = '\0';
		if (name && strcmp(comm, name) != 0)
			continue;
		n++;
		if (id)
			*id = atoi(entry->d_name);
	}
	closedir(dir);
	return n;
}

static bool has_one_kswapd(void)
{
	return count_threads("kswapd", NULL) == 1;
}

/* ---- with and without ---- */

static void without_option(void *unused)
{
	(void)unused;
	lab_kswapd_init(false, true);
	must(!lab_kswapd_is_here());
	lab_kswapd_start();
	lab_refill();
	take_down_to(lab_word_get(&zone->low) - 1);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	usleep(20000);
	must(count_threads("kswapd", NULL) == 0);
	must(HARNESS_SANITIZER[0] || count_threads(NULL, NULL) == 1);
	must(count(LAB_EV_KSWAPD_WAKE) == 0);
	/* ordinary slow paths do it, a step each; high rises as the zone grows */
	lab_reserve_draw();
	for (int i = 0; i < 16 && !is_at_high(); i++)
		lab_refill();
	must(is_at_high());
}

/* Nobody asked: no thread, whatever is called. */
static void test_no_thread_without_option(void **state)
{
	(void)state;
	assert_child_succeeds(without_option, NULL);
}

static uint64_t blocked_by(int tid)
{
	char path[64], text[4096], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	fd = open(path, O_RDONLY);
	must(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	must(n > 0);
	text[n] = '\0';
	close(fd);
	at = strstr(text, "SigBlk:");
	must(at);
	return strtoull(at + 7, NULL, 16);
}

static void one_thread(void *unused)
{
	/* KILL and STOP cannot be, and 32 and 33 are libc's: setuid() of all threads */
	const uint64_t never = 1ull << 8 | 1ull << 18 | 1ull << 31 | 1ull << 32;
	uint64_t before = lab_os_signals_blocked();
	int tid = 0;

	(void)unused;
	lab_kswapd_init(true, false);
	must(lab_kswapd_is_here());
	must(comes_true(has_one_kswapd, 1000));
	wait_for_sleep();
	/* sanitizers have threads of their own */
	must(HARNESS_SANITIZER[0] || count_threads(NULL, NULL) == 2);
	(void)count_threads("kswapd", &tid);
	must(tid != getpid());
	must(blocked_by(tid) == ~never);
	must(lab_os_signals_blocked() == before);
	lab_kswapd_start();
	lab_refill();
	must(has_one_kswapd());
}

/* Asked for: one more thread, named, which takes no signal of the program. */
static void test_thread_is_one_named_and_blocks_signals(void **state)
{
	(void)state;
	assert_child_succeeds(one_thread, NULL);
}

/* ---- its work ---- */

static void refills(void *unused)
{
	uint64_t managed;

	(void)unused;
	lab_kswapd_init(true, false);
	wait_for_sleep();
	must(count(LAB_EV_KSWAPD_WAKE) == 0);
	managed = lab_word_get(&zone->managed);
	take_down_to(lab_word_get(&zone->low) - 1);
	must(!is_at_high());
	/* no ordinary call does the work while there is a thread */
	lab_refill();
	must(lab_word_get(&zone->managed) == managed);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	must(comes_true(is_at_high, 1000));
	must(count(LAB_EV_KSWAPD_WAKE) == 1);
	must(count(LAB_EV_PAGEOUTRUN) > 0);
	must(lab_word_get(&zone->managed) > managed);
}

/* Below low, woken: at high within a second, and the caller did nothing. */
static void test_woken_thread_refills_to_high(void **state)
{
	(void)state;
	assert_child_succeeds(refills, NULL);
}

static void wakes_once(void *unused)
{
	unsigned int turn;

	(void)unused;
	lab_kswapd_init(true, false);
	for (turn = 1; turn <= 20; turn++) {
		must(comes_true(is_asleep, 1000));
		take_down_to(lab_word_get(&zone->low) - 1);
		lab_kswapd_wake(LAB_ZONE_RESERVE);
		must(count(LAB_EV_KSWAPD_WAKE) == turn);
		/* told, but not yet running: not woken again */
		if (lab_word_get(&lab_wiped.kswapd) == (ASLEEP_WORD | 4)) {
			lab_kswapd_wake(LAB_ZONE_RESERVE);
			must(count(LAB_EV_KSWAPD_WAKE) == turn);
		}
		usleep(2000);
		give_all();
	}
}

/* One wake for each crossing of low, and none while it is awake. */
static void test_each_crossing_wakes_once(void **state)
{
	(void)state;
	assert_child_succeeds(wakes_once, NULL);
}

static void naps(void *unused)
{
	uint64_t hit;

	(void)unused;
	lab_kswapd_init(true, false);
	wait_for_sleep();
	take_down_to(lab_word_get(&zone->low) - 1);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	usleep(30000);
	must(is_asleep() && is_at_high());
	/* again, in its nap */
	take_down_to(lab_word_get(&zone->low) - 1);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	usleep(30000);
	must(count(LAB_EV_KSWAPD_LOW_HIT) == 1 && count(LAB_EV_KSWAPD_HIGH_HIT) == 0);
	/* below high at the end of the nap, but nobody woke it */
	hit = count(LAB_EV_KSWAPD_WAKE);
	must(is_asleep() && is_at_high());
	take_down_to(lab_word_get(&zone->high) - 1);
	must(comes_true(is_at_high, 1000));
	must(count(LAB_EV_KSWAPD_HIGH_HIT) == 1 && count(LAB_EV_KSWAPD_WAKE) == hit);
}

/* It naps 100 ms before it sleeps for good; what happens meanwhile is counted. */
static void test_nap_is_counted_as_in_the_kernel(void **state)
{
	(void)state;
	assert_child_succeeds(naps, NULL);
}

static lab_word_t nr_asked, asked_by, hold;

static size_t cache_count(void *data)
{
	(void)data;
	return 3;
}

static size_t cache_scan(size_t nr, void *data)
{
	(void)data;
	lab_word_set(&asked_by, (uint64_t)gettid());
	lab_word_add(&nr_asked, nr);
	while (lab_word_get(&hold))
		usleep(1000);
	return nr;
}

static bool is_asked(void)
{
	return lab_word_get(&nr_asked) > 0;
}

static void asks_shrinkers(void *unused)
{
	static struct labyrinth_shrinker shrinker = { cache_count, cache_scan, NULL };
	uint64_t cap = lab_word_get(&zone->cap), woken;
	int tid = 0;

	(void)unused;
	while (lab_word_get(&zone->managed) < cap) {
		take_down_to(0);
		lab_upkeep();
	}
	must(labyrinth_register_shrinker(&shrinker) == 0);
	lab_word_set(&hold, 1);
	lab_kswapd_init(true, false);
	take_down_to(0);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	must(comes_true(is_asked, 1000));
	(void)count_threads("kswapd", &tid);
	must((int)lab_word_get(&asked_by) == tid);
	/* told while it is at work: not woken, but looks again at once */
	must(count(LAB_EV_KSWAPD_WAKE) <= 1 && count(LAB_EV_KSWAPD_LOW_HIT) == 0);
	woken = count(LAB_EV_KSWAPD_WAKE);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	must(count(LAB_EV_KSWAPD_WAKE) == woken);
	lab_word_set(&hold, 0);
	usleep(50000);
	must(count(LAB_EV_KSWAPD_LOW_HIT) == 1);
	/* it cannot help, and does not spin */
	wait_for_sleep();
	must(lab_word_get(&nr_asked) <= 9);
	give_all();
	must(is_at_high());
}

/* All is resident and handed out: the caches of the program are asked, then it sleeps. */
static void test_thread_asks_shrinkers_when_nothing_is_left(void **state)
{
	(void)state;
	assert_child_succeeds(asks_shrinkers, NULL);
}

/* ---- fork, exit ---- */

static void restarts(void *unused)
{
	(void)unused;
	must(!lab_kswapd_is_here());
	must(count_threads(NULL, NULL) == 1);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	must(lab_word_get(&lab_wiped.kswapd) == 0);
	lab_refill();
	must(lab_kswapd_is_here());
	must(comes_true(has_one_kswapd, 1000));
	wait_for_sleep();
	take_down_to(lab_word_get(&zone->low) - 1);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	must(comes_true(is_at_high, 1000));
}

static void does_not_restart(void *unused)
{
	sigset_t some;

	(void)unused;
	/* as in a handler */
	sigemptyset(&some);
	sigaddset(&some, SIGUSR1);
	sigprocmask(SIG_BLOCK, &some, NULL);
	take_down_to(lab_word_get(&zone->low) - 1);
	for (int i = 0; i < 16 && !is_at_high(); i++)
		lab_refill();
	must(!lab_kswapd_is_here() && is_at_high());
	sigprocmask(SIG_UNBLOCK, &some, NULL);
	lab_vfork_enter();
	lab_refill();
	must(!lab_kswapd_is_here());
	lab_vfork_leave();
	lab_refill();
	must(lab_kswapd_is_here());
}

static void fork_once(child_fn *run)
{
	int status;
	pid_t pid = fork();

	must(pid >= 0);
	if (pid == 0) {
		run(NULL);
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid && status == 0);
}

static void forks(void *unused)
{
	(void)unused;
	lab_kswapd_init(true, false);
	must(comes_true(has_one_kswapd, 1000));
	fork_once(restarts);
	fork_once(does_not_restart);
	must(has_one_kswapd());
}

/* A child has no thread, knows it, and starts one at its first ordinary use. */
static void test_child_of_fork_restarts_it(void **state)
{
	(void)state;
	if (HARNESS_SANITIZER[0])
		return; /* they refuse threads in a child of a process with threads */
	assert_child_succeeds(forks, NULL);
}

static bool no_threads;
static unsigned int attempts;

/* in front of libc's */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (no_threads) {
		attempts++;
		return EAGAIN;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	return real(thread, attr, run, arg);
}

static void tries_again(void *unused)
{
	uint64_t began = now_ms();
	struct capture capture;
	unsigned int i;

	(void)unused;
	no_threads = true;
	capture_start(&capture);
	lab_kswapd_init(true, false);
	must(attempts == 1 && !lab_kswapd_is_here());
	for (i = 0; i < 100; i++)
		lab_refill();
	must(attempts == 1 || now_ms() - began >= 1000);
	must(is_at_high());
	while (now_ms() - began < 1100)
		usleep(10000);
	attempts = 0;
	lab_refill();
	must(attempts == 1);
	/* by now it is known */
	must(!strcmp(capture_end(&capture), "labyrinth: kswapd:1: no thread, ordinary calls refill "
					    "instead (error 11)\n"));
	no_threads = false;
	while (now_ms() - began < 2300)
		usleep(10000);
	lab_refill();
	must(comes_true(has_one_kswapd, 1000));
}

/* Where no thread can be made ordinary calls do its work, and try again, once a second. */
static void test_a_thread_that_cannot_be_made_is_tried_again(void **state)
{
	(void)state;
	assert_child_succeeds(tries_again, NULL);
}

static void starts_and_ends(void *unused)
{
	(void)unused;
	lab_refill();
	must(lab_kswapd_is_here());
}

static void thousand_forks(void *unused)
{
	unsigned int turn;

	(void)unused;
	lab_kswapd_init(true, false);
	for (turn = 0; turn < 1000; turn++) {
		if (turn % 10 == 0)
			lab_kswapd_wake(LAB_ZONE_RESERVE);
		fork_once(starts_and_ends);
	}
	must(count_threads(NULL, NULL) == 2);
}

/* A thousand children, each with its own. */
static void test_thousand_forks(void **state)
{
	(void)state;
	if (HARNESS_SANITIZER[0])
		return;
	assert_child_succeeds(thousand_forks, NULL);
}

static void leaves_by_exit(void *unused)
{
	(void)unused;
	lab_kswapd_init(true, false);
	must(comes_true(has_one_kswapd, 1000));
	exit(0);
}

static void main_leaves(void *unused)
{
	pid_t pid = getpid();

	(void)unused;
	/* a signal to the process would stay pending: the thread takes none */
	if (fork() == 0) {
		closefrom(0);
		sleep(8);
		kill(pid, SIGKILL);
		_exit(0);
	}
	lab_kswapd_init(true, false);
	must(comes_true(has_one_kswapd, 1000));
	pthread_exit(NULL);
}

/* exit() ends it; and where main() leaves by pthread_exit(), the process ends too. */
static void test_process_ends_with_the_thread(void **state)
{
	uint64_t start = now_ms();

	(void)state;
	assert_child_succeeds(leaves_by_exit, NULL);
	assert_true(now_ms() - start < (HARNESS_SANITIZER[0] ? 3000 : 1000));
	if (HARNESS_SANITIZER[0])
		return; /* they have threads of their own */
	assert_child_succeeds(main_leaves, NULL);
	assert_true(now_ms() - start < 5000);
}

/* ---- pressure ---- */

static bool has_pressure(int fd)
{
	char path[64], to[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, to, sizeof(to) - 1) > 0 && !strcmp(to, "/proc/pressure/memory");
}

static bool nothing_is_pending(void)
{
	return !lab_word_get(&lab_warn_pending);
}

static void says_what_was_deferred(void *unused)
{
	(void)unused;
	lab_kswapd_init(true, false);
	wait_for_sleep();
	/* such a request does not wake the thread */
	while (labyrinth_alloc_pages(LABYRINTH___GFP_HIGH, 9))
		;
	must(!nothing_is_pending());
	must(comes_true(nothing_is_pending, 5000));
}

/* A report that an atomic request left behind is written though nobody calls any more. */
static void test_thread_writes_deferred_reports(void **state)
{
	struct outcome out = in_child(says_what_was_deferred, NULL);

	(void)state;
	assert_int_equal(out.status, 0);
	assert_non_null(strstr(out.said, "page allocation failure: order:9, mode:0x20"));
}

static bool psi_is_open(void)
{
	return has_pressure(100);
}

static void psi(void *unused)
{
	int fd, lowest = dup(1);

	(void)unused;
	close(lowest);
	lab_kswapd_init(true, true);
	must(comes_true(psi_is_open, 1000));
	must(fcntl(100, F_GETFD) & FD_CLOEXEC);
	for (fd = 3; fd < 100; fd++)
		must(!has_pressure(fd));
	fd = dup(1);
	must(fd == lowest);
	must(!lab_os_psi_poll());
	/* again, as in a child: the old one is closed first */
	must(lab_os_psi_open() == 0);
	must(has_pressure(100) && !has_pressure(101));
	/* the program closes it and opens another file there: that one is left alone */
	must(dup2(1, 100) == 100);
	must(!lab_os_psi_poll());
	must(lab_os_psi_open() == 0);
	must(has_pressure(101) && !has_pressure(100));
}

static void psi_is_missing(void *unused)
{
	struct rlimit usual, none;

	(void)unused;
	must(getrlimit(RLIMIT_NOFILE, &usual) == 0);
	none = usual;
	none.rlim_cur = 0;
	must(setrlimit(RLIMIT_NOFILE, &none) == 0);
	lab_kswapd_init(true, true);
	wait_for_sleep();
	take_down_to(lab_word_get(&zone->low) - 1);
	lab_kswapd_wake(LAB_ZONE_RESERVE);
	must(comes_true(is_at_high, 1000));
	must(setrlimit(RLIMIT_NOFILE, &usual) == 0);
}

/* The trigger's descriptor is out of the program's way; without it one line says so. */
static void test_psi_opens_or_says_so(void **state)
{
	struct outcome out = in_child(psi_is_missing, NULL);

	(void)state;
	assert_int_equal(out.status, 0);
	assert_string_equal(out.said, "labyrinth: psi:1: no trigger on /proc/pressure/memory, "
				      "going on without (error 24)\n");
	if (access("/proc/pressure/memory", W_OK)) {
		print_message("this kernel has no /proc/pressure/memory\n");
		return;
	}
	out = in_child(psi, NULL);
	if (out.status)
		fail_msg("status %#x: %s", (unsigned int)out.status, out.said);
	assert_string_equal(out.said, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_thread_without_option),
		cmocka_unit_test(test_thread_is_one_named_and_blocks_signals),
		cmocka_unit_test(test_woken_thread_refills_to_high),
		cmocka_unit_test(test_each_crossing_wakes_once),
		cmocka_unit_test(test_nap_is_counted_as_in_the_kernel),
		cmocka_unit_test(test_thread_asks_shrinkers_when_nothing_is_left),
		cmocka_unit_test(test_child_of_fork_restarts_it),
		cmocka_unit_test(test_a_thread_that_cannot_be_made_is_tried_again),
		cmocka_unit_test(test_thousand_forks),
		cmocka_unit_test(test_process_ends_with_the_thread),
		cmocka_unit_test(test_thread_writes_deferred_reports),
		cmocka_unit_test(test_psi_opens_or_says_so),
	};

	return cmocka_run_group_tests_name("kswapd", tests, NULL, NULL);
}
