#include <stdlib.h>
#include <sys/random.h>

static int compare(const void *left, const void *right)
{
	unsigned char a = *(const unsigned char *)left, b = *(const unsigned char *)right;

	if (a < b)
		return -1;
	return a > b;
}

int main(void)
{
	unsigned char numbers[256];

	if (getrandom(numbers, sizeof(numbers), 0) != sizeof(numbers))
		return 1;
	qsort(numbers, sizeof(numbers), 1, compare);
	return numbers[0] > numbers[255];
}
