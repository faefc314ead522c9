"""Bound the cycles of the ESP32-S3's vector kernels from below: what documented hazards add to their instructions.

    python -m tests.pie.hazards models/nano_u_offroad.tflite

A result that is loaded, multiplied or shifted out of QACC is ready one instruction later: whatever uses it at once
waits for a cycle. A taken branch takes two; a hardware loop takes none. Products follow one another without waiting,
since QACC is forwarded. Nothing is known here of caches, flash, and memory that both cores use: this is no prediction.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from codegen.compile import Compilation
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.program.target import ESP32S3
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_harness
from nanou_deploy.build.elf import find_symbol
from nanou_deploy.measure.profile import count_executed
from tests.exactness import compile_bytes, frames_for

_FUNCTION = re.compile(r"^(\w+_esp32s3_\w+):\n(.*?)^    \.size", re.MULTILINE | re.DOTALL)
_INSTRUCTION = re.compile(r"^(?:(\d):)? *(?:([A-Za-z]\w*)\b *\(?([^/()\n]*)\)?)?", re.MULTILINE)
_FOUR_BYTES = {"EE_VSMULAS_S8_QACC_LD_INCP", "EE_VMULAS_S8_QACC_LD_IP"}
_BRANCHES = {"bnez", "beqz", "j"}


@dataclass(frozen=True)
class Instruction:
    offset: int  # in its function, bytes
    name: str
    operands: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        return 4 if self.name in _FOUR_BYTES else 3

    @property
    def late(self) -> frozenset[str]:
        """Registers whose new value the next instruction waits for."""
        if self.name.startswith("EE_") and "MULAS" in self.name:
            loaded = self.operands[:1] if "_LD_" in self.name else ()
            return frozenset((*loaded, "QACC"))
        is_late = self.name in {"l8ui", "l32i", "EE_SRCMB_S8_QACC"} or re.match(r"EE_V?LD", self.name)
        return frozenset(self.operands[:1] if is_late else ())

    @property
    def reads(self) -> frozenset[str]:
        if self.name == "EE_SRCMB_S8_QACC":
            return frozenset((*self.operands[1:], "QACC"))
        stores = self.name.startswith("EE_VST") or self.name in {"s32i", *_BRANCHES}
        in_place = self.name in {"EE_VZIP_8", "EE_VUNZIP_8", "EE_VSMULAS_S8_QACC", "EE_VMULAS_S8_QACC", "WUR_SAR_BYTE"}
        return frozenset(self.operands if stores or in_place else self.operands[1:])


def functions_of(assembly: str) -> Mapping[str, tuple[Instruction, ...]]:
    """Read the instructions of each kernel off the text."""
    return {name: tuple(_instructions(body)) for name, body in _FUNCTION.findall(assembly)}


def _instructions(body: str) -> Iterator[Instruction]:
    offset = 0
    for line in body.splitlines():
        match = _INSTRUCTION.match(re.sub(r"/\*.*", "", line))
        if match and match[2]:
            operands = tuple(part.strip() for part in match[3].split(",") if part.strip())
            instruction = Instruction(offset, match[2], operands)
            offset += instruction.size_bytes
            yield instruction


def waits_of(code: tuple[Instruction, ...]) -> Iterator[tuple[Instruction, Instruction]]:
    """Find instructions that use what the one before them makes late."""
    for first, second in pairwise(code):
        if first.late & second.reads:
            yield first, second


@dataclass(frozen=True)
class Bound:
    """Of all calls of one kind of kernel in one inference."""

    instructions: int
    waits: int
    taken: int


def bounds_of(compiled: Compilation, folder: Path) -> Mapping[str, Bound]:
    """Count each instruction of one inference in QEMU, and add what it waits, by kind of kernel."""
    project = render_aot(compiled)
    write_project(project, folder / "library")
    build = build_harness(folder / "library", find_board("esp32s3-qemu"), folder / "work", profile=True)
    frame = frames_for(compiled, 3)[2:].reshape(1, -1)
    executed: Counter[int] = Counter()
    for address, _, count in count_executed(build, compiled.plan.schedule, frame.view("uint8")).tolist():
        executed[address] += count
    codes = functions_of(next(text for name, text in project.files.items() if name.endswith("_kernels.S")))
    found: dict[str, list[int]] = {}
    for name, code in codes.items():
        symbol = find_symbol(build.elf, name)
        assert symbol is not None
        assert symbol.size_bytes == code[-1].offset + code[-1].size_bytes, f"{name} is not what its text says"
        count = {i.offset: executed[symbol.address + i.offset] for i in code}
        waits = sum(min(count[a.offset], count[b.offset]) for a, b in waits_of(code))
        falls = pairwise(code)
        taken = sum(max(count[a.offset] - count[b.offset], 0) for a, b in falls if a.name in _BRANCHES)
        kind = re.sub(r"^.*?_(?=conv|depthwise|max|pool|scaled)|_esp32s3_.*", "", name)
        total = found.setdefault(kind, [0, 0, 0])
        found[kind] = [a + b for a, b in zip(total, (sum(count.values()), waits, taken), strict=True)]
    return {kind: Bound(*numbers) for kind, numbers in found.items()}


def main(path: str) -> None:
    with TemporaryDirectory(prefix="nanou-") as folder:
        bounds = bounds_of(compile_bytes(Path(path).read_bytes(), target=ESP32S3), Path(folder))
    print(f"{'kernel':32} {'instructions':>12} {'waits':>9} {'branches':>9} {'bound':>11}")
    for kind, bound in bounds.items():
        cycles = bound.instructions + bound.waits + bound.taken
        ratio = cycles / max(bound.instructions, 1)
        print(f"{kind:32} {bound.instructions:12,} {bound.waits:9,} {bound.taken:9,} {cycles:11,} {ratio:.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
