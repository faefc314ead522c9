"""SUM, int8, over any axes. Reference: QuantizedMeanOrSum in tensorflow/lite/kernels/internal/reference/reduce.h."""

from __future__ import annotations

from codegen.operators.mean import by_reduction

OPERATOR = by_reduction(mean=False)
