"""PADV2, int8: PAD with a value of its own to fill with. Reference: .../reference/pad.h (PadImpl)."""

from __future__ import annotations

from dataclasses import replace

from codegen.operators import pad

OPERATOR = replace(pad.OPERATOR, required_inputs=3)
