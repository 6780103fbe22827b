/* Prints how many cycles a call takes, one line for each kind: NAME CYCLES.
 *
 * Cycles, because inside nsbuild every other clock is virtual. `calls calibrate` prints how many cycles
 * a second has and is run outside. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static struct stat status;

static void stat_there(void) { stat("/usr/bin/env", &status); }
static void stat_absent(void) { stat("/usr/include/no-such-file.h", &status); }
static void fstat_stdin(void) { fstat(0, &status); }
static void open_to_read(void) { close(open("/etc/passwd", O_RDONLY)); }
static void open_to_write(void) { close(open("written", O_WRONLY | O_CREAT | O_TRUNC, 0666)); }

static void list_directory(void)
{
    DIR *directory = opendir("/etc");
    while (directory && readdir(directory))
        ;
    closedir(directory);
}

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
    {"stat_there", stat_there, 100},
    {"stat_absent", stat_absent, 100},
    {"fstat_stdin", fstat_stdin, 100},
    {"open_to_read", open_to_read, 50},
    {"open_to_write", open_to_write, 20},
    {"list_directory", list_directory, 2},
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
