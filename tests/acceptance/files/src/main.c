/* Says its words, so that there is something to compile and link. */
#include <stdio.h>

extern const char *const words[];

int main(void)
{
    for (int number = 0; words[number]; number++)
        puts(words[number]);
    return 0;
}
