"""PADV2, int8: PAD with a value of its own to fill with. Reference: .../reference/pad.h (PadImpl)."""

from __future__ import annotations

from codegen.operators.pad import MOVES_BYTES, VARIABLE_INPUTS, evaluate, lower, read_options, verify

__all__ = ["MOVES_BYTES", "VARIABLE_INPUTS", "evaluate", "lower", "read_options", "verify"]

REQUIRED_INPUTS = 3
