"""Decode the text of COCO's compressed run-length masks.

Each length is written as 5-bit groups, the lowest first, in characters from "0" (48) on; bit 5 says that more follow,
bit 4 of the last group is the sign. From the fourth length on it is the difference to the length two before
(cocoapi's maskApi).
"""

from __future__ import annotations

from nanou_train.errors import DataError

_MOST_GROUPS = 10


def decode_counts(text: str, where: str) -> list[int]:
    """Decode run lengths. Raises DataError where the text is none."""
    counts: list[int] = []
    value = groups = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or groups == _MOST_GROUPS:
            raise DataError(f"{where}: a compressed mask is damaged", hint="export the annotations again")
        value |= (code & 31) << 5 * groups
        groups += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << 5 * groups
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = groups = 0
    if groups:
        raise DataError(f"{where}: a compressed mask ends within a number", hint="export the annotations again")
    return counts


def encode_counts(counts: list[int]) -> str:
    """Write run lengths as COCO does."""
    text = []
    for index, count in enumerate(counts):
        value = count - (counts[index - 2] if index > 2 else 0)
        while True:
            group, value = value & 31, value >> 5
            done = value == (-1 if group & 16 else 0)
            text.append(chr(48 + (group if done else group | 32)))
            if done:
                break
    return "".join(text)
