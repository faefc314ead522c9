"""SUB, int8, of any two scales. Reference: .../reference/sub.h (SubElementwise, BroadcastQuantSubSlow)."""

from __future__ import annotations

import tflite

from codegen.kernels.fused_activation import activation_options
from codegen.operators.add import by_sum

OPERATOR = by_sum(activation_options(tflite.SubOptions), sign=-1)
