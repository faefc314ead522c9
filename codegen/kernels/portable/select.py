"""Take each value from one row or from another, as a row of conditions says; all are stored alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table


@dataclass(frozen=True, kw_only=True)
class Select(Kernel):
    size: int  # bytes of a row

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        return Accesses((self.size,) * 3, self.size, required=(0, 1, 2))


def build(size: int, inputs: int, stored: Storage) -> Built:
    kernel = Select(inputs=(stored,) * inputs, output=stored, shape_name=f"{size}", size=size)
    return Built(kernel)
