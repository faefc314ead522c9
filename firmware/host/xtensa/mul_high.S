/* mul_high.S - MULSH and MULUH for a core that lacks them, so that QEMU runs the ESP32's code unchanged.
 *
 * QEMU has no core with the 32-bit multiply-high option. There the two instructions are illegal; this handler does
 * what they do and returns behind them. plugin/count.c leaves out what it executes, so that the instruction counts as
 * the one that it is. Encoding: Xtensa Instruction Set Architecture Reference Manual, chapter 6, MULSH, MULUH.
 *
 * With NANOU_EMULATE_PIE other illegal instructions go to pie_trap.c, which knows the ESP32-S3's vector instructions.
 * Those write no address register that they do not read, so that none of them can belong to another frame.
 */
#ifdef NANOU_EMULATE_MUL_HIGH
#define WINDOWS 8   /* of four registers, in QEMU's de233_fpu */

    .section .text.nanou_uncounted_mul_high, "ax"
    .p2align 2
registers_address:
    .long registers
trap_entry_address:
    .long trap_entry
touch_address:
    .long touch
#ifdef NANOU_EMULATE_PIE
pie_stack_address:
    .long pie_stack_top
#endif

    .globl nanou_uncounted_mul_high
    .type nanou_uncounted_mul_high, @function
nanou_uncounted_mul_high:
    wsr a0, excsave1
    l32r a0, registers_address
    s32i a1, a0, 4
    s32i a2, a0, 8
    s32i a3, a0, 12
    s32i a4, a0, 16
    s32i a5, a0, 20
    s32i a6, a0, 24
    s32i a7, a0, 28
    s32i a8, a0, 32
    s32i a9, a0, 36
    s32i a10, a0, 40
    s32i a11, a0, 44
    s32i a12, a0, 48
    s32i a13, a0, 52
    s32i a14, a0, 56
    s32i a15, a0, 60
    rsr a1, excsave1
    s32i a1, a0, 0
    rsr a1, sar
    s32i a1, a0, 64

    rsr a1, exccause
    bnez a1, not_ours           /* not an illegal instruction */
    rsr a1, epc1
    l32r a2, touch_address
    sub a2, a1, a2
    movi a3, 128
    bgeu a2, a3, 1f
    l32i a1, a0, 68             /* it came from `touch`: now the register is there */
1:  l8ui a2, a1, 0              /* t, 0 */
    l8ui a3, a1, 1              /* r, s */
    l8ui a4, a1, 2              /* 0xB2 MULSH, 0xA2 MULUH */
    extui a5, a2, 0, 4
    bnez a5, not_ours
    movi a5, 0xB2
    beq a4, a5, 2f
    movi a5, 0xA2
    beq a4, a5, 2f
not_ours:
#ifdef NANOU_EMULATE_PIE
    rsr a1, exccause
    bnez a1, unknown
    or a2, a0, a0
    l32r a1, pie_stack_address
    rsr a3, epc1
    call0 nanou_uncounted_pie   /* (registers, instruction): its length in a2 */
    l32r a0, registers_address
    beqz a2, unknown
    rsr a1, epc1
    add a1, a1, a2
    j behind
unknown:
#endif
    l32r a0, trap_entry_address
    jx a0

2:  extui a6, a3, 4, 4          /* r: may its register still hold another frame's? */
    srli a7, a6, 2
    movi a8, 2
    ssl a7
    sll a8, a8
    addi a8, a8, -2             /* bits 1 to r / 4 */
    rsr a9, windowstart
    slli a10, a9, WINDOWS
    or a9, a9, a10
    rsr a10, windowbase
    ssr a10
    srl a9, a9
    bnone a9, a8, 3f
    s32i a1, a0, 68             /* then touch it, which spills that frame, and come back */
    l32r a2, touch_address
    slli a6, a6, 3
    add a2, a2, a6
    wsr a2, epc1
    j restore

3:  extui a2, a2, 4, 4
    addx4 a2, a2, a0
    l32i a2, a2, 0              /* right operand */
    extui a3, a3, 0, 4
    addx4 a3, a3, a0
    l32i a3, a3, 0              /* left operand */
    extui a7, a2, 0, 16
    extui a8, a2, 16, 16
    extui a9, a3, 0, 16
    extui a10, a3, 16, 16
    mull a11, a7, a9            /* low * low */
    extui a11, a11, 16, 16
    mull a12, a7, a10           /* the two middle products */
    extui a13, a12, 0, 16
    add a11, a11, a13
    extui a12, a12, 16, 16
    mull a13, a8, a9
    extui a14, a13, 0, 16
    add a11, a11, a14
    extui a13, a13, 16, 16
    mull a14, a8, a10           /* high * high */
    extui a11, a11, 16, 16
    add a14, a14, a11
    add a14, a14, a12
    add a14, a14, a13
    movi a5, 0xA2
    beq a4, a5, 5f
    bgez a2, 4f                 /* signed: a negative operand counted 2^32 too much */
    sub a14, a14, a3
4:  bgez a3, 5f
    sub a14, a14, a2
5:  addx4 a6, a6, a0
    s32i a14, a6, 0

    addi a1, a1, 3
behind:                         /* the instruction, or back at the start of a zero-overhead loop */
    rsr a2, lend
    bne a1, a2, 6f
    rsr a2, lcount
    beqz a2, 6f
    addi a2, a2, -1
    wsr a2, lcount
    rsr a1, lbeg
6:  wsr a1, epc1

restore:
    l32i a1, a0, 64
    wsr a1, sar
    l32i a1, a0, 4
    l32i a2, a0, 8
    l32i a3, a0, 12
    l32i a4, a0, 16
    l32i a5, a0, 20
    l32i a6, a0, 24
    l32i a7, a0, 28
    l32i a8, a0, 32
    l32i a9, a0, 36
    l32i a10, a0, 40
    l32i a11, a0, 44
    l32i a12, a0, 48
    l32i a13, a0, 52
    l32i a14, a0, 56
    l32i a15, a0, 60
    l32i a0, a0, 0
    rfe

/* Eight bytes for each register: use it, then come back here by three bytes of zeros, an illegal instruction. */
    .p2align 3
touch:
    .irp register, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15
    or \register, \register, \register
    .byte 0, 0, 0, 0, 0
    .endr
    .size nanou_uncounted_mul_high, . - nanou_uncounted_mul_high

/* a0 to a15, SAR, and the place of an instruction whose register is being touched. */
    .section .bss.registers, "aw", @nobits
    .p2align 2
registers:
    .skip 72

#ifdef NANOU_EMULATE_PIE
    .p2align 4
    .skip 512
pie_stack_top:
#endif
#endif
