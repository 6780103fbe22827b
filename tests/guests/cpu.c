/* cpu MODE: how many processors there are, and which one this is. MODE: values, or set. */
#include "guest.h"

#include <sched.h>
#include <sys/resource.h>

static void show_affinity(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int result = sched_getaffinity(0, sizeof set, &set);
    say("sched_getaffinity %d count %d first %d\n", result, CPU_COUNT(&set), !!CPU_ISSET(0, &set));
}

static void values(void)
{
    unsigned cpu = 99, node = 99;
    say("configured %ld online %ld\n", sysconf(_SC_NPROCESSORS_CONF),
        sysconf(_SC_NPROCESSORS_ONLN));
    show_affinity();
    unsigned long mask[16] = {0};
    long length = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    say("raw sched_getaffinity %d mask %lx\n", length > 0, mask[0]);
    say("sched_getcpu %d\n", sched_getcpu());
    long result = syscall(SYS_getcpu, &cpu, &node, NULL);
    say("raw getcpu %ld %u %u\n", result, cpu, node);
    long (*getcpu)(unsigned *, unsigned *, void *) = vdso_symbol("__vdso_getcpu");
    cpu = node = 99;
    if (getcpu) {
        result = getcpu(&cpu, &node, NULL);
        say("vdso getcpu %ld %u %u\n", result, cpu, node);
    }
}

static void rseq(void)
{
    static struct {
        uint32_t start, id;
        uint64_t critical;
        uint32_t flags, node, mm, padding;
    } __attribute__((aligned(32))) area;
    long result = syscall(SYS_rseq, &area, 32, 0, 0x53053053);
    say("rseq %ld %d\n", result, result ? errno : 0);
}

#define RESULT(call) \
    do { \
        errno = 0; \
        long result = (call); \
        say("%s %ld %d\n", #call, result, errno); \
    } while (0)

static void set(void)
{
    cpu_set_t second;
    CPU_ZERO(&second);
    CPU_SET(1, &second);
    struct sched_param zero = {0}, real = {1};
    RESULT(sched_setaffinity(0, sizeof second, &second));
    RESULT(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &zero));
    RESULT(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &zero));
    RESULT(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &real));
    RESULT(setpriority(PRIO_PROCESS, 0, 5));
    RESULT(setpriority(PRIO_PROCESS, 0, -5));
    RESULT(nice(3) == -1 && errno ? -1 : 0);
    RESULT(sched_yield());
    show_affinity();
    say("sched_getcpu %d\n", sched_getcpu());
}

int main(int count, char **argument)
{
    if (count < 2)
        return 2;
    if (!strcmp(argument[1], "values"))
        values();
    if (!strcmp(argument[1], "rseq"))
        rseq();
    if (!strcmp(argument[1], "set"))
        set();
    return 0;
}
