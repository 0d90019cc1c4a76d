/* SPDX-License-Identifier: MIT */
/*
 * C++ containers: what a program of maps, strings, lists and shared pointers asks
 * of its allocator.
 *
 *	load_stl [PERCENT]
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t next()
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

struct record {
	std::string name;
	std::vector<int> values;
	std::shared_ptr<record> link;
};

int main(int argc, char **argv)
{
	unsigned int percent = argc > 1 ? (unsigned int)std::atoi(argv[1]) : 100;
	uint64_t n = 200000ull * percent / 100;
	std::map<uint64_t, std::string> ordered;
	std::unordered_map<std::string, std::shared_ptr<record>> index;
	std::list<std::vector<char>> recent;
	std::deque<std::unique_ptr<record>> queue;
	size_t sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t r = next();
		std::string name = "record-" + std::to_string(r % 40000) + "-of-some-length";
		auto &slot = index[name];

		slot = std::make_shared<record>();
		slot->name = name;
		for (unsigned int j = 0; j < r % 20; j++)
			slot->values.push_back((int)j);
		ordered[r % 60000] = name;
		if (r & 1)
			ordered.erase(ordered.begin());
		recent.emplace_back(r % 3000);
		if (recent.size() > 500)
			recent.pop_front();
		queue.push_back(std::make_unique<record>());
		queue.back()->link = slot;
		if (queue.size() > 2000)
			queue.pop_front();
		sum += ordered.size() + slot->values.size();
	}
	std::printf("%zu\n", sum);
	return 0;
}
