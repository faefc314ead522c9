"""Do what the monitor's page asks for beside the device: write its numbers into the project file."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nanou_deploy.cli.output import progress
from nanou_deploy.cli.project_edit import write_values
from nanou_deploy.cli.project_file import FILE, needed_project
from nanou_deploy.errors import DeployError

if TYPE_CHECKING:
    from codegen.graph.model import QuantizedModel
    from nanou_deploy.monitor.desk import Controls, Desk, Numbers


def make_desk(controls: Controls, model: QuantizedModel | None) -> Desk:
    """Make the desk of a page. Without the model, a threshold cannot be written: nobody knows what it is of."""
    from nanou_deploy.monitor.desk import Desk

    segments = model is not None and model.decision.task == "segment"
    values = model.decision.values if model is not None and segments else ""
    return Desk(controls, lambda numbers: save(numbers, model), "" if values == "raw" else values)


def save(numbers: Numbers, model: QuantizedModel | None, path: Path = FILE) -> str:
    """Write `policy`, and `threshold` where it is another than the model's own, into the project file; say what.

    Raises DeployError for numbers that contradict each other, or where there is no such file.
    """
    from nanou_deploy.build.drive_config import Policy, parse_policy

    project = needed_project(path)
    pairs = (part.partition("=") for part in project.values.get("policy", "").split(",") if part.strip())
    stated = {name.strip(): number.strip() for name, _, number in pairs}
    names = {field.name for field in fields(Policy)}
    policy = replace(parse_policy(stated), **{name: value for name, value in numbers.items() if name in names})
    default = Policy()
    kept = [f.name for f in fields(Policy) if f.name in stated or getattr(policy, f.name) != getattr(default, f.name)]
    said = {"policy": ",".join(f"{name}={getattr(policy, name)}" for name in kept or ["go"])}
    if model is not None and "threshold_q" in numbers and (changed := _threshold(model, numbers["threshold_q"])):
        said["threshold"] = changed
    elif "threshold" in project.values and model is not None and "threshold_q" in numbers:
        said["threshold"] = f"{model.threshold:g}"
    write_values(said, path)
    text = ", ".join(f"{key} = {value}" for key, value in said.items())
    progress(f"{path}: {text}")
    return f"{path}: {text}"


def _threshold(model: QuantizedModel, threshold_q: int) -> str:
    """Write the int8 threshold as the shortest probability that gives it; empty where it is the model's own.

    Raises DeployError for one that no probability gives.
    """
    from codegen.graph.contract import decision_threshold, probability_of
    from codegen.tflite.files import contract_graph

    graph = contract_graph(model.flatbuffer)
    if threshold_q == decision_threshold(model, graph):
        return ""
    exact = probability_of(model, graph, threshold_q)
    for digits in range(2, 9):
        text = f"{exact:.{digits}f}"
        if 0 < float(text) < 1 and decision_threshold(model.deciding(threshold=float(text)), graph) == threshold_q:
            return text
    raise DeployError("no probability gives this threshold", hint="choose one that is not at the end of the range")
