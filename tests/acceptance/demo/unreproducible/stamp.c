/* Embeds the moment of its compilation, as so many programs do. */
#include <stdio.h>

int main(void)
{
    puts("built on " __DATE__ " at " __TIME__);
    return 0;
}
