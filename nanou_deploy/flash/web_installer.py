"""Write a page by which a browser flashes a board: the built parts, a manifest of ESP Web Tools, and a button.

The manifest's fields are those of https://esphome.github.io/esp-web-tools/ (`Manifest` in its types).
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import codegen
from codegen.library.resources import render_template
from codegen.library.write import staged_folder
from nanou_deploy.boards.boards import Board
from nanou_deploy.errors import DeployError
from nanou_deploy.flash.flashing import flash_places

SCRIPT = "https://unpkg.com/esp-web-tools@10.4.0/dist/web/install-button.js?module"
PAGE, MANIFEST = "index.html", "manifest.json"


def write_web_installer(board: Board, project: Path, output: Path) -> int:
    """Write the folder `output` for what was built in `project`: all of it or nothing. Returns the parts' bytes.

    Raises DeployError where nothing was built, or where `output` holds anything else.
    """
    places = flash_places(board, project)
    names = {PAGE, MANIFEST, *(path.name for path in places.values())}
    others = {path.name for path in output.iterdir()} - names if output.is_dir() else set()
    if others:
        raise DeployError(f"{output} holds {sorted(others)[0]}, which is no part of the page", hint="name a new folder")
    size_bytes = sum(path.stat().st_size for path in places.values())
    with staged_folder(output) as staging:
        for path in places.values():
            shutil.copyfile(path, staging / path.name)
        (staging / MANIFEST).write_text(_manifest(board, places), encoding="utf-8")
        (staging / PAGE).write_text(render_page(board, places, size_bytes), encoding="utf-8")
    return size_bytes


def _manifest(board: Board, places: dict[int, Path]) -> str:
    parts = [{"path": path.name, "offset": offset} for offset, path in sorted(places.items())]
    document = {
        "name": f"nanou-deploy for {board.name}",
        "version": codegen.__version__,
        "new_install_prompt_erase": True,
        "builds": [{"chipFamily": chip_family(board.chip), "parts": parts}],
    }
    return json.dumps(document, indent=2) + "\n"


def chip_family(chip: str) -> str:
    """Name a chip as Espressif and ESP Web Tools do: esp32s3 is ESP32-S3."""
    family, series = chip[:5].upper(), chip[5:].upper()
    return f"{family}-{series}" if series else family


def render_page(board: Board, places: dict[int, Path], size_bytes: int) -> str:
    """Render the page for parts by their offset in flash."""
    files = [word for offset, path in sorted(places.items()) for word in (hex(offset), path.name)]
    return render_template(
        "project/install.html.j2",
        board=board.name,
        description=board.description,
        generator=f"nanou-deploy {codegen.__version__}",
        size_kb=f"{size_bytes / 1024:,.0f}",
        script=SCRIPT,
        command=shlex.join(["esptool", "--chip", board.chip, "write-flash", *files]),
    )
