"""Read section sizes and symbols of ELF files, and write the simplest ones, without binutils for each target.

Format: "Tool Interface Standard (TIS) Executable and Linking Format (ELF) Specification", version 1.2, and the
64-bit layout of the System V ABI. Little-endian files only, as all our targets are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nanou_deploy.errors import DeployError

_ET_EXEC, _PT_LOAD, _PF_ALL = 2, 1, 7
_SHT_SYMTAB, _SHT_NOBITS = 2, 8
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 1, 2, 4
# Per class (1 = 32 bit, 2 = 64 bit): offset and format of e_shoff; offset of e_shentsize, e_shnum, e_shstrndx;
# format of a section header: name, type, flags, address, offset, size, link; format of a symbol, and where its name,
# address and size are in it.
_LAYOUT = {
    1: ("<I", 32, 46, "<7I", "<IIIBBH", (0, 1, 2)),
    2: ("<Q", 40, 58, "<IIQQQQI", "<IBBHQQ", (0, 4, 5)),
}


@dataclass(frozen=True)
class Section:
    """One section that takes up memory on the target."""

    name: str
    size_bytes: int
    is_code: bool
    is_writable: bool
    in_file: bool  # False for .bss


@dataclass(frozen=True)
class Symbol:
    """Where something lies in the target's memory."""

    address: int
    size_bytes: int


def read_sections(path: Path) -> tuple[Section, ...]:
    """The allocated sections of an ELF object or executable. Raises DeployError if it is not one."""
    with _parsing(path) as data:
        headers, names = _section_headers(data)
        return tuple(
            Section(
                name=_text(data, names + name),
                size_bytes=size,
                is_code=bool(flags & _SHF_EXECINSTR),
                is_writable=bool(flags & _SHF_WRITE),
                in_file=kind != _SHT_NOBITS,
            )
            for name, kind, flags, _, _, size, _ in headers
            if flags & _SHF_ALLOC and size
        )


def find_symbol(path: Path, name: str) -> Symbol | None:
    """The first symbol called `name`, None where there is none. Raises DeployError if `path` is no ELF file."""
    with _parsing(path) as data:
        headers, _ = _section_headers(data)
        _, _, _, _, symbol_format, (name_at, address_at, size_at) = _LAYOUT[data[4]]
        for _, kind, _, _, offset, size, link in headers:
            for symbol in (
                struct.iter_unpack(symbol_format, data[offset : offset + size]) if kind == _SHT_SYMTAB else ()
            ):
                if symbol[name_at] and _text(data, headers[link][4] + symbol[name_at]) == name:
                    return Symbol(symbol[address_at], symbol[size_at])
    return None


def assemble_elf(machine: int, entry: int, segments: Sequence[tuple[int, bytes]]) -> bytes:
    """A 32-bit executable of nothing but `segments`, address and bytes; `machine` as ELF numbers processors."""
    header_bytes, entry_bytes = 52, 32
    offset = header_bytes + entry_bytes * len(segments)
    headers, contents = b"", b""
    for address, data in segments:
        place = offset + len(contents)
        headers += struct.pack("<8I", _PT_LOAD, place, address, address, len(data), len(data), _PF_ALL, 4)
        contents += data + bytes(-len(data) % 4)
    identity = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    sizes = (header_bytes, entry_bytes, len(segments), 40, 0, 0)
    head = struct.pack("<2H5I6H", _ET_EXEC, machine, 1, entry, header_bytes, 0, 0, *sizes)
    return identity + head + headers + contents


@contextmanager
def _parsing(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    if data[:4] != b"\x7fELF" or len(data) < 52 or data[4] not in _LAYOUT or data[5] != 1:
        raise DeployError(f"{path.name} is not a little-endian ELF file", hint="use a compiler that writes ELF")
    try:
        yield data
    except (struct.error, IndexError, ValueError) as error:
        raise DeployError(f"{path.name} is a damaged ELF file: {error}", hint="build it again") from error


def _section_headers(data: bytes) -> tuple[list[tuple[int, ...]], int]:
    """All of them, and where their names are."""
    offset_format, offset_at, counts_at, header_format, _, _ = _LAYOUT[data[4]]
    (table,) = struct.unpack_from(offset_format, data, offset_at)
    entry_bytes, count, names_index = struct.unpack_from("<3H", data, counts_at)
    headers = [struct.unpack_from(header_format, data, table + i * entry_bytes) for i in range(count)]
    return headers, headers[names_index][4]


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def code_bytes(sections: Iterable[Section]) -> int:
    """Machine code."""
    return sum(s.size_bytes for s in sections if s.is_code)


def table_bytes(sections: Iterable[Section]) -> int:
    """Constants. Unwind tables (.eh_frame) are no part of the program and are left out."""
    return sum(
        s.size_bytes
        for s in sections
        if s.in_file and not s.is_code and (not s.is_writable or ".rel.ro" in s.name) and s.name != ".eh_frame"
    )


def flash_bytes(sections: Iterable[Section]) -> int:
    """What the image takes up in flash: everything with contents."""
    return sum(s.size_bytes for s in sections if s.in_file)


def ram_bytes(sections: Iterable[Section]) -> int:
    """Static RAM: everything writable."""
    return sum(s.size_bytes for s in sections if s.is_writable)
