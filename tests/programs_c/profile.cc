// SPDX-License-Identifier: MIT
/*
 * A program whose heap is known: for each function the bytes of what it has
 * allocated and is still in use.  Printed as "bytes NAME TRUE".
 *
 * usage: profile [threads]; exit 0
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <thread>
#include <vector>

#define OWN __attribute__((noinline, noclone)) static

/* the compiler must not take a malloc() away that nobody reads */
static void *use(void *p)
{
	asm volatile("" : "+r"(p) : : "memory");
	return p;
}

struct holder {
	void *p[50000];
	size_t n;
};

OWN void keep_small(holder *to)
{
	while (to->n < 50000)
		to->p[to->n] = use(malloc(16 + to->n % 200)), to->n++;
}

OWN void keep_arrays(holder *to)
{
	while (to->n < 8000)
		to->p[to->n] = use(new char[500 + to->n % 3000]), to->n++;
}

OWN void keep_zeroed(holder *to)
{
	while (to->n < 3000)
		to->p[to->n] = use(calloc(1 + to->n % 5, 1000)), to->n++;
}

OWN void keep_pages(holder *to)
{
	while (to->n < 3000)
		to->p[to->n] = use(aligned_alloc(4096, 4096)), to->n++;
}

OWN void keep_large(holder *to)
{
	while (to->n < 40)
		to->p[to->n] = use(malloc(100000 + to->n * 10000)), to->n++;
}

OWN void grow_large(holder *to)
{
	for (; to->n < 4; to->n++) {
		char *p = (char *)malloc(50000);

		for (size_t bytes = 100000; bytes < 4000000; bytes *= 2)
			p = (char *)realloc(p, bytes);
		to->p[to->n] = use(p);
	}
}

/* the same number of live blocks all the time: no stack ever runs empty on balance */
OWN void *make_first(size_t size)
{
	return use(malloc(size));
}

/* not the same code as the first: the compiler would take them for one */
OWN void *make_second(size_t size)
{
	return use(malloc(size + 16));
}

OWN void churn(unsigned n)
{
	while (n-- > 0)
		free(use(malloc(16 + n * 37 % 5000)));
}

static holder small, arrays, zeroed, pages, large, grown, replaced;

static void replace_all()
{
	for (; replaced.n < 50000; replaced.n++)
		replaced.p[replaced.n] = make_first(160);
	for (size_t i = 0; i < replaced.n; i++) {
		free(replaced.p[i * 7919 % replaced.n]);
		replaced.p[i * 7919 % replaced.n] = make_second(160);
	}
}

static void say(const char *name, const holder &held)
{
	size_t sum = 0;

	for (size_t i = 0; i < held.n; i++)
		sum += malloc_usable_size(held.p[i]);
	printf("bytes %s %zu\n", name, sum);
}

int main(int argc, char **argv)
{
	std::vector<std::thread> threads;

	for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--)
		threads.emplace_back(churn, 300000);
	keep_small(&small);
	churn(100000);
	keep_arrays(&arrays);
	keep_zeroed(&zeroed);
	churn(100000);
	keep_pages(&pages);
	keep_large(&large);
	grow_large(&grown);
	replace_all();
	for (auto &thread : threads)
		thread.join();
	say("keep_small", small);
	say("keep_arrays", arrays);
	say("keep_zeroed", zeroed);
	say("keep_pages", pages);
	say("keep_large", large);
	say("grow_large", grown);
	say("make_second", replaced);
	printf("bytes make_first 0\n");
	printf("bytes churn 0\n");
	return 0;
}
