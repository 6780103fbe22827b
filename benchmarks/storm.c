/* storm COUNT: notified calls under SIGALRM at 5 kHz, with a handler that lacks SA_RESTART.
 *
 * Prints "KIND CALLS EINTR" for each kind of call and how many signals came. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t signals;
static struct timespec now;
static unsigned char bytes[16];

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static long raw_clock_gettime(void) { return syscall(SYS_clock_gettime, CLOCK_REALTIME, &now); }
static long raw_getrandom(void) { return syscall(SYS_getrandom, bytes, sizeof bytes, 0); }
static long libc_clock_gettime(void) { return clock_gettime(CLOCK_REALTIME, &now); }

static void try_calls(const char *name, long (*call)(void), long count)
{
    long interrupted = 0;
    for (long i = 0; i < count; i++)
        if (call() < 0 && errno == EINTR)
            interrupted++;
    printf("%s %ld %ld\n", name, count, interrupted);
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 10000;
    struct sigaction action = {.sa_handler = count_signal};
    struct itimerval every = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    try_calls("raw_clock_gettime", raw_clock_gettime, count);
    try_calls("raw_getrandom", raw_getrandom, count);
    try_calls("libc_clock_gettime", libc_clock_gettime, count);
    setitimer(ITIMER_REAL, &never, NULL);
    printf("signals %d 0\n", (int)signals);
    return 0;
}
