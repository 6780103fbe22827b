/* kernelids MODE: numbers and names that the kernel makes up. MODE: sysv, times, keys, unix,
 * netlink, bind, listen, connect, sendto, sendmsg, cookie, kcmp, sockets. A call that fails shows its errno. */
#include "guest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

#define TIMES 4

static void show(const char *what, long result)
{
    say("%s %ld errno %d\n", what, result, result < 0 ? errno : 0);
}

static void sysv(void)
{
    int shm[TIMES], sem[TIMES], msg[TIMES];
    for (int i = 0; i < TIMES; i++) {
        show("shmget", shm[i] = shmget(IPC_PRIVATE, 4096, 0600));
        show("semget", sem[i] = semget(IPC_PRIVATE, 1, 0600));
        show("msgget", msg[i] = msgget(IPC_PRIVATE, 0600));
    }
    for (int i = 0; i < TIMES; i++) {
        shmctl(shm[i], IPC_RMID, NULL);
        semctl(sem[i], 0, IPC_RMID);
        msgctl(msg[i], IPC_RMID, NULL);
    }
}

static void times(void)
{
    struct shmid_ds segment;
    int shm = shmget(IPC_PRIVATE, 4096, 0600);
    show("shmctl", shmctl(shm, IPC_STAT, &segment));
    say("created %ld\n", (long)segment.shm_ctime);
    shmctl(shm, IPC_RMID, NULL);
}

static void keys(void)
{
    for (int i = 0; i < TIMES; i++) {
        char name[16];
        snprintf(name, sizeof name, "key-%d", i);
        show("add_key", syscall(SYS_add_key, "user", name, "x", 1, -2));
        show("keyctl", syscall(SYS_keyctl, 0, -2, 1));
        show("request_key", syscall(SYS_request_key, "user", name, NULL, 0));
    }
}

static void unix_names(void)
{
    for (int i = 0; i < TIMES; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t length = sizeof address;
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        show("bind", bind(fd, (void *)&address, sizeof(sa_family_t)));
        getsockname(fd, (void *)&address, &length);
        say("name %.5s\n", address.sun_path + 1);
    }
}

static void netlink(void)
{
    for (int i = 0; i < TIMES; i++) {
        struct sockaddr_nl address = {.nl_family = AF_NETLINK};
        socklen_t length = sizeof address;
        int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
        show("bind", bind(fd, (void *)&address, sizeof address));
        getsockname(fd, (void *)&address, &length);
        say("port %u\n", address.nl_pid);
    }
}

static int port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    getsockname(fd, (void *)&address, &length);
    return ntohs(address.sin_port);
}

static int bound(int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, type, 0);
    show("bind", bind(fd, (void *)&address, sizeof address));
    return fd;
}

static void bind_ports(void)
{
    for (int i = 0; i < TIMES; i++) {
        say("tcp %d\n", port_of(bound(SOCK_STREAM)));
        say("udp %d\n", port_of(bound(SOCK_DGRAM)));
    }
}

/* The server's port is fixed, because the kernel's choice for the client depends on it. */
static void connect_ports(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(4711)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    show("bind", bind(server, (void *)&address, sizeof address));
    show("listen", listen(server, TIMES));
    for (int i = 0; i < TIMES; i++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        show("connect", connect(client, (void *)&address, sizeof address));
        say("tcp %d\n", port_of(client));
    }
}

static void listen_ports(void)
{
    for (int i = 0; i < TIMES; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        show("listen", listen(fd, 1));
        say("tcp %d\n", port_of(fd));
    }
}

static void sendto_ports(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < TIMES; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        show("sendto", sendto(fd, "x", 1, 0, (void *)&address, sizeof address));
        say("udp %d\n", port_of(fd));
    }
}

static void sendmsg_ports(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address};
    for (int i = 0; i < TIMES; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        show("sendmsg", sendmsg(fd, &message, 0));
        say("udp %d\n", port_of(fd));
    }
}

/* What does not depend on the choice of a name: errors, and that a socket keeps what it has. */
static void sockets(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct sockaddr_nl netlink = {.nl_family = AF_NETLINK};
    socklen_t length = sizeof address;
    int tcp = socket(AF_INET, SOCK_STREAM, 0), pipes[2], one = 1;
    int local = socket(AF_UNIX, SOCK_STREAM, 0), link = socket(AF_NETLINK, SOCK_RAW, 0);
    show("not open", bind(-1, (void *)&address, sizeof address));
    show("a pipe", pipe(pipes) ? -9 : bind(pipes[0], (void *)&address, sizeof address));
    show("listen on a pipe", listen(pipes[0], 1));
    show("connect a pipe", connect(pipes[0], (void *)&address, sizeof address));
    show("short", bind(tcp, (void *)&address, 15));
    show("negative", bind(tcp, (void *)&address, -1));
    show("long", bind(tcp, (void *)&address, 129));
    show("NULL", bind(tcp, NULL, sizeof address));
    show("connect NULL", connect(tcp, NULL, sizeof address));
    show("another family", bind(tcp, (void *)&six, sizeof six));
    show("path", bind(tcp, (void *)&path, sizeof(sa_family_t)));
    address.sin_addr.s_addr = htonl(0xc0000201);
    show("not ours", bind(tcp, (void *)&address, sizeof address));
    address.sin_family = AF_UNSPEC;
    show("unspecified", bind(tcp, (void *)&address, sizeof address));
    address.sin_addr.s_addr = 0;
    show("unspecified, any", bind(tcp, (void *)&address, sizeof address));
    address.sin_family = AF_INET;
    show("again", bind(tcp, (void *)&address, sizeof address));
    int port = port_of(tcp);
    show("listen", listen(tcp, 1));
    say("kept %d\n", port && port == port_of(tcp));
    show("abstract", bind(local, (void *)&path, sizeof(sa_family_t)));
    show("abstract again", bind(local, (void *)&path, sizeof(sa_family_t)));
    show("netlink", bind(link, (void *)&netlink, sizeof netlink));
    show("netlink again", bind(link, (void *)&netlink, sizeof netlink));
    show("netlink short", bind(link, (void *)&netlink, sizeof netlink - 1));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(client, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    show("address alone", bind(client, (void *)&address, sizeof address));
    say("no port yet %d\n", port_of(client) == 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    show("connect", connect(client, (void *)&address, sizeof address));
    getsockname(client, (void *)&address, &length);
    say("from %x, a port %d\n", ntohl(address.sin_addr.s_addr), address.sin_port != 0);
    show("connected", connect(client, (void *)&address, sizeof address));
    int udp = socket(AF_INET6, SOCK_DGRAM, 0);
    show("udp6", bind(udp, (void *)&six, 24));
    show("tcp6", listen(socket(AF_INET6, SOCK_STREAM, 0), 1));
}

static void cookie(void)
{
    static const struct {
        const char *name;
        int option;
    } options[] = {{"SO_COOKIE", 57}, {"SO_NETNS_COOKIE", 71}, {"SO_INCOMING_CPU", 49}};
    for (int i = 0; i < TIMES; i++)
        for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
            uint64_t value = 0;
            socklen_t length = options[o].option == 49 ? 4 : 8;
            int fd = socket(AF_INET, SOCK_DGRAM, 0);
            show(options[o].name, getsockopt(fd, SOL_SOCKET, options[o].option, &value, &length));
            say("value %llu\n", (unsigned long long)value);
        }
}

/* KCMP_FILE tells in which order two open files lie in the kernel's memory, by scrambled
 * addresses. */
static void compare(void)
{
    int fds[8];
    for (int i = 0; i < 8; i++)
        fds[i] = open("/dev/null", O_RDONLY);
    for (int i = 0; i < 7; i++)
        show("kcmp", syscall(SYS_kcmp, getpid(), getpid(), 0, fds[i], fds[i + 1]));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"sysv", sysv},
        {"times", times},
        {"keys", keys},
        {"unix", unix_names},
        {"netlink", netlink},
        {"bind", bind_ports},
        {"listen", listen_ports},
        {"connect", connect_ports},
        {"sendto", sendto_ports},
        {"sendmsg", sendmsg_ports},
        {"cookie", cookie},
        {"kcmp", compare},
        {"sockets", sockets},
    };
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(modes[i].name, argv[1])) {
            modes[i].run();
            return 0;
        }
    return 99;
}
