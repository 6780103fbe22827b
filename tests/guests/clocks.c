/* clocks MODE [ID [COUNT]]: reads clocks by MODE (libc, syscall, asm, vdso) and prints the answers.
 *
 * Without ID every clock of clock_gettime(2) is read twice, those that do not exist included. */
#include "guest.h"

#include <pthread.h>
#include <sys/time.h>

typedef int reader(clockid_t, struct timespec *);

static int by_libc(clockid_t id, struct timespec *out)
{
    return clock_gettime(id, out) ? -errno : 0;
}

static int by_syscall(clockid_t id, struct timespec *out)
{
    return syscall(SYS_clock_gettime, id, out) ? -errno : 0;
}

static int by_asm(clockid_t id, struct timespec *out)
{
    return raw(SYS_clock_gettime, id, out, 0, 0);
}

static reader *choose(const char *mode)
{
    if (!strcmp(mode, "syscall"))
        return by_syscall;
    if (!strcmp(mode, "asm"))
        return by_asm;
    if (!strcmp(mode, "vdso"))
        return (reader *)vdso_symbol("__vdso_clock_gettime");
    return by_libc;
}

static void show(reader *read_clock, const char *name, clockid_t id)
{
    struct timespec now = {0, 0};
    int result = read_clock(id, &now);
    if (result)
        say("%s error %d\n", name, -result);
    else
        say("%s %lld.%09ld\n", name, (long long)now.tv_sec, now.tv_nsec);
}

static void *in_thread(void *mode)
{
    clockid_t id;
    show(choose(mode), "thread/realtime", CLOCK_REALTIME);
    show(choose(mode), "thread/monotonic", CLOCK_MONOTONIC);
    show(choose(mode), "thread/process_cpu", CLOCK_PROCESS_CPUTIME_ID);
    show(choose(mode), "thread/thread_cpu", CLOCK_THREAD_CPUTIME_ID);
    if (!pthread_getcpuclockid(pthread_self(), &id))
        show(choose(mode), "thread/pthread_cpu", id);
    return NULL;
}

static void everything(reader *read_clock, const char *mode)
{
    static const char *const names[] = {
        "realtime", "monotonic", "process_cpu", "thread_cpu", "monotonic_raw", "realtime_coarse",
        "monotonic_coarse", "boottime", "realtime_alarm", "boottime_alarm", "sgi_cycle", "tai",
        "id12", "id13", "id14", "id15", "id16"};
    for (int id = 0; id < (int)(sizeof names / sizeof *names); id++) {
        show(read_clock, names[id], id);
        show(read_clock, names[id], id);
    }
    clockid_t own, thread;
    if (!clock_getcpuclockid(0, &own))
        show(read_clock, "getcpuclockid", own);
    if (!clock_getcpuclockid(getpid(), &own))
        show(read_clock, "getcpuclockid_pid", own);
    if (!pthread_getcpuclockid(pthread_self(), &thread))
        show(read_clock, "pthread_getcpuclockid", thread);
    for (int which = 0; which < 8; which++) { /* PROF, VIRT, SCHED, FD; of process, of thread */
        char name[32];
        snprintf(name, sizeof name, "dynamic%d", which);
        show(read_clock, name, (clockid_t)(~0u << 3 | which));
    }
    show(read_clock, "of_no_process", (clockid_t)(~99999999u << 3 | 2));
    show(read_clock, "clockfd_99", (clockid_t)(~99u << 3 | 3));
    pthread_t other;
    if (!pthread_create(&other, NULL, in_thread, (void *)mode))
        pthread_join(other, NULL);
    show(read_clock, "after_thread", CLOCK_REALTIME);
}

int main(int count, char **argument)
{
    if (count < 2)
        return 2;
    reader *read_clock = choose(argument[1]);
    if (!read_clock) {
        say("no vdso\n");
        return 0;
    }
    if (count == 2)
        everything(read_clock, argument[1]);
    else
        for (int i = count > 3 ? atoi(argument[3]) : 3; i > 0; i--)
            show(read_clock, argument[2], atoi(argument[2]));
    return 0;
}
