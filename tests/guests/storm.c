/* storm MODE COUNT: signals while notified calls are made; prints what was read, not how often
 * a signal came. MODE: alarm (SIGALRM at 5 kHz), child (a SIGCHLD for every second call), kill. */
#include "guest.h"

#include <sched.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/time.h>
#include <sys/wait.h>

static volatile sig_atomic_t signals;
static unsigned long failed, interrupted;
static uint64_t hash = FNV_START;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

static void handle(int number)
{
    /* Without SA_RESTART, so that an interrupted call is seen. */
    struct sigaction action = {.sa_handler = count_signal};
    sigaction(number, &action, NULL);
}

static void read_clock(clockid_t id)
{
    struct timespec now = {0, 0};
    if (clock_gettime(id, &now))
        failed++;
    hash = fnv(hash, &now, sizeof now);
}

static void read_clock_raw(void)
{
    struct timespec now = {0, 0};
    while (syscall(SYS_clock_gettime, CLOCK_REALTIME, &now)) {
        interrupted++;
        if (errno != EINTR) {
            failed++;
            break;
        }
    }
    hash = fnv(hash, &now, sizeof now);
}

static void read_random(void)
{
    unsigned char bytes[24];
    while (syscall(SYS_getrandom, bytes, sizeof bytes, 0) != sizeof bytes) {
        interrupted++;
        if (errno != EINTR) {
            failed++;
            break;
        }
    }
    hash = fnv(hash, bytes, sizeof bytes);
}

static void alarms(long count)
{
    struct itimerval every = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    handle(SIGALRM);
    setitimer(ITIMER_REAL, &every, NULL);
    for (long i = 0; i < count; i++) {
        read_clock(CLOCK_REALTIME);
        read_clock(CLOCK_MONOTONIC);
        read_random();
    }
    setitimer(ITIMER_REAL, &never, NULL);
}

static pid_t fork_again(void)
{
    pid_t pid;
    while ((pid = fork()) < 0) {
        interrupted++;
        if (errno != EINTR && errno != 513 /* ERESTARTNOINTR */)
            _exit(3);
    }
    return pid;
}

static void children(long count)
{
    handle(SIGCHLD);
    for (long i = 0; i < count; i++) {
        for (int n = 0; n < 3; n++)
            if (!fork_again())
                _exit(0);
        for (int n = 0; n < 2; n++) {
            read_clock(CLOCK_REALTIME);
            read_clock_raw();
            read_random();
        }
        for (int left = 3; left > 0;)
            if (waitpid(-1, NULL, 0) > 0)
                left--;
            else if (errno != EINTR)
                break;
    }
}

/* A brother sends SIGUSR1 as fast as it can. */
static void kills(long count)
{
    handle(SIGUSR1);
    pid_t parent = getpid(), brother = fork();
    if (!brother)
        for (;;) {
            kill(parent, SIGUSR1);
            sched_yield();
        }
    for (long i = 0; i < count; i++) {
        read_clock(CLOCK_REALTIME);
        read_random();
        if (i % 16 == 0)
            sched_yield();
    }
    kill(brother, SIGKILL);
    while (waitpid(brother, NULL, 0) < 0 && errno == EINTR)
        ;
}

int main(int argc, char **argument)
{
    if (argc < 3)
        return 2;
    long count = atol(argument[2]);
    if (!strcmp(argument[1], "alarm"))
        alarms(count);
    else if (!strcmp(argument[1], "child"))
        children(count);
    else if (!strcmp(argument[1], "kill"))
        kills(count);
    say("signals %s\nfailed %lu\nvalues %016llx\n", signals ? "came" : "never came", failed,
        (unsigned long long)hash);
    /* How often is a matter of luck, so it goes where only those look who ask. */
    if (argc > 3)
        say("interrupted %lu\n", interrupted);
    return failed != 0;
}
