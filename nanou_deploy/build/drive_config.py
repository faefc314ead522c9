"""Say how firmware drives: the policy's numbers and how the camera is mounted, rendered into app_config.h."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, get_args

from codegen.library.resources import render_template
from nanou_deploy.errors import DeployError

Flip = Literal["none", "vertical", "horizontal", "both"]
FLIPS: tuple[Flip, ...] = get_args(Flip)

# Least and most of each number. 9 s: then the watchdog of a board that hangs is still to come.
_BOUNDS: Mapping[str, tuple[int, int]] = {
    "go": (0, 1000),
    "stop": (0, 1000),
    "turn": (0, 1000),
    "straight": (0, 1000),
    "start_pictures": (1, 1000),
    "stale_ms": (20, 8000),
    "hold_ms": (40, 9000),
}


@dataclass(frozen=True)
class Policy:
    """The numbers of navigation, covers in thousandths of a third of the picture's lower half.

    `go`, `stop`: cover of the centre from which on it may start, and below which it stops. `turn`, `straight`: by how
    much left and right must differ for a turn to begin, and below what it ends. `start_pictures`: so many in a row must
    allow it before it starts. `stale_ms`: an older picture decides nothing. `hold_ms`: an older decision is a stop.
    Raises DeployError for what is out of bounds or contradicts itself.
    """

    go: int = 700
    stop: int = 550
    turn: int = 200
    straight: int = 100
    start_pictures: int = 3
    stale_ms: int = 500
    hold_ms: int = 600

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise DeployError(f"policy {name}={value!r} is no number of {least} to {most}", hint=_HINT)
        for lower, upper in (("stop", "go"), ("straight", "turn")):
            if getattr(self, lower) > getattr(self, upper):
                raise DeployError(f"policy {lower} is larger than {upper}", hint=f"{lower} ends what {upper} begins")
        if self.hold_ms <= self.stale_ms:
            raise DeployError(
                "policy hold_ms is not larger than stale_ms",
                hint="a decision has to hold until the next picture can be too old",
            )


_HINT = f"numbers are {', '.join(field.name for field in fields(Policy))}; docs/ROBOT.md explains each"


@dataclass(frozen=True)
class DriveConfig:
    """What app_config.h says. `flip`: how pictures are turned before the model sees them."""

    policy: Policy = Policy()
    flip: Flip = "none"


DEFAULT_DRIVE = DriveConfig()


def parse_policy(settings: Mapping[str, str], policy: Policy | None = None) -> Policy:
    """Replace numbers of a policy by what texts say. Raises DeployError for unknown names and what is no number."""
    changed: dict[str, int] = {}
    for name, text in settings.items():
        if name not in _BOUNDS:
            raise DeployError(f"the policy has no number {name!r}", hint=_HINT)
        if not (text.isascii() and text.isdecimal()):
            raise DeployError(f"policy {name}={text!r} is no whole number", hint=_HINT)
        changed[name] = int(text[:9])
    return replace(policy or Policy(), **changed)


def render_app_config(config: DriveConfig = DEFAULT_DRIVE) -> str:
    """Render the header that the application reads its numbers from."""
    return render_template(
        "project/app_config.h.j2",
        policy=asdict(config.policy),
        flip_vertical=int(config.flip in ("vertical", "both")),
        flip_horizontal=int(config.flip in ("horizontal", "both")),
    )
