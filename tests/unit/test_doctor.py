"""The doctor is quick, imports nothing big, and gives a line to type for whatever is missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build import toolchain
from nanou_deploy.doctor import devices as doctor_devices
from nanou_deploy.doctor import doctor
from nanou_deploy.errors import ToolMissing
from nanou_deploy.flash.upload import mock_board


def test_it_is_quick_and_imports_no_tensorflow() -> None:
    program = (
        "import sys; from nanou_deploy.doctor.doctor import run_checks; checks = run_checks();"
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


def _port(path: Path, vid: int | None) -> SimpleNamespace:
    return SimpleNamespace(device=str(path), vid=vid, description="")


def test_boards_are_listed_and_built_in_ports_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = tmp_path / "ttyUSB0"
    board.touch()
    _ports(monkeypatch, [_port(board, 0x303A), _port(Path("ttyS0"), None)])
    check = doctor_devices.check_ports()
    assert (check.ok, check.detail) == (True, f"{board} (Espressif USB)")


def test_ports_without_permission_name_the_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = tmp_path / "ttyACM0"
    board.touch()
    _ports(monkeypatch, [_port(board, 0x303A)])
    monkeypatch.setattr("nanou_deploy.device.ports.os.access", lambda path, mode: False)
    monkeypatch.setattr(Path, "group", lambda self: "dialout")
    check = doctor_devices.check_ports()
    assert not check.ok
    assert "usermod -aG dialout $USER" in check.fix


def test_who_is_not_in_the_group_is_told_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_devices.os, "geteuid", lambda: 1000)
    groups = {"audio": 29, "dialout": 20}
    outside = doctor_devices.check_rights(groups, frozenset({29}))
    assert (outside.ok, outside.fix) == (False, "sudo usermod -aG dialout $USER, then log in again")
    assert doctor_devices.check_rights(groups, frozenset({20})).ok
    assert not doctor_devices.check_rights({"uucp": 14}, frozenset({29})).ok
    assert doctor_devices.check_rights({}, frozenset()).ok


def test_brltty_is_found_where_it_takes_bridges_away(tmp_path: Path) -> None:
    rule = tmp_path / "85-brltty.rules"
    rule.write_text('# ENV{PRODUCT}=="1a86/7523/*"\n')
    assert doctor_devices.check_udev_rules((str(tmp_path),)).ok  # as a comment only
    rule.write_text('ENV{PRODUCT}=="1a86/7523/*", ENV{BRLTTY_BRAILLE_DRIVER}="bm"\n')
    found = doctor_devices.check_udev_rules((str(tmp_path),))
    assert not found.ok
    assert "remove brltty" in found.fix


def test_drivers_that_a_kernel_lacks_are_named(tmp_path: Path) -> None:
    assert doctor_devices.check_drivers(tmp_path).detail.startswith("not known")
    names = ("cdc_acm", "cp210x", "ch341", "ftdi_sio", "pl2303")
    (tmp_path / "modules.dep").write_text("".join(f"kernel/drivers/usb/{n}.ko.xz:\n" for n in names if n != "ch341"))
    lacking = doctor_devices.check_drivers(tmp_path)
    assert (lacking.ok, lacking.detail) == (False, "this kernel lacks ch341 (WCH CH34x)")
    (tmp_path / "modules.builtin").write_text("kernel/drivers/usb/serial/ch341.ko\n")
    assert doctor_devices.check_drivers(tmp_path).ok


def test_a_chip_is_asked_what_it_is(require_module: Callable[[str], None]) -> None:
    require_module("esp32_mock_bootloader")
    with mock_board("esp32c3") as port:
        (chip,) = doctor_devices.ask_chip(port)
    assert (chip.ok, chip.detail) == (True, "esp32c3; boards: esp32c3")
    with mock_board("esp32s3") as port:
        checks = doctor_devices.ask_chip(port)
    eye = next(check for check in checks if check.name == "PSRAM for esp32s3-eye")
    assert (eye.ok, eye.detail) == (False, "0 MiB inside the chip, 8 expected")
    assert eye.fix
    features = "Wi-Fi, BT 5 (LE), Embedded PSRAM 8MB (AP_3v3)"
    assert doctor_devices._psram_of(find_board("esp32s3-eye"), features).ok
    (absent,) = doctor_devices.ask_chip("/dev/no-such-port")
    assert not absent.ok


def test_scons_is_found_or_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    monkeypatch.setattr(doctor_devices.metadata, "version", lambda name: "4.0.0")
    wrong = doctor_devices.check_scons()
    assert not wrong.ok
    assert "pip install scons==" in wrong.fix
    package = tmp_path / "packages" / "tool-scons" / "package.json"
    package.parent.mkdir(parents=True)
    package.touch()
    assert doctor_devices.check_scons().ok
