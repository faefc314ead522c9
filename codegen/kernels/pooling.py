"""Describe a pooling layer, to choose its kernel by."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.kernels.window import Window
from codegen.program.kernel import Layout, Storage


@dataclass(frozen=True)
class Pooling:
    """A window over each channel; results are clamped to `low` .. `high`, as stored."""

    window: Window
    channels: int
    low: int
    high: int
    storage: Storage  # of input and output

    @property
    def layout(self) -> Layout:
        return self.storage.layout

    @property
    def name(self) -> str:
        return f"{self.window.in_width}x{self.channels}{self.window.row.name}"

    @property
    def is_clamped(self) -> bool:
        return (self.low, self.high) != (self.storage.low, self.storage.high)
