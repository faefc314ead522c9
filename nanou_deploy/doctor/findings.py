"""Define a finding of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A tool, right or device that was looked for. `fix` is what to type when it is missing, empty when it is not.

    `optional` marks what some work needs and other work does not: training, another runtime, a real board.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    optional: bool = False
