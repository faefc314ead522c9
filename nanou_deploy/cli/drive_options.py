"""Define the options of `build` and `run` that say how firmware drives: the user's code, the policy, the camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from nanou_deploy.cli.output import remark, warn
from nanou_deploy.cli.project_file import FILE
from nanou_deploy.errors import DeployError

if TYPE_CHECKING:
    from nanou_deploy.boards.boards import Board
    from nanou_deploy.build.drive_config import DriveConfig, Policy
    from nanou_deploy.build.user_folder import Motors

_Command = TypeVar("_Command", bound=Callable[..., Any])
_MOTORS = ("log", "two_pwm", "servo_esc", "flight_controller")
_FLIPS = ("none", "vertical", "horizontal", "both")


class PolicyNumber(click.ParamType):  # type: ignore[type-arg] # generic in newer clicks only
    """Parses NAME=NUMBER, several with commas, into pairs of texts."""

    name = "NAME=NUMBER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[str, str], ...]:
        if isinstance(value, tuple):
            return value
        pairs = [part.partition("=") for part in str(value).split(",")]
        if not all(name.strip() and equals for name, equals, _ in pairs):
            self.fail(f"{value!r} sets no number: write for example go=650 or go=650,stop=500", param, ctx)
        return tuple((name.strip(), number.strip()) for name, _, number in pairs)


@dataclass(frozen=True)
class Drive:
    """The values of `drive_options`. `user`: the folder of the user's code, None where the default is meant."""

    user: Path | None
    motors: str | None
    policy: tuple[tuple[tuple[str, str], ...], ...]
    flip: str

    def config(self) -> DriveConfig:
        """Check the numbers. Raises UsageError, so that nothing is built with half of them."""
        from nanou_deploy.build.drive_config import DriveConfig, Flip

        return DriveConfig(self._policy(), cast("Flip", self.flip))

    def _policy(self) -> Policy:
        from nanou_deploy.build.drive_config import parse_policy

        settings = [pair for given in self.policy for pair in given]
        try:
            return parse_policy(dict(settings))
        except DeployError as error:
            raise click.UsageError(f"{error}; {error.hint}") from error

    def folder(self, output: Path) -> Path:
        """Choose the folder of the user's code: as given, beside the project file, else inside `output`.

        Raises UsageError for a place that building or cleaning would take away.
        """
        inside = output / "user"
        folder = self.user or (Path("user") if FILE.is_file() else inside)
        generated, chosen = output.resolve(), folder.resolve()
        if chosen == generated or (generated in chosen.parents and chosen != inside.resolve()):
            raise click.UsageError(f"--user {folder} is where {output} is generated: choose a folder of your own")
        return folder

    @property
    def begins_as(self) -> Motors:
        """What motors.c begins as where the folder is made."""
        return cast("Motors", self.motors or "log")

    def make(self, folder: Path, board: Board) -> None:
        """Make the folder unless it is there, and say so. Raises WriteError."""
        from nanou_deploy.build.user_folder import make_user_folder

        self.say_made(folder, make_user_folder(folder, board, self.begins_as))

    def say_made(self, folder: Path, made: bool) -> None:
        """Say what became of the user's folder."""
        if made:
            remark(f"{folder}: made with examples/{self.begins_as}.c as motors.c; it stays as you leave it")
        elif self.motors:
            warn(f"{folder} is yours and stays as it is: copy {folder}/examples/{self.motors}.c to motors.c for that")


def drive_options(command: _Command) -> _Command:
    """Define --user, --motors, --policy and --flip, handed to the command as one `drive`."""

    @click.option(
        "--user",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of your motors, policy and tasks, made once and never changed. Default: user in the current "
        "folder if nanou.toml is there, else user in the output folder.",
    )
    @click.option("--motors", type=click.Choice(_MOTORS), help="What motors.c begins as. Default: log, nothing moves.")
    @click.option(
        "--policy",
        type=PolicyNumber(),
        multiple=True,
        help="A number of the policy: go, stop, turn, straight (thousandths), start_pictures, stale_ms, hold_ms. "
        "May be repeated.",
    )
    @click.option(
        "--flip", type=click.Choice(_FLIPS), default="none", show_default=True, help="Turn the camera's pictures."
    )
    @wraps(command)
    def with_drive(*args: Any, **given: Any) -> Any:
        drive = Drive(**{field.name: given.pop(field.name) for field in fields(Drive)})
        drive.config()
        return command(*args, drive=drive, **given)

    return cast(_Command, with_drive)
