#include <stdio.h>

#include "stamp.h"

int main(void)
{
	puts(STAMP);
	return 0;
}
