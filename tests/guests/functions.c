/* functions: which of its versions of a function the C library has chosen for this processor, as
 * offsets in the library, and what the mathematical ones give. */
#include "guest.h"
#include <dlfcn.h>

static const char *const TEXT[] = {"memcpy", "memset", "strlen", "strchr", "strcmp", "strstr",
                                   "memcmp", "wcslen", "strcasecmp"};
static const char *const MATH[] = {"sin", "cos", "tan", "atan", "exp", "log", "floor"};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static void where(void *library, const char *name)
{
    void *function = dlsym(library, name);
    Dl_info info;
    if (function && dladdr(function, &info))
        say("%s +%lx\n", name, (long)((char *)function - (char *)info.dli_fbase));
}

int main(void)
{
    void *libc = dlopen("libc.so.6", RTLD_NOW), *libm = dlopen("libm.so.6", RTLD_NOW);
    if (!libc || !libm)
        return 77;
    for (size_t i = 0; i < COUNT(TEXT); i++)
        where(libc, TEXT[i]);
    for (size_t i = 0; i < COUNT(MATH); i++) {
        where(libm, MATH[i]);
        double (*function)(double) = (double (*)(double))dlsym(libm, MATH[i]);
        uint64_t hash = FNV_START;
        for (int step = 1; step < 20000; step++) {
            double result = function(step * 0.001234567);
            hash = fnv(hash, &result, sizeof result);
        }
        say("%s %016lx\n", MATH[i], hash);
    }
    return 0;
}
