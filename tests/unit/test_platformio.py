"""The PlatformIO project is complete and clean, and nothing waits on a registry when the platform is missing."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from codegen.library.render import RenderedProject, with_manifest
from nanou_deploy.boards.boards import BOARDS, Board, find_board
from nanou_deploy.build import platformio
from nanou_deploy.build.firmware_project import application_files, render_firmware_project, render_repository_project
from nanou_deploy.build.library import open_model, render_library
from nanou_deploy.build.platformio import PlatformMissing, build_project, lint_project
from nanou_deploy.errors import EXIT_NOT_LINKED, DeployError
from nanou_deploy.resources import firmware_folder
from tests.unit.invert_model import make_library

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).parent / "stand_in_platform"
HARDWARE = [board for board in BOARDS.values() if board.kind == "hardware"]
PLATFORMS = {
    "espressif32": "espressif32@6.13.0",
    "pioarduino": "https://github.com/pioarduino/platform-espressif32/releases/download/55.03.39/platform-espressif32.zip",
}


def _library(tmp_path: Path, *, arena_bytes: int = 192, runtime: str = "aot") -> RenderedProject:
    folder = make_library(tmp_path / "library")
    files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    header = files["include/invert.h"]
    files["include/invert.h"] = re.sub(r"(_ARENA_BYTES) +192", rf"\1 {arena_bytes}u", header)
    return with_manifest(files, {"runtime": runtime, "identifier": "invert"})


def _write(files: Mapping[str, str], folder: Path) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture(autouse=True)
def core_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PlatformIO folder of our own, empty."""
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    monkeypatch.delenv("PLATFORMIO_PLATFORMS_DIR", raising=False)
    monkeypatch.delenv("PLATFORMIO_PACKAGES_DIR", raising=False)
    return tmp_path / "core"


# ---- Rendering -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", HARDWARE, ids=lambda board: board.name)
def test_projects_are_complete_and_clean(board: Board, tmp_path: Path) -> None:
    library = _library(tmp_path)
    project = render_firmware_project(board, library)
    for path, text in library.files.items():
        assert project.files[f"components/nanou_model/{path}"] == text
    assert {*application_files(), "src/idf_component.yml", "src/Kconfig.projbuild"} <= project.files.keys()
    settings = project.files["platformio.ini"]
    assert f"board = {board.pio_board}\n" in settings
    assert f"platform = {PLATFORMS[board.platform]}\n" in settings
    assert f"boards/sdkconfig.defaults;boards/{board.name}.sdkconfig\n" in settings
    assert "boards/partitions.csv" in project.files
    assert ("boards/esp32-s3-eye.json" in project.files) == (board.name == "esp32s3-eye")
    defaults = project.files[f"boards/{board.name}.sdkconfig"]
    assert f"CONFIG_NANOU_BOARD_{board.name.upper().replace('-', '_')}=y" in defaults
    assert f"CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ_{board.cpu_mhz}=y" in defaults
    assert f"CONFIG_ESPTOOLPY_FLASHMODE_{board.flash_mode.upper()}=y" in defaults
    assert ("CONFIG_SPIRAM=y" in defaults) == (board.psram_bytes > 0)
    assert ("CONFIG_SPIRAM_MODE_OCT=y" in defaults) == (board.psram == "octal")
    lint = lint_project(_write(project.files, tmp_path / "project"))
    assert (lint.errors, lint.warnings) == ((), ())


def test_the_repository_is_the_same_project() -> None:
    for path, text in render_repository_project().items():
        assert (REPOSITORY / path).read_text() == text, f"{path} differs from its template: render it again"


def test_the_repository_is_clean() -> None:
    lint = lint_project(REPOSITORY)
    assert lint.clean, lint


def test_only_boards_are_flashed(tmp_path: Path) -> None:
    with pytest.raises(DeployError) as error:
        render_firmware_project(find_board("rv32-qemu"), _library(tmp_path))
    assert "esp32s3" in error.value.hint


def test_large_arenas_go_to_psram_where_there_is_some(tmp_path: Path) -> None:
    library = _library(tmp_path, arena_bytes=500_000)
    defaults = render_firmware_project(find_board("esp32s3"), library).files["boards/esp32s3.sdkconfig"]
    assert "CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY=y" in defaults
    assert "IGNORE_NOTFOUND" not in defaults  # Kconfig excludes one by the other
    with pytest.raises(DeployError, match="500000 bytes; esp32c3 has room for 229376 bytes"):
        render_firmware_project(find_board("esp32c3"), library)


def test_the_interpreter_is_fetched_only_when_it_is_used(tmp_path: Path) -> None:
    board = find_board("esp32s3")
    manifest = "components/nanou_model/idf_component.yml"
    assert manifest not in render_firmware_project(board, _library(tmp_path)).files
    interpreter = render_library(open_model(None), "tflm", board)
    text = render_firmware_project(board, interpreter).files[manifest]
    assert "espressif/esp-tflite-micro" in text


# ---- PlatformIO ------------------------------------------------------------------------------------------------


def test_lint_reports_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "platformio.ini").write_text("[env:a]\nplatform = native\nbogus_option = 1\n")
    assert "bogus_option" in lint_project(tmp_path).warnings[0]
    (tmp_path / "platformio.ini").write_text("no section\n")
    assert lint_project(tmp_path).errors


def test_lint_without_a_project(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="could not check"):
        lint_project(tmp_path)


def test_a_missing_platform_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformio.subprocess, "Popen", lambda *a, **k: pytest.fail("PlatformIO was started"))
    start = time.monotonic()
    with pytest.raises(PlatformMissing) as error:
        build_project(tmp_path, "esp32s3")
    assert time.monotonic() - start < 1
    assert error.value.exit_code == EXIT_NOT_LINKED
    assert "\n" not in str(error.value)
    assert "pio run" in error.value.hint


def _install(
    core: Path, version: str = "6.13.0", packages: tuple[str, ...] = ("tool-scons", "framework-espidf")
) -> None:
    shutil.copytree(STAND_IN, core / "platforms" / "espressif32")
    manifest = core / "platforms" / "espressif32" / "platform.json"
    manifest.write_text(manifest.read_text().replace("6.13.0", version))
    for name in packages:
        folder = core / "packages" / name
        folder.mkdir(parents=True)
        package_version = "4.41101.0" if name == "tool-scons" else "3.50503.0"
        text = json.dumps({"name": name, "version": package_version})
        (folder / "package.json").write_text(text)
        spec = {"owner": "platformio", "id": None, "name": name, "requirements": None, "uri": None}
        kind = name.partition("-")[0]
        piopm = {"type": kind, "name": name, "version": package_version, "spec": spec}
        (folder / ".piopm").write_text(json.dumps(piopm))
        if name == "tool-scons":
            (folder / "scons.py").write_text("import sys\nfrom SCons.Script.Main import main\nsys.exit(main())\n")


def test_only_the_pinned_platform_with_its_packages_counts(core_folder: Path) -> None:
    assert not platformio.platform_installed()
    _install(core_folder, packages=("tool-scons",))
    assert not platformio.platform_installed()  # without the framework `pio run` would fetch it
    shutil.rmtree(core_folder)
    _install(core_folder, version="6.9.0")
    assert not platformio.platform_installed()
    shutil.rmtree(core_folder)
    _install(core_folder)
    assert platformio.platform_installed()
    (core_folder / "platforms" / "espressif32" / "platform.json").write_text("{")
    assert not platformio.platform_installed()


@pytest.fixture
def stand_in(core_folder: Path, require_module: Callable[[str], None], require_tool: Callable[..., str]) -> None:
    require_module("SCons")
    require_tool("gcc")
    _install(core_folder)


@pytest.mark.usefixtures("stand_in")
def test_build_runs_platformio(tmp_path: Path) -> None:
    project = _write(render_firmware_project(find_board("esp32s3"), _library(tmp_path)).files, tmp_path / "project")
    build = build_project(project, "esp32s3", timeout_s=120)
    assert build.elf == project / ".pio" / "build" / "esp32s3" / "firmware.elf"
    assert (build.board, build.runtime) == ("esp32s3", "aot")
    assert 200 < build.code_bytes < 1500  # the library alone, without protocol.c
    assert build.table_bytes > 100


@pytest.mark.usefixtures("stand_in")
def test_build_failures_show_the_compiler(tmp_path: Path) -> None:
    project = _write(render_firmware_project(find_board("esp32s3"), _library(tmp_path)).files, tmp_path / "project")
    (project / "app" / "protocol.c").write_text("int broken = not_declared_anywhere;\n")
    with pytest.raises(DeployError, match="not_declared_anywhere"):
        build_project(project, "esp32s3", timeout_s=120)


@pytest.mark.usefixtures("stand_in")
def test_a_build_that_hangs_is_ended(tmp_path: Path, core_folder: Path) -> None:
    project = _write(render_firmware_project(find_board("esp32s3"), _library(tmp_path)).files, tmp_path / "project")
    (core_folder / "platforms" / "espressif32" / "builder" / "main.py").write_text("import time\ntime.sleep(600)\n")
    start = time.monotonic()
    with pytest.raises(DeployError, match="did not finish within 3 s"):
        build_project(project, "esp32s3", timeout_s=3)
    assert time.monotonic() - start < 30


# ---- The extra script that makes the model on demand -----------------------------------------------------------


def _run_script(project: Path, monkeypatch: pytest.MonkeyPatch, *, path: Path, model: str = "") -> None:
    folders = {"$PROJECT_DIR": str(project), "$BUILD_DIR": str(project / ".pio"), "$PIOENV": "esp32s3"}
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr("sys.executable", str(REPOSITORY / "no-such-python"))
    env = SimpleNamespace(
        subst=folders.__getitem__,
        PioPlatform=lambda: SimpleNamespace(name="espressif32"),
        GetProjectOption=lambda name, default: model or default,
    )
    script = {"Import": lambda name: None, "env": env}
    runpy.run_path(str(firmware_folder() / "generate_model.py"), init_globals=script)


def test_script_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _run_script(tmp_path, monkeypatch, path=tmp_path / "empty")
    assert "nanou-deploy generate --output components/nanou_model" in capsys.readouterr().err


def test_script_generates_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "nanou-deploy"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\n/bin/mkdir -p "$5" && echo "$@" >> "$5/nanou-manifest.json"\n')
    fake.chmod(0o755)
    for _ in range(2):
        _run_script(tmp_path, monkeypatch, path=fake.parent, model="mine.tflite")
    manifest = tmp_path / "components" / "nanou_model" / "nanou-manifest.json"
    model = tmp_path / "mine.tflite"
    assert manifest.read_text() == f"generate --board esp32s3 --output {manifest.parent} --model {model}\n"


def test_script_makes_cmake_look_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "components" / "nanou_model" / "nanou-manifest.json"
    cache = tmp_path / ".pio" / "CMakeCache.txt"
    for path in (manifest, cache):
        path.parent.mkdir(parents=True)
        path.touch()
    _run_script(tmp_path, monkeypatch, path=tmp_path)
    assert cache.exists()
    times = (cache.stat().st_atime, cache.stat().st_mtime + 10)
    os.utime(manifest, times)
    _run_script(tmp_path, monkeypatch, path=tmp_path)
    assert not cache.exists()
