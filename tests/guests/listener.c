/* listener COMMAND...: gives itself a seccomp filter with a listener that allows everything, as a
 * container engine may, and runs COMMAND under it: a second listener is then refused (EBUSY). */
#include "guest.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

int main(int count, char **argument)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &allow};
    if (count < 2)
        return 2;
    if (prctl(PR_SET_NO_NEW_PRIVS, geteuid() != 0, 0, 0, 0) && geteuid())
        return 3;
    int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                     &program);
    if (fd < 0 || dup(fd) < 0) /* the copy stays open over exec */
        return 3;
    execvp(argument[1], argument + 1);
    return 127;
}
