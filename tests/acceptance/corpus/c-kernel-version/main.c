#include <stdio.h>

#include "compile.h"

int main(void)
{
	puts(KERNEL " " UTS_VERSION " (" COMPILE_BY ") (" COMPILER ")" COOKIE);
	return 0;
}
