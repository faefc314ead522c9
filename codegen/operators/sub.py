"""SUB, int8, of any two scales. Reference: .../reference/sub.h (SubElementwise, BroadcastQuantSubSlow)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tflite

from codegen.kernels.fused_activation import read_activation
from codegen.operators.add import by_sum


def read_options(table: Any) -> Mapping[str, str]:
    options = tflite.SubOptions()
    options.Init(table.Bytes, table.Pos)
    return {"activation": read_activation(options.FusedActivationFunction())}


OPERATOR = by_sum(read_options, sign=-1)
