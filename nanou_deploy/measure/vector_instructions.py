"""Name the ESP32-S3's vector instructions in a program, which no disassembler here knows.

They are found in the functions of kernels for it, by their bits: ESP32-S3 Technical Reference Manual, chapter 1. The
lengths of Xtensa instructions follow from the first four bits; of the 4-byte ones LLVM does not know even that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nanou_deploy.build.elf import Function, read_functions

_KERNELS = "_esp32s3_"  # in the names of their functions
_FORMS = (  # mask, fixed bits, name
    (0xFF8F000F, 0x00830004, "ee.vld.128.ip"),
    (0xFFCF700F, 0x008D2004, "ee.vld.128.xp"),
    (0xFF8F000F, 0x00810004, "ee.ld.128.usar.ip"),
    (0xFF8F000F, 0x008A0004, "ee.vst.128.ip"),
    (0xFFCF700F, 0x008D7004, "ee.vst.128.xp"),
    (0xFFCF7F0F, 0x00CD3B04, "ee.vldbc.8"),
    (0xFFFFFFFF, 0x00250844, "ee.zero.qacc"),
    (0xFFCF20EF, 0x008E0044, "ee.vsmulas.s8.qacc"),
    (0xFC600F0E, 0xE0200C0E, "ee.vsmulas.s8.qacc.ld.incp"),
    (0xFFFFA0FF, 0x001A20C4, "ee.vmulas.s8.qacc"),
    (0xF077000E, 0xF003000E, "ee.vmulas.s8.qacc.ld.ip"),
    (0xFFCF7B0F, 0x00CD7A04, "ee.srcmb.s8.qacc"),
    (0xFFCF0F8F, 0x00CC0304, "ee.src.q"),
    (0xFFCF20FF, 0x008E2044, "ee.vmax.s8"),
    (0xFFCF20FF, 0x008E2074, "ee.vmin.s8"),
    (0xFFCF0FFF, 0x00CC03D4, "ee.vzip.8"),
    (0xFFCF0FFF, 0x00CC03A4, "ee.vunzip.8"),
    (0xFFFFFF0F, 0x00F30D00, "wur.sar_byte"),
)
_NOPS = {3: bytes([0xF0, 0x20, 0x00]), 4: bytes([0x3D, 0xF0, 0x3D, 0xF0])}


def without_vectors(program: Path, copy: Path) -> Mapping[int, str]:
    """Write a copy of a program that does nothing where it had vector instructions, and give those by address."""
    data, names = bytearray(program.read_bytes()), {}
    for function in read_functions(program, _KERNELS):
        for position, size_bytes, name in _walk(function):
            names[function.address + position] = name
            start = function.offset_bytes + position
            data[start : start + size_bytes] = _NOPS[size_bytes]
    copy.write_bytes(data)
    return names


def _walk(function: Function) -> Iterator[tuple[int, int, str]]:
    position = 0
    while position < len(function.code):
        first = function.code[position] & 15
        size_bytes = 4 if first >= 14 else 2 if first >= 8 else 3
        word = int.from_bytes(function.code[position : position + size_bytes], "little")
        name = next((name for mask, match, name in _FORMS if word & mask == match), None)
        if name is not None:
            yield position, size_bytes, name
        position += size_bytes
