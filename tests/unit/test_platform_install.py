"""Fetching PlatformIO's platform: asked, done with --yes, refused without a terminal; what is said on the way."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from nanou_deploy.build import platform_install, platformio
from nanou_deploy.build.platform_install import install_platform
from nanou_deploy.build.platformio import PlatformMissing, platform_missing
from nanou_deploy.cli import platform_offer
from nanou_deploy.cli.platform_offer import offer_platform
from nanou_deploy.errors import EXIT_NOT_LINKED

FETCHES = """
import json, os, pathlib, sys
assert sys.argv[1:5] == ["pkg", "install", "-e", "esp32s3"], sys.argv
print("Resolving esp32s3 dependencies...", flush=True)
print("Platform Manager: Installing espressif32 @ 6.13.0", flush=True)
print("Downloading 0%", end="", flush=True)
for tenth in range(1, 11): print(f" {10 * tenth}%", end="", flush=True)
print()
core = pathlib.Path(os.environ["PLATFORMIO_CORE_DIR"])
packages = {name: "package" for name in ("packages/tool-scons", "packages/framework-espidf")}
for kind, name in {"platforms/espressif32": "platform", **packages}.items():
    (core / kind).mkdir(parents=True)
    (core / kind / f"{name}.json").write_text(json.dumps({"name": "espressif32", "version": "6.13.0"}))
"""
FAILS = 'print("HTTPClientError:\\x1b[31m no network"); raise SystemExit(1)'
WAITS = "import time; print('Downloading 0%', flush=True); time.sleep(600)"


@pytest.fixture
def pio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """pio(program) -> what runs in PlatformIO's place; its folder is empty, its disk large."""
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    for name in ("PLATFORMIO_PLATFORMS_DIR", "PLATFORMIO_PACKAGES_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platform_install.shutil, "disk_usage", lambda _: SimpleNamespace(free=50 << 30))

    def stand_in(program: str) -> None:
        (tmp_path / "pio.py").write_text(program)
        command = [sys.executable, str(tmp_path / "pio.py")]
        monkeypatch.setattr(platformio, "python_command", lambda *words: [*command, *words[2:]])

    return stand_in


def test_it_is_fetched_and_said_how_far(pio: Callable[[str], None], tmp_path: Path) -> None:
    pio(FETCHES)
    said: list[str] = []
    install_platform(tmp_path, "esp32s3", said.append)
    assert "about 2 GB" in said[0]
    assert said[-1] == "espressif32: 100 %"
    assert platformio.platform_installed()


def test_what_cannot_be_fetched_is_not_linked(pio: Callable[[str], None], tmp_path: Path) -> None:
    pio(FAILS)
    with pytest.raises(PlatformMissing, match="no network") as failed:
        install_platform(tmp_path, "esp32s3", lambda _: None)
    assert failed.value.exit_code == EXIT_NOT_LINKED
    assert "\x1b" not in str(failed.value)


def test_a_small_disk_is_said_before(
    pio: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pio("raise SystemExit('it was started')")
    monkeypatch.setattr(platform_install.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    with pytest.raises(PlatformMissing, match=r"room for 1\.1 GB only"):
        install_platform(tmp_path, "esp32s3", lambda _: None)


def test_ctrl_c_ends_platformio_too(pio: Callable[[str], None], tmp_path: Path) -> None:
    pio(WAITS)
    heard = threading.Event()

    def interrupt() -> None:
        heard.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        install_platform(tmp_path, "esp32s3", lambda text: heard.set() if "%" in text else None)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("yes", "may_ask", "terminal", "answer", "fetched"),
    [
        (True, True, False, False, True),  # --yes
        (False, True, False, True, False),  # no terminal: nobody is asked
        (False, True, True, True, True),
        (False, True, True, False, False),
        (False, False, True, True, False),  # --json
    ],
)
def test_it_is_asked_in_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    yes: bool,
    may_ask: bool,
    terminal: bool,
    answer: bool,
    fetched: bool,
) -> None:
    asked, installed = list[str](), list[str]()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.setattr(platform_offer, "note", lambda text: asked.append(text))
    monkeypatch.setattr(click, "confirm", lambda text, **_: asked.append(text) or answer)
    monkeypatch.setattr(platform_install, "install_platform", lambda project, board, progress: installed.append(board))
    missing = platform_missing(tmp_path, "esp32s3")
    assert "build --board esp32s3 --yes" in missing.hint
    offer = offer_platform("esp32s3", yes=yes, may_ask=may_ask)
    if fetched:
        offer(missing, tmp_path)
    else:
        with pytest.raises(PlatformMissing):
            offer(missing, tmp_path)
    assert installed == (["esp32s3"] if fetched else [])
    assert bool(asked) == (terminal and may_ask and not yes)
    assert asked == [] or ("is not installed" in asked[0] and "about 2 GB" in asked[1])
