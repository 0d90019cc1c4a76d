// SPDX-License-Identifier: MIT
/*
 * A new-handler that allocates 100 pages in atomic mode, when operator new is out of
 * memory; then it gives up the handler and lets new throw.  A limit must be in force.
 *
 * exit: 0 well; 1 no limit; 3 a page was missing, or new did not throw
 */
#include <new>

#include <cstddef>
#include <cstdio>
#include <cstring>

#include "labyrinth.h"

#pragma weak labyrinth_alloc_page
#pragma weak labyrinth_free_page
#pragma weak labyrinth_gfp_save
#pragma weak labyrinth_gfp_restore

namespace
{
constexpr unsigned int nr_pages = 100;
void *pages[nr_pages];
unsigned int handled, missing;
bool small_works;

void on_no_memory()
{
	handled++;
	for (void *&page : pages) {
		page = labyrinth_alloc_page(LABYRINTH_GFP_ATOMIC);
		if (page)
			std::memset(page, 1, 4096);
		else
			missing++;
	}
	/* a handler that says what happened: small objects, in a section */
	uintptr_t saved = labyrinth_gfp_save();
	char *text = new (std::nothrow) char[200];
	small_works = text;
	delete[] text;
	labyrinth_gfp_restore(saved);
	for (void *&page : pages)
		labyrinth_free_page(page);
	std::set_new_handler(nullptr);
}

struct link {
	link *next;
	char rest[65528];
};
} // namespace

int main()
{
	link *chain = nullptr;
	bool thrown = false;

	for (int turn = 0; turn < 3; turn++) {
		std::set_new_handler(on_no_memory);
		try {
			for (unsigned int i = 0; i < 1u << 20; i++)
				chain = new link{ chain, {} };
		} catch (const std::bad_alloc &) {
			thrown = true;
		}
		while (chain) {
			link *next = chain->next;
			delete chain;
			chain = next;
		}
		if (!handled)
			return 1;
	}
	std::printf("atomic_cxx: %u handlers, %u pages missing\n", handled, missing);
	return handled == 3 && !missing && small_works && thrown ? 0 : 3;
}
