#include <stdio.h>
#include <time.h>

int main(void)
{
	if (time(NULL) % 2) {
		puts("odd");
		return 1;
	}
	puts("even");
	return 0;
}
