"""Format C: numbers in columns, lists of arguments wrapped to the width of a line."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codegen.library.escaping import Rendered

LINE_COLUMNS = 110


def number_lines(values: npt.NDArray[np.integer], per_line: int) -> Sequence[str]:
    """Align numbers in columns, `per_line` of them on a line; words that hold two numbers in hexadecimal."""
    numbers = [f"{v:#010x}u" if values.dtype == np.uint32 else str(int(v)) for v in values]
    width = max(map(len, numbers))
    padded = [number.rjust(width) for number in numbers]
    return [", ".join(padded[i : i + per_line]) for i in range(0, len(padded), per_line)]


def c_type(dtype: str) -> str:
    """Name the C type of a tensor's elements."""
    return {"float32": "float", "bool": "uint8_t"}.get(dtype, f"{dtype}_t")


def float_literal(value: float) -> str:
    """Write a float32 so that a compiler reads the same bits: 0.0234375f."""
    text = f"{np.float32(value):.9g}"
    return f"{text if '.' in text or 'e' in text else text + '.0'}f"


def wrap_items(items: Sequence[str], indent: str) -> Rendered:
    """Wrap items, separated by commas, into lines of at most LINE_COLUMNS, never broken inside an item."""
    whole = ", ".join(item.replace(" ", "\0") for item in items)
    lines = textwrap.wrap(whole, LINE_COLUMNS - len(indent), break_long_words=False, break_on_hyphens=False)
    return Rendered("\n".join(indent + line for line in lines).replace("\0", " "))


def wrap_call(name: str, arguments: Sequence[str], indent: str = "") -> Rendered:
    """Wrap `name(arguments)` under the opening bracket as clang-format would; no indent on the first line."""
    lead = f"{indent}{name}("
    return Rendered(name + "(" + wrap_items(arguments, " " * len(lead)).lstrip() + ")")


def listed(numbers: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))
