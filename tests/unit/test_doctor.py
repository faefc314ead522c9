"""The doctor is quick, imports nothing big, and gives a line to type for whatever is missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from nanou_deploy import doctor, toolchain
from nanou_deploy.errors import ToolMissing


def test_it_is_quick_and_imports_no_tensorflow() -> None:
    program = (
        "import sys; from nanou_deploy.doctor import run_checks; checks = run_checks();"
        "assert not {'tensorflow', 'keras', 'labwired', 'tflite_micro'} & set(sys.modules); print(len(checks))"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 12
    assert time.monotonic() - start < 10  # 1.5 s alone; the limit is for a busy machine


def test_names_are_unique_and_every_failure_has_a_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    checks = {check.name: check for check in doctor.run_checks()}
    assert len(checks) == len(doctor.run_checks())
    for name in ("host compiler", "RV32 compiler", "QEMU", "labwired", "platformio", "Python packages", "tflite-micro"):
        assert not checks[name].ok
        assert "install" in checks[name].fix
        assert not checks[name].optional
    for name in ("tensorflow", "keras", "espressif32 6.13.0", "Cortex-M compiler", "QEMU for Cortex-M"):
        assert not checks[name].ok
        assert checks[name].fix
        assert checks[name].optional
    assert "clang-22" in checks["Xtensa compiler"].fix
    assert "qemu-system-misc" in checks["QEMU for Xtensa"].fix
    assert checks["Python"].ok
    assert checks["Python"].fix == ""


def test_the_hint_of_a_missing_tool_is_the_fix() -> None:
    def find() -> toolchain.Tool:
        raise ToolMissing("gone", hint="install it: `apt-get install gone`")

    assert doctor._tool("gone", find) == doctor.Check("gone", False, "gone", "`apt-get install gone`")


def _ports(monkeypatch: pytest.MonkeyPatch, ports: list[SimpleNamespace]) -> None:
    importlib.import_module("serial.tools.list_ports")
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)


def test_boards_are_listed_and_built_in_ports_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = tmp_path / "ttyUSB0"
    board.touch()
    _ports(monkeypatch, [SimpleNamespace(device=str(board), vid=0x303A), SimpleNamespace(device="ttyS0", vid=None)])
    check = doctor._serial_ports()
    assert (check.ok, check.detail) == (True, str(board))


def test_ports_without_permission_name_the_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = tmp_path / "ttyACM0"
    board.touch()
    _ports(monkeypatch, [SimpleNamespace(device=str(board), vid=0x303A)])
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    check = doctor._serial_ports()
    assert not check.ok
    assert f"usermod -aG {board.group()} $USER" in check.fix
