/* giveway: who wakes itself again and again, as Erlang's runtime does, lets a child run. */
#include "guest.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/wait.h>

static int ends[2], events;

/* Waits without a timeout for what is there already. */
static int at_once(int which)
{
    struct pollfd one = {.fd = ends[0], .events = POLLIN};
    struct epoll_event event;
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    switch (which) {
    case 0:
        return poll(&one, 1, -1);
    case 1:
        return ppoll(&one, 1, NULL, NULL);
    case 2:
        return select(ends[0] + 1, &set, NULL, NULL, NULL);
    case 3:
        return pselect(ends[0] + 1, &set, NULL, NULL, NULL, NULL);
    case 4:
        return epoll_wait(events, &event, 1, -1);
    case 5:
        return epoll_pwait(events, &event, 1, -1, NULL);
    default:
        return syscall(441, events, &event, 1, NULL, NULL, 8);
    }
}

int main(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int *flag = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pipe(ends) || (events = epoll_create1(0)) < 0)
        return 98;
    epoll_ctl(events, EPOLL_CTL_ADD, ends[0], &event);
    for (int which = 0; which < 7; which++) {
        char byte = 0;
        *flag = 0;
        if (!fork()) {
            __atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
            _exit(0);
        }
        while (!__atomic_load_n(flag, __ATOMIC_SEQ_CST))
            if (write(ends[1], "x", 1) != 1 || at_once(which) != 1 || read(ends[0], &byte, 1) != 1)
                _exit(98);
        wait(NULL);
        say("%d gave way\n", which);
    }
    return 0;
}
