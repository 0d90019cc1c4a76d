// SPDX-License-Identifier: MIT
/*
 * life_cxx.so: C++ that comes by dlopen() into a program of C, so that libstdc++
 * was not there, and is not in the global scope, when malloc() was replaced.
 */
#include <cstdint>
#include <new>
#include <string>

static int handler_calls;

static void give_up()
{
	handler_calls++;
	std::set_new_handler(nullptr);
}

template <class T> static T opaque(T value)
{
	__asm__ volatile("" : "+r"(value) : : "memory");
	return value;
}

/* 0, or the number of what did not happen */
extern "C" int cxx_works(void);
extern "C" int cxx_works(void)
{
	std::string *text = opaque(new std::string(1000, 'c'));

	if (text->find_first_not_of('c') != std::string::npos)
		return 1;
	delete text;
	std::set_new_handler(give_up);
	try {
		delete[] opaque(new char[opaque(SIZE_MAX / 4)]);
		return 2;
	} catch (const std::bad_alloc &) {
	}
	if (handler_calls != 1)
		return 3;
	if (opaque(new (std::nothrow) char[opaque(SIZE_MAX / 4)]))
		return 4;
	return 0;
}
