"""Keeps Pareto fronts, trained networks of which none is beaten in everything, in pareto.json.

A point is a run folder with its scores and what it costs on one or more boards. How a front is shown and how a point
is chosen from it is nanou_deploy's business (`nanou-deploy pareto`, `nanou-deploy fit`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from codegen.untrusted import read_json, shown
from nanou_train.errors import TrainError
from nanou_train.networks.cost import Cost
from nanou_train.networks.structure import Structure
from nanou_train.runs.run_folder import write_json

FRONT_SCHEMA = 3  # costs of 1 were estimates, scores of 2 did not say against which masks
FRONT = "pareto.json"
MadeBy = Literal["prune", "search", "train"]

# What is to be small; a score that should be high is negated.
Minimized = Callable[["Point"], float]


@dataclass(frozen=True)
class Point:
    """One trained network. `run` is its folder, relative to the file of the front.

    Scores are mean intersection over union, 0 to 1: `val_miou` of the student on the validation part, `int8_miou` and
    `float_miou` on the test part, None where not measured, against masks of `masks_px` (height, width). With several
    `seeds` they are means. `costs` are by board.
    """

    name: str
    run: str
    structure: Structure
    parameters: int
    val_miou: float
    int8_miou: float | None
    float_miou: float | None
    macs: int
    costs: Mapping[str, Cost]
    made_by: MadeBy
    masks_px: tuple[int, int]
    seeds: tuple[int, ...] = ()

    @property
    def miou(self) -> float:
        """What points are ranked by: validation mIoU, so that the test part chooses nothing."""
        return self.val_miou

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "run": self.run,
            "structure": self.structure.to_json(),
            "parameters": self.parameters,
            "val_miou": self.val_miou,
            "int8_miou": self.int8_miou,
            "float_miou": self.float_miou,
            "macs": self.macs,
            "costs": {board: cost.to_json() for board, cost in self.costs.items()},
            "made_by": self.made_by,
            "masks_px": list(self.masks_px),
            "seeds": list(self.seeds),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Point:
        """Restore what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        if values["made_by"] not in get_args(MadeBy):
            raise ValueError(f"made_by is {values['made_by']!r}")
        return cls(
            str(values["name"]),
            str(values["run"]),
            Structure.from_json(values["structure"]),
            int(values["parameters"]),
            float(values["val_miou"]),
            _optional(values["int8_miou"]),
            _optional(values["float_miou"]),
            int(values["macs"]),
            {board: Cost.from_json(cost) for board, cost in values["costs"].items()},
            cast(MadeBy, values["made_by"]),
            (int(values["masks_px"][0]), int(values["masks_px"][1])),
            tuple(int(seed) for seed in values["seeds"]),
        )


@dataclass(frozen=True)
class Front:
    """A file of points; `boards` are those that every point has a cost for."""

    name: str
    points: tuple[Point, ...]

    @property
    def boards(self) -> tuple[str, ...]:
        first = self.points[0].costs if self.points else {}
        return tuple(board for board in first if all(board in point.costs for point in self.points))

    @property
    def masks_px(self) -> tuple[tuple[int, int], ...]:
        """Sizes of the masks that scores are against: scores of several do not compare."""
        return tuple(sorted({point.masks_px for point in self.points}))


def read_front(path: Path) -> Front:
    """Read the front in `path`, a pareto.json or the folder of one. Raises TrainError where it cannot be read."""
    file = path / FRONT if path.is_dir() else path
    try:
        stated = read_json(file)
        schema = stated["schema"]
        if schema != FRONT_SCHEMA:
            raise TrainError(f"{file} has schema {schema}, this version reads {FRONT_SCHEMA}", hint="make it again")
        points = (Point.from_json(point) for point in stated["points"])
        return Front(str(stated["name"]), tuple(_in_order(point, stated["boards"]) for point in points))
    except OSError as error:
        raise TrainError(
            f"cannot read {file}: {error.strerror}", hint="`nanou-deploy pareto` makes one from run folders"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainError(f"{file} is no front of networks: {shown(error)}", hint="make it again") from error


def write_front(path: Path, points: Sequence[Point], *, name: str = "") -> None:
    """Write `path`, a pareto.json, in one step; `name` is otherwise that of its folder."""
    front = Front(name or path.resolve().parent.name, tuple(points))
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [point.to_json() for point in front.points]
    write_json(path, {"schema": FRONT_SCHEMA, "name": front.name, "boards": list(front.boards), "points": listed})


def objectives_of(board: str) -> tuple[Minimized, ...]:
    """mIoU, and instructions, RAM and flash on one board. Raises KeyError for a point without a cost there."""
    return (
        lambda point: -point.miou,
        lambda point: point.costs[board].instructions,
        lambda point: point.costs[board].ram_bytes,
        lambda point: point.costs[board].flash_bytes,
    )


def non_dominated(points: Sequence[Point], objectives: Sequence[Minimized]) -> tuple[Point, ...]:
    """Points that no other beats: not worse in every objective and better in one. Of equal points all stay."""
    values = [tuple(objective(point) for objective in objectives) for point in points]

    def beaten(own: tuple[float, ...]) -> bool:
        return any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in values)

    return tuple(point for point, own in zip(points, values, strict=True) if not beaten(own))


def _in_order(point: Point, boards: Sequence[str]) -> Point:
    """JSON objects have no order, but the first board is the one that pages and tables begin with."""
    first = {board: point.costs[board] for board in boards}
    return replace(point, costs={**first, **point.costs})


def _optional(value: Any) -> float | None:
    return None if value is None else float(value)
