/* start.S - entry of a bare-metal RV32 image. The loader has placed .data; .bss is cleared here. */
    .section .text.start, "ax"
    .globl _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, __stack_top
    la t0, trap_entry
    .option push
    .option arch, +zicsr
    csrw mtvec, t0
    .option pop
    la t0, __bss_start
    la t1, __bss_end
1:  bgeu t0, t1, 2f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 1b
2:  li a0, 0
    li a1, 0
    call main
    call machine_exit
3:  j 3b

/* Any exception ends the run: report where it happened, on a fresh stack, since the old one may be the cause. */
    .balign 4
trap_entry:
    la sp, __stack_top
    .option push
    .option arch, +zicsr
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    .option pop
    call machine_trap
4:  j 4b

/* For measure.h. The plugins note where they are whenever the instruction nanou_mark is executed; that symbol must cover
 * nothing else. */
    .section .text.mark_here, "ax"
    .globl mark_here
    .type mark_here, @function
mark_here:
    nop
    .size mark_here, . - mark_here
    .type nanou_mark, @function
nanou_mark:
    ret
    .size nanou_mark, . - nanou_mark
