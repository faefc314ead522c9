"""Say in words why a harness did not come to its good end, from its exit code and console text."""

from __future__ import annotations

import re

_FAULT = re.compile(r"^fault: (.*)$", re.MULTILINE)  # simulate.py
_TRAP = re.compile(r"^trap cause ([0-9a-f]{8}) pc ([0-9a-f]{8}) address ([0-9a-f]{8})$", re.MULTILINE)
_RISCV_CAUSES = {  # RISC-V privileged specification, table "mcause"
    0: "instruction address misaligned",
    1: "instruction access fault",
    2: "illegal instruction",
    3: "breakpoint",
    4: "load address misaligned",
    5: "load access fault",
    6: "store address misaligned",
    7: "store access fault",
}
_XTENSA_CAUSES = {  # Xtensa Instruction Set Architecture Reference Manual, table 4-64
    0: "illegal instruction",
    2: "instruction access fault",
    3: "access fault",
    6: "division by zero",
    9: "misaligned access",
    12: "bus error at an instruction",
    13: "bus error",
    14: "jump to an address where nothing is",
    15: "access to an address where nothing is",
    20: "instruction access fault",
    24: "access to unmapped memory",
    28: "load access fault",
    29: "store access fault",
}
_ARM_CAUSE_BITS = {  # Armv7-M Architecture Reference Manual, B3.2.15, bits of CFSR
    0: "instruction access fault",
    1: "data access fault",
    8: "instruction access fault",
    9: "data access fault",
    10: "late data access fault",
    12: "stack access fault",
    16: "undefined instruction",
    17: "jump out of Thumb code",
    18: "invalid return from an exception",
    19: "coprocessor or FPU is off",
    24: "unaligned access",
    25: "division by zero",
}


def diagnose(code: int, console: str, isa: str) -> str:
    """Say in words what went wrong, from exit code and console text."""
    fault = _FAULT.search(console)
    if fault:
        return f"crashed: {fault[1]}\n{tail(console)}"
    trap = _TRAP.search(console)
    if trap:
        cause, pc, address = (int(group, 16) for group in trap.groups())
        name = _name_cause(isa, cause)
        return f"crashed: {name} at pc {pc:#010x}, address {address:#010x}\n{tail(console)}"
    ending = f"was killed by signal {-code}" if code < 0 else f"failed with code {code}"
    return f"{ending}\n{tail(console)}"


def _name_cause(isa: str, cause: int) -> str:
    if isa.startswith("arm"):
        names = [name for bit, name in _ARM_CAUSE_BITS.items() if cause >> bit & 1]
        return names[0] if names else "exception"
    if isa.startswith("xtensa"):
        return _XTENSA_CAUSES.get(cause, f"exception {cause}")
    return _RISCV_CAUSES.get(cause, f"exception {cause}")


def tail(console: str) -> str:
    """Choose the lines of console text that a person would read: what a sanitizer found, else the last ones."""
    lines = [line for line in console.splitlines() if line.strip() and not line.startswith("#")]
    for number, line in enumerate(lines):
        if "ERROR: AddressSanitizer" in line:
            return "\n".join(lines[number : number + 12])
    return "\n".join(lines[-12:])
