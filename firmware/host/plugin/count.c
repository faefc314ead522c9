/* count.c - a QEMU TCG plugin that counts executed instructions exactly, for cores without a usable counter.
 *
 * Every instruction that starts counts as one: also one that an exception interrupts and that starts again
 * after it, as ENTRY does when an Xtensa register window has to be spilled. Each time the guest executes its
 * function nanou_mark, the number of instructions executed so far is appended to the file of the argument
 * "out", as eight bytes in the byte order of this machine.
 */
#include <stdio.h>

#include "qemu_plugin.h"

static FILE *marks;
static uint64_t executed_instructions;

static void count(unsigned int cpu, void *data) {
    (void)cpu;
    (void)data;
    executed_instructions++;
}

static void count_mark(unsigned int cpu, void *data) {
    fwrite(&executed_instructions, sizeof executed_instructions, 1, marks);
    count(cpu, data);
}

static void instrument(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        if (!is_uncounted(instruction)) {
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, is_mark(instruction) ? count_mark : count,
                                                   QEMU_PLUGIN_CB_NO_REGS, NULL);
        }
    }
}

static void finish(qemu_plugin_id_t id, void *data) {
    (void)id;
    (void)data;
    fclose(marks);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || (marks = fopen(argv[0] + 4, "wb")) == NULL) {
        fputs("count: argument out=FILE expected, and FILE must be writable\n", stderr);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, instrument);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
