"""The wheel works away from the checkout: templates, firmware, configuration and the default model travel with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from codegen import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = {
    "codegen/_include": "firmware/include",
    "codegen/_templates": "templates",
    "nanou_deploy/_firmware": "firmware",
    "nanou_deploy/_models": "models",
    "nanou_train/_config": "config",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents in a folder of their own."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"nanou_deploy-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def environment(installed: Path) -> dict[str, str]:
    """Modules of the wheel, compiled once for all commands, in no folder that is looked at."""
    return {**os.environ, "PYTHONPATH": str(installed), "PYTHONPYCACHEPREFIX": str(installed.parent / "compiled")}


def run(installed: Path, folder: Path, *arguments: str) -> str:
    """The command line of the extracted wheel, in an empty folder, without the checkout on the path."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nanou_deploy.cli", *arguments],
        cwd=folder,
        env=environment(installed),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_extracted_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    code = "import codegen as c, nanou_deploy as d, nanou_train as t; print(c.__file__, d.__file__, t.__file__)"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment(installed), capture_output=True, text=True, check=True)
    assert done.stdout.count(str(installed)) == 3


@pytest.mark.parametrize(("inside", "source"), SHIPPED.items())
def test_data_travels_with_the_wheel(installed: Path, inside: str, source: str) -> None:
    tracked = {
        path.relative_to(REPOSITORY / source).as_posix()
        for path in (REPOSITORY / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {p.relative_to(installed / inside).as_posix() for p in (installed / inside).rglob("*") if p.is_file()}
    assert tracked
    assert shipped == tracked


def test_published_figures_travel_with_the_wheel(installed: Path) -> None:
    shipped = installed / "nanou_deploy/_docs/published_figures.toml"
    assert shipped.read_bytes() == (REPOSITORY / "docs/published_figures.toml").read_bytes()


def test_default_model_becomes_a_verified_library(
    installed: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("gcc", "clang", "cc")
    run(installed, tmp_path, "generate", "--output", "library")
    header = (tmp_path / "library/include/nano_u_offroad.h").read_text()
    assert re.search(r"#define NANO_U_OFFROAD_ARENA_BYTES\s+\d+", header)
    assert "byte for byte" in run(installed, tmp_path, "verify", "--board", "host", "--cases", "3")


def test_nothing_private_is_shipped(installed: Path) -> None:
    names = [path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()]
    assert not [name for name in names if re.search(r"\.pyc$|^(tests|runs|build)/|(^|/)\.venv/", name)]


def test_the_wheel_exports_with_licence_and_example(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "export", "--format", "cmake")
    folder = tmp_path / "build" / "export" / "cmake" / "nano_u_offroad"
    assert (folder / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    assert (folder / "example" / "self_test.c").is_file()
