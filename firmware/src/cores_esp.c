/* cores_esp.c - the second core's share in a task of FreeRTOS, pinned to the core that app_main does not run
 * on. */
#include "app_model.h"
#include "cores.h"

#if APP_CORES > 1

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "sdkconfig.h"

#if CONFIG_FREERTOS_UNICORE
#error "A model for two cores on one: generate it with --cores 1, or unset CONFIG_FREERTOS_UNICORE"
#endif

#define LOOKS       2000u /* about as long as a row; then others may run */
#define STACK_BYTES 4096u

static uint32_t come_to[2];
static StackType_t stack[STACK_BYTES / sizeof(StackType_t)];
static StaticTask_t task;
static TaskHandle_t tasks[2]; /* by core, of who waits or has waited there */
static uint32_t sleeps[2];

static int has_come_to(uint32_t core, uint32_t progress) {
    return (int32_t)(__atomic_load_n(&come_to[core], __ATOMIC_SEQ_CST) - progress) >= 0;
}

static void signal_progress(void *user, uint32_t core, uint32_t progress) {
    (void)user;
    __atomic_store_n(&come_to[core], progress, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&sleeps[1 - core], __ATOMIC_SEQ_CST) != 0) {
        xTaskNotifyGive(tasks[1 - core]);
    }
}

/* The other core is mostly a row's time away, so this looks again and again, and sleeps where it takes
 * longer: the second core does between two inferences. */
static int wait_for(void *user, uint32_t core, uint32_t progress) {
    (void)user;
    const uint32_t me = 1 - core;
    for (uint32_t looks = 0; !has_come_to(core, progress); ++looks) {
        if (looks >= LOOKS) {
            tasks[me] = xTaskGetCurrentTaskHandle();
            __atomic_store_n(&sleeps[me], 1, __ATOMIC_SEQ_CST);
            if (!has_come_to(core, progress)) {
                ulTaskNotifyTake(pdTRUE,
                                 1); /* at most a tick, should somebody else have taken the notification */
            }
            __atomic_store_n(&sleeps[me], 0, __ATOMIC_SEQ_CST);
        }
    }
    return 0;
}

static const nanou_cores_t cores = {signal_progress, wait_for, NULL};

static void second_core(void *net) {
    for (;;) {
        (void)nanou_invoke_core((nanou_t *)net, 1);
    }
}

int cores_share(nanou_t *net) {
    if (nanou_set_cores(net, &cores) != NANOU_OK) {
        return -1;
    }
    const BaseType_t other = xPortGetCoreID() == 0 ? 1 : 0;
    const TaskHandle_t made = xTaskCreateStaticPinnedToCore(second_core, "second core", STACK_BYTES, net,
                                                            uxTaskPriorityGet(NULL), stack, &task, other);
    if (made == NULL) {
        (void)nanou_set_cores(net, NULL);
        return -1;
    }
    return 0;
}

#endif
