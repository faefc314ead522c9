"""The page by which a browser flashes a board."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nanou_deploy.boards.boards import BOARDS, find_board
from nanou_deploy.errors import EXIT_ERROR
from nanou_deploy.flash.web_installer import chip_family, write_web_installer
from nanou_deploy.resources import firmware_folder
from tests.command_line import run

PARTS = {"bootloader.bin": b"\xe9boot", "partitions.bin": b"\xaaP", "firmware.bin": b"\xe9application"}
# https://github.com/esphome/esp-web-tools, src/const.ts: Build["chipFamily"]
FAMILIES = {"ESP32", "ESP32-C3", "ESP32-C6", "ESP32-P4", "ESP32-S3"}


def built(folder: Path, board: str) -> Path:
    """A project in which PlatformIO has built three parts."""
    (folder / "boards").mkdir(parents=True)
    table = (firmware_folder() / "boards" / "partitions.csv").read_text()
    (folder / "boards" / "partitions.csv").write_text(table)
    place = folder / ".pio" / "build" / board
    place.mkdir(parents=True)
    for name, content in PARTS.items():
        (place / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("board", ["esp32cam", "esp32s3-eye", "esp32p4"])
def test_the_page_has_what_flash_writes(tmp_path: Path, board: str) -> None:
    from nanou_deploy.flash.flashing import flash_places

    project = built(tmp_path / "project", board)
    page = tmp_path / "page"
    for _ in range(2):  # it replaces its own
        assert write_web_installer(find_board(board), project, page) == sum(map(len, PARTS.values()))
    manifest = json.loads((page / "manifest.json").read_text())
    (build,) = manifest["builds"]
    assert build["chipFamily"] in FAMILIES
    assert {part["offset"]: (page / part["path"]).read_bytes() for part in build["parts"]} == {
        offset: path.read_bytes() for offset, path in flash_places(find_board(board), project).items()
    }
    html = (page / "index.html").read_text()
    assert 'manifest="manifest.json"' in html
    assert re.findall(r'src="(https?:[^"@]*)', html) == ["https://unpkg.com/esp-web-tools"]
    assert {path.name for path in page.iterdir()} == {"index.html", "manifest.json", *PARTS}


def test_every_chip_has_a_family() -> None:
    chips = {board.chip for board in BOARDS.values() if board.kind == "hardware" and board.chip.startswith("esp32")}
    assert {chip_family(chip) for chip in chips} <= FAMILIES


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    built(tmp_path / "build" / "esp32c3", "esp32c3")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    done = run("flash", "--board", "esp32c3", "--web", "mine", cwd=tmp_path)
    assert (done.returncode, "letter.txt" in done.stderr) == (EXIT_ERROR, True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    done = run("flash", "--board", "esp32c3", "--web", "page", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["page"] == "page/index.html"


def test_without_a_build_there_is_no_page(tmp_path: Path) -> None:
    done = run("flash", "--board", "esp32c3", "--web", "page", cwd=tmp_path)
    assert (done.returncode, "nanou-deploy build --board esp32c3" in done.stderr) == (EXIT_ERROR, True)
    assert not (tmp_path / "page").exists()
    assert run("flash", "--board", "host", "--web", "page", cwd=tmp_path).returncode == EXIT_ERROR
