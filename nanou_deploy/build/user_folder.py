"""Make the folder of the user's code once, and find what is in it. Nothing here changes a file that is there."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from codegen.errors import WriteError
from codegen.library.resources import render_template
from nanou_deploy.boards.boards import Board
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import firmware_folder

Motors = Literal["log", "two_pwm", "servo_esc", "flight_controller"]
MOTORS: tuple[Motors, ...] = get_args(Motors)

USER_FOLDER = "user"  # of a project, where nothing else is said
_SOURCES_LIMIT = 256


@dataclass(frozen=True)
class Pins:
    """Two outputs and the arm input, as a proposal for user.h. `note`: what else hangs on them."""

    first: int
    second: int
    arm: int = -1
    note: str = ""


# Meant to be free on the board's headers and no strapping pins. No schematic was at hand: user.h says to look them up.
_PINS = {
    "esp32cam": Pins(13, 14, note="the SD card's, so leave its slot empty"),
    "esp32dev": Pins(25, 26),
    "esp32s3": Pins(4, 5),
    "esp32s3-eye": Pins(21, 47, note="the LCD board's, so take it off"),
    "xiao-esp32s3": Pins(1, 2, note="D0 and D1"),
    "esp32c3": Pins(4, 5),
    "esp32c6": Pins(2, 3),
    "esp32p4": Pins(20, 21),
}


def shipped_user_folder() -> Path:
    """Find the code that logs and moves nothing, for programs that nobody drives with."""
    return firmware_folder() / USER_FOLDER


def make_user_folder(folder: Path, board: Board, motors: Motors = "log") -> bool:
    """Make the folder with working code, `motors` as motors.c, unless there is something; tell whether it was made.

    Raises WriteError where it cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        return False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
        try:
            _fill(draft, board, motors)
            draft.rename(folder)  # which fails where somebody has put something there meanwhile
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise WriteError(
            f"cannot make {folder}: {error.strerror or error}", hint="check the path and its rights"
        ) from error
    return True


def _fill(folder: Path, board: Board, motors: Motors) -> None:
    shipped = shipped_user_folder()
    folder.chmod(0o755)
    for source in sorted(shipped.glob("*.c")):
        (folder / source.name).write_bytes(source.read_bytes())
    (folder / "examples").mkdir()
    for name in MOTORS:
        (folder / "examples" / f"{name}.c").write_bytes((shipped / "examples" / f"{name}.c").read_bytes())
    (folder / "motors.c").write_bytes((shipped / "examples" / f"{motors}.c").read_bytes())
    (folder / "user.h").write_text(render_user_header(board), encoding="utf-8")


def render_user_header(board: Board) -> str:
    """Render user.h with the pins that are proposed for a board."""
    pins = _PINS.get(board.name, _PINS["esp32s3"])
    return render_template("project/user.h.j2", board=board.name, pins=asdict(pins))


def path_from(project: Path, folder: Path) -> str:
    """Write where the user's folder is as seen from the project's, with slashes."""
    return Path(os.path.relpath(folder.resolve(), project.resolve())).as_posix()


def user_sources(folder: Path) -> list[Path]:
    """List the C files of the user's folder. Raises DeployError where there is none, or no end of them."""
    sources = sorted(path for path in folder.glob("*.c") if path.is_file())
    if not 0 < len(sources) <= _SOURCES_LIMIT:
        raise DeployError(
            f"{folder} holds {len(sources)} C files" if sources else f"{folder} holds no C file",
            hint="it is to have motors.c, policy.c and tasks.c: move it away, and `nanou-deploy build` makes a new one",
        )
    return sources
