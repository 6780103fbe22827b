/* sleeps MODE: every way to sleep. MODE: values (what the clocks say after each) or errors. */
#include "guest.h"

#include <poll.h>
#include <sys/select.h>

static void report(const char *what, long result)
{
    struct timespec wall, mono;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    say("%s %ld %lld.%09ld %lld.%09ld\n", what, result, (long long)wall.tv_sec, wall.tv_nsec,
        (long long)mono.tv_sec, mono.tv_nsec);
}

static void values(void)
{
    struct timespec five = {5, 0}, half = {0, 500000000}, rest = {7, 7}, until;
    report("start", 0);
    report("nanosleep", nanosleep(&five, &rest));
    report("nanosleep half", nanosleep(&half, NULL));
    say("rest %lld.%09ld\n", (long long)rest.tv_sec, rest.tv_nsec);
    report("raw nanosleep", syscall(SYS_nanosleep, &five, NULL));
    report("sleep", sleep(3600));
    report("usleep", usleep(250000));
    report("relative realtime", clock_nanosleep(CLOCK_REALTIME, 0, &five, NULL));
    report("relative monotonic", clock_nanosleep(CLOCK_MONOTONIC, 0, &five, NULL));
    report("relative boottime", clock_nanosleep(CLOCK_BOOTTIME, 0, &five, NULL));
    report("relative tai", clock_nanosleep(CLOCK_TAI, 0, &five, NULL));
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    say("until %lld.%09ld\n", (long long)until.tv_sec, until.tv_nsec);
    report("absolute realtime", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 10;
    say("until %lld.%09ld\n", (long long)until.tv_sec, until.tv_nsec);
    report("absolute monotonic", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
    until.tv_sec = 1;
    report("absolute past", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
    report("zero", nanosleep(&(struct timespec){0, 0}, NULL));
    say("cpu %ld\n", (long)clock());
}

static void try_one(const char *name, long clock, long flags, const void *request, void *rest)
{
    int result = syscall(SYS_clock_nanosleep, clock, flags, request, rest) ? errno : 0;
    say("%s clock %ld flags %ld: %d\n", name, clock, flags, result);
}

static void errors(void)
{
    void *wrong = (void *)8;
    struct timespec zero = {0, 0}, tiny = {0, 1}, negative = {-1, 0}, big = {0, 1000000000},
                    less = {0, -1};
    for (long clock = -8; clock < 14; clock++) {
        /* Whether the alarm clocks exist is a matter of the machine's RTC. */
        if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM)
            continue;
        /* A process that sleeps on its own CPU clock never wakes up. */
        if (clock >= 0 && clock != CLOCK_PROCESS_CPUTIME_ID) {
            try_one("tiny", clock, 0, &tiny, NULL);
            try_one("past", clock, TIMER_ABSTIME, &tiny, NULL);
            try_one("wrong rest", clock, 0, &tiny, wrong);
        }
        try_one("unknown flag", clock, 6, &negative, NULL);
        try_one("negative", clock, 0, &negative, NULL);
        try_one("too many ns", clock, 0, &big, NULL);
        try_one("negative ns", clock, TIMER_ABSTIME, &less, NULL);
        try_one("wrong pointer", clock, 0, wrong, NULL);
        try_one("NULL", clock, 0, NULL, NULL);
    }
    const struct timespec *const requests[] = {&zero, &tiny, &negative, &big, &less, wrong, NULL};
    for (int i = 0; i < 7; i++)
        say("nanosleep %d: %d\n", i, syscall(SYS_nanosleep, requests[i], NULL) ? errno : 0);
    say("wrong rest: %d\n", syscall(SYS_nanosleep, &tiny, wrong) ? errno : 0);
}

int main(int count, char **argument)
{
    if (count < 2)
        return 2;
    if (!strcmp(argument[1], "values"))
        values();
    if (!strcmp(argument[1], "errors"))
        errors();
    return 0;
}
