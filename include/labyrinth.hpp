// SPDX-License-Identifier: MIT
/*
 * Labyrinth for C++17: memory resources for the containers of std::pmr, and an
 * allocator for all others.
 *
 *   labyrinth::gfp_resource atomic(LABYRINTH_GFP_ATOMIC);
 *   std::pmr::vector<int> in_a_handler(&atomic);
 */
#ifndef LABYRINTH_HPP
#define LABYRINTH_HPP

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>

#include "labyrinth.h"

namespace labyrinth
{

/**
 * gfp_resource - a memory resource by the kernel's flags
 *
 * do_allocate() throws std::bad_alloc when a request fails, which makes libstdc++
 * allocate the exception: by its malloc, or from its emergency pool.  In a handler
 * ask for what a container needs in advance (reserve()), or let the program run with
 * Labyrinth as its malloc.
 *
 * Alignments: what labyrinth_malloc() gives, 16 bytes; above that, up to a page, whole
 * pages serve; above a page the request is refused, std::bad_alloc.
 *
 * Context: as labyrinth_malloc() with these flags.
 */
class gfp_resource : public std::pmr::memory_resource
{
      public:
	explicit gfp_resource(labyrinth_gfp_t gfp) noexcept : gfp_(gfp)
	{
	}

	labyrinth_gfp_t flags() const noexcept
	{
		return gfp_;
	}

      private:
	static constexpr std::size_t natural_ = 16;

	void *do_allocate(std::size_t bytes, std::size_t align) override
	{
		void *memory = nullptr;

		if (align <= natural_)
			memory = labyrinth_malloc(bytes, gfp_);
		else if (align <= LABYRINTH_PAGE_SIZE)
			memory = labyrinth_alloc_pages_exact(bytes ? bytes : 1, gfp_);
		if (!memory)
			throw std::bad_alloc();
		return memory;
	}

	void do_deallocate(void *memory, std::size_t bytes, std::size_t align) override
	{
		if (align <= natural_)
			labyrinth_free(memory);
		else
			labyrinth_free_pages_exact(memory, bytes ? bytes : 1);
	}

	/* all memory goes back by the same calls, whatever the flags were */
	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
		return dynamic_cast<const gfp_resource *>(&other) != nullptr;
	}

	labyrinth_gfp_t gfp_;
};

/**
 * heap_resource - malloc() of Labyrinth, beside the system's
 *
 * Context: as labyrinth_heap_memalign().
 */
class heap_resource : public std::pmr::memory_resource
{
	void *do_allocate(std::size_t bytes, std::size_t align) override
	{
		void *memory = labyrinth_heap_memalign(align, bytes);

		if (!memory)
			throw std::bad_alloc();
		return memory;
	}

	void do_deallocate(void *memory, std::size_t, std::size_t) override
	{
		labyrinth_free(memory);
	}

	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
		return dynamic_cast<const heap_resource *>(&other) != nullptr;
	}
};

/** allocator - Labyrinth's heap for containers that have an allocator of the old kind */
template <class T> struct allocator {
	using value_type = T;

	allocator() noexcept = default;
	template <class U> allocator(const allocator<U> &) noexcept
	{
	}

	T *allocate(std::size_t n)
	{
		void *memory = n > std::size_t(-1) / sizeof(T)
				       ? nullptr
				       : labyrinth_heap_memalign(alignof(T), n * sizeof(T));

		if (!memory)
			throw std::bad_alloc();
		return static_cast<T *>(memory);
	}

	void deallocate(T *memory, std::size_t) noexcept
	{
		labyrinth_free(memory);
	}

	template <class U> bool operator==(const allocator<U> &) const noexcept
	{
		return true;
	}

	template <class U> bool operator!=(const allocator<U> &) const noexcept
	{
		return false;
	}
};

/** atomic_section - labyrinth_gfp_save() for the life of the object */
class atomic_section
{
      public:
	atomic_section() noexcept : saved_(labyrinth_gfp_save())
	{
	}

	~atomic_section()
	{
		labyrinth_gfp_restore(saved_);
	}

	atomic_section(const atomic_section &) = delete;
	atomic_section &operator=(const atomic_section &) = delete;

      private:
	std::uintptr_t saved_;
};

} // namespace labyrinth

#endif // LABYRINTH_HPP
