/* timers MODE: alarm, setitimer, timer_create and timerfd. MODE: values (what they do and tell, with
 * the clocks at the end of each line), overruns, errors (the kernel's), order (children that wait as long). */
#include "caught.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

static void clocks(char *text, size_t size)
{
    struct timespec wall, mono;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    snprintf(text, size, "at %lld.%09ld %lld.%09ld", (long long)wall.tv_sec, wall.tv_nsec,
             (long long)mono.tv_sec, mono.tv_nsec);
}

#define REPORT(...)                                                                                \
    do {                                                                                           \
        char now[80], line[200];                                                                   \
        snprintf(line, sizeof line, __VA_ARGS__);                                                  \
        clocks(now, sizeof now);                                                                   \
        say("%s %s\n", line, now);                                                                 \
    } while (0)

static void in_thread(union sigval value)
{
    __atomic_store_n((int *)value.sival_ptr, 7, __ATOMIC_SEQ_CST);
}

static void values(void)
{
    struct itimerval twice = {{2, 0}, {1, 0}}, old, none = {{0, 0}, {0, 0}};
    signal(SIGALRM, count);
    REPORT("alarm %u", alarm(10));
    REPORT("alarm again %u", alarm(3));
    pause();
    REPORT("alarm came %d", caught);
    REPORT("none left %u", alarm(0));

    setitimer(ITIMER_REAL, &twice, NULL);
    while (caught < 4)
        pause();
    getitimer(ITIMER_REAL, &old);
    REPORT("itimer %d times, every %ld s, next in %ld.%06ld", caught, (long)old.it_interval.tv_sec,
           (long)old.it_value.tv_sec, (long)old.it_value.tv_usec);
    setitimer(ITIMER_REAL, &none, &old);
    REPORT("itimer had %ld s", (long)old.it_value.tv_sec);

    /* The time passes by being read, too. */
    caught = 0;
    alarm(1);
    struct timespec now;
    for (int i = 0; i < 2000 && !caught; i++)
        clock_gettime(CLOCK_MONOTONIC, &now);
    REPORT("passed by reading %d", caught);

    sigset_t set;
    siginfo_t info;
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec wanted = {{5, 0}, {4, 0}}, told;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    event.sigev_value.sival_int = 42;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &wanted, NULL);
    timer_gettime(timer, &told);
    REPORT("timer in %ld s", (long)told.it_value.tv_sec);
    for (int i = 0; i < 2; i++) {
        int got = sigwaitinfo(&set, &info);
        REPORT("timer signal %d code %d value %d overrun %d", got, info.si_code,
               info.si_value.sival_int, timer_getoverrun(timer));
    }
    timer_delete(timer);
    timer_create(CLOCK_REALTIME, &event, &timer);
    clock_gettime(CLOCK_REALTIME, &now);
    wanted = (struct itimerspec){{0, 0}, {now.tv_sec + 100, 0}};
    timer_settime(timer, TIMER_ABSTIME, &wanted, NULL);
    sigwaitinfo(&set, &info);
    REPORT("absolute timer, value %d", info.si_value.sival_int);

    int flag = 0;
    struct timespec half = {0, 500000000};
    event = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = in_thread};
    event.sigev_value.sival_ptr = &flag;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    wanted = (struct itimerspec){{0, 0}, {6, 0}};
    timer_settime(timer, 0, &wanted, NULL);
    while (!__atomic_load_n(&flag, __ATOMIC_SEQ_CST))
        nanosleep(&half, NULL);
    REPORT("timer thread %d", flag);

    uint64_t ticks = 0;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    wanted = (struct itimerspec){{2, 0}, {1, 0}};
    timerfd_settime(fd, 0, &wanted, NULL);
    for (int i = 0; i < 2; i++) {
        ssize_t size = read(fd, &ticks, sizeof ticks);
        REPORT("timerfd %d bytes, %d tick(s)", (int)size, (int)ticks);
    }
    sleep(7);
    struct pollfd one = {.fd = fd, .events = POLLIN};
    int ready = poll(&one, 1, 0);
    ticks = 0;
    if (read(fd, &ticks, sizeof ticks) != sizeof ticks)
        say("short\n");
    REPORT("timerfd after a sleep: ready %d, %d ticks", ready, (int)ticks);
    timerfd_gettime(fd, &told);
    REPORT("timerfd every %ld s", (long)told.it_interval.tv_sec);
    wanted = (struct itimerspec){{0, 0}, {0, 0}};
    timerfd_settime(fd, 0, &wanted, &told);
    REPORT("timerfd off: poll %d", poll(&one, 1, 5000));
    close(fd);
    fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    REPORT("timerfd nonblocking: %d", read(fd, &ticks, sizeof ticks) < 0 ? errno : 0);
    clock_gettime(CLOCK_REALTIME, &now);
    wanted = (struct itimerspec){{0, 0}, {now.tv_sec + 50, 0}};
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &wanted, NULL);
    one = (struct pollfd){.fd = fd, .events = POLLIN};
    REPORT("timerfd absolute: poll %d", poll(&one, 1, -1));
}

/* Signals that nobody takes for a while are counted (timer_getoverrun(2)). */
static void overruns(void)
{
    int signals[] = {SIGUSR1, SIGRTMIN + 1};
    for (int i = 0; i < 2; i++) {
        sigset_t set;
        siginfo_t info;
        timer_t timer;
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signals[i]};
        struct itimerspec every = {{2, 0}, {2, 0}}, none = {{0, 0}, {0, 0}};
        struct timespec now = {0, 0};
        sigemptyset(&set);
        sigaddset(&set, signals[i]);
        sigprocmask(SIG_BLOCK, &set, NULL);
        timer_create(CLOCK_MONOTONIC, &event, &timer);
        timer_settime(timer, 0, &every, NULL);
        sleep(9);
        say("before it is taken: %d\n", timer_getoverrun(timer));
        sigwaitinfo(&set, &info);
        say("taken: %d\n", timer_getoverrun(timer));
        say("it says: %d\n", info.si_overrun);
        say("none there: %d\n", sigtimedwait(&set, &info, &now) < 0 ? errno : 0);
        sigwaitinfo(&set, &info);
        say("the next: %d %d\n", timer_getoverrun(timer), info.si_overrun);
        sleep(5);
        timer_settime(timer, 0, &every, NULL);
        say("set again: %d\n", timer_getoverrun(timer));
        timer_settime(timer, 0, &none, NULL);
        signal(signals[i], SIG_IGN);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        timer_delete(timer);
    }
}

static int number(long result) { return result < 0 ? errno : 0; }

static void errors(void)
{
    struct itimerspec wrong = {{0, 0}, {0, 1000000000}}, right = {{0, 0}, {9, 0}};
    struct itimerval odd = {{0, 0}, {0, 1000000}}, fine = {{0, 0}, {9, 0}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 999};
    int id = -1;
    say("setitimer which: %d\n", number(setitimer(9, &fine, NULL)));
    say("setitimer value: %d\n", number(setitimer(ITIMER_REAL, &odd, NULL)));
    say("setitimer EFAULT: %d\n", number(syscall(SYS_setitimer, 0, 8, NULL)));
    say("getitimer which: %d\n", number(getitimer(9, &fine)));
    say("timer_create clock: %d\n", number(syscall(SYS_timer_create, 77, NULL, &id)));
    say("timer_create signal: %d\n", number(syscall(SYS_timer_create, 1, &event, &id)));
    say("timer_create EFAULT: %d\n", number(syscall(SYS_timer_create, 1, NULL, 8)));
    say("timer_settime none: %d\n", number(syscall(SYS_timer_settime, 5, 0, &right, NULL)));
    say("timer_create: %d\n", number(syscall(SYS_timer_create, 1, NULL, &id)));
    say("timer_settime value: %d\n", number(syscall(SYS_timer_settime, id, 0, &wrong, NULL)));
    say("timer_delete: %d\n", number(syscall(SYS_timer_delete, id)));
    say("timer_delete again: %d\n", number(syscall(SYS_timer_delete, id)));
    say("timerfd_create clock: %d\n", number(timerfd_create(2, 0)));
    say("timerfd_create flags: %d\n", number(timerfd_create(1, 12345)));
    say("timerfd_settime bad fd: %d\n", number(timerfd_settime(999, 0, &right, NULL)));
    say("timerfd_settime no timer: %d\n", number(timerfd_settime(0, 0, &right, NULL)));
    int fd = timerfd_create(1, 0);
    say("timerfd_settime value: %d\n", number(timerfd_settime(fd, 0, &wrong, NULL)));
    say("timerfd_settime flags: %d\n", number(timerfd_settime(fd, 77, &right, NULL)));
    say("timerfd EFAULT: %d\n", number(syscall(SYS_timerfd_settime, fd, 0, 8, NULL)));
}

static void order(void)
{
    static const int seconds[] = {5, 2, 9, 2, 5, 1, 2};
    int count_of = sizeof seconds / sizeof *seconds;
    for (int i = 0; i < count_of; i++)
        if (!fork()) {
            sleep(seconds[i]);
            REPORT("child %d after %d s", i, seconds[i]);
            _exit(0);
        }
    while (wait(NULL) > 0)
        continue;
    REPORT("all");
}

int main(int count_of, char **argument)
{
    const char *mode = count_of > 1 ? argument[1] : "";
    if (!strcmp(mode, "values"))
        values();
    else if (!strcmp(mode, "overruns"))
        overruns();
    else if (!strcmp(mode, "errors"))
        errors();
    else if (!strcmp(mode, "order"))
        order();
    else
        return 2;
    return 0;
}
