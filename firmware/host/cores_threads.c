/* cores_threads.c - the second core's share on a thread of its own, for programs on this computer. */
#include "cores.h"

#if defined(NANOU_THREADS)

#include <pthread.h>

#define LOOKS 1000u /* about as long as a row; then the thread sleeps */

static uint32_t come_to[2], sleeping;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static int has_come_to(uint32_t core, uint32_t progress) {
    return (int32_t)(__atomic_load_n(&come_to[core], __ATOMIC_SEQ_CST) - progress) >= 0;
}

/* Either this sees that the other thread is about to sleep, or that one sees the new progress and does not.
 */
static void signal_progress(void *user, uint32_t core, uint32_t progress) {
    (void)user;
    __atomic_store_n(&come_to[core], progress, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&sleeping, __ATOMIC_SEQ_CST) != 0) {
        pthread_mutex_lock(&mutex);
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
}

/* Looks again and again, since the other core is mostly a row's time away, and sleeps where it takes longer.
 */
static int wait_for(void *user, uint32_t core, uint32_t progress) {
    (void)user;
    for (uint32_t looks = 0; looks < LOOKS; ++looks) {
        if (has_come_to(core, progress)) {
            return 0;
        }
    }
    pthread_mutex_lock(&mutex);
    __atomic_fetch_add(&sleeping, 1, __ATOMIC_SEQ_CST);
    while (!has_come_to(core, progress)) {
        pthread_cond_wait(&changed, &mutex);
    }
    __atomic_fetch_sub(&sleeping, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&mutex);
    return 0;
}

static const nanou_cores_t cores = {signal_progress, wait_for, NULL};

static void *second_core(void *net) {
    for (;;) {
        (void)nanou_invoke_core((nanou_t *)net, 1);
    }
    return NULL;
}

int cores_share(nanou_t *net) {
    pthread_t thread;
    if (nanou_set_cores(net, &cores) != NANOU_OK) {
        return -1;
    }
    if (pthread_create(&thread, NULL, second_core, net) != 0) {
        (void)nanou_set_cores(net, NULL);
        return -1;
    }
    return pthread_detach(thread);
}

#endif
