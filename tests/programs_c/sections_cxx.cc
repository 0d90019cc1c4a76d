// SPDX-License-Identifier: MIT
/*
 * operator new in handlers, and exceptions that leave them.
 *
 * usage: sections_cxx [--direct] [CASE...], with atomic_handlers:1
 */
#include "check.h"

#include <errno.h>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" int labyrinth_in_atomic(void) __attribute__((weak));

static const size_t too_much = 64u << 20;
static void (*body)();

static void run_body(int)
{
	body();
}

__attribute__((noinline)) static void in_handler(void (*what)())
{
	body = what;
	__asm__ volatile("int3" ::: "memory");
}

static bool outside()
{
	void *p = malloc(too_much);

	free(p);
	return p && !labyrinth_in_atomic();
}

struct alignas(128) wide {
	char room[256];
};

static void use_new()
{
	std::string text(200, 'x');
	std::vector<int> numbers;
	std::unique_ptr<wide> aligned(new wide);

	EXPECT(labyrinth_in_atomic(), "the handler is not in a section");
	EXPECT(is_aligned(aligned.get(), 128), "alignment");
	for (int i = 0; i < 1000; i++)
		numbers.push_back(i);
	EXPECT(numbers[999] == 999 && text[199] == 'x', "contents");
	EXPECT(!new (std::nothrow) char[too_much], "new (nothrow) of 64 MiB");
	try {
		void *much = ::operator new(too_much);

		EXPECT(false, "new of 64 MiB: %p", much);
	} catch (const std::bad_alloc &) {
	}
	EXPECT(labyrinth_in_atomic(), "the section ended by an exception inside");
}

static void news()
{
	signal(SIGTRAP, run_body);
	in_handler(use_new);
	EXPECT(outside(), "a section after the handler");
	in_handler(use_new);
}

static void throw_something()
{
	throw std::runtime_error("out of the handler, with a text of some length");
}

static void exceptions()
{
	struct sigaction action = {};

	action.sa_handler = run_body;
	action.sa_flags = SA_NODEFER;
	sigaction(SIGTRAP, &action, nullptr);
	for (int i = 0; i < 3; i++) {
		try {
			in_handler(throw_something);
			EXPECT(false, "not thrown");
		} catch (const std::exception &e) {
			EXPECT(outside(), "a section in the catch of \"%s\"", e.what());
		}
		EXPECT(outside(), "a section after an exception");
	}
}

static volatile int slot;

static void count(int)
{
	EXPECT(labyrinth_in_atomic(), "the handler is not in a section");
	slot = slot + 1;
}

/* The section of a handler that was left by an exception is no outer one to the next. */
static void exceptions_then_handlers()
{
	signal(SIGUSR1, count);
	exceptions();
	raise(SIGUSR1);
	EXPECT(slot == 1 && outside(), "a section after a handler");
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		{ "news", news },
		{ "exceptions", exceptions },
		{ "exceptions_then_handlers", exceptions_then_handlers },
	};
	static void *pages[8192];

	for (auto &page : pages)
		page = malloc(4096);
	for (auto &page : pages)
		free(page);
	return check_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
