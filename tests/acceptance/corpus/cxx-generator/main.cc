#include <cstdio>

static const unsigned long long table[] = {
#include "table.inc"
};

int main()
{
	unsigned long long sum = 0;
	for (auto number : table)
		sum += number;
	std::printf("%llu\n", sum);
}
