/* hardware rdrand|rdtsc|cpuid: what the processor itself answers, without asking the kernel. */
#include "guest.h"
#include <cpuid.h>

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!strcmp(what, "rdrand")) {
        if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_RDRND))
            return 77;
        unsigned long value = 0;
        unsigned char good = 0;
        for (int i = 0; i < 100 && !good; i++)
            __asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(good) : : "cc");
        say("rdrand %d %016lx\n", good, value);
    } else if (!strcmp(what, "rdtsc")) {
        __asm__ volatile("rdtsc" : "=a"(a), "=d"(d));
        say("rdtsc %08x%08x\n", d, a);
    } else {
        __get_cpuid(0, &a, &b, &c, &d);
        say("vendor %08x%08x%08x\n", b, d, c);
        __get_cpuid(1, &a, &b, &c, &d);
        say("signature %08x features %08x %08x\n", a, c, d);
    }
    return 0;
}
