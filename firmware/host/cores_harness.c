/* cores_harness.c - count what each of two cores executes in one inference, on one emulated core.
 *
 * The cores take turns: each goes on until it would have to wait for the other one. Before and after each
 * turn the program marks the place (measure.h), so that the first core's instructions are those between the
 * marks of every other turn. A turn more than on two real cores costs a wait that gives up and the way back
 * to where it was.
 */
#include "app_model.h"
#include "measure.h"
#include "report.h"

#if APP_CORES < 2
#error "this model is for one core"
#endif

static uint8_t arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static uint32_t come_to[2];

static void signal_progress(void *user, uint32_t core, uint32_t progress) {
    (void)user;
    come_to[core] = progress;
}

static int has_come_to(void *user, uint32_t core, uint32_t progress) {
    (void)user;
    return (int32_t)(come_to[core] - progress) < 0;
}

static NOT_INLINED nanou_status_t first_turn(nanou_t *net) {
    return nanou_invoke(net);
}

static NOT_INLINED nanou_status_t turn(nanou_t *net, uint32_t core) {
    return nanou_invoke_core(net, core);
}

static nanou_status_t infer(nanou_t *net) {
    (void)instruction_count();
    (void)instruction_count();
    (void)instruction_count();
    nanou_status_t status = first_turn(net);
    (void)instruction_count();
    for (uint32_t core = 1; status == NANOU_WAITING || core == 0; core = 1 - core) {
        (void)instruction_count();
        const nanou_status_t reached = turn(net, core);
        (void)instruction_count();
        status = core == 0 ? reached : NANOU_WAITING;
    }
    return status;
}

int main(int argc, char **argv) {
    static nanou_t net;
    static const nanou_cores_t cores = {signal_progress, has_come_to, NULL};
    if (target_open(argc, argv) != 0) {
        return EXIT_STREAM;
    }
    if (nanou_init(&net, APP_MODEL, arena, sizeof arena) != NANOU_OK ||
        nanou_set_cores(&net, &cores) != NANOU_OK) {
        return EXIT_INIT;
    }
    for (uint32_t i = 0; i < APP_INPUTS; i++) {
        const uint32_t size_bytes = APP_MODEL->inputs[i].size_bytes;
        if (target_read(nanou_input(&net, i), size_bytes) != size_bytes) {
            return EXIT_STREAM;
        }
    }
    const nanou_status_t status = infer(&net);
    if (status != NANOU_OK) {
        print_error("invoke", status);
        return EXIT_INVOKE;
    }
    for (uint32_t i = 0; i < APP_OUTPUTS; i++) {
        uint8_t head[RECORD_HEAD_BYTES];
        put_record_head(head, RECORD_OUTPUT, 0, APP_MODEL->outputs[i].size_bytes);
        if (target_write(head, sizeof head) != 0 ||
            target_write(nanou_output(&net, i), APP_MODEL->outputs[i].size_bytes) != 0) {
            return EXIT_STREAM;
        }
    }
    return target_close() == 0 ? EXIT_DONE : EXIT_STREAM;
}
