"""Define what kernels in the ESP32-S3's vector instructions have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from codegen.program.kernel import Kernel

MAX_BRANCH_BYTES = 1900  # of 2048


@dataclass(frozen=True, kw_only=True)
class VectorKernel(Kernel):
    never_inlined = True
    is_assembly = True
    reads_any_pixels: ClassVar[bool] = False  # of int8, channels side by side, with padding and without

    @property
    @abstractmethod
    def row_instructions(self) -> int:
        """Estimate what one row takes, to choose a layout by; `bench` counts."""
