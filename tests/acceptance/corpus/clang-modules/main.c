#include <stdio.h>

#include "include/answer.h"

int main(void)
{
	printf("%s %s %d\n", __TIMESTAMP__, __TIME__, answer());
	return 0;
}
