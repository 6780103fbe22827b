/* kernelids MODE: numbers and names that the kernel makes up. MODE: sysv, times, keys, unix,
 * netlink, bind, connect, cookie, kcmp. A call that fails shows its errno. */
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
        {"connect", connect_ports},
        {"cookie", cookie},
        {"kcmp", compare},
    };
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(modes[i].name, argv[1])) {
            modes[i].run();
            return 0;
        }
    return 99;
}
