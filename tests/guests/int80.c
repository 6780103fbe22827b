/* int80: asks a 64-bit program's kernel for the time through the i386 gate, as `name result`. */
#include "guest.h"

#include <sys/mman.h>

static long gate(long nr, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(nr), "b"(a), "c"(b), "d"(c)
                     : "r8", "r9", "r10", "r11", "memory");
    return result;
}

int main(void)
{
    int32_t *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED)
        return 2;
    long result = gate(13, 0, 0, 0);
    say("time %ld\n", result);
    result = gate(78, (long)low, 0, 0);
    say("gettimeofday %ld %d\n", result, low[0]);
    result = gate(265, 0, (long)low, 0);
    say("clock_gettime %ld %d\n", result, low[0]);
    result = gate(403, 0, (long)low, 0);
    say("clock_gettime64 %ld %d\n", result, low[0]);
    low[0] = 0;
    result = gate(355, (long)low, 4, 0);
    say("getrandom %ld %d\n", result, low[0]);
    return 0;
}
