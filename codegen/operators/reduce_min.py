"""REDUCE_MIN, int8, over any axes: bytes of the input. Reference: EvalMinHelper in TFLM's kernels/reduce_common.cc."""

from __future__ import annotations

from codegen.operators.reduce_max import by_extremum

OPERATOR = by_extremum("smallest")
