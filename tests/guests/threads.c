/* threads free: a program whose output its own synchronisation determines, with every primitive of
 * pthreads: threads take turns for what they ask the kernel, add up under a mutex, meet at a barrier.
 * threads race: a program whose output is the order in which its threads get a mutex. */
#include "guest.h"
#include <pthread.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/wait.h>

enum { THREADS = 6, ROUNDS = 5, PUSHES = 2000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int turn;
static uint64_t sum;
static char lines[THREADS * ROUNDS][160];

static uint64_t work(uint64_t seed)
{
    for (int i = 0; i < 10000; i++)
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return seed;
}

/* One after the other in the order of their numbers: a random draw, the clock, a child. */
static void ask_in_turn(int number, int round)
{
    int mine = round * THREADS + number;
    pthread_mutex_lock(&mutex);
    while (turn != mine)
        pthread_cond_wait(&changed, &mutex);
    uint32_t drawn = 0;
    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn)
        _exit(2);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int child = 0;
    if (round == 0) {
        child = fork();
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    snprintf(lines[mine], sizeof lines[mine], "round %d thread %d tid %ld child %d drew %08x at %ld\n",
             round, number, syscall(SYS_gettid), child, drawn, (long)now.tv_sec);
    turn++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void *obey(void *argument)
{
    int number = (int)(intptr_t)argument;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t part = work(number + round);
        ask_in_turn(number, round);
        pthread_mutex_lock(&mutex);
        sum += part;
        pthread_mutex_unlock(&mutex);
        pthread_barrier_wait(&barrier);
        /* Nobody adds between the two barriers. */
        part = work(sum + number);
        pthread_barrier_wait(&barrier);
        pthread_mutex_lock(&mutex);
        sum ^= part;
        pthread_mutex_unlock(&mutex);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static unsigned char order[THREADS * PUSHES];
static int pushed;

static void *race(void *argument)
{
    int number = (int)(intptr_t)argument;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < PUSHES; i++) {
        volatile uint64_t kept = work(number);
        (void)kept;
        pthread_mutex_lock(&mutex);
        order[pushed++] = (unsigned char)number;
        pthread_mutex_unlock(&mutex);
        if (i % 50 == number) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            pthread_mutex_lock(&mutex);
            sum = fnv(sum, &now.tv_sec, sizeof now.tv_sec);
            pthread_mutex_unlock(&mutex);
        }
        if (i % 7 == number)
            sched_yield();
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int racy = argc > 1 && !strcmp(argv[1], "race");
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, racy ? race : obey, (void *)(intptr_t)i))
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    if (racy) {
        int runs = 0;
        for (int i = 1; i < pushed; i++)
            runs += order[i] != order[i - 1];
        say("pushed %d changes %d order %016lx\n", pushed, runs, fnv(FNV_START, order, pushed));
        say("clocks %016lx\n", sum);
        return 0;
    }
    for (int i = 0; i < THREADS * ROUNDS; i++)
        say("%s", lines[i]);
    say("sum %016lx\n", sum);
    return 0;
}
