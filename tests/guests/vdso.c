/* vdso: calls every function that the vDSO exports on x86-64, as a program may that parses it. */
#include "guest.h"

#include <sys/time.h>

int main(void)
{
    struct timespec now = {0, 0};
    struct timeval today = {0, 0};
    time_t second = 0;
    unsigned cpu = 99, node = 99;
    int (*gettime)(clockid_t, struct timespec *) = vdso_symbol("__vdso_clock_gettime");
    int (*getres)(clockid_t, struct timespec *) = vdso_symbol("__vdso_clock_getres");
    int (*timeofday)(struct timeval *, void *) = vdso_symbol("__vdso_gettimeofday");
    time_t (*seconds)(time_t *) = vdso_symbol("__vdso_time");
    long (*getcpu)(unsigned *, unsigned *, void *) = vdso_symbol("__vdso_getcpu");
    ssize_t (*getrandom)(void *, size_t, unsigned, void *, size_t) =
        vdso_symbol("__vdso_getrandom");
    if (gettime)
        say("clock_gettime %d", gettime(CLOCK_REALTIME, &now)),
            say(" %lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    if (getres)
        say("clock_getres %d", getres(CLOCK_MONOTONIC, &now)),
            say(" %lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    if (timeofday)
        say("gettimeofday %d", timeofday(&today, NULL)),
            say(" %lld.%06ld\n", (long long)today.tv_sec, (long)today.tv_usec);
    if (seconds) {
        long long returned = seconds(&second);
        say("time %lld %lld\n", returned, (long long)second);
    }
    if (getcpu)
        say("getcpu %ld", getcpu(&cpu, &node, NULL)), say(" %u %u\n", cpu, node);
    if (getrandom) {
        unsigned char bytes[8] = {0};
        unsigned long state[256] = {0};
        /* Without a state from mmap the native function may only say how big one is (len ~0). */
        ssize_t result = getrandom(bytes, sizeof bytes, 0, NULL, 0);
        say("getrandom %zd\n", result);
        result = getrandom(NULL, 0, 0, state, ~0UL);
        say("getrandom state %zd\n", result);
    }
    /* The functions under their plain names are aliases: they must not be a way around. */
    gettime = vdso_symbol("clock_gettime");
    if (gettime)
        say("alias clock_gettime %d", gettime(CLOCK_REALTIME, &now)),
            say(" %lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    seconds = vdso_symbol("time");
    if (seconds)
        say("alias time %lld\n", (long long)seconds(NULL));
    say("has %d%d%d%d%d\n", !!vdso_symbol("__vdso_clock_gettime"),
        !!vdso_symbol("__vdso_clock_getres"), !!vdso_symbol("__vdso_gettimeofday"),
        !!vdso_symbol("__vdso_time"), !!vdso_symbol("__vdso_getcpu"));
    return 0;
}
