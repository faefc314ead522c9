"""Keep a network's scores against masks of another size than its pictures: a search's points against its parent's.

They stand in the run's own folder, so that whoever shows the run shows the same figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from codegen.graph.model import QuantizedModel
from codegen.untrusted import read_json
from nanou_deploy.errors import DeployError
from nanou_train.runs.run_folder import SCORES, write_json


@dataclass(frozen=True)
class Scores:
    """Mean intersection over union, 0 to 1, against masks of `masks_px` (height, width): of the student on the
    validation part, of the int8 and the float network on the test part. None where not measured."""

    masks_px: tuple[int, int]
    val_miou: float
    int8_miou: float | None
    float_miou: float | None


def write_scores(folder: Path, model: QuantizedModel, scores: Scores) -> None:
    """Put the scores of the run's int8 model beside it."""
    write_json(folder / SCORES, {"schema": 1, "int8_sha256": model.sha256, **asdict(scores)})


def read_scores(folder: Path, model: QuantizedModel) -> Scores | None:
    """Read the scores that were measured of this int8 model; None where none were.

    Raises DeployError where the file is damaged.
    """
    try:
        stated = read_json(folder / SCORES)
        if stated["int8_sha256"] != model.sha256:
            return None
        height_px, width_px = map(int, stated["masks_px"])
        miou = [None if stated[key] is None else float(stated[key]) for key in ("val_miou", "int8_miou", "float_miou")]
        if miou[0] is None:
            raise ValueError("it has no val_miou")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{folder / SCORES} is damaged", hint="run the search again, or delete the file") from error
    return Scores((height_px, width_px), miou[0], miou[1], miou[2])
