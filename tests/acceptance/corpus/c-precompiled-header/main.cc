#include <cstdio>

int main()
{
	std::map<std::string, int> numbers{{compiled, 1}};
	std::puts(numbers.begin()->first.c_str());
}
