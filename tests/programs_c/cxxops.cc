// SPDX-License-Identifier: MIT
/*
 * The twenty replaceable operators new and delete of C++17, as libstdc++ has
 * them on top of glibc's malloc, which passes all of it.
 *
 *   g++ -std=c++20 -O2 -Wall -Wextra -o cxxops cxxops.cc -pthread -ldl
 *   [LD_PRELOAD=...] ./cxxops [--seed N] [--direct] [CASE...]
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <malloc.h>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "check.h"

/* Requests that cannot succeed are the point. */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Walloc-size-larger-than="
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

using std::align_val_t;
using std::nothrow;

/* The compiler may drop a new and a delete that it can see through. */
template <class T> static T opaque(T value)
{
	__asm__ volatile("" : "+r"(value) : : "memory");
	return value;
}

static void *allocate(unsigned int how, size_t size, align_val_t alignment)
{
	switch (how) {
	case 0:
		return ::operator new(size);
	case 1:
		return ::operator new[](size);
	case 2:
		return ::operator new(size, nothrow);
	case 3:
		return ::operator new[](size, nothrow);
	case 4:
		return ::operator new(size, alignment);
	case 5:
		return ::operator new[](size, alignment);
	case 6:
		return ::operator new(size, alignment, nothrow);
	default:
		return ::operator new[](size, alignment, nothrow);
	}
}

/* 0, 1 plain; 2, 3 nothrow; 4, 5 sized; then the same with an alignment. */
static void release(unsigned int how, void *block, size_t size, align_val_t alignment)
{
	switch (how) {
	case 0:
		return ::operator delete(block);
	case 1:
		return ::operator delete[](block);
	case 2:
		return ::operator delete(block, nothrow);
	case 3:
		return ::operator delete[](block, nothrow);
	case 4:
		return ::operator delete(block, size);
	case 5:
		return ::operator delete[](block, size);
	case 6:
		return ::operator delete(block, alignment);
	case 7:
		return ::operator delete[](block, alignment);
	case 8:
		return ::operator delete(block, alignment, nothrow);
	case 9:
		return ::operator delete[](block, alignment, nothrow);
	case 10:
		return ::operator delete(block, size, alignment);
	default:
		return ::operator delete[](block, size, alignment);
	}
}

enum { PLAIN_NEWS = 4, ALL_NEWS = 8, PLAIN_DELETES = 6, ALL_DELETES = 12 };

/* Every new with every delete that may end it. */
static void all_pairs(size_t size, size_t alignment)
{
	for (unsigned int make = 0; make < ALL_NEWS; make++)
		for (unsigned int end = 0; end < ALL_DELETES; end++) {
			bool is_aligned_new = make >= PLAIN_NEWS;
			size_t want = is_aligned_new ? alignment : 16;
			void *block;

			if (is_aligned_new != (end >= PLAIN_DELETES))
				continue;
			if ((make & 1) != (end & 1))
				continue; /* an array ends as an array */
			block = opaque(allocate(make, size, align_val_t(alignment)));
			EXPECT(block && is_aligned(block, want), "new %u, %zu bytes, %zu: %p", make,
			       size, alignment, block);
			EXPECT(malloc_usable_size(block) >= size, "new %u, %zu bytes: usable %zu",
			       make, size, malloc_usable_size(block));
			pattern_fill(block, size, make + end);
			EXPECT(pattern_wrong(block, size, make + end) < 0, "%zu bytes: contents",
			       size);
			release(end, block, size, align_val_t(alignment));
		}
}

static void test_all_pairs(void)
{
	static size_t sizes[LADDER_ROOM];
	size_t n = ladder(sizes, 2 * MIB);

	for (size_t i = 0; i < n; i += 5)
		for (size_t alignment = 1; alignment <= 4096; alignment *= 8)
			all_pairs(sizes[i], alignment);
	for (size_t alignment = 1; alignment <= 1 * MIB; alignment *= 2)
		for (size_t size = 0; size <= 70000; size = 3 * size + 1)
			all_pairs(size, alignment);
}

static void test_zero_size_is_unique(void)
{
	void *block[ALL_NEWS * 20];

	for (size_t i = 0; i < COUNT(block); i++) {
		block[i] = allocate(i % ALL_NEWS, 0, align_val_t(64));
		EXPECT(block[i], "new %zu of nothing is null", i % ALL_NEWS);
		for (size_t k = 0; k < i; k++)
			EXPECT(block[k] != block[i], "%p twice", block[i]);
	}
	for (size_t i = 0; i < COUNT(block); i++)
		release(i % ALL_NEWS < PLAIN_NEWS ? i & 1 : 6 + (i & 1), block[i], 0,
			align_val_t(64));
}

static void test_delete_of_null(void)
{
	for (unsigned int end = 0; end < ALL_DELETES; end++)
		release(end, nullptr, 64, align_val_t(64));
}

/* ---- failure ---- */

static int handler_calls;

struct refused : std::bad_alloc {
	int calls = handler_calls;
};

static void give_up_at_third_call()
{
	if (++handler_calls == 3)
		std::set_new_handler(nullptr);
}

static void refuse()
{
	handler_calls++;
	throw refused();
}

static const size_t too_large[] = { SIZE_MAX,	       SIZE_MAX - 15,	SIZE_MAX / 2 + 1,
				    SIZE_MAX / 2 - 64, (size_t)1 << 50, (size_t)1 << 62 };

static void test_failure_throws_bad_alloc(void)
{
	for (size_t i = 0; i < COUNT(too_large); i++)
		for (unsigned int make = 0; make < ALL_NEWS; make++) {
			bool may_throw = make % 4 < 2, thrown = false;
			void *block = &handler_calls;

			/* libstdc++ 12 rounds the size up to the alignment, and wraps */
			if (make >= PLAIN_NEWS && too_large[i] > SIZE_MAX - 64 && !is_labyrinth())
				continue;
			std::set_new_handler(give_up_at_third_call);
			handler_calls = 0;
			try {
				block = allocate(make, too_large[i], align_val_t(64));
			} catch (const std::bad_alloc &) {
				thrown = true;
			}
			EXPECT(thrown == may_throw, "new %u of %#zx bytes: %s", make, too_large[i],
			       thrown ? "thrown" : "not thrown");
			EXPECT(may_throw || !block, "new %u of %#zx bytes: %p", make, too_large[i],
			       block);
			EXPECT(handler_calls == 3,
			       "new %u of %#zx bytes: new_handler called %d times", make,
			       too_large[i], handler_calls);
		}
	std::set_new_handler(nullptr);
}

/* What the handler throws passes the operator, or becomes null. */
static void test_handler_that_throws(void)
{
	std::set_new_handler(refuse);
	for (unsigned int make = 0; make < ALL_NEWS; make++) {
		bool may_throw = make % 4 < 2, thrown = false;
		void *block = &handler_calls;

		handler_calls = 0;
		try {
			block = allocate(make, SIZE_MAX / 2 + 1, align_val_t(64));
		} catch (const refused &what) {
			thrown = what.calls == 1;
		}
		EXPECT(thrown == may_throw && (thrown || !block), "new %u: %s, %p", make,
		       thrown ? "thrown" : "not thrown", block);
		EXPECT(handler_calls == 1, "new %u: called %d times", make, handler_calls);
	}
	std::set_new_handler(nullptr);
}

static char *spare;

static void release_the_spare()
{
	handler_calls++;
	delete[] spare;
	spare = nullptr;
	std::set_new_handler(nullptr);
}

/* A handler that makes room lets the same call succeed. */
static void test_handler_that_makes_room(void)
{
	std::set_new_handler(release_the_spare);
	spare = new char[1000];
	handler_calls = 0;
	try {
		delete[] opaque(new char[opaque((size_t)1 << 50)]);
		EXPECT(false, "2^50 bytes allocated");
	} catch (const std::bad_alloc &) {
		EXPECT(handler_calls == 1 && !spare, "handler called %d times", handler_calls);
	}
	delete opaque(new int(1));
}

static void test_bad_array_length(void)
{
	struct wide {
		char bytes[1000];
	};
	bool thrown = false;

	try {
		delete[] opaque(new wide[opaque(SIZE_MAX / 500)]);
	} catch (const std::bad_array_new_length &) {
		thrown = true;
	}
	EXPECT(thrown, "no bad_array_new_length");
}

/* ---- the language on top of them ---- */

template <size_t alignment> struct alignas(alignment) over_aligned {
	unsigned char bytes[alignment];
	~over_aligned()
	{
		opaque(bytes[0]);
	}
};

template <size_t alignment> static void over_aligned_objects(void)
{
	using object = over_aligned<alignment>;
	std::vector<std::unique_ptr<object>> one;
	std::vector<object> together(7);

	for (size_t i = 0; i < 20; i++) {
		one.emplace_back(new object);
		EXPECT(is_aligned(one.back().get(), alignment), "alignas(%zu): %p", alignment,
		       static_cast<void *>(one.back().get()));
		pattern_fill(one.back()->bytes, alignment, i);
	}
	EXPECT(is_aligned(together.data(), alignment), "vector of alignas(%zu)", alignment);
	std::unique_ptr<object[]> array(new object[5]);
	EXPECT(is_aligned(array.get(), alignment), "array of alignas(%zu)", alignment);
	for (size_t i = 0; i < one.size(); i++)
		EXPECT(pattern_wrong(one[i]->bytes, alignment, i) < 0, "alignas(%zu)", alignment);
}

static void test_over_aligned_classes(void)
{
	over_aligned_objects<16>();
	over_aligned_objects<32>();
	over_aligned_objects<64>();
	over_aligned_objects<128>();
	over_aligned_objects<256>();
	over_aligned_objects<512>();
	over_aligned_objects<1024>();
	over_aligned_objects<2048>();
	over_aligned_objects<4096>();
}

struct throws_in_constructor {
	char bytes[5000];
	explicit throws_in_constructor(int n)
	{
		memset(bytes, n, sizeof(bytes));
		if (opaque(n) >= 0)
			throw std::runtime_error(std::string(200, 'x'));
	}
};

/* A constructor that throws gives its block back. */
static void test_constructor_that_throws(void)
{
	size_t before = resident();

	for (int i = 0; i < 50000; i++) {
		try {
			delete opaque(new throws_in_constructor(i));
			EXPECT(false, "not thrown");
		} catch (const std::runtime_error &error) {
			EXPECT(strlen(error.what()) == 200, "what()");
		}
	}
	EXPECT(resident() < before + 64 * MIB, "%zu MiB lost", (resident() - before) / MIB);
}

static void test_containers(void)
{
	uint64_t rng = seed;
	std::map<uint64_t, std::string> tree;
	std::unordered_map<uint64_t, std::string> table;
	std::pmr::unsynchronized_pool_resource pool(std::pmr::new_delete_resource());
	std::pmr::vector<std::pmr::string> pooled(&pool);

	for (int i = 0; i < 100000; i++) {
		uint64_t key = rng_below(&rng, 20000);
		std::string value(rng_below(&rng, 200), static_cast<char>(key));

		tree[key] = value;
		table[key] = value;
		if (i % 3 == 0) {
			tree.erase(key / 2);
			table.erase(key / 2);
		}
		if (i % 100 == 0)
			pooled.emplace_back(value);
	}
	EXPECT(tree.size() == table.size(), "%zu and %zu", tree.size(), table.size());
	for (const auto &[key, value] : tree)
		EXPECT(table.at(key) == value &&
			       value.find_first_not_of(static_cast<char>(key)) == std::string::npos,
		       "key %llu", static_cast<unsigned long long>(key));
}

static void test_exceptions_in_threads(void)
{
	std::vector<std::thread> threads;

	for (int t = 0; t < 4; t++)
		threads.emplace_back([] {
			for (int i = 0; i < 20000; i++) {
				bool caught = false;

				try {
					std::vector<std::string> some(3, std::string(100, 'y'));

					throw std::out_of_range(some[2]);
				} catch (const std::out_of_range &error) {
					caught = strlen(error.what()) == 100;
				}
				EXPECT(caught, "exception lost");
			}
		});
	for (auto &thread : threads)
		thread.join();
}

/* malloc() and new are one heap: a replacement has all of it or nothing. */
static void test_all_twenty_are_replaced(void)
{
	static const char *const names[] = {
		"_Znwm",
		"_Znam",
		"_ZnwmRKSt9nothrow_t",
		"_ZnamRKSt9nothrow_t",
		"_ZnwmSt11align_val_t",
		"_ZnamSt11align_val_t",
		"_ZnwmSt11align_val_tRKSt9nothrow_t",
		"_ZnamSt11align_val_tRKSt9nothrow_t",
		"_ZdlPv",
		"_ZdaPv",
		"_ZdlPvRKSt9nothrow_t",
		"_ZdaPvRKSt9nothrow_t",
		"_ZdlPvm",
		"_ZdaPvm",
		"_ZdlPvSt11align_val_t",
		"_ZdaPvSt11align_val_t",
		"_ZdlPvSt11align_val_tRKSt9nothrow_t",
		"_ZdaPvSt11align_val_tRKSt9nothrow_t",
		"_ZdlPvmSt11align_val_t",
		"_ZdaPvmSt11align_val_t",
	};
	Dl_info own, info;

	if (!is_labyrinth())
		return check_skip("only Labyrinth promises them");
	EXPECT(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &own), "malloc() is nowhere");
	for (size_t i = 0; i < COUNT(names); i++) {
		void *function = dlsym(RTLD_DEFAULT, names[i]);

		EXPECT(function && dladdr(function, &info) && info.dli_fbase == own.dli_fbase,
		       "%s is not replaced", names[i]);
	}
}

static const struct check_test tests[] = {
	{ "all_pairs", test_all_pairs },
	{ "zero_size_is_unique", test_zero_size_is_unique },
	{ "delete_of_null", test_delete_of_null },
	{ "failure_throws_bad_alloc", test_failure_throws_bad_alloc },
	{ "handler_that_throws", test_handler_that_throws },
	{ "handler_that_makes_room", test_handler_that_makes_room },
	{ "bad_array_length", test_bad_array_length },
	{ "over_aligned_classes", test_over_aligned_classes },
	{ "constructor_that_throws", test_constructor_that_throws },
	{ "containers", test_containers },
	{ "exceptions_in_threads", test_exceptions_in_threads },
	{ "all_twenty_are_replaced", test_all_twenty_are_replaced },
};

int main(int argc, char **argv)
{
	return check_main(argc, argv, tests, COUNT(tests));
}
