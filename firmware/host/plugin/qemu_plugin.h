/* qemu_plugin.h - what our plugins need of QEMU's plugin interface, and the program's symbols that they know.
 *
 * Distributions do not package qemu-plugin.h, so the few declarations needed are here, after "QEMU TCG
 * Plugins" in QEMU's developer documentation. They are the same in all versions of the interface;
 * PLUGIN_VERSION says which one is claimed, since QEMU 9 refuses the first and older ones refuse the second.
 */
#ifndef NANOU_QEMU_PLUGIN_H
#define NANOU_QEMU_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_insn;
struct qemu_plugin_tb;
enum { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum { QEMU_PLUGIN_MEM_RW = 3 }; /* QEMU 7.2 takes reads for writes, so ask for both */

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *instruction);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*translated)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction,
                                            void (*executed)(unsigned int, void *), int flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *instruction,
                                      void (*accessed)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *),
                                      int flags, int direction, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*at_exit)(qemu_plugin_id_t, void *),
                                    void *data);
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

#define EXPORT __attribute__((visibility("default")))
EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_version = PLUGIN_VERSION;

/* The instruction that ends one interval and is the first of the next: nanou_mark in start.S. */
static inline int is_mark(const struct qemu_plugin_insn *instruction) {
    const char *symbol = qemu_plugin_insn_symbol(instruction);
    return symbol != NULL && strcmp(symbol, "nanou_mark") == 0;
}

/* Code that stands in for an instruction which this core lacks; the instruction itself is counted. */
static inline int is_uncounted(const struct qemu_plugin_insn *instruction) {
    const char *symbol = qemu_plugin_insn_symbol(instruction);
    return symbol != NULL && strncmp(symbol, "nanou_uncounted", 15) == 0;
}

#endif
