"""Requantize sums that are complete, each channel with its own multiplier and shift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.kernels.epilogue import Epilogue, Requantizer
from codegen.program.kernel import SUMS, Accesses, Built, Kernel, Present, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class RequantizedSums(Kernel):
    channels: int
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        numbers = self.channels * len(self.epilogue.columns)
        return Accesses((self.channels * SUMS.value_bytes,), self.channels, required=(0,), tables={"channels": numbers})


def build(requantizer: Requantizer) -> Built:
    """`requantizer`: of two roundings, whose start values the sums have in them."""
    count, epilogue = len(requantizer.start), requantizer.epilogue
    numbers = np.array(list(requantizer.columns.values())).T.reshape(-1)
    table = Table("channels", numbers.astype(np.int32), len(epilogue.columns), channels=requantizer.channels)
    kernel = RequantizedSums(
        inputs=(SUMS,),
        output=epilogue.output,
        tables=parameters_of((table,)),
        shape_name=f"{count}",
        channels=count,
        epilogue=epilogue,
    )
    return Built(kernel, (table,))
