"""EXPAND_DIMS: the same bytes with one more axis of size 1."""

from __future__ import annotations

from codegen.operators.movement import by_movement, reshaped

OPERATOR = by_movement(reshaped, required_inputs=2, constants=(1,))
