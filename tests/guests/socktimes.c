/* socktimes MODE [SECONDS]: sockets with SO_RCVTIMEO and SO_SNDTIMEO. MODE: timeouts (nothing ever
 * comes, or is taken), events (a brother makes it come), signals (an alarm interrupts a call, with
 * SA_RESTART as well), kin (children, threads and accepted sockets have the timeout too), values
 * (what is set, told and refused). The clock stands at the end of a line. */
#include "caught.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

/* musl has no such functions. */
enum { PREADV2 = 327, PWRITEV2 = 328 };
enum { NEW_RCVTIMEO = 66, NEW_SNDTIMEO = 67, TOO_MUCH = 8 << 20 };

static long patience = 3600;
static int ends[2], full[2], listener, datagrams, crowded, file;
static char *much;
static struct sockaddr_in busy;
static struct sockaddr_un local;

static void limit(int fd, int option, long seconds)
{
    struct timeval time = {seconds, 0};
    if (setsockopt(fd, SOL_SOCKET, option, &time, sizeof time))
        _exit(97);
}

static int made(int family, int type)
{
    int fd = socket(family, type, 0);
    if (fd < 0)
        _exit(96);
    limit(fd, SO_RCVTIMEO, patience);
    limit(fd, SO_SNDTIMEO, patience);
    return fd;
}

static long told(long result) { return result < 0 ? -errno : result; }

static long by_recv(void) { return told(recv(ends[0], much, 9, 0)); }
static long by_read(void) { return told(read(ends[0], much, 9)); }
static long by_datagram(void) { return told(recv(datagrams, much, 9, 0)); }
static long by_readv(void)
{
    struct iovec room = {much, 9};
    return told(readv(ends[0], &room, 1));
}
static long by_preadv2(void)
{
    struct iovec room = {much, 9};
    return told(syscall(PREADV2, ends[0], &room, 1, -1L, -1L, 0));
}
/* Through a pipe: from the socket, and to it. */
static long by_splice_from(void)
{
    int through[2];
    if (pipe(through))
        _exit(96);
    long result = told(splice(ends[0], NULL, through[1], NULL, 9, 0));
    close(through[0]);
    close(through[1]);
    return result;
}
static long by_splice_to(void)
{
    int through[2];
    if (pipe(through) || write(through[1], much, 9) != 9)
        _exit(96);
    long result = told(splice(through[0], NULL, full[0], NULL, 9, 0));
    close(through[0]);
    close(through[1]);
    return result;
}
static long by_recvmsg(void)
{
    struct iovec room = {much, 9};
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1};
    return told(recvmsg(ends[0], &message, 0));
}
static long by_recvmmsg(void)
{
    struct iovec room = {much, 9};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &room, .msg_iovlen = 1}};
    return told(syscall(SYS_recvmmsg, ends[0], &message, 1, 0, NULL));
}
/* One datagram is there, two are wanted; the error is not left for the next call. */
static long by_half_recvmmsg(void)
{
    struct iovec room = {much, 9};
    struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &room, .msg_iovlen = 1}},
                                  {.msg_hdr = {.msg_iov = &room, .msg_iovlen = 1}}};
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    getsockname(datagrams, (struct sockaddr *)&own, &size);
    sendto(datagrams, "x", 1, 0, (struct sockaddr *)&own, size);
    long result = told(syscall(SYS_recvmmsg, datagrams, messages, 2, 0, NULL));
    int error = 0;
    size = sizeof error;
    getsockopt(datagrams, SOL_SOCKET, SO_ERROR, &error, &size);
    return result * 1000 + error;
}
static long by_half_recv(void)
{
    if (write(ends[1], "half", 4) != 4)
        _exit(98);
    return told(recv(ends[0], much, 9, MSG_WAITALL));
}
static long by_accept(void) { return told(accept(listener, NULL, NULL)); }
static long by_accept4(void) { return told(accept4(listener, NULL, NULL, SOCK_CLOEXEC)); }
static long by_connect(void)
{
    return told(connect(made(AF_INET, SOCK_STREAM), (struct sockaddr *)&busy, sizeof busy));
}
static long by_local_connect(void)
{
    return told(connect(made(AF_UNIX, SOCK_STREAM), (struct sockaddr *)&local, sizeof local));
}
static long by_write(void) { return told(write(full[0], much, 9)); }
static long by_send(void) { return told(send(full[0], much, 9, 0)); }
static long by_writev(void)
{
    struct iovec room = {much, 9};
    return told(writev(full[0], &room, 1));
}
static long by_pwritev2(void)
{
    struct iovec room = {much, 9};
    return told(syscall(PWRITEV2, full[0], &room, 1, -1L, -1L, 0));
}
static long by_sendmsg(void)
{
    struct iovec room = {much, 9};
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1};
    return told(sendmsg(full[0], &message, 0));
}
static long by_sendmmsg(void)
{
    struct iovec room = {much, 9};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &room, .msg_iovlen = 1}};
    return told(syscall(SYS_sendmmsg, full[0], &message, 1, 0));
}
static long by_sendfile(void)
{
    off_t from = 0;
    return told(sendfile(full[0], file, &from, 9));
}
/* What has gone out until then counts. */
static long by_half_write(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        _exit(96);
    limit(pair[0], SO_SNDTIMEO, patience);
    long result = told(write(pair[0], much, TOO_MUCH));
    close(pair[0]);
    close(pair[1]);
    return result > 0 && result < TOO_MUCH;
}

static const struct call {
    const char *name;
    long (*call)(void);
} calls[] = {
    {"recv", by_recv},
    {"read", by_read},
    {"datagram", by_datagram},
    {"readv", by_readv},
    {"preadv2", by_preadv2},
    {"splice_from", by_splice_from},
    {"recvmsg", by_recvmsg},
    {"recvmmsg", by_recvmmsg},
    {"half_recvmmsg", by_half_recvmmsg},
    {"half_recv", by_half_recv},
    {"accept", by_accept},
    {"accept4", by_accept4},
    {"connect", by_connect},
    {"local_connect", by_local_connect},
    {"write", by_write},
    {"send", by_send},
    {"writev", by_writev},
    {"pwritev2", by_pwritev2},
    {"splice_to", by_splice_to},
    {"sendmsg", by_sendmsg},
    {"sendmmsg", by_sendmmsg},
    {"sendfile", by_sendfile},
    {"half_write", by_half_write},
};

static double now(void)
{
    struct timespec mono;
    clock_gettime(CLOCK_MONOTONIC, &mono);
    return (double)mono.tv_sec + mono.tv_nsec / 1e9;
}

static void fill(int fd)
{
    while (send(fd, much, 4096, MSG_DONTWAIT) > 0)
        continue;
    while (send(fd, much, 1, MSG_DONTWAIT) > 0)
        continue;
}

/* Listeners whose queues are full, so that connecting to them waits. */
static void crowd(void)
{
    socklen_t size = sizeof busy;
    int inet = socket(AF_INET, SOCK_STREAM, 0);
    busy = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (bind(inet, (struct sockaddr *)&busy, size) || listen(inet, 0))
        _exit(96);
    getsockname(inet, (struct sockaddr *)&busy, &size);
    for (int i = 0; i < 3; i++)
        connect(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), (struct sockaddr *)&busy, size);
    local.sun_family = AF_UNIX;
    snprintf(local.sun_path + 1, sizeof local.sun_path - 1, "crowded-%d", (int)getpid());
    crowded = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(crowded, (struct sockaddr *)&local, sizeof local) || listen(crowded, 0))
        _exit(96);
    connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&local, sizeof local);
}

static void set_up(void)
{
    much = mmap(NULL, TOO_MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    file = open("/proc/self/exe", O_RDONLY);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, full))
        _exit(96);
    limit(ends[0], SO_RCVTIMEO, patience);
    limit(full[0], SO_SNDTIMEO, patience);
    fill(full[0]);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    datagrams = made(AF_INET, SOCK_DGRAM);
    listener = made(AF_INET, SOCK_STREAM);
    if (bind(datagrams, (struct sockaddr *)&any, sizeof any) || listen(listener, 5))
        _exit(96);
    crowd();
}

static void timeouts(void)
{
    for (const struct call *one = calls; one < calls + sizeof calls / sizeof *calls; one++) {
        long result = one->call();
        say("%s %ld at %.6f\n", one->name, result, now());
    }
}

static void make_it_come(void)
{
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    sleep(1);
    if (write(ends[1], "12345", 5) != 5)
        _exit(98);
    getsockname(datagrams, (struct sockaddr *)&own, &size);
    int sender = socket(AF_INET, SOCK_DGRAM, 0);
    sendto(sender, "x", 1, 0, (struct sockaddr *)&own, size);
    sendto(sender, "x", 1, 0, (struct sockaddr *)&own, size);
    getsockname(listener, (struct sockaddr *)&own, &size);
    connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&own, size);
    while (recv(full[1], much, TOO_MUCH, MSG_DONTWAIT) > 0)
        continue;
    close(accept(crowded, NULL, NULL));
    _exit(0);
}

/* All but what would need more than that to come in full. */
static void come(void)
{
    for (const struct call *one = calls; one < calls + sizeof calls / sizeof *calls; one++) {
        if (!strncmp(one->name, "half", 4) || !strcmp(one->name, "connect"))
            continue;
        pid_t brother = fork();
        if (!brother)
            make_it_come();
        long result = one->call();
        waitpid(brother, NULL, 0);
        say("%s %ld\n", one->name, strncmp(one->name, "accept", 6) ? result : result > 0);
        while (recv(ends[0], much, 4096, MSG_DONTWAIT) > 0)
            continue;
        while (recv(datagrams, much, 4096, MSG_DONTWAIT) > 0)
            continue;
        int one_more;
        int flags = fcntl(listener, F_GETFL);
        fcntl(listener, F_SETFL, flags | O_NONBLOCK);
        while ((one_more = accept(listener, NULL, NULL)) >= 0)
            close(one_more);
        fcntl(listener, F_SETFL, flags);
        fill(full[0]);
        one_more = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(one_more, (struct sockaddr *)&local, sizeof local);
    }
}

static void interrupted(int flags)
{
    count_alarms(flags);
    for (const struct call *one = calls; one < calls + sizeof calls / sizeof *calls; one++) {
        caught = 0;
        alarm(1);
        long result = one->call();
        alarm(0);
        say("%s %ld after %d signal(s)\n", one->name, result, caught);
        while (recv(ends[0], much, 4096, MSG_DONTWAIT) > 0)
            continue;
    }
}

static void *receive(void *what)
{
    long result = by_recv();
    say("%s %ld at %.6f\n", (const char *)what, result, now());
    return NULL;
}

static void kin(void)
{
    pthread_t thread;
    long result;
    receive("leader");
    pthread_create(&thread, NULL, receive, "thread");
    pthread_join(thread, NULL);
    /* Two that wait at once. */
    limit(datagrams, SO_RCVTIMEO, 2 * patience);
    pthread_create(&thread, NULL, receive, "thread");
    result = by_datagram();
    say("longer %ld at %.6f\n", result, now());
    pthread_join(thread, NULL);
    /* A child that makes no other call before. */
    pid_t child = fork();
    if (!child)
        _exit(read(ends[0], much, 1) < 0 && errno == EAGAIN ? 40 : 41);
    int status;
    waitpid(child, &status, 0);
    say("child %d at %.6f\n", WEXITSTATUS(status), now());
    /* What a listening socket accepts has its timeout. */
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    getsockname(listener, (struct sockaddr *)&own, &size);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    connect(client, (struct sockaddr *)&own, size);
    int peer = accept(listener, NULL, NULL);
    result = told(recv(peer, much, 1, 0));
    say("accepted %ld at %.6f\n", result, now());
    limit(ends[0], SO_RCVTIMEO, 7);
    receive("changed");
    limit(ends[0], NEW_RCVTIMEO, 8);
    receive("new option");
    /* A brother writes in the last moment, and in the first one after it. */
    for (int when = 7; when < 10; when += 2) {
        child = fork();
        if (!child) {
            sleep(when);
            _exit(write(ends[1], "x", 1) != 1);
        }
        receive("race");
        waitpid(child, NULL, 0);
    }
}

static void tell(const char *what, int fd, int option)
{
    struct timeval time = {-1, -1};
    socklen_t size = sizeof time;
    int result = getsockopt(fd, SOL_SOCKET, option, &time, &size) ? errno : 0;
    say("%s: %d %lld.%06lld %u\n", what, result, (long long)time.tv_sec, (long long)time.tv_usec,
        size);
}

static int try(int fd, int option, long seconds, long microseconds, socklen_t size)
{
    struct timeval time = {seconds, microseconds};
    return setsockopt(fd, SOL_SOCKET, option, &time, size) ? errno : 0;
}

static void values(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t size = 3, negative = -1;
    char few[4] = "????";
    tell("none", fd, SO_RCVTIMEO);
    limit(fd, SO_RCVTIMEO, 1234567);
    limit(fd, SO_SNDTIMEO, 5);
    tell("set", fd, SO_RCVTIMEO);
    tell("new set", fd, NEW_RCVTIMEO);
    tell("sending", fd, SO_SNDTIMEO);
    tell("new sending", fd, NEW_SNDTIMEO);
    limit(fd, NEW_SNDTIMEO, 6);
    tell("by the new", fd, SO_SNDTIMEO);
    int result = getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, few, &size);
    say("three bytes: %d %u %d %d %d %c\n", result, size, few[0], few[1], few[2], few[3]);
    limit(fd, SO_RCVTIMEO, 0);
    tell("endless", fd, SO_RCVTIMEO);
    say("EDOM: %d %d\n", try(fd, SO_RCVTIMEO, 1, 1000000, 16), try(fd, SO_RCVTIMEO, 1, -1, 16));
    say("too short: %d %d\n", try(fd, SO_RCVTIMEO, 1, 0, 15), try(fd, SO_RCVTIMEO, 1, 0, -1));
    say("longer: %d\n", try(fd, SO_RCVTIMEO, 9, 0, 40));
    tell("longer", fd, SO_RCVTIMEO);
    say("negative: %d\n", try(ends[0], SO_RCVTIMEO, -1, 0, 16));
    tell("negative", ends[0], SO_RCVTIMEO);
    say("over at once: %ld\n", by_recv());
    say("EFAULT: %ld\n", told(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, (void *)8, 16)));
    say("EFAULT: %ld\n", told(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, (void *)8, &size)));
    say("EFAULT: %ld\n", told(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, few, 8)));
    say("EINVAL: %ld\n", told(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, few, &negative)));
    say("no socket: %d\n", try(file, SO_RCVTIMEO, 1, 0, 16));
    tell("no socket", file, SO_RCVTIMEO);
    say("not open: %d\n", try(999, SO_RCVTIMEO, 1, 0, 16));
    tell("not open", 999, SO_RCVTIMEO);
    say("at another level: %ld\n", told(setsockopt(fd, IPPROTO_TCP, SO_RCVTIMEO, few, 3)));
}

int main(int count_of, char **argument)
{
    const char *mode = count_of > 1 ? argument[1] : "";
    if (count_of > 2)
        patience = atol(argument[2]);
    set_up();
    if (!strcmp(mode, "timeouts"))
        timeouts();
    else if (!strcmp(mode, "events"))
        come();
    else if (!strcmp(mode, "signals"))
        interrupted(0);
    else if (!strcmp(mode, "restart"))
        interrupted(SA_RESTART);
    else if (!strcmp(mode, "kin"))
        kin();
    else if (!strcmp(mode, "values"))
        values();
    else
        return 2;
    return 0;
}
