/* waitv: futex_waitv with a timeout, where it is refused or has nothing to wait for. */
#include "guest.h"

enum { SYS_FUTEX_WAITV = 449, FUTEX_32 = 2 };

static int failed(long result) { return result < 0 ? errno : 0; }

static int waitv(uint32_t *word, uint32_t value, long count_of, long flags, void *limit, int clock)
{
    struct {
        uint64_t value, address;
        uint32_t flags, reserved;
    } one = {value, (uintptr_t)word, FUTEX_32, 0};
    return failed(syscall(SYS_FUTEX_WAITV, &one, count_of, flags, limit, clock));
}

int main(void)
{
    uint32_t one = 1, *word = &one;
    struct timespec over = {0, 1}, later = {1L << 40, 0}, bad = {0, 1000000000};
    void *limit = &later, *wrong = &bad;
    say("waitv differs: %d\n", waitv(word, 0, 1, 0, limit, 1));
    say("waitv over: %d\n", waitv(word, 1, 1, 0, &over, 1));
    say("waitv none: %d\n", waitv(word, 1, 0, 0, limit, 1));
    say("waitv too many: %d\n", waitv(word, 1, 129, 0, limit, 1));
    say("waitv flags: %d\n", waitv(word, 1, 1, 7, limit, 1));
    say("waitv clock: %d\n", waitv(word, 1, 1, 0, limit, 7));
    say("waitv wrong: %d\n", waitv(word, 1, 1, 0, wrong, 1));
    say("waitv EFAULT: %d\n", waitv((void *)4, 1, 1, 0, limit, 1));
    say("waitv EFAULT: %d\n", waitv(word, 1, 1, 0, (void *)8, 1));
    say("waitv EFAULT: %d\n", failed(syscall(SYS_FUTEX_WAITV, 8, 1, 0, limit, 1)));
    return 0;
}
