#include <libintl.h>
#include <stdio.h>

int main(void)
{
	puts(gettext("a word"));
	return 0;
}
