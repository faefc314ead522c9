"""Define what kernels in the ESP32-S3's vector instructions have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from codegen.program.kernel import Kernel


@dataclass(frozen=True, kw_only=True)
class VectorKernel(Kernel):
    never_inlined = True
    is_assembly = True

    @property
    @abstractmethod
    def row_instructions(self) -> int:
        """Estimate what one row takes, to choose a layout by; `bench` counts."""
