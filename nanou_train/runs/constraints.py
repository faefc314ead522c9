"""Check a finished run's int8 model against its limits on size and accuracy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanou_train.data.dataset import Dataset
from nanou_train.errors import ConfigError
from nanou_train.evaluation.evaluate import Metrics
from nanou_train.experiments.config import Constraints
from nanou_train.networks.architectures import count_parameters
from nanou_train.runs import run_folder as run

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Checked:
    """Outcome of one limit: `key` of Constraints, what it asks for, what was measured."""

    key: str
    limit: float
    found: float
    met: bool


def check(constraints: Constraints, *, parameters: int, size_bytes: int, miou: float) -> tuple[Checked, ...]:
    """Compare figures with every limit that is set, in the order of Constraints."""
    found = {"max_parameters": parameters, "max_bytes": size_bytes, "min_miou": miou}
    return tuple(
        Checked(key, limit, value, value >= limit if key.startswith("min_") else value <= limit)
        for key, value in found.items()
        if (limit := getattr(constraints, key)) is not None
    )


def check_before(constraints: Constraints, student: keras.Model) -> None:
    """Check limits that are known before training. Raises ConfigError where one cannot be met."""
    parameters = count_parameters(student, deployed=True)
    if constraints.max_parameters is not None and parameters > constraints.max_parameters:
        raise ConfigError(
            f"{student.name} has {parameters:,} parameters, the constraint is at most {constraints.max_parameters:,}",
            hint="choose a smaller student.preset or a larger max_parameters",
        )


def check_run(folder: Path, constraints: Constraints, dataset: Dataset) -> tuple[tuple[Checked, ...], Metrics]:
    """Quantize a completed run and hold it to its limits; also the int8 model's test metrics.

    The result is recorded in RUN/constraints.json.
    """
    from nanou_train.runs.int8_model import save_int8
    from nanou_train.runs.quantize_run import quantize_run

    model = quantize_run(folder, dataset=dataset)
    save_int8(folder, model)
    metrics: Metrics = model.provenance["metrics"]["int8"]
    parameters = count_parameters(run.load_student(folder), deployed=True)
    checked = check(constraints, parameters=parameters, size_bytes=len(model.flatbuffer), miou=metrics["miou"])
    run.write_json(folder / "constraints.json", {"schema": 1, "constraints": [asdict(one) for one in checked]})
    return checked, metrics


def violation(checked: tuple[Checked, ...]) -> str:
    """Say in words which limits are not met; empty if all are."""
    broken = [_words(one) for one in checked if not one.met]
    return f"constraints not met: {'; '.join(broken)}" if broken else ""


def _words(one: Checked) -> str:
    sign = "is below" if one.key.startswith("min_") else "is above"
    shown: Any = f"{one.found:.4f}" if isinstance(one.found, float) else f"{one.found:,}"
    return f"{one.key.split('_', 1)[1]} {shown} {sign} {one.limit:g}"
