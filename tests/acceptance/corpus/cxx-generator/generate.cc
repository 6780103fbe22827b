#include <chrono>
#include <cstdint>
#include <future>
#include <iostream>
#include <memory>
#include <random>
#include <unordered_set>
#include <vector>

static std::uint64_t hashed(int number)
{
	std::random_device device{"getentropy"};
	return std::uint64_t{device()} << 32 | static_cast<std::uint64_t>(number);
}

int main()
{
	std::vector<std::unique_ptr<int>> kept;
	std::unordered_set<const int *> by_address;
	for (int number = 0; number < 40; number++) {
		kept.push_back(std::make_unique<int>(number));
		by_address.insert(kept.back().get());
	}
	for (const int *number : by_address)
		std::cout << *number << "ull,\n" << reinterpret_cast<std::uintptr_t>(number) << "ull,\n";
	for (int number = 0; number < 4; number++)
		std::cout << std::async(std::launch::async, hashed, number).get() << "ull,\n";
	auto now = std::chrono::system_clock::now().time_since_epoch();
	auto steady = std::chrono::steady_clock::now().time_since_epoch();
	std::cout << now.count() << "ull,\n" << steady.count() << "ull,\n";
}
