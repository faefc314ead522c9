/* start.S - vectors and entry of a bare-metal Cortex-M image. The loader has placed .data; .bss is cleared here.
 * Instructions are those that a Cortex-M0+ has too. */
    .syntax unified
    .thumb

    .section .text.start, "ax"
    .globl _start
vectors: /* Armv7-M Architecture Reference Manual, B1.5.3: stack pointer, reset, then the exceptions */
    .word __stack_top
    .word _start
    .rept 14
    .word fault_entry
    .endr

    .thumb_func
    .type _start, %function
_start:
    ldr r0, =__stack_top
    mov sp, r0
    ldr r0, =__bss_start
    ldr r1, =__bss_end
    movs r2, #0
1:  cmp r0, r1
    bhs 2f
    str r2, [r0]
    adds r0, r0, #4
    b 1b
2:  movs r0, #0
    movs r1, #0
    bl main
    bl machine_exit
3:  b 3b

/* Any exception ends the run: report cause, place and address, on a fresh stack, since the old one may be the
 * cause. The faulting address counts only if the status says that it is valid. */
    .thumb_func
    .type fault_entry, %function
fault_entry:
    ldr r3, =0xE000ED28     /* CFSR; MMFAR and BFAR lie 12 and 16 bytes further */
    ldr r0, [r3]
    movs r1, #0
    ldr r4, =0x1000         /* STKERR: the frame could not be pushed, so there is no pc to be had */
    tst r0, r4
    bne 4f
    ldr r1, [sp, #24]       /* pc, as the exception pushed it */
4:  movs r2, #0
    movs r4, #0x80          /* MMARVALID */
    tst r0, r4
    beq 5f
    ldr r2, [r3, #12]
5:  ldr r4, =0x8000         /* BFARVALID */
    tst r0, r4
    beq 6f
    ldr r2, [r3, #16]
6:  ldr r3, =__stack_top
    mov sp, r3
    bl machine_trap
7:  b 7b
    .pool

/* For measure.h. plugin/count.c notes the count whenever the instruction nanou_mark is executed; that symbol must cover
 * nothing else. */
    .section .text.mark_here, "ax"
    .globl mark_here
    .thumb_func
    .type mark_here, %function
mark_here:
    nop
    .size mark_here, . - mark_here
    .type nanou_mark, %function
nanou_mark:
    bx lr
    .size nanou_mark, . - nanou_mark
