"""Pool windows of pixels whose channels fill whole vectors: the rounded mean, or the maximum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from codegen.arithmetic.clamped_sum import find_clamped_sum
from codegen.graph.graph import IntArray
from codegen.kernels.esp32s3.digits import START_VALUE
from codegen.kernels.esp32s3.scalar_digits import TABLE_BYTES, ScalarDigits, build_scalar_digits, line_of, overflows
from codegen.kernels.esp32s3.vector_kernel import MAX_BRANCH_BYTES, VectorKernel
from codegen.kernels.pooling import Pooling, rounded_mean
from codegen.kernels.window import RowWindow
from codegen.program.kernel import LANES, Accesses, Built, Present, Table, parameters_of, vectors_of
from codegen.program.target import Target

_MAX_STEP = 2047  # of an immediate, in units of 16 bytes
_MAX_HEIGHT = 255  # of an immediate


@dataclass(frozen=True, kw_only=True)
class PoolPixels(VectorKernel):
    """`pitch`: bytes from one pixel to the next. `digits`: of means."""

    window: RowWindow
    channels: int
    pitch: int
    digits: ScalarDigits | None

    @property
    def row_instructions(self) -> int:
        return self.window.out_width * self.groups * self.pixel_instructions + 10 * self.groups

    @property
    def pixel_instructions(self) -> int:
        """For 16 channels."""
        once = 2 * self.taps + 2 * self.window.kernel_height
        if self.digits is None:
            return once + 4
        return self.digits.count * (once + 1) + sum(self.digits.starts) + 5

    @property
    def requires(self) -> tuple[str, ...]:
        return ("vector_code", "scalar_sum") if self.digits else ("vector_code",)

    @property
    def taps(self) -> int:
        return self.window.kernel_height * self.window.kernel_width

    @property
    def groups(self) -> int:
        """Of 16 channels."""
        return vectors_of(self.channels)

    @property
    def stride_bytes(self) -> int:
        return self.window.stride_width * self.pitch

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        row = (self.window.last_column + 1) * self.pitch
        return Accesses(
            (row,) * self.window.kernel_height,
            self.window.out_width * self.pitch,
            required=tuple(range(self.window.kernel_height)),
            tables={"digits": TABLE_BYTES} if self.digits else {},
        )

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        """Compute the mean of every sum both ways."""
        if self.digits is None:
            return ()
        sums, expected = _every(self.taps)
        wrong = int((line_of(self.digits, tables["digits"]).apply([sums]) != expected).sum())
        found = (f"{wrong} of {expected.size} means differ from TFLite's",) if wrong else ()
        return (*found, *overflows(self.digits, tables["digits"]))


def applies(layer: Pooling, target: Target) -> bool:
    """Whether every window lies inside the image, of pixels that fill vectors."""
    storage = layer.storage
    lies = storage.bias == 0 and not storage.is_blocked and storage.pixel_bytes(layer.channels) % LANES == 0
    if not target.vector_blocks or not lies or layer.window.overhangs or layer.is_clamped:
        return False
    if layer.statistic == "mean" and _digits(layer.taps) is None:
        return False
    kernel = _kernel(layer)
    reaches = 4 * kernel.pixel_instructions <= MAX_BRANCH_BYTES
    return reaches and kernel.window.kernel_height <= _MAX_HEIGHT and kernel.stride_bytes // LANES <= _MAX_STEP


def build(layer: Pooling, target: Target) -> Built:
    made = _digits(layer.taps) if layer.statistic == "mean" else None
    return Built(_kernel(layer), (made[1],) if made else ())


def _kernel(layer: Pooling) -> PoolPixels:
    made = _digits(layer.taps) if layer.statistic == "mean" else None
    return PoolPixels(
        inputs=(layer.storage,),
        output=layer.storage,
        shape_name=f"{layer.statistic}_{layer.name}",
        tables=parameters_of((made[1],) if made else ()),
        window=layer.window.row,
        channels=layer.channels,
        pitch=layer.storage.pixel_bytes(layer.channels),
        digits=made[0] if made else None,
    )


@lru_cache(maxsize=16)
def _digits(taps: int) -> tuple[ScalarDigits, Table] | None:
    sums, expected = _every(taps)
    line = find_clamped_sum(expected, (sums,), (1 / taps,), -START_VALUE)
    return build_scalar_digits(line, taps) if line else None


def _every(taps: int) -> tuple[IntArray, IntArray]:
    """Return all sums of a window, and their means."""
    sums = np.arange(-128 * taps, 127 * taps + 1)
    return sums, rounded_mean(sums, np.array(taps))
