/* waits MODE: every call that waits with a timeout. MODE: timeouts (nothing ever comes), events (a
 * brother makes it come), signals (an alarm interrupts it), absent (what must return at once).
 * Bare and inside the same lines come out, but for the clocks, which stand at the end of a line. */
#include "caught.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { PATIENCE = 5, SOON = 1 };
/* As linux/futex.h has them, which musl-gcc does not find. */
enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_WAIT_BITSET = 9, FUTEX_CLOCK_REALTIME = 256 };
enum { SYS_FUTEX_WAITV = 449, FUTEX_32 = 2 };

static int ends[2], queue, full, events, semaphores;
static unsigned long context;
/* struct iocb and struct io_event of linux/aio_abi.h. */
static struct iocb {
    uint64_t data;
    uint32_t key, flags;
    uint16_t opcode, priority;
    uint32_t fd;
    uint64_t buffer, size, offset, reserved;
    uint32_t more, eventfd;
} looking;
static struct io_event {
    uint64_t data, iocb, result, other;
} done;
static char name[32];
static struct shared {
    sem_t semaphore;
    pthread_mutex_t mutex, priority;
    pthread_cond_t condition;
    int word, flag, lock;
} *shared;

static struct timespec after(clockid_t clock, int seconds)
{
    struct timespec now;
    clock_gettime(clock, &now);
    now.tv_sec += seconds;
    return now;
}

static int told(int result) { return result < 0 ? -errno : result; }
static int failed(int result) { return result < 0 ? errno : 0; }

static int by_poll(void)
{
    struct pollfd one = {.fd = ends[0], .events = POLLIN};
    int ready = poll(&one, 1, PATIENCE * 1000);
    return ready < 0 ? -errno : ready * 100 + one.revents;
}
static int by_ppoll(void)
{
    struct pollfd two[2] = {{.fd = -1}, {.fd = ends[0], .events = POLLIN}};
    struct timespec limit = {PATIENCE, 0};
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGUSR1);
    int ready = ppoll(two, 2, &limit, &own);
    return ready < 0 ? -errno : ready * 100 + two[1].revents;
}
static int by_select(void)
{
    struct timeval limit = {PATIENCE, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    int ready = select(ends[0] + 1, &set, NULL, NULL, &limit);
    return ready < 0 ? -errno : ready * 100 + !!FD_ISSET(ends[0], &set);
}
static int by_pselect(void)
{
    struct timespec limit = {PATIENCE, 0};
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGUSR1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    int ready = pselect(ends[0] + 1, &set, NULL, NULL, &limit, &own);
    return ready < 0 ? -errno : ready * 100 + !!FD_ISSET(ends[0], &set);
}
static int by_epoll(void)
{
    struct epoll_event event = {0, {0}};
    int ready = epoll_wait(events, &event, 1, PATIENCE * 1000);
    return ready < 0 ? -errno : ready * 100 + (int)event.events;
}
static int by_epoll_pwait(void)
{
    struct epoll_event event = {0, {0}};
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGUSR1);
    int ready = epoll_pwait(events, &event, 1, PATIENCE * 1000, &own);
    return ready < 0 ? -errno : ready * 100 + (int)event.events;
}
static int by_epoll_pwait2(void)
{
    struct epoll_event event = {0, {0}};
    struct timespec limit = {PATIENCE, 0};
    int ready = syscall(441, events, &event, 1, &limit, NULL, 8);
    return ready < 0 ? -errno : ready * 100 + (int)event.events;
}
static int by_futex(void)
{
    struct timespec limit = {PATIENCE, 0};
    return failed(syscall(SYS_futex, &shared->word, FUTEX_WAIT, 0, &limit, NULL, 0));
}
static int by_bits(clockid_t clock, int flags)
{
    struct timespec limit = after(clock, PATIENCE);
    int operation = FUTEX_WAIT_BITSET | flags;
    return failed(syscall(SYS_futex, &shared->word, operation, 0, &limit, NULL, ~0));
}
static int by_bitset(void) { return by_bits(CLOCK_MONOTONIC, 0); }
static int by_bitset_realtime(void) { return by_bits(CLOCK_REALTIME, FUTEX_CLOCK_REALTIME); }
/* struct futex_waitv of linux/futex.h; it is the second word that changes. */
static int by_waitv_on(clockid_t clock)
{
    struct waiter {
        uint64_t value, address;
        uint32_t flags, reserved;
    } both[2] = {{0, (uintptr_t)&shared->lock, FUTEX_32, 0},
                 {0, (uintptr_t)&shared->word, FUTEX_32, 0}};
    struct timespec limit = after(clock, PATIENCE);
    int result = syscall(SYS_FUTEX_WAITV, both, 2, 0, &limit, clock);
    return result < 0 ? -errno : result;
}
static int by_waitv(void) { return by_waitv_on(CLOCK_MONOTONIC); }
static int by_waitv_realtime(void) { return by_waitv_on(CLOCK_REALTIME); }
static int by_semaphore(void)
{
    struct timespec limit = after(CLOCK_REALTIME, PATIENCE);
    return failed(sem_timedwait(&shared->semaphore, &limit));
}
static int by_lock(pthread_mutex_t *mutex)
{
    struct timespec limit = after(CLOCK_REALTIME, PATIENCE);
    int result = pthread_mutex_timedlock(mutex, &limit);
    if (!result)
        pthread_mutex_unlock(mutex);
    return result;
}
static int by_mutex(void) { return by_lock(&shared->mutex); }
static int by_priority_mutex(void) { return by_lock(&shared->priority); }
static int by_condition(void)
{
    struct timespec limit = after(CLOCK_REALTIME, PATIENCE);
    int result = 0;
    pthread_mutex_lock(&shared->mutex);
    while (!shared->flag && !result)
        result = pthread_cond_timedwait(&shared->condition, &shared->mutex, &limit);
    pthread_mutex_unlock(&shared->mutex);
    return result;
}
static int by_sigtimedwait(void)
{
    struct timespec limit = {PATIENCE, 0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int result = sigtimedwait(&set, NULL, &limit);
    return result < 0 ? -errno : result;
}
static int by_queue(void)
{
    struct timespec limit = after(CLOCK_REALTIME, PATIENCE);
    char byte;
    return failed(mq_timedreceive(queue, &byte, 1, NULL, &limit));
}
static int by_full_queue(void)
{
    struct timespec limit = after(CLOCK_REALTIME, PATIENCE);
    return failed(mq_timedsend(full, "x", 1, 0, &limit));
}
static int by_requeue(void)
{
    struct timespec limit = after(CLOCK_MONOTONIC, PATIENCE);
    return failed(syscall(SYS_futex, &shared->word, 11, 0, &limit, &shared->lock, 0));
}
static int by_semtimedop(void)
{
    struct timespec limit = {PATIENCE, 0};
    struct sembuf operations[2] = {{1, 0, 0}, {0, -2, 0}};
    return failed(semtimedop(semaphores, operations, 2, &limit));
}
/* What is awaited is given up at the end, so that it does not come next time. */
static int by_aio(long number, void *mask)
{
    struct timespec limit = {PATIENCE, 0};
    struct iocb *one = &looking;
    looking = (struct iocb){.opcode = 5, .fd = ends[0], .buffer = POLLIN};
    if (syscall(SYS_io_submit, context, 1, &one) != 1)
        return 99;
    int result = told(syscall(number, context, 1, 1, &done, &limit, mask));
    if (result != 1) {
        syscall(SYS_io_cancel, context, one, &done);
        syscall(SYS_io_getevents, context, 1, 1, &done, NULL);
    }
    return result;
}
static int by_getevents(void) { return by_aio(SYS_io_getevents, NULL); }
static int by_pgetevents(void)
{
    uint64_t own = 1 << (SIGUSR1 - 1);
    uint64_t set[2] = {(uintptr_t)&own, sizeof own};
    return by_aio(333, set);
}
static int by_nanosleep(void)
{
    struct timespec wanted = {PATIENCE, 0}, rest = {0, 0};
    int result = failed(nanosleep(&wanted, &rest));
    return result * 10 + (rest.tv_sec > 0 || rest.tv_nsec > 0);
}

static const struct wait {
    const char *name;
    int (*wait)(void);
} waits[] = {
    {"poll", by_poll},
    {"ppoll", by_ppoll},
    {"select", by_select},
    {"pselect", by_pselect},
    {"epoll_wait", by_epoll},
    {"epoll_pwait", by_epoll_pwait},
    {"epoll_pwait2", by_epoll_pwait2},
    {"FUTEX_WAIT", by_futex},
    {"FUTEX_WAIT_BITSET", by_bitset},
    {"FUTEX_CLOCK_REALTIME", by_bitset_realtime},
    {"futex_waitv", by_waitv},
    {"futex_waitv CLOCK_REALTIME", by_waitv_realtime},
    {"sem_timedwait", by_semaphore},
    {"pthread_mutex_timedlock", by_mutex},
    {"pthread_mutex_timedlock PI", by_priority_mutex},
    {"pthread_cond_timedwait", by_condition},
    {"sigtimedwait", by_sigtimedwait},
    {"mq_timedreceive", by_queue},
    {"mq_timedsend", by_full_queue},
    {"semtimedop", by_semtimedop},
    {"io_getevents", by_getevents},
    {"io_pgetevents", by_pgetevents},
    {"FUTEX_WAIT_REQUEUE_PI", by_requeue},
    {"nanosleep", by_nanosleep},
};

static void report(const char *what, int result)
{
    struct timespec wall, mono;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    say("%s %d at %lld.%09ld %lld.%09ld\n", what, result, (long long)wall.tv_sec, wall.tv_nsec,
        (long long)mono.tv_sec, mono.tv_nsec);
}

/* Whoever holds the locks; it lets them go at a signal. */
static pid_t lock_up(void)
{
    int ready[2];
    if (pipe(ready))
        _exit(98);
    pid_t holder = fork();
    if (!holder) {
        sigset_t set;
        int got;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        sigprocmask(SIG_BLOCK, &set, NULL);
        pthread_mutex_lock(&shared->mutex);
        pthread_mutex_lock(&shared->priority);
        if (write(ready[1], "x", 1) != 1)
            _exit(98);
        sigwait(&set, &got);
        pthread_mutex_unlock(&shared->mutex);
        pthread_mutex_unlock(&shared->priority);
        _exit(0);
    }
    char byte;
    if (read(ready[0], &byte, 1) != 1)
        _exit(98);
    close(ready[0]);
    close(ready[1]);
    return holder;
}

static void set_up(void)
{
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&shared->priority, &attributes);
    pthread_condattr_t condition;
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&shared->condition, &condition);
    sem_init(&shared->semaphore, 1, 0);
    struct mq_attr one = {.mq_maxmsg = 1, .mq_msgsize = 1};
    snprintf(name, sizeof name, "/waits-%d", (int)getpid());
    queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &one);
    mq_unlink(name);
    full = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &one);
    mq_unlink(name);
    mq_send(full, "x", 1, 0);
    semaphores = semget(IPC_PRIVATE, 2, 0600);
    if (semaphores < 0 || syscall(SYS_io_setup, 4, &context))
        _exit(98);
    if (pipe(ends) || (events = epoll_create1(0)) < 0)
        _exit(98);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(events, EPOLL_CTL_ADD, ends[0], &event);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static int needs_locks(const struct wait *one)
{
    return !strncmp(one->name, "pthread_mutex", 13);
}

static void timeouts(void)
{
    for (const struct wait *one = waits; one < waits + sizeof waits / sizeof *waits; one++) {
        pid_t holder = needs_locks(one) ? lock_up() : 0;
        report(one->name, one->wait());
        if (holder) {
            kill(holder, SIGUSR2);
            waitpid(holder, NULL, 0);
        }
    }
}

/* Everything that any of the calls waits for. */
static void make_it_come(pid_t who, pid_t holder)
{
    char byte;
    sleep(SOON);
    if (write(ends[1], "x", 1) != 1)
        _exit(98);
    __atomic_store_n(&shared->word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &shared->word, FUTEX_WAKE, 1, NULL, NULL, 0);
    sem_post(&shared->semaphore);
    if (holder) {
        kill(holder, SIGUSR2);
    } else {
        pthread_mutex_lock(&shared->mutex);
        shared->flag = 1;
        pthread_cond_broadcast(&shared->condition);
        pthread_mutex_unlock(&shared->mutex);
    }
    kill(who, SIGUSR1);
    semop(semaphores, &(struct sembuf){0, 2, 0}, 1);
    mq_send(queue, "x", 1, 0);
    mq_receive(full, &byte, 1, NULL);
    _exit(0);
}

static void come(void)
{
    for (const struct wait *one = waits; one < waits + sizeof waits / sizeof *waits; one++) {
        /* FUTEX_WAKE is not for who would be moved to another futex. */
        if (one->wait == by_requeue)
            continue;
        pid_t me = getpid(), holder = needs_locks(one) ? lock_up() : 0, brother = fork();
        if (!brother)
            make_it_come(me, holder);
        int result = one->wait();
        waitpid(brother, NULL, 0);
        if (holder)
            waitpid(holder, NULL, 0);
        say("%s %d\n", one->name, result);
        /* And all back to where nothing has come. */
        char byte;
        struct timespec none = {0, 0};
        struct timespec over = {1, 0};
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        struct pollfd left = {.fd = ends[0], .events = POLLIN};
        while (poll(&left, 1, 0) > 0 && read(ends[0], &byte, 1) > 0)
            continue;
        shared->word = shared->flag = 0;
        semctl(semaphores, 0, SETVAL, 0);
        while (!sem_trywait(&shared->semaphore))
            continue;
        sigtimedwait(&set, NULL, &none);
        mq_timedreceive(queue, &byte, 1, NULL, &over);
        mq_timedsend(full, "x", 1, 0, &over);
    }
}

static void interrupted(int flags)
{
    count_alarms(flags);
    for (const struct wait *one = waits; one < waits + sizeof waits / sizeof *waits; one++) {
        pid_t holder = needs_locks(one) ? lock_up() : 0;
        caught = 0;
        alarm(SOON);
        int result = one->wait();
        alarm(0);
        say("%s %d after %d signal(s)\n", one->name, result, caught);
        if (holder) {
            kill(holder, SIGUSR2);
            waitpid(holder, NULL, 0);
        }
    }
}

static void absent(void)
{
    struct pollfd one = {.fd = ends[0], .events = POLLIN}, bad = {.fd = 999, .events = POLLIN};
    struct timespec zero = {0, 0}, wrong = {0, 1000000000}, negative = {-1, 0}, limit = {9, 0};
    struct timeval none = {0, 0};
    struct epoll_event event;
    fd_set set;
    FD_ZERO(&set);
    FD_SET(60, &set);
    int word = 1;
    say("poll 0: %d\n", poll(&one, 1, 0));
    say("poll bad fd: %d %d\n", poll(&bad, 1, 9000), bad.revents);
    say("poll EFAULT: %d\n", failed(syscall(SYS_poll, 8, 1, 9000)));
    say("ppoll 0: %d\n", ppoll(&one, 1, &zero, NULL));
    say("ppoll wrong: %d\n", failed(syscall(SYS_ppoll, &one, 1, &wrong, NULL, 8)));
    say("ppoll negative: %d\n", failed(syscall(SYS_ppoll, &one, 1, &negative, NULL, 8)));
    say("ppoll EFAULT: %d\n", failed(syscall(SYS_ppoll, &one, 1, 8, NULL, 8)));
    say("select 0: %d\n", select(0, NULL, NULL, NULL, &none));
    say("select bad fd: %d\n", failed(select(61, &set, NULL, NULL, &(struct timeval){9, 0})));
    say("epoll bad fd: %d\n", failed(epoll_wait(999, &event, 1, 9000)));
    say("epoll not one: %d\n", failed(epoll_wait(ends[0], &event, 1, 9000)));
    say("epoll no room: %d\n", failed(epoll_wait(events, &event, 0, 9000)));
    say("epoll 0: %d\n", epoll_wait(events, &event, 1, 0));
    say("futex differs: %d\n", failed(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &limit, NULL, 0)));
    say("futex wrong: %d\n", failed(syscall(SYS_futex, &word, FUTEX_WAIT, 1, &wrong, NULL, 0)));
    say("futex EFAULT: %d\n", failed(syscall(SYS_futex, 4, FUTEX_WAIT, 1, &limit, NULL, 0)));
    say("sigtimedwait 0: %d\n", failed(sigtimedwait(&(sigset_t){{0}}, NULL, &zero)));
    say("sigtimedwait wrong: %d\n", failed(sigtimedwait(&(sigset_t){{0}}, NULL, &wrong)));
    raise(SIGUSR1);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    say("sigtimedwait pending: %d\n", sigtimedwait(&usr1, NULL, &limit));
    signal(SIGUSR1, count);
    raise(SIGUSR1);
    sigset_t open;
    sigemptyset(&open);
    int result = failed(ppoll(&one, 1, &limit, &open));
    say("ppoll pending: %d %d\n", result, caught);
    struct sembuf down = {0, -1, 0}, hasty = {0, -1, IPC_NOWAIT}, wide = {9, -1, 0};
    say("sem 0: %d\n", failed(semtimedop(semaphores, &down, 1, &zero)));
    say("sem wrong: %d\n", failed(semtimedop(semaphores, &down, 1, &wrong)));
    say("sem hasty: %d\n", failed(semtimedop(semaphores, &hasty, 1, &limit)));
    say("sem wide: %d\n", failed(semtimedop(semaphores, &wide, 1, &limit)));
    say("sem none: %d\n", failed(semtimedop(semaphores, &down, 0, &limit)));
    say("sem not there: %d\n", failed(semtimedop(-1, &down, 1, &limit)));
    say("sem EFAULT: %d\n", failed(syscall(SYS_semtimedop, semaphores, 8, 1, &limit)));
    say("aio 0: %d\n", failed(syscall(SYS_io_getevents, context, 1, 1, &done, &zero)));
    say("aio least 0: %d\n", failed(syscall(SYS_io_getevents, context, 0, 1, &done, &limit)));
    say("aio too many: %d\n", failed(syscall(SYS_io_getevents, context, 2, 1, &done, &limit)));
    say("aio none: %d\n", failed(syscall(SYS_io_getevents, 8, 1, 1, &done, &limit)));
    say("aio EFAULT: %d\n", failed(syscall(SYS_io_getevents, context, 1, 1, &done, 8)));
    char byte;
    say("mq not open: %d\n", failed(mq_timedreceive(999, &byte, 1, NULL, &limit)));
}

int main(int count_of, char **argument)
{
    const char *mode = count_of > 1 ? argument[1] : "";
    set_up();
    if (!strcmp(mode, "timeouts"))
        timeouts();
    else if (!strcmp(mode, "events"))
        come();
    else if (!strcmp(mode, "signals"))
        interrupted(0);
    else if (!strcmp(mode, "restart"))
        interrupted(SA_RESTART);
    else if (!strcmp(mode, "absent"))
        absent();
    else
        return 2;
    semctl(semaphores, 0, IPC_RMID);
    return 0;
}
