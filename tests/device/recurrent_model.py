"""What the hand-written library in tests/device/recurrent_library must compute, in NumPy."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.library.golden import golden_frame
from nanou_deploy.resources import firmware_folder

INPUT_BYTES, OUTPUT_BYTES = 4, 13  # of two inputs and two outputs


def expected_sums(inputs: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
    """int8 (N, 4), consecutive inferences from the initial state -> its first output, int32 (N, 3)."""
    products = inputs[:, :1].astype(np.int32) * inputs[:, 1:]
    return (100 + np.cumsum(products, axis=0)).astype(np.int32)


def expected_outputs(inputs: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Both outputs, one behind the other: int8 (N, 13)."""
    sums = np.ascontiguousarray(expected_sums(inputs)).view(np.int8).reshape(len(inputs), -1)
    return np.concatenate([sums, inputs[:, :1]], axis=1)


def make_library(library: Path, sha256: str = "00" * 32) -> Path:
    """Write the library to `library`."""
    shutil.copytree(Path(__file__).with_name("recurrent_library"), library)
    shutil.copy(firmware_folder() / "include" / "nanou.h", library / "include")
    crc = zlib.crc32(expected_outputs(golden_frame(INPUT_BYTES)[None]).tobytes())
    for path, old, new in (
        (library / "include" / "recurrent.h", "00" * 32, sha256),
        (library / "src" / "recurrent.c", "0u /*GOLDEN*/", f"0x{crc:08X}u"),
    ):
        path.write_text(path.read_text().replace(old, new))
    return library
