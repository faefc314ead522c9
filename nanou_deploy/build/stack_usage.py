"""Add up the stack frames that a compiler states of a generated library, along its only way of calls.

gcc and clang write each function's frame beside the object (-fstack-usage); LLVM's Xtensa backend does not, but there a
function's first instruction states it (`entry a1, BYTES`). Generated code has no recursion and no pointers to functions
but the row callbacks: `invoke` calls `run`, that a layer, that a kernel, that a helper.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from nanou_deploy.errors import DeployError

_ENTRIES = ("invoke", "invoke_rows", "reset", "tensor_data")
LIBRARY_BYTES = 32  # assumed of memcpy, memset and products of 64 bits on Armv6-M: leaves that save a few registers
_ENTRY = re.compile(r"^(\w+):(?:(?!^\w+:).)*?^\s+entry\s+a1, (\d+)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class StackUsage:
    """Bytes of the largest frame at each depth of calls; 0 where the compiler inlined all functions of one."""

    entry_bytes: int
    run_bytes: int
    layer_bytes: int
    kernel_bytes: int
    helper_bytes: int
    library_bytes: int = LIBRARY_BYTES

    @property
    def total_bytes(self) -> int:
        """Sum the most that a call of the library takes, row callbacks and interrupts not counted."""
        return sum(vars(self).values())


def read_stack_usage(model: Path, layers: Collection[str], kernels: Collection[str]) -> StackUsage | None:
    """Read the frames of a library's main object, `model` without its ending, with the C names of layers and kernels.

    None where the compiler stated nothing. Raises DeployError for a frame whose size is not constant.
    """
    frames = _frames(model)
    if not frames:
        return None
    depths = dict.fromkeys(StackUsage.__dataclass_fields__, 0)
    for function, frame_bytes in frames.items():
        depth = (
            "entry" if function in _ENTRIES
            else "run" if function == "run"
            else "layer" if function in layers
            else "kernel" if function in kernels
            else "helper"
        )  # fmt: skip
        depths[f"{depth}_bytes"] = max(depths[f"{depth}_bytes"], frame_bytes)
    return StackUsage(**{**depths, "library_bytes": LIBRARY_BYTES})


def _frames(stem: Path) -> Mapping[str, int]:
    """Sum bytes by function, a compiler's clones of it (run.part.0) included."""
    frames: dict[str, int] = {}
    for function, frame_bytes in _stated(stem.with_suffix(".su"), stem.with_suffix(".s")):
        name = function.partition(".")[0]
        frames[name] = frames.get(name, 0) + frame_bytes
    return frames


def _stated(usage: Path, assembly: Path) -> list[tuple[str, int]]:
    if assembly.is_file():
        return [(name, int(size)) for name, size in _ENTRY.findall(assembly.read_text())]
    lines = usage.read_text().splitlines() if usage.is_file() else []
    stated = []
    for place, size, kind in (line.split("\t") for line in lines):
        if kind != "static":
            raise DeployError(f"{place} has a frame of no constant size ({kind})", hint="report this model")
        stated.append((place.rsplit(":", 1)[1], int(size)))
    return stated
