"""Describe a pooling layer, to choose its kernel by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from codegen.graph.graph import IntArray
from codegen.kernels.window import Window
from codegen.program.kernel import Layout, Storage


@dataclass(frozen=True)
class Pooling:
    """The maximum or rounded mean of a window of each channel; results are clamped to `low` .. `high`, as stored."""

    window: Window
    channels: int
    low: int
    high: int
    storage: Storage  # of input and output
    statistic: Literal["maximum", "mean"]

    @property
    def taps(self) -> int:
        return self.window.kernel_height * self.window.kernel_width

    @property
    def layout(self) -> Layout:
        return self.storage.layout

    @property
    def name(self) -> str:
        return f"{self.window.in_width}x{self.channels}{self.window.row.name}"

    @property
    def is_clamped(self) -> bool:
        return (self.low, self.high) != (self.storage.low, self.storage.high)


def rounded_mean(sums: IntArray, counts: IntArray) -> IntArray:
    """Divide sums by counts to the nearest integer, halves away from zero, as C divides sums with half a count."""
    mean: IntArray = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return mean
