"""Tools are found by what runs, not by what is called so; what is missing comes with the line that installs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nanou_deploy.build import toolchain
from nanou_deploy.errors import EXIT_TOOL_MISSING, ToolMissing


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH with nothing in it, no ziglang, no $CC."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    return tmp_path


@pytest.mark.parametrize(
    ("find", "install"),
    [
        (toolchain.find_host_compiler, "apt-get install gcc"),
        (toolchain.find_rv32_compiler, "apt-get install gcc-riscv64-unknown-elf"),
        (toolchain.find_qemu_riscv32, "apt-get install qemu-system-misc"),
        (toolchain.find_arm_compiler, "apt-get install gcc-arm-none-eabi"),
        (toolchain.find_qemu_arm, "apt-get install qemu-system-arm"),
        (toolchain.find_xtensa_tools, "apt-get install clang-22 llvm-22 binutils-xtensa-lx106"),
        (toolchain.find_qemu_xtensa, "apt-get install qemu-system-misc"),
        (toolchain.find_labwired, "pip install labwired"),
        (toolchain.find_sanitizing_compiler, "apt-get install gcc"),
    ],
)
@pytest.mark.usefixtures("empty_path")
def test_missing_tools_say_how_to_get_them(find: Callable[[], object], install: str) -> None:
    with pytest.raises(ToolMissing) as error:
        find()
    assert install in error.value.hint
    assert error.value.exit_code == EXIT_TOOL_MISSING


def test_a_program_that_does_not_run_is_not_a_compiler(empty_path: Path) -> None:
    fake = empty_path / "gcc"
    fake.write_text("#!/bin/false\n")
    fake.chmod(0o755)
    with pytest.raises(ToolMissing):
        toolchain.find_host_compiler()


def test_cc_names_the_compiler(require_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = require_tool("gcc")
    monkeypatch.setenv("CC", "gcc -m64")
    tool = toolchain.find_host_compiler()
    assert tool.command == (path, "-m64")
    assert "gcc" in tool.version


def test_a_wrong_cc_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ToolMissing, match="no-such-compiler"):
        toolchain.find_host_compiler()


def test_sanitizer_probe_tells_a_working_compiler_from_none(require_tool: Callable[..., str]) -> None:
    assert toolchain.sanitizers_work((require_tool("gcc", "clang"),))
    assert not toolchain.sanitizers_work(("false",))
