"""What the hand-written library in tests/unit/invert_library must compute, in NumPy."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.library.golden import golden_frame
from nanou_deploy.resources import firmware_folder

Int8Array = npt.NDArray[np.int8]

INPUT_BYTES, OUTPUT_BYTES = 60, 20


def golden_input() -> Int8Array:
    """The frame that nanou_golden_input makes: int8 (60,)."""
    return golden_frame(INPUT_BYTES)


def inverted(inputs: Int8Array) -> Int8Array:
    """Operator 0: int8 (N, 60) -> int8 (N, 60)."""
    return (-1 - inputs.astype(np.int32)).astype(np.int8)


def expected_outputs(inputs: Int8Array) -> Int8Array:
    """Operator 1: int8 (N, 60) -> int8 (N, 20). C division truncates towards zero."""
    sums = inverted(inputs).astype(np.int32).reshape(-1, OUTPUT_BYTES, 3) @ np.array([1, 2, 4])
    return np.trunc(sums / 8).astype(np.int8)


def make_library(
    library: Path, fault: str = "", *, late_fault: str = "", golden_crc32: int | None = None, sha256: str = "00" * 32
) -> Path:
    """Write the library to `library`; `fault` is C code in the middle of `invoke`, `late_fault` at its end."""
    shutil.rmtree(library, ignore_errors=True)
    shutil.copytree(Path(__file__).parent / "invert_library", library)
    shutil.copy(firmware_folder() / "include" / "nanou.h", library / "include")
    source = library / "src" / "invert.c"
    source.write_text(source.read_text().replace("/*FAULT*/", fault).replace("/*LATE FAULT*/", late_fault))
    header = library / "include" / "invert.h"
    crc = zlib.crc32(expected_outputs(golden_input()[None]).tobytes()) if golden_crc32 is None else golden_crc32
    header.write_text(header.read_text().replace("0u /*GOLDEN*/", f"0x{crc:08X}u").replace("00" * 32, sha256))
    golden = library / "src" / "invert_golden.c"
    for number, layer in enumerate((inverted, expected_outputs)):
        value = zlib.crc32(layer(golden_input()[None]).tobytes())
        golden.write_text(golden.read_text().replace(f"0u /*LAYER {number}*/", f"0x{value:08X}u"))
    return library
