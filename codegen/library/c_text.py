"""Text of C: numbers in columns, lists of arguments wrapped to the width of a line."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LINE_COLUMNS = 110


def number_lines(values: npt.NDArray[np.integer], per_line: int) -> Sequence[str]:
    """Numbers right-aligned in columns, `per_line` of them on a line; words that hold two numbers in hexadecimal."""
    numbers = [f"{v:#010x}u" if values.dtype == np.uint32 else str(int(v)) for v in values]
    width = max(map(len, numbers))
    padded = [number.rjust(width) for number in numbers]
    return [", ".join(padded[i : i + per_line]) for i in range(0, len(padded), per_line)]


def wrap_items(items: Sequence[str], indent: str) -> str:
    """Items separated by commas over lines of at most LINE_COLUMNS, never broken inside an item."""
    whole = ", ".join(item.replace(" ", "\0") for item in items)
    lines = textwrap.wrap(whole, LINE_COLUMNS - len(indent), break_long_words=False, break_on_hyphens=False)
    return "\n".join(indent + line for line in lines).replace("\0", " ")


def wrap_call(name: str, arguments: Sequence[str], indent: str = "") -> str:
    """`name(arguments)`, wrapped under the opening bracket as clang-format would; no indent on the first line."""
    lead = f"{indent}{name}("
    return name + "(" + wrap_items(arguments, " " * len(lead)).lstrip() + ")"


def listed(numbers: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(numbers[:-1]), numbers[-1])))


def c_string(text: str) -> str:
    """A C string literal of the text's UTF-8; what could end it, or a comment, and all but plain ASCII as octal."""
    plain = (chr(code) if 32 <= code < 127 and chr(code) not in '"\\?*/' else f"\\{code:03o}" for code in text.encode())
    return '"' + "".join(plain) + '"'
