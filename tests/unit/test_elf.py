"""Sections and symbols are those that the compiler made, for 32 and 64 bit; what is no ELF file is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nanou_deploy.build import elf
from nanou_deploy.errors import DeployError

SOURCE = """
const signed char table[1000] = {1};
int counter = 7;
int buffer[300];
int next(void) { return ++counter; }
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang", "riscv64-unknown-elf-gcc"])
def test_sections_of_an_object(compiler: str, require_tool: Callable[..., str], tmp_path: Path) -> None:
    flags = ["-march=rv32imc", "-mabi=ilp32"] if compiler.startswith("riscv") else ["-fno-pic"]
    (tmp_path / "a.c").write_text(SOURCE)
    command = [require_tool(compiler), "-O2", "-fno-common", *flags, "-c", "a.c", "-o", "a.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    sections = elf.read_sections(tmp_path / "a.o")
    assert elf.table_bytes(sections) == 1000
    assert elf.ram_bytes(sections) == 300 * 4 + 4
    assert 4 <= elf.code_bytes(sections) <= 64
    assert elf.flash_bytes(sections) >= elf.code_bytes(sections) + 1000 + 4
    table, buffer = (elf.find_symbol(tmp_path / "a.o", name) for name in ("table", "buffer"))
    assert table is not None
    assert buffer is not None
    assert (table.size_bytes, buffer.size_bytes) == (1000, 1200)
    assert elf.find_symbol(tmp_path / "a.o", "absent") is None


def test_symbols_have_the_addresses_that_the_linker_gave(require_tool: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(SOURCE)
    command = [require_tool("riscv64-unknown-elf-gcc"), "-march=rv32imc", "-mabi=ilp32", "-nostdlib"]
    subprocess.run([*command, "-Wl,-Tdata=0x81234000", "-Wl,-e,next", "a.c", "-o", "a.elf"], cwd=tmp_path, check=True)
    assert elf.find_symbol(tmp_path / "a.elf", "counter") == elf.Symbol(0x81234000, 4)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" + bytes(100), b"\x7fELF\x01\x01\x01" + bytes(2)])
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DeployError, match="x is no ELF file"):
        elf.read_sections(tmp_path / "x")


def test_files_that_are_cut_off_are_refused(require_tool: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(SOURCE)
    subprocess.run([require_tool("gcc"), "-c", "a.c", "-o", "a.o"], cwd=tmp_path, check=True)
    whole = (tmp_path / "a.o").read_bytes()
    for size_bytes in range(0, len(whole), 97):
        (tmp_path / "x").write_bytes(whole[:size_bytes])
        with pytest.raises(DeployError, match="x is no ELF file"):
            elf.find_symbol(tmp_path / "x", "table")
