/* timecalls MODE: every other call that tells the time. MODE: values, wait4, errors, or set. */
#include "guest.h"

#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/wait.h>

static void show_usage(const char *name, int who)
{
    struct rusage usage;
    int result = getrusage(who, &usage);
    say("getrusage %s %d %lld.%06ld %lld.%06ld faults %ld %ld switches %ld %ld rss %ld\n", name,
        result, (long long)usage.ru_utime.tv_sec, (long)usage.ru_utime.tv_usec,
        (long long)usage.ru_stime.tv_sec, (long)usage.ru_stime.tv_usec, usage.ru_minflt,
        usage.ru_majflt, usage.ru_nvcsw, usage.ru_nivcsw, usage.ru_maxrss);
}

/* Lets a child use some CPU time, and takes what wait4(2) says about it. */
static int child_that_works(struct rusage *usage)
{
    int status;
    pid_t pid = fork();
    if (!pid) {
        volatile unsigned long sum = 0;
        for (unsigned long i = 0; i < 50000000; i++)
            sum += i;
        _exit(0);
    }
    memset(usage, 0, sizeof *usage);
    return wait4(pid, &status, 0, usage) == pid;
}

static void wait_for_a_child(void)
{
    struct rusage usage;
    int same = child_that_works(&usage);
    say("wait4 %d %lld.%06ld %lld.%06ld\n", same, (long long)usage.ru_utime.tv_sec,
        (long)usage.ru_utime.tv_usec, (long long)usage.ru_stime.tv_sec,
        (long)usage.ru_stime.tv_usec);
}

static void values(void)
{
    struct timeval now;
    struct timespec spec;
    for (int i = 0; i < 2; i++) {
        int result = gettimeofday(&now, NULL);
        say("gettimeofday %d %lld.%06ld\n", result, (long long)now.tv_sec, (long)now.tv_usec);
        say("time %lld\n", (long long)time(NULL));
        result = timespec_get(&spec, TIME_UTC);
        say("timespec_get %d %lld.%09ld\n", result, (long long)spec.tv_sec, spec.tv_nsec);
        say("clock %ld\n", (long)clock());
    }
#ifdef SYS_time
    time_t stored = 0;
    long returned = syscall(SYS_time, &stored);
    say("raw time %ld %lld\n", returned, (long long)stored);
#endif
    struct timezone zone = {5, 5};
    long result = syscall(SYS_gettimeofday, &now, &zone);
    say("raw gettimeofday %ld %lld.%06ld zone %d %d\n", result, (long long)now.tv_sec,
        (long)now.tv_usec, zone.tz_minuteswest, zone.tz_dsttime);
    struct rusage usage;
    say("child %d\n", child_that_works(&usage));
    struct tms cpu;
    long ticks = times(&cpu);
    say("times %ld %ld %ld %ld %ld\n", ticks, (long)cpu.tms_utime, (long)cpu.tms_stime,
        (long)cpu.tms_cutime, (long)cpu.tms_cstime);
    show_usage("self", RUSAGE_SELF);
    show_usage("children", RUSAGE_CHILDREN);
    show_usage("thread", 1 /* RUSAGE_THREAD */);
    struct sysinfo system;
    result = sysinfo(&system);
    say("sysinfo %ld uptime %ld loads %lu %lu %lu procs %d\n", result, system.uptime,
        system.loads[0], system.loads[1], system.loads[2], system.procs);
    struct timex clock = {.modes = 0};
    result = adjtimex(&clock);
    say("adjtimex %ld %lld.%06ld\n", result, (long long)clock.time.tv_sec,
        (long)clock.time.tv_usec);
    clock.modes = 0;
    result = syscall(SYS_clock_adjtime, CLOCK_REALTIME, &clock);
    say("clock_adjtime %ld %lld.%06ld\n", result, (long long)clock.time.tv_sec,
        (long)clock.time.tv_usec);
}

#define ERRNO(call) say("%s %d\n", #call, (errno = 0, (long)(call) == -1 ? errno : 0))

/* What the kernel refuses is the same with and without us; none of these sets anything. */
static void errors(void)
{
    struct timespec resolution;
    void *wrong = (void *)8;
    for (int id = -8; id < 18; id++)
        if (id != 8 && id != 9) /* the alarm clocks depend on the machine's RTC */
            say("clock_getres %d %d\n", id,
                syscall(SYS_clock_getres, id, &resolution) ? errno : 0);
    ERRNO(syscall(SYS_clock_getres, CLOCK_REALTIME, NULL));
    ERRNO(syscall(SYS_clock_getres, CLOCK_REALTIME, wrong));
    ERRNO(syscall(SYS_clock_getres, 99, NULL));
    ERRNO(syscall(SYS_clock_gettime, CLOCK_REALTIME, NULL));
    ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, wrong));
    ERRNO(syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, wrong));
    ERRNO(syscall(SYS_clock_gettime, 99, wrong));
    ERRNO(syscall(SYS_gettimeofday, NULL, NULL));
    ERRNO(syscall(SYS_gettimeofday, wrong, NULL));
    ERRNO(syscall(SYS_gettimeofday, NULL, wrong));
#ifdef SYS_time
    ERRNO(syscall(SYS_time, wrong));
#endif
    ERRNO(syscall(SYS_times, wrong));
    ERRNO(syscall(SYS_times, NULL) < 0 ? -1 : 0);
    ERRNO(syscall(SYS_getrusage, RUSAGE_SELF, wrong));
    ERRNO(syscall(SYS_getrusage, 77, &resolution));
    ERRNO(syscall(SYS_sysinfo, wrong));
    ERRNO(syscall(SYS_adjtimex, wrong));
    ERRNO(syscall(SYS_clock_adjtime, CLOCK_REALTIME, wrong));
}

/* Tries to set every clock, to what it just read: refused with EPERM inside. */
static void set(void)
{
    struct timeval now;
    struct timespec spec;
    gettimeofday(&now, NULL);
    ERRNO(settimeofday(&now, NULL));
    clock_gettime(CLOCK_REALTIME, &spec);
    ERRNO(clock_settime(CLOCK_REALTIME, &spec));
    struct timex clock = {.modes = ADJ_TICK, .tick = 10000};
    ERRNO(adjtimex(&clock));
    clock.modes = ADJ_TICK;
    clock.tick = 10000;
    ERRNO(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &clock));
}

int main(int count, char **argument)
{
    if (count < 2)
        return 2;
    if (!strcmp(argument[1], "values"))
        values();
    if (!strcmp(argument[1], "wait4"))
        wait_for_a_child();
    if (!strcmp(argument[1], "errors"))
        errors();
    if (!strcmp(argument[1], "set"))
        set();
    return 0;
}
