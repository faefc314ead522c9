"""Encode vector instructions from the facts in encodings.txt, independently of the macros of the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"imm16": 16}  # of an immediate, in bytes


@dataclass(frozen=True)
class Form:
    """An instruction: its fixed bits, and the bits of each operand in the order of assembly text, highest first."""

    name: str
    size_bytes: int
    match: int
    operands: Mapping[str, tuple[int, ...]]

    def encode(self, *values: int) -> bytes:
        word = self.match
        for (name, places), value in zip(self.operands.items(), values, strict=True):
            scaled = value // _UNITS.get(name, 1)
            for bit, place in enumerate(reversed(places)):
                word |= (scaled >> bit & 1) << place
        return word.to_bytes(self.size_bytes, "little")


def _form(line: str) -> Form:
    name, size, match, *operands = line.split()
    places = (operand.split(":") for operand in operands)
    fields = {key: tuple(map(int, bits.split(","))) for key, bits in places}
    return Form(name, int(size.split("=")[1]), int(match.split("=")[1], 16), fields)


def read_forms() -> dict[str, Form]:
    lines = Path(__file__).with_name("encodings.txt").read_text().splitlines()
    return {form.name: form for form in (_form(line) for line in lines if not line.startswith("#"))}
