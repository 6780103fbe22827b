/* recvmmsg SECONDS: recvmmsg with a timeout of its own. A brother sends a datagram every SECONDS;
 * the timeouts are multiples of that. The same lines come out bare, but for what is left of a
 * timeout, in SECONDS, which stands at the end of a line: there less has been used. */
#include "caught.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { MOST = 4, ROOM = 8 };

static long beat;
static int ends[2];
static struct mmsghdr messages[MOST];
static struct iovec parts[MOST][2];
static char rooms[MOST][ROOM], names[MOST][32], control[64];

static void ask(void)
{
    memset(rooms, 0, sizeof rooms);
    for (int i = 0; i < MOST; i++) {
        parts[i][0] = (struct iovec){rooms[i], 3};
        parts[i][1] = (struct iovec){rooms[i] + 3, ROOM - 3};
        messages[i] = (struct mmsghdr){.msg_len = 77};
        messages[i].msg_hdr.msg_iov = parts[i];
        messages[i].msg_hdr.msg_iovlen = 2;
        messages[i].msg_hdr.msg_name = names[i];
        messages[i].msg_hdr.msg_namelen = sizeof names[i];
    }
}

static pid_t start(const char *text, int times)
{
    pid_t brother = fork();
    if (brother)
        return brother;
    for (int i = 0; i < times; i++) {
        struct timespec pause = {beat, 0};
        nanosleep(&pause, NULL);
        if (send(ends[1], text, strlen(text), 0) < 0)
            _exit(1);
    }
    _exit(0);
}

static void report(const char *what, struct timespec *limit, int wanted, int flags)
{
    int number = 0;
    long result = syscall(SYS_recvmmsg, ends[0], messages, wanted, flags, limit);
    if (result < 0)
        number = errno;
    say("%s: %ld %d", what, result, number);
    for (int i = 0; i < MOST; i++) {
        const struct msghdr *one = &messages[i].msg_hdr;
        say(" [%.*s %d %d %d %d]", ROOM, rooms[i], (int)messages[i].msg_len, (int)one->msg_flags,
            (int)one->msg_namelen, (int)one->msg_controllen);
    }
    say(" left %d\n", (int)((limit->tv_sec + (limit->tv_nsec > 0)) / beat));
}

/* The timeout is `beats` of SECONDS and a half. */
static void expect(const char *what, const char *text, int times, int wanted, int beats, int flags)
{
    struct timespec limit = {beats * beat + beat / 2, beat % 2 * 500000000};
    pid_t brother = start(text, times);
    report(what, &limit, wanted, flags);
    while (recv(ends[0], control, sizeof control, MSG_DONTWAIT) > 0)
        continue;
    kill(brother, SIGKILL);
    waitpid(brother, NULL, 0);
    while (recv(ends[0], control, sizeof control, MSG_DONTWAIT) > 0)
        continue;
    ask();
}

static void descriptor(void)
{
    struct {
        struct cmsghdr head;
        int fd;
    } sent = {.fd = ends[0]};
    sent.head.cmsg_len = CMSG_LEN(sizeof(int));
    sent.head.cmsg_level = SOL_SOCKET;
    sent.head.cmsg_type = SCM_RIGHTS;
    struct iovec part = {"fd", 2};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    message.msg_control = &sent;
    message.msg_controllen = sizeof sent;
    if (sendmsg(ends[1], &message, 0) < 0)
        _exit(97);
    messages[0].msg_hdr.msg_control = control;
    messages[0].msg_hdr.msg_controllen = sizeof control;
    report("descriptor", &(struct timespec){0, 1}, 1, 0);
    const struct cmsghdr *got = (const struct cmsghdr *)control;
    say("descriptor %d %d\n", got->cmsg_type, fcntl(*(const int *)CMSG_DATA(got), F_GETFD));
    ask();
}

static void refused(void)
{
    struct timespec wrong = {0, 1000000000}, limit = {9, 0};
    int stream[2], first = ends[0];
    report("wrong", &wrong, 1, 0);
    ends[0] = 999;
    report("bad fd", &limit, 1, 0);
    ends[0] = 1;
    report("no socket", &limit, 1, 0);
    ends[0] = first;
    report("none wanted", &limit, 0, 0);
    report("none there", &limit, MOST, MSG_DONTWAIT);
    say("EFAULT: %d\n", (int)syscall(SYS_recvmmsg, first, messages, 1, 0, 8) < 0 ? errno : 0);
    messages[0].msg_hdr.msg_iovlen = 2000;
    report("parts", &limit, MOST, 0);
    ask();
    messages[0].msg_hdr.msg_namelen = -1;
    report("name", &limit, MOST, 0);
    ask();
    parts[0][0].iov_base = (void *)8;
    send(ends[1], "lost", 4, 0);
    report("room", &limit, MOST, 0);
    ask();
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, stream) || write(stream[1], "stream", 6) != 6)
        _exit(96);
    ends[0] = stream[0];
    report("stream", &limit, 1, 0);
    ends[0] = first;
    ask();
}

int main(int count_of, char **argument)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    beat = count_of > 1 ? atol(argument[1]) : 1;
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
        _exit(96);
    /* A name of its own for the sender, in the abstract namespace. */
    snprintf(own.sun_path + 1, sizeof own.sun_path - 1, "recvmmsg-%05d", (int)getpid() % 100000);
    if (bind(ends[1], (struct sockaddr *)&own, sizeof own.sun_family + 15))
        _exit(96);
    ask();
    expect("all in time", "a", 3, 3, 9, 0);
    expect("none in time", "bc", 3, 3, 0, 0);
    expect("some in time", "def", 3, 3, 1, 0);
    expect("for one", "ghij", 3, 3, 9, MSG_WAITFORONE);
    expect("too long", "0123456789", 2, 2, 9, 0);
    expect("how long", "0123456789", 2, 2, 9, MSG_TRUNC);
    expect("peek", "k", 1, 2, 9, MSG_PEEK);
    descriptor();
    refused();
    count_alarms(0);
    /* An alarm before the first, and after it. */
    for (int times = 0; times < 2; times++) {
        struct itimerval once = {{0, 0}, {beat + beat / 2, beat % 2 * 500000}};
        setitimer(ITIMER_REAL, &once, NULL);
        expect(times ? "interrupted later" : "interrupted", "l", times, 2, 9, 0);
        say("signals %d\n", caught);
    }
    return 0;
}
