/* Prints how many cycles a call takes, one line for each kind: NAME CYCLES.
 *
 * Cycles, because inside nsbuild every other clock is virtual. `calls calibrate` prints how many cycles
 * a second has and is run outside. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static struct timespec now;
static unsigned char bytes[16];

static void raw_getppid(void) { syscall(SYS_getppid); }
static void raw_clock_gettime(void) { syscall(SYS_clock_gettime, CLOCK_REALTIME, &now); }
static void libc_clock_gettime(void) { clock_gettime(CLOCK_REALTIME, &now); }
static void raw_getrandom(void) { syscall(SYS_getrandom, bytes, sizeof bytes, 0); }

static void fork_and_wait(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
}

static const struct {
    const char *name;
    void (*call)(void);
    int share; /* of the count on the command line, in percent */
} kinds[] = {
    {"raw_getppid", raw_getppid, 100},
    {"raw_clock_gettime", raw_clock_gettime, 100},
    {"libc_clock_gettime", libc_clock_gettime, 100},
    {"raw_getrandom", raw_getrandom, 100},
    {"fork_and_wait", fork_and_wait, 2},
};

static void calibrate(void)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    unsigned long long from = __rdtsc();
    do
        clock_gettime(CLOCK_MONOTONIC, &end);
    while ((end.tv_sec - start.tv_sec) * 1000000000ll + end.tv_nsec - start.tv_nsec < 200000000);
    double elapsed = end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) * 1e-9;
    printf("hertz %.0f\n", (__rdtsc() - from) / elapsed);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "calibrate")) {
        calibrate();
        return 0;
    }
    long count = argc > 1 ? atol(argv[1]) : 10000;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        long calls = count * kinds[kind].share / 100 + 1;
        for (long i = 0; i < calls / 10; i++)
            kinds[kind].call();
        unsigned long long start = __rdtsc();
        for (long i = 0; i < calls; i++)
            kinds[kind].call();
        printf("%s %.1f\n", kinds[kind].name, (double)(__rdtsc() - start) / calls);
    }
    return 0;
}
