"""The PlatformIO environments that need no registry: built, started and tested in a copy of this checkout, offline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from codegen.library.render_tflm import tflm_dependencies
from nanou_deploy.boards.boards import BOARDS
from nanou_deploy.boards.versions import load_versions
from nanou_deploy.build import toolchain
from nanou_deploy.build.firmware_project import DEFAULT_ENVIRONMENTS, LOCAL_ENVIRONMENTS
from nanou_deploy.flash import upload

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("codegen", "firmware", "models", "nanou_deploy", "templates")
FAILING_TEST = '#include "check.h"\nint main(void) { CHECK(1 + 1 == 2); CHECK(1 + 1 == 3); return check_result(); }\n'
CRASHING_TEST = '#include "check.h"\nint main(void) { CHECK(1 + 1 == 2); __builtin_trap(); }\n'


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is needed of a fresh clone, in a folder whose name has a space."""
    clone = tmp_path_factory.mktemp("pio") / "my clone"
    for name in FOLDERS:
        shutil.copytree(REPOSITORY / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "platformio.ini", clone)
    return clone


@pytest.fixture
def pio(
    checkout: Path, require_module: Callable[[str], None], require_tool: Callable[..., str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """PlatformIO with an empty folder of its own at first, and a network on which nothing answers."""
    require_module("SCons")
    require_tool("gcc", "clang")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        nowhere = "http://127.0.0.1:9"
        settings = {
            "PLATFORMIO_CORE_DIR": str(checkout.parent / "core"),
            "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
            "PYTHONPYCACHEPREFIX": str(checkout.parent / "compiled"),  # not in the clone, as in none that is fresh
        }
        return subprocess.run(
            [sys.executable, "-m", "platformio", *arguments, "-d", str(checkout)],
            env={**os.environ, **settings, **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run


def test_a_fresh_clone_builds_and_starts(checkout: Path, pio: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = pio("run", "-e", "host", "-t", "upload")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Golden input: computed as verified" in done.stdout
    assert (checkout / ".pio/build/host/nanou_model/nanou-manifest.json").is_file()
    assert (checkout.parent / "core/packages/tool-scons/SCons/__init__.py").is_file()
    again = pio("run", "-e", "host")
    assert "Compiling" not in again.stdout, again.stdout
    assert "Generating" not in again.stdout


def test_a_changed_header_is_compiled_again(
    checkout: Path, pio: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    assert pio("run", "-e", "host").returncode == 0
    with (checkout / "firmware/app/vision/packed_mask.h").open("a") as header:
        header.write("/* changed */\n")
    compiled = pio("run", "-e", "host").stdout
    assert "harness/vision.o" in compiled
    assert "harness/protocol.o" not in compiled


@pytest.mark.slow
def test_simulated_chips_are_flashed_and_started(
    pio: Callable[..., subprocess.CompletedProcess[str]],
    require_module: Callable[[str], None],
    require_tool: Callable[..., str],
) -> None:
    for module in ("labwired", "esptool", "esp32_mock_bootloader"):
        require_module(module)
    require_tool("riscv64-unknown-elf-gcc")
    done = pio("run", "-e", "esp32c3-sim", "-t", "upload")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hash verified" in done.stdout
    assert "Golden input: computed as verified" in done.stdout


def _suites() -> set[str]:
    return {path.name for path in (REPOSITORY / "firmware/test").iterdir() if path.name.startswith("test_")} - {
        "test_custom_runner.py"
    }


@pytest.mark.parametrize(
    ("board", "suites"),
    [
        ("host", _suites()),
        ("rv32-qemu", {"test_library", "test_protocol"}),
        pytest.param("rv32-qemu", _suites(), marks=pytest.mark.soak),
    ],
    ids=["host", "rv32-qemu", "rv32-qemu, all"],
)
def test_modules_pass_on_both_processors(
    board: str,
    suites: set[str],
    pio: Callable[..., subprocess.CompletedProcess[str]],
    require_tool: Callable[..., str],
) -> None:
    if board == "rv32-qemu":
        require_tool("riscv64-unknown-elf-gcc")
        require_tool("qemu-system-riscv32")
    done = pio("test", "-e", board, *(part for suite in sorted(suites) for part in ("-f", suite)))
    assert done.returncode == 0, done.stdout
    passed = {" ".join(line.split()[:2]) for line in done.stdout.splitlines() if " PASSED " in line}
    assert passed >= {f"{board} {suite}" for suite in suites}


@pytest.mark.parametrize(
    ("program", "message"), [(FAILING_TEST, "1 + 1 == 3"), (CRASHING_TEST, "it ended before its last case")]
)
def test_failures_are_reported(
    program: str, message: str, checkout: Path, pio: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder = checkout / "firmware/test/test_wrong"
    folder.mkdir(exist_ok=True)
    (folder / "main.c").write_text(program)
    done = pio("test", "-e", "host", "-f", "test_wrong", "--junit-output-path", str(checkout / "junit.xml"))
    shutil.rmtree(folder)
    assert done.returncode != 0
    assert "1 failed, 1 succeeded" in done.stderr
    assert message in done.stdout + (checkout / "junit.xml").read_text()


def test_a_missing_compiler_is_named(pio: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = pio("run", "-e", "host", CC="no-such-compiler")
    assert done.returncode != 0
    assert "no C compiler 'no-such-compiler'" in done.stdout + done.stderr


def test_scons_of_another_version_is_not_taken(checkout: Path, tmp_path: Path) -> None:
    """The real platform class, where PlatformIO's Python has another SCons than PlatformIO wants."""
    (tmp_path / "SCons").mkdir()
    (tmp_path / "SCons" / "__init__.py").write_text('__version__ = "3.0.1"\n')
    program = (
        "from platformio.platform.factory import PlatformFactory\n"
        f"platform = PlatformFactory.new({str(checkout / 'firmware/platform')!r})\n"
        "platform.configure_default_packages({}, [])\n"
    )
    environment = {"PYTHONPATH": str(tmp_path), "PLATFORMIO_CORE_DIR": str(tmp_path / "core")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "found: 4.30001.0" in done.stderr
    assert "scons==4.11.1" in done.stderr
    assert not (tmp_path / "core" / "packages" / "tool-scons").exists()


# ---- Versions and boards ---------------------------------------------------------------------------------------


def test_versions_agree_everywhere() -> None:
    versions = load_versions()
    pinned = dict(
        line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line
    )
    assert pinned["platformio"] == versions.platformio["core"]
    assert pinned["scons"] == versions.platformio["scons"]
    assert {name: pinned[name] for name in versions.python} == versions.python
    assert toolchain.LABWIRED_HINT.endswith(f"labwired=={versions.python['labwired']}`")
    assert upload.MOCK_HINT.endswith(f"esp32-mock-bootloader=={versions.python['esp32-mock-bootloader']}`")
    tflm = tflm_dependencies()
    assert tflm["espressif/esp-nn"] == versions.components["espressif/esp-nn"]
    assert tflm["espressif/esp-tflite-micro"].startswith(f">={versions.components['espressif/esp-tflite-micro']},")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    emulate = project["optional-dependencies"]["emulate"]
    assert {f"{name}=={versions.python[name]}" for name in ("labwired", "esp32-mock-bootloader")} <= set(emulate)


def test_every_version_that_is_installed_has_its_hash() -> None:
    """`scripts/lock` was run after constraints.txt and pyproject.toml changed. Set-up leaves ONNX and OpenCV out."""

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    text = "".join((REPOSITORY / f"{name}.lock").read_text() for name in ("requirements", "installer", "ziglang"))
    entries = re.findall(r"^([\w.-]+)==([^ ;\\]+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert all("--hash=sha256:" in rest for *_, rest in entries)
    locked = {plain(name): version for name, version, _ in entries}
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    stated = {plain(name): version for name, version in (line.split("==") for line in lines if "==" in line)}
    assert stated == {name: locked.get(name) for name in stated}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    others = ("onnx", "video")
    extras = [one for name, extra in project["optional-dependencies"].items() if name not in others for one in extra]
    named = {plain(re.match(r"[\w.-]+", one)[0]) for one in (*project["dependencies"], *extras)}  # type: ignore[index]
    assert named <= locked.keys()


def test_local_boards_are_those_of_nanou_deploy() -> None:
    folder = REPOSITORY / "firmware/platform/boards"
    assert {path.stem for path in folder.glob("*.json")} == set(LOCAL_ENVIRONMENTS)
    assert set(DEFAULT_ENVIRONMENTS) <= set(LOCAL_ENVIRONMENTS) <= set(BOARDS)
    for name in LOCAL_ENVIRONMENTS:
        stated = json.loads((folder / f"{name}.json").read_text())
        assert stated["upload"]["maximum_ram_size"] == (BOARDS[name].ram_bytes or 0)
