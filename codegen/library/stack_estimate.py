"""Estimate the stack of one inference, for the header; what a compiler makes of it is measured in nanou_deploy.

Known are the arrays that `run` and its layers keep on the stack. What the frames of the functions that are active at
once take beside them (saved registers, spilled values) depends on the compiler. `frames_bytes` is somewhat more than
compilers took at -O2 for the models of tests/golden/test_stack.py: gcc 12, for Xtensa LLVM 22.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.program.program import Program


@dataclass(frozen=True)
class StackEstimate:
    """Estimates the stack of nanou_invoke on one processor, without row callbacks and interrupts."""

    processor: str
    condition: str  # of the C preprocessor
    size_bytes: int


@dataclass(frozen=True)
class _Processor:
    name: str
    condition: str
    pointer_bytes: int
    frames_bytes: int


_PROCESSORS = (
    _Processor("RISC-V, 32 bits", "defined(__riscv) && __riscv_xlen == 32", 4, 480),
    _Processor("Armv6-M", "defined(__ARM_ARCH_6M__)", 4, 512),
    _Processor("Arm, 32 bits", "defined(__arm__)", 4, 432),
    _Processor("Xtensa, windowed", "defined(__XTENSA__)", 4, 560),
    _Processor("x86-64", "defined(__x86_64__)", 8, 720),
)
_ALIGNMENT_BYTES = 16


def estimate_stack(program: Program) -> tuple[StackEstimate, ...]:
    """Estimate for each processor that was measured; nothing is stated for others."""
    next_row_bytes = 2 * (len(program.stages) + 1)
    pointers = max(len(stage.reads) for stage in program.stages)
    return tuple(
        StackEstimate(p.name, p.condition, _aligned(next_row_bytes + pointers * p.pointer_bytes + p.frames_bytes))
        for p in _PROCESSORS
    )


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
