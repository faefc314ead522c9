"""Read section sizes and symbols of ELF files with pyelftools, and write the simplest executables."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from nanou_deploy.errors import DeployError

_ET_EXEC, _PT_LOAD, _PF_ALL = 2, 1, 7


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
    """A symbol of an ELF file: its place in the target's memory."""

    address: int
    size_bytes: int


@dataclass(frozen=True)
class Function:
    """Machine code of a function, from `address` on, and where in the file it is."""

    address: int
    offset_bytes: int
    code: bytes


def read_sections(path: Path) -> tuple[Section, ...]:
    """Read the allocated sections of an ELF object or executable. Raises DeployError if it is not one."""
    with _opened(path) as file:
        return tuple(
            Section(
                name=section.name,
                size_bytes=section["sh_size"],
                is_code=bool(section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR),
                is_writable=bool(section["sh_flags"] & SH_FLAGS.SHF_WRITE),
                in_file=section["sh_type"] != "SHT_NOBITS",
            )
            for section in file.iter_sections()
            if section["sh_flags"] & SH_FLAGS.SHF_ALLOC and section["sh_size"]
        )


def find_symbol(path: Path, name: str) -> Symbol | None:
    """Find the first symbol called `name`, None where there is none. Raises DeployError if `path` is no ELF file."""
    with _opened(path) as file:
        tables = (table for table in file.iter_sections() if isinstance(table, SymbolTableSection))
        found = (symbol for table in tables for symbol in table.get_symbol_by_name(name) or ())
        return next((Symbol(one["st_value"], one["st_size"]) for one in found), None)


def read_functions(path: Path, part: str) -> tuple[Function, ...]:
    """Read the functions whose names contain `part`. Raises DeployError if `path` is no ELF file."""
    with _opened(path) as file:
        tables = (table for table in file.iter_sections() if isinstance(table, SymbolTableSection))
        symbols = [symbol for table in tables for symbol in table.iter_symbols() if part in symbol.name]
        found = []
        for symbol in symbols:
            if symbol["st_info"]["type"] == "STT_FUNC" and isinstance(symbol["st_shndx"], int):
                section = file.get_section(symbol["st_shndx"])
                start = symbol["st_value"] - section["sh_addr"]
                code = section.data()[start : start + symbol["st_size"]]
                found.append(Function(symbol["st_value"], section["sh_offset"] + start, code))
        return tuple(found)


def assemble_elf(machine: int, entry: int, segments: Sequence[tuple[int, bytes]]) -> bytes:
    """Write a 32-bit executable of nothing but `segments`, address and bytes; `machine` as ELF numbers processors."""
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
def _opened(path: Path) -> Iterator[ELFFile]:
    with path.open("rb") as stream:
        try:
            yield ELFFile(stream)
        except (ELFError, UnicodeDecodeError) as error:
            raise DeployError(f"{path.name} is no ELF file: {error}", hint="build it again") from error


def code_bytes(sections: Iterable[Section]) -> int:
    """Sum the bytes of machine code."""
    return sum(s.size_bytes for s in sections if s.is_code)


def table_bytes(sections: Iterable[Section]) -> int:
    """Sum the bytes of constants. Unwind tables (.eh_frame) are no part of the program and are left out."""
    return sum(
        s.size_bytes
        for s in sections
        if s.in_file and not s.is_code and (not s.is_writable or ".rel.ro" in s.name) and s.name != ".eh_frame"
    )


def flash_bytes(sections: Iterable[Section]) -> int:
    """Sum the bytes that the image takes up in flash: everything with contents."""
    return sum(s.size_bytes for s in sections if s.in_file)


def ram_bytes(sections: Iterable[Section]) -> int:
    """Sum the bytes of static RAM: everything writable."""
    return sum(s.size_bytes for s in sections if s.is_writable)
