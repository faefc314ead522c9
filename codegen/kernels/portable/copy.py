"""Copy a row, for RESHAPE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table


@dataclass(frozen=True, kw_only=True)
class Copy(Kernel):
    size: int  # bytes of a row

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        return Accesses((self.size,), self.size, required=(0,))


def build(size: int, storage: Storage) -> Built:
    return Built(Copy(inputs=(storage,), output=storage, shape_name=f"{size}", size=size))
