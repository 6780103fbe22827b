/* Signals that are counted. */
#ifndef CAUGHT_H
#define CAUGHT_H
#include "guest.h"

#include <signal.h>

static volatile int caught;
static void count(int number)
{
    (void)number;
    caught++;
}

/* Count SIGALRM; `flags` as SA_RESTART. */
static inline void count_alarms(int flags)
{
    struct sigaction action = {.sa_handler = count, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
}
#endif
