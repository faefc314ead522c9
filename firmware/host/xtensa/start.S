/* start.S - vectors and entry of a bare-metal Xtensa image, windowed ABI. The loader has placed .data; .bss is
 * cleared here. Xtensa Instruction Set Architecture Reference Manual: 4.4 exceptions, 4.7.1 register windows,
 * 8.1 the windowed ABI. Offsets from VECBASE are those of the ESP32, ESP32-S3 and QEMU's de233_fpu.
 */
    .section .text.start, "ax"
    .globl _start
    .p2align 10
vectors:

/* Compiled code calls by CALL8 only, so that frames are 8 registers apart and other window exceptions mean a
 * crash: they find zeros here, which are an illegal instruction. */
    .org 0x80
window_overflow:                /* the registers of the oldest frame, a0 to a7 here, go to the stack, */
    s32e a0, a9, -16            /* four below the stack pointer of the frame it called, which is a9, */
    s32e a1, a9, -12
    s32e a2, a9, -8
    s32e a3, a9, -4
    l32e a0, a1, -12            /* four to the top of its own, just below its caller's stack pointer less 16 */
    s32e a4, a0, -32
    s32e a5, a0, -28
    s32e a6, a0, -24
    s32e a7, a0, -20
    rfwo

    .org 0xC0
window_underflow:               /* the same way back, before a return to the frame */
    l32e a0, a9, -16
    l32e a1, a9, -12
    l32e a2, a9, -8
    l32e a3, a9, -4
    l32e a7, a1, -12
    l32e a4, a7, -32
    l32e a5, a7, -28
    l32e a6, a7, -24
    l32e a7, a7, -20
    rfwu

    .org 0x300                  /* exception in kernel mode, which is all there is */
#ifdef NANOU_EMULATE_MUL_HIGH
    .type nanou_uncounted_vector, @function
nanou_uncounted_vector:
    j nanou_uncounted_mul_high
    .size nanou_uncounted_vector, . - nanou_uncounted_vector
#else
    j trap_entry
#endif
    .org 0x3C0                  /* within an exception */
    j trap_entry

    .org 0x400
vectors_address:
    .long vectors
stack_top:
    .long __stack_top
bss_start:
    .long __bss_start
bss_end:
    .long __bss_end
main_address:
    .long main
exit_address:
    .long machine_exit
trap_address:
    .long machine_trap
processor_state:
    .long 0x4000F               /* window exceptions on, interrupts off */

_start:
    movi a2, 0
    wsr a2, windowbase
    rsync
    movi a2, 1
    wsr a2, windowstart
    l32r a2, vectors_address
    wsr a2, vecbase
    movi a2, 1
    wsr a2, cpenable            /* floating point is coprocessor 0: a model's border divides */
    l32r a2, bss_start
    l32r a3, bss_end
    movi a4, 0
1:  bgeu a2, a3, 2f
    s32i a4, a2, 0
    addi a2, a2, 4
    j 1b
2:  call0 first_frame
    movi a10, 0
    movi a11, 0
    l32r a8, main_address
    callx8 a8
    l32r a8, exit_address
    callx8 a8
3:  j 3b

/* Makes the caller the outermost frame: a stack with room for its registers, and a caller's stack pointer where the
 * overflow handler looks for one. */
    .p2align 2
first_frame:
    l32r a3, stack_top
    addi a1, a3, -64
    addi a2, a1, -16
    s32i a3, a2, 4
    l32r a2, processor_state
    wsr a2, ps
    rsync
    ret

/* Any exception ends the run: report cause, place and address, on a fresh stack, since the old one may be the
 * cause. */
    .globl trap_entry
    .p2align 2
trap_entry:
    rsr a10, exccause
    rsr a11, epc1
    rsr a12, excvaddr
    rsr a2, windowbase          /* this frame is the only one */
    ssl a2
    movi a3, 1
    sll a3, a3
    wsr a3, windowstart
    rsync
    call0 first_frame
    l32r a8, trap_address
    callx8 a8
4:  j 4b

/* Where QEMU starts; its linker script has a place for it. */
    .section .reset, "ax"
    j 5f
    .p2align 2
entry:
    .long _start
5:  l32r a2, entry
    jx a2

/* For measure.h. plugin/count.c notes the count whenever the instruction nanou_mark is executed; that symbol must cover
 * nothing else. */
    .section .text.mark_here, "ax"
    .globl mark_here
    .p2align 2
mark_here:
    entry a1, 32
    .type nanou_mark, @function
nanou_mark:
    nop
    .size nanou_mark, . - nanou_mark
    retw

/* simcall.c says what it is. */
    .section .text.simulator_call, "ax"
    .globl simulator_call
    .p2align 2
simulator_call:
    entry a1, 32
    .byte 0x00, 0x51, 0x00      /* SIMCALL, which LLVM's assembler does not know */
    retw
