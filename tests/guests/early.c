/* early: clock and entropy read in .preinit_array, in constructors, in a library's constructor. */
#include "guest.h"

#include <sys/random.h>

#ifdef WITH_LIBRARY
extern struct timespec early_library, early_library_raw;
#endif
static struct timespec preinit_raw, preinit_libc, constructed;
static unsigned char bytes[8];

static void before_all(void)
{
#ifdef __x86_64__
    raw(SYS_clock_gettime, CLOCK_REALTIME, &preinit_raw, 0, 0);
    raw(SYS_getrandom, bytes, sizeof bytes, 0, 0);
#endif
    clock_gettime(CLOCK_REALTIME, &preinit_libc);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = before_all;

__attribute__((constructor)) static void construct(void)
{
    clock_gettime(CLOCK_REALTIME, &constructed);
}

int main(void)
{
    say("preinit %lld.%09ld %lld.%09ld\n", (long long)preinit_raw.tv_sec, preinit_raw.tv_nsec,
        (long long)preinit_libc.tv_sec, preinit_libc.tv_nsec);
#ifdef WITH_LIBRARY
    say("library %lld.%09ld %lld.%09ld\n", (long long)early_library.tv_sec, early_library.tv_nsec,
        (long long)early_library_raw.tv_sec, early_library_raw.tv_nsec);
#endif
    say("constructor %lld.%09ld\n", (long long)constructed.tv_sec, constructed.tv_nsec);
    for (size_t i = 0; i < sizeof bytes; i++)
        say("%02x", bytes[i]);
    say("\n");
    return 0;
}
