// SPDX-License-Identifier: MIT
/*
 * Allocation from the first to the last moment of a process: while the program
 * is relocated, before and after the constructors and destructors of a preload
 * library, at the end of threads, while threads outlive main(), around dlopen().
 * Blocks of each moment are verified and freed at others.  Plain glibc passes.
 *
 * check_life.sh knows how to build it.  One case in each process:
 *
 *   [LD_PRELOAD=...] ./life chain|fork|exit_with_threads|main_leaves|
 *                           quick_exit|storm|plugin|deepbind|cxx|tls
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#include "check.h"
#include "life.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Two builds allocate while the loader relocates; see check_life.sh. */
#if defined(EARLY_IFUNC)
#define SEEN_BY_LOADER LIFE_SEEN(LIFE_LIB_IFUNC)
#elif defined(LATE_IFUNC)
#define SEEN_BY_LOADER LIFE_SEEN(LIFE_IFUNC)
#else
#define SEEN_BY_LOADER 0u
#endif

/* What every process that ends with exit() sees, and what threads add. */
#define SEEN_ALWAYS                                                                                \
	(SEEN_BY_LOADER | LIFE_SEEN(LIFE_PREINIT) | LIFE_SEEN(LIFE_LIB_CONSTRUCTOR) |              \
	 LIFE_SEEN(LIFE_CONSTRUCTOR) | LIFE_SEEN(LIFE_MAIN) | LIFE_SEEN(LIFE_DESTRUCTOR) |         \
	 LIFE_SEEN(LIFE_LIB_DESTRUCTOR))
#define SEEN_IN_THREADS                                                                            \
	(LIFE_SEEN(LIFE_THREAD) | LIFE_SEEN(LIFE_KEY_DESTRUCTOR) |                                 \
	 LIFE_SEEN(LIFE_TSS_DESTRUCTOR) | LIFE_SEEN(LIFE_CXX_THREAD_EXIT))
#define SEEN_AT_EXIT	(LIFE_SEEN(LIFE_ATEXIT) | LIFE_SEEN(LIFE_ON_EXIT))
#define SEEN_OF_PLUGINS (LIFE_SEEN(LIFE_PLUGIN_CONSTRUCTOR) | LIFE_SEEN(LIFE_PLUGIN_DESTRUCTOR))

static void must(bool good, const char *what)
{
	if (good)
		return;
	say("FAIL %s", what);
	_exit(1);
}

/* ---- the beginning and the end ---- */

#ifdef LATE_IFUNC
static int nothing(void)
{
	return 1;
}

static int (*choose_nothing(void))(void)
{
	life_visit(LIFE_IFUNC);
	return nothing;
}

static int chosen(void) __attribute__((ifunc("choose_nothing")));
#else
static int chosen(void)
{
	return 1;
}
#endif

static void preinit(void)
{
	for (unsigned int i = 0; i < 20; i++)
		life_visit(LIFE_PREINIT);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = preinit;

__attribute__((constructor(101))) static void first_constructor(void)
{
	life_visit(LIFE_CONSTRUCTOR);
}

__attribute__((constructor)) static void constructor(void)
{
	life_visit(LIFE_CONSTRUCTOR);
}

__attribute__((destructor)) static void destructor(void)
{
	life_visit(LIFE_DESTRUCTOR);
}

__attribute__((destructor(101))) static void last_destructor(void)
{
	life_visit(LIFE_DESTRUCTOR);
}

static void at_exit(void)
{
	life_visit(LIFE_ATEXIT);
}

static void registers_another(void)
{
	life_visit(LIFE_ATEXIT);
	must(atexit(at_exit) == 0, "atexit() in an exit function");
}

static void on_exit_function(int status, void *block)
{
	(void)status;
	must(pattern_wrong(block, 3000, 77) < 0, "the argument of on_exit()");
	free(block);
	life_visit(LIFE_ON_EXIT);
}

static void at_the_end(void)
{
	void *block = malloc(3000);

	pattern_fill(block, 3000, 77);
	must(on_exit(on_exit_function, block) == 0, "on_exit()");
	must(atexit(registers_another) == 0, "atexit()");
	for (unsigned int i = 0; i < 100; i++) /* more than fit without malloc() */
		must(atexit(at_exit) == 0, "atexit()");
}

/* ---- threads ---- */

/* Only the first 32 keys of a thread live without a calloc() of glibc. */
enum { KEYS = 50, PLUGINS = 24 };

static pthread_key_t keys[KEYS];
static tss_t tss;
static int (*plugin_local[PLUGINS])(unsigned char value);
static unsigned int nplugins;

int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso);
extern void *__dso_handle;

static void end_with_block(void *block)
{
	must(pattern_wrong(block, 500, 5) < 0, "a block that a thread keeps to its end");
	free(block);
}

/* A destructor that sets its key again is called again, four times in all. */
static void key_destructor(void *block)
{
	static __thread unsigned int rounds;

	end_with_block(block);
	if (rounds++ < 3) {
		block = malloc(500);
		pattern_fill(block, 500, 5);
		must(pthread_setspecific(keys[rounds], block) == 0, "pthread_setspecific()");
	}
	if (rounds == 1)
		life_visit(LIFE_KEY_DESTRUCTOR);
}

static void tss_destructor(void *block)
{
	end_with_block(block);
	life_visit(LIFE_TSS_DESTRUCTOR);
}

static void cxx_destructor(void *block)
{
	end_with_block(block);
	life_visit(LIFE_CXX_THREAD_EXIT);
}

static void *block_for_the_end(void)
{
	void *block = malloc(500);

	pattern_fill(block, 500, 5);
	return block;
}

static void make_keys(void)
{
	for (unsigned int i = 0; i < KEYS; i++)
		must(pthread_key_create(&keys[i], key_destructor) == 0, "pthread_key_create()");
	must(tss_create(&tss, tss_destructor) == thrd_success, "tss_create()");
}

/* Leaves blocks behind wherever glibc keeps them for a thread. */
static void *thread_body(void *block)
{
	must(pattern_wrong(block, 1000, 9) < 0, "the argument of a thread");
	must(pthread_setspecific(keys[0], block_for_the_end()) == 0, "pthread_setspecific()");
	must(pthread_setspecific(keys[KEYS - 1], block_for_the_end()) == 0, "a key beyond 32");
	must(tss_set(tss, block_for_the_end()) == thrd_success, "tss_set()");
	must(__cxa_thread_atexit_impl(cxx_destructor, block_for_the_end(), &__dso_handle) == 0,
	     "__cxa_thread_atexit_impl()");
	must(!dlopen("/there/is/no/such/library", RTLD_NOW), "dlopen()"); /* text of dlerror() */
	must(strerror(12345) && strsignal(1000), "strerror()");
	for (unsigned int i = 0; i < nplugins; i++) {
		must(plugin_local[i](3), "thread-local data of a plugin");
		must(plugin_local[i](4), "thread-local data of a plugin, again");
	}
	life_visit(LIFE_THREAD);
	block = realloc(block, 2000);
	must(pattern_wrong(block, 1000, 9) < 0, "the argument of a thread, moved");
	return block;
}

static void waves_of_threads(unsigned int waves, unsigned int width)
{
	pthread_t thread[64];
	void *block;

	for (unsigned int wave = 0; wave < waves; wave++) {
		for (unsigned int i = 0; i < width; i++) {
			block = malloc(1000);
			pattern_fill(block, 1000, 9);
			must(pthread_create(&thread[i], NULL, thread_body, block) == 0,
			     "no thread");
		}
		for (unsigned int i = 0; i < width; i++) {
			must(pthread_join(thread[i], &block) == 0, "pthread_join()");
			must(pattern_wrong(block, 1000, 9) < 0, "the result of a thread");
			free(block);
		}
	}
}

/* Allocates until the process is gone. */
static void *restless(void *number)
{
	uint64_t rng = (uintptr_t)number;
	size_t sizes[32];
	void *block[32] = { NULL };

	for (;;) {
		size_t i = rng_below(&rng, COUNT(block));

		if (block[i] && pattern_wrong(block[i], sizes[i], i) >= 0)
			must(false, "contents in a thread that outlives main()");
		free(block[i]);
		sizes[i] = rng_size(&rng, 100000);
		block[i] = malloc(sizes[i]);
		must(block[i], "no memory");
		pattern_fill(block[i], sizes[i], i);
	}
	return NULL;
}

static void start_restless(unsigned int n)
{
	pthread_t thread;

	for (uintptr_t i = 1; i <= n; i++)
		must(pthread_create(&thread, NULL, restless, (void *)i) == 0, "no thread");
	usleep(50 * 1000);
}

/* ---- cases ---- */

static void case_chain(void)
{
	make_keys();
	at_the_end();
	waves_of_threads(5, 8);
	life_expect(SEEN_ALWAYS | SEEN_IN_THREADS | SEEN_AT_EXIT);
}

/* Children that end by exit() take the ledger through all moments again. */
static void case_fork(void)
{
	int status;
	pid_t pid;

	make_keys();
	at_the_end();
	life_expect(SEEN_ALWAYS | SEEN_AT_EXIT);
	for (unsigned int i = 0; i < 20; i++) {
		pid = i % 2 ? fork() : _Fork();
		must(pid >= 0, "fork()");
		if (pid == 0) {
			waves_of_threads(2, 4);
			life_expect(SEEN_ALWAYS | SEEN_IN_THREADS | SEEN_AT_EXIT);
			exit(1);
		}
		life_visit(LIFE_MAIN);
		must(waitpid(pid, &status, 0) == pid && status == 0, "a child of fork()");
	}
	for (unsigned int i = 0; i < 20; i++) {
		char *argv[] = { (char[]){ "true" }, NULL };

		must(posix_spawnp(&pid, "true", NULL, NULL, argv, environ) == 0, "posix_spawn()");
		life_visit(LIFE_MAIN);
		must(waitpid(pid, &status, 0) == pid && status == 0, "a spawned child");
	}
}

static void case_exit_with_threads(void)
{
	at_the_end();
	start_restless(4);
	life_expect(SEEN_ALWAYS | SEEN_AT_EXIT);
}

static void *exits_later(void *main_thread)
{
	must(pthread_join(*(pthread_t *)main_thread, NULL) == 0, "pthread_join(main)");
	life_visit(LIFE_MAIN);
	usleep(100 * 1000);
	exit(1);
}

static void case_main_leaves(void)
{
	static pthread_t self;
	pthread_t thread;

	self = pthread_self();
	at_the_end();
	make_keys();
	start_restless(2);
	must(pthread_setspecific(keys[0], block_for_the_end()) == 0, "pthread_setspecific()");
	life_expect(SEEN_ALWAYS | SEEN_AT_EXIT | LIFE_SEEN(LIFE_KEY_DESTRUCTOR));
	must(pthread_create(&thread, NULL, exits_later, &self) == 0, "no thread");
	pthread_exit(NULL);
}

static void at_quick_exit_function(void)
{
	life_visit(LIFE_ATEXIT);
	_exit(0);
}

static void case_quick_exit(void)
{
	must(at_quick_exit(at_quick_exit_function) == 0, "at_quick_exit()");
	start_restless(2);
	quick_exit(1);
}

static void case_storm(void)
{
	make_keys();
	waves_of_threads(150, 16);
	life_expect(SEEN_ALWAYS | SEEN_IN_THREADS);
}

static char *plugin_path(char *path, int number)
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 40);

	must(len > 0, "readlink()");
	path[len] = '\0';
	if (number < 0)
		strcpy(strrchr(path, '/') + 1, "life_plugin.so");
	else
		snprintf(strrchr(path, '/') + 1, 40, "life_plugin_%d.so", number);
	return path;
}

/* Every block of the plugin is freed here, and the other way round. */
static void exchange_with_plugin(void *plugin)
{
	void *(*take)(size_t size) = dlsym(plugin, "plugin_take");
	void *(*resize)(void *block, size_t size) = dlsym(plugin, "plugin_resize");
	void (*give)(void *block) = dlsym(plugin, "plugin_give");
	char *(*copy)(const char *text) = dlsym(plugin, "plugin_copy");
	char *block;

	must(take && resize && give && copy, "dlsym()");
	for (size_t size = 1; size < 4 << 20; size = size * 3 + 1) {
		block = take(size);
		pattern_fill(block, size, size);
		block = realloc(block, 2 * size);
		must(pattern_wrong(block, size, size) < 0, "a plugin's block, moved here");
		block = resize(block, 3 * size);
		must(pattern_wrong(block, size, size) < 0, "a block, moved in the plugin");
		free(block);
		block = malloc(size);
		pattern_fill(block, size, size);
		must(pattern_wrong(block, size, size) < 0, "a block for the plugin");
		give(block);
	}
	block = copy("labyrinth");
	must(!strcmp(block, "labyrinth"), "strdup() in the plugin");
	free(block);
	give(strdup("labyrinth"));
}

static void plugin_rounds(int flags)
{
	char path[PATH_MAX];
	void *plugin;

	for (unsigned int i = 0; i < 30; i++) {
		plugin = dlopen(plugin_path(path, -1), flags);
		if (!plugin)
			say("%s", dlerror());
		must(plugin, "dlopen()");
		exchange_with_plugin(plugin);
		life_visit(LIFE_MAIN);
		must(dlclose(plugin) == 0, "dlclose()");
	}
	life_expect(SEEN_ALWAYS | SEEN_OF_PLUGINS);
}

static void case_plugin(void)
{
	plugin_rounds(RTLD_NOW);
	plugin_rounds(RTLD_LAZY | RTLD_GLOBAL);
}

static void case_deepbind(void)
{
	plugin_rounds(RTLD_NOW | RTLD_DEEPBIND);
}

static void case_cxx(void)
{
	char path[PATH_MAX];
	void *plugin;
	int (*works)(void);
	int step;

	strcpy(strrchr(plugin_path(path, -1), '/') + 1, "life_cxx.so");
	plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	must(plugin, "dlopen()");
	works = (int (*)(void))dlsym(plugin, "cxx_works");
	must(works, "dlsym()");
	step = works();
	if (step)
		say("step %d", step);
	must(step == 0, "new in a plugin of C++");
	life_expect(SEEN_ALWAYS);
}

/* Threads that run while modules with thread-local data come and go. */
static void *touches_plugins(void *stop)
{
	while (!__atomic_load_n((int *)stop, __ATOMIC_ACQUIRE)) {
		unsigned int n = __atomic_load_n(&nplugins, __ATOMIC_ACQUIRE);

		for (unsigned int i = 0; i < n; i++)
			must(plugin_local[i]((unsigned char)(i + 1)),
			     "thread-local data, early thread");
		free(malloc(1000));
	}
	return NULL;
}

static void case_tls(void)
{
	void *plugin[PLUGINS];
	pthread_t early[3];
	char path[PATH_MAX];
	int stop = 0;

	make_keys();
	for (unsigned int i = 0; i < COUNT(early); i++)
		must(pthread_create(&early[i], NULL, touches_plugins, &stop) == 0, "no thread");
	for (int i = 0; i < PLUGINS; i++) {
		plugin[i] = dlopen(plugin_path(path, i), RTLD_NOW);
		must(plugin[i], "dlopen()");
		plugin_local[i] = (int (*)(unsigned char))dlsym(plugin[i], "plugin_local");
		__atomic_store_n(&nplugins, (unsigned int)i + 1, __ATOMIC_RELEASE);
		waves_of_threads(2, 8);
	}
	waves_of_threads(20, 16);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < COUNT(early); i++)
		pthread_join(early[i], NULL);
	nplugins = 0;
	for (int i = 0; i < PLUGINS; i++)
		must(dlclose(plugin[i]) == 0, "dlclose()");
	life_expect(SEEN_ALWAYS | SEEN_IN_THREADS | SEEN_OF_PLUGINS);
}

static const struct check_test cases[] = {
	{ "chain", case_chain },
	{ "fork", case_fork },
	{ "exit_with_threads", case_exit_with_threads },
	{ "main_leaves", case_main_leaves },
	{ "quick_exit", case_quick_exit },
	{ "storm", case_storm },
	{ "plugin", case_plugin },
	{ "deepbind", case_deepbind },
	{ "cxx", case_cxx },
	{ "tls", case_tls },
};

/* The destructor of liblife.so turns the 1 into what it finds. */
int main(int argc, char **argv)
{
	must(chosen(), "the ifunc");
	life_visit(LIFE_MAIN);
	for (size_t i = 0; i < COUNT(cases); i++)
		if (argc == 2 && !strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return 1;
		}
	_exit(2);
}
