/* profile.c - a QEMU TCG plugin that counts how often each instruction of one inference is executed, by
 * layer.
 *
 * It counts as count.c does. The harness marks three places: the start of an empty interval, its end, which
 * is just before the call of nanou_invoke, and the return from it. Within the inference, the layer is known
 * from the schedule, a table that the generated code reads once for each row it computes: the load of entry
 * s, seen by its address, begins step s. So the code that is counted is the code that is shipped, without a
 * hook.
 *
 * Arguments: out=FILE, layers=FILE, schedule=ADDRESS, entry_bytes=N (decimal). `layers` holds one byte for
 * each entry: the slot to which that step belongs, below LAYER_SLOTS. Written to `out` are triples of eight
 * bytes in the byte order of this machine: address of an instruction, slot, how often it was executed. The
 * slots above the layers' are SLOT_ENTRY, from the call to the first step, and SLOT_EMPTY, the empty
 * interval.
 */
#include <stdio.h>
#include <stdlib.h>

#include "qemu_plugin.h"

enum { LAYER_SLOTS = 256, SLOT_ENTRY = 256, SLOT_EMPTY = 257, SLOT_OUTSIDE = 258, SLOTS = 259 };
enum { MAX_INSTRUCTIONS = 1 << 16, MAX_STEPS = 1 << 20 };

typedef struct counts {
    uint64_t address;
    uint64_t executed[SLOTS];
} counts_t;

static FILE *out;
static counts_t *table[MAX_INSTRUCTIONS]; /* by hash of the address, with linear probing */
static unsigned int slot = SLOT_OUTSIDE;
static unsigned int mark_number;
static uint8_t layers[MAX_STEPS];
static uint64_t steps, schedule, entry_bytes;

/* The counts of one instruction: a block that QEMU translates again must find those of before. */
static counts_t *counts_at(uint64_t address) {
    size_t i = (size_t)(address >> 1) % MAX_INSTRUCTIONS;
    for (size_t tried = 0; tried < MAX_INSTRUCTIONS; tried++, i = (i + 1) % MAX_INSTRUCTIONS) {
        if (table[i] == NULL && (table[i] = calloc(1, sizeof *table[i])) != NULL) {
            table[i]->address = address;
        }
        if (table[i] == NULL) {
            break;
        }
        if (table[i]->address == address) {
            return table[i];
        }
    }
    fputs("profile: no memory for another instruction\n", stderr);
    exit(1);
}

static void count(unsigned int cpu, void *data) {
    (void)cpu;
    ((counts_t *)data)->executed[slot]++;
}

static void count_mark(unsigned int cpu, void *data) {
    static const unsigned int after[] = {SLOT_EMPTY, SLOT_ENTRY}; /* then SLOT_OUTSIDE: one frame is enough */
    slot = mark_number < sizeof after / sizeof after[0] ? after[mark_number] : SLOT_OUTSIDE;
    mark_number++;
    count(cpu, data);
}

static void follow_schedule(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data) {
    (void)cpu;
    (void)info;
    (void)data;
    const uint64_t step = (address - schedule) / entry_bytes;
    if (address >= schedule && step < steps && slot <= SLOT_ENTRY) {
        slot = layers[step];
    }
}

static void instrument(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        if (is_uncounted(instruction)) {
            continue;
        }
        qemu_plugin_register_vcpu_insn_exec_cb(instruction, is_mark(instruction) ? count_mark : count,
                                               QEMU_PLUGIN_CB_NO_REGS,
                                               counts_at(qemu_plugin_insn_vaddr(instruction)));
        qemu_plugin_register_vcpu_mem_cb(instruction, follow_schedule, QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_RW, NULL);
    }
}

static void finish(qemu_plugin_id_t id, void *data) {
    (void)id;
    (void)data;
    for (size_t i = 0; i < MAX_INSTRUCTIONS; i++) {
        for (uint64_t s = 0; table[i] != NULL && s < SLOT_OUTSIDE; s++) {
            const uint64_t triple[] = {table[i]->address, s, table[i]->executed[s]};
            if (triple[2] != 0) {
                fwrite(triple, sizeof triple, 1, out);
            }
        }
    }
    fclose(out);
}

/* The text behind "name=" among the arguments, or "". */
static const char *argument(const char *name, int argc, char **argv) {
    const size_t length = strlen(name);
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
            return argv[i] + length + 1;
        }
    }
    return "";
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info;
    FILE *layers_file = fopen(argument("layers", argc, argv), "rb");
    out = fopen(argument("out", argc, argv), "wb");
    schedule = strtoull(argument("schedule", argc, argv), NULL, 10);
    entry_bytes = strtoull(argument("entry_bytes", argc, argv), NULL, 10);
    steps = layers_file == NULL ? 0 : fread(layers, 1, sizeof layers, layers_file);
    if (out == NULL || entry_bytes == 0 || steps == 0 || steps == MAX_STEPS) {
        fputs("profile: out=FILE,layers=FILE,schedule=ADDRESS,entry_bytes=N expected, and less than 2^20 "
              "steps\n",
              stderr);
        return -1;
    }
    fclose(layers_file);
    qemu_plugin_register_vcpu_tb_trans_cb(id, instrument);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
