// SPDX-License-Identifier: MIT
/*
 * Containers of C++ in a signal handler.
 *
 * See README.md beside it.
 *
 *   build: g++ -std=c++17 -O2 -o containers containers.cc -llabyrinth
 */
#include <labyrinth.hpp>

#include <csignal>
#include <cstdio>
#include <map>
#include <memory_resource>
#include <new>
#include <string>
#include <vector>

namespace
{

labyrinth::gfp_resource atomic_memory(LABYRINTH_GFP_ATOMIC);
volatile std::sig_atomic_t runs, wrong;

/* a map of strings is built and dropped: hundreds of allocations, none of them the system's */
void on_signal(int)
{
	std::pmr::map<int, std::pmr::string> words(&atomic_memory);

	for (int i = 0; i < 100; i++)
		words.emplace(i, "a text that is too long for the string itself");
	runs = runs + 1;
	wrong = wrong + (words.size() != 100 || words.at(42).size() != 45);
}

struct alignas(64) line {
	char bytes[64];
};

/* what is asked for comes aligned, and a request that cannot be met throws */
int check_edges()
{
	labyrinth::gfp_resource pages(LABYRINTH_GFP_KERNEL);
	labyrinth::heap_resource heap;
	std::pmr::vector<line> lines(10, &pages);
	std::vector<line, labyrinth::allocator<line>> plain(10);
	int bad = reinterpret_cast<std::uintptr_t>(lines.data()) % 64 != 0;

	bad += reinterpret_cast<std::uintptr_t>(plain.data()) % 64 != 0;
	bad += !pages.is_equal(atomic_memory) || pages.is_equal(heap);
	{
		labyrinth::atomic_section section;
		bad += !labyrinth_in_atomic();
	}
	bad += labyrinth_in_atomic();
	try {
		(void)atomic_memory.allocate(std::size_t(1) << 40);
		bad++;
	} catch (const std::bad_alloc &) {
	}
	return bad;
}

} // namespace

int main()
{
	int edges = check_edges();

	std::signal(SIGUSR1, on_signal);
	for (int i = 0; i < 1000; i++)
		std::raise(SIGUSR1);
	std::printf("%d handlers, %d wrong, %d edges wrong\n", int(runs), int(wrong), edges);
	return edges || wrong || runs != 1000;
}
