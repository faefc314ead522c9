"""`describe`: show what is known of a model's contract and why, take the rest, and write its sidecar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.contract_options import Names, Numbers, contract_options
from nanou_deploy.cli.options import camera_option, json_option
from nanou_deploy.cli.output import emit_json, say

if TYPE_CHECKING:
    from codegen.graph.graph import Graph, Tensor
    from codegen.graph.model import CameraSize, InputContract, OutputContract, QuantizedModel

_STATED = "its sidecar says so"
_GIVEN = "as given"


@dataclass(frozen=True)
class Known:
    """A model with what is known of its contract, and for each input and output why."""

    model: QuantizedModel
    graph: Graph
    input_reasons: tuple[str, ...]
    output_reasons: tuple[str, ...]


@click.command(short_help="What a model's tensors mean; writes its sidecar.")
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@contract_options
@camera_option
@click.option("--name", help="Name of the model in generated code.")
@click.option("--fresh", is_flag=True, help="Start from what the file alone says, whatever its sidecar does.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@json_option
def describe(
    model: Path, camera: CameraSize | None, name: str | None, fresh: bool, dry_run: bool, as_json: bool, **given: Any
) -> None:
    """Show what is known of a model's inputs and outputs and why, and write the sidecar MODEL.json with the rest.

    What is not certain from the file alone is not guessed. Options say it; on a terminal without any, it is asked.
    Nothing is written where nothing was said. docs/NETWORKS.md has the fields and an example for each task.
    """
    from codegen.graph.contract import check_contract
    from codegen.tflite.files import save_sidecar
    from nanou_deploy.report.model_card import refresh_card

    known = _known(model, fresh)
    said = {key: value for key, value in given.items() if value is not None and not key.endswith("_index")}
    asked = not (said or camera or name or as_json or dry_run) and sys.stdin.isatty() and sys.stdout.isatty()
    if asked:
        print_known(known)
        known = ask(known)
    elif said:
        known = restated(known, said, given["input_index"], given["output_index"])
    changes: dict[str, Any] = {"camera": camera, "name": name}
    changes = {key: value for key, value in changes.items() if value is not None}
    known = replace(known, model=replace(known.model, **changes))
    check_contract(known.model.contract, known.graph)
    write = bool(said or changes) and not dry_run
    if asked:
        print_known(known)
        write = click.confirm(f"Write {model.with_suffix('.json')}?", default=True)
    written = save_sidecar(known.model, model) if write else None
    if written:
        refresh_card(known.model, model)
    if as_json:
        emit_json("describe/1", _document(known, written))
        return
    if not asked:
        print_known(known)
    say(f"written: {written}" if written else "nothing written")


def _known(path: Path, fresh: bool) -> Known:
    """Return what the sidecar states, or what is certain without one."""
    from codegen.tflite.files import contract_graph, inferred, load_model, model_without_sidecar, read_model

    flatbuffer = read_model(path)
    graph = contract_graph(flatbuffer)
    if not fresh and path.with_suffix(".json").exists():
        model = load_model(path)
        return Known(model, graph, (_STATED,) * len(graph.inputs), (_STATED,) * len(graph.outputs))
    found = inferred(flatbuffer)
    return Known(model_without_sidecar(path, flatbuffer), graph, found.input_reasons, found.output_reasons)


# ---- What is given -----------------------------------------------------------------------------------------------


def restated(known: Known, said: dict[str, Any], input_index: int, output_index: int) -> Known:
    """Return the contract with what options say of one input and one output."""
    from codegen.graph.model import Contract

    contract = known.model.contract
    picture: dict[str, Any] = {key: said[key] for key in ("mean", "std", "color_order", "resize_filter") if key in said}
    decision: dict[str, Any] = {
        key: said[key] for key in ("task", "values", "threshold", "classes", "drivable") if key in said
    }
    inputs, outputs = list(contract.inputs), list(contract.outputs)
    whys = list(known.input_reasons), list(known.output_reasons)
    if picture or "input_kind" in said:
        at = _index(inputs, input_index, "--input-index")
        inputs[at] = _picture(inputs[at], known.graph.tensor(known.graph.inputs[at]), said.get("input_kind"), picture)
        whys[0][at] = _GIVEN
    if decision:
        at = _index(outputs, output_index, "--output-index")
        outputs[at] = _decision(outputs[at], decision)
        whys[1][at] = _GIVEN if "task" in decision else f"{whys[1][at]}; the rest as given"
    stated = Contract(tuple(inputs), tuple(outputs))
    return Known(replace(known.model, contract=stated), known.graph, tuple(whys[0]), tuple(whys[1]))


def _index(stated: list[Any], index: int, option: str) -> int:
    if index >= len(stated):
        raise click.BadParameter(f"the model has {len(stated)}, counted from 0", param_hint=option)
    return index


def _picture(stated: InputContract, tensor: Tensor, kind: str | None, given: dict[str, Any]) -> InputContract:
    from codegen.graph.model import InputContract, Preprocessing

    if kind == "raw":
        if given:
            raise click.UsageError("a raw input has no mean, std, colour order or resize filter")
        return InputContract()
    if len(tensor.shape) != 4:
        raise click.UsageError(f"the input has shape {tensor.shape}, which is no image (1, height, width, channels)")
    if stated.image is not None:
        return InputContract(replace(stated.image, **given))
    if lacking := [f"--{key}" for key in ("mean", "std") if key not in given]:
        raise click.UsageError(f"an image needs --mean and --std; {' and '.join(lacking)} not given")
    return InputContract(Preprocessing(*tensor.shape[1:], **given))


def _decision(stated: OutputContract, given: dict[str, Any]) -> OutputContract:
    from codegen.graph.model import OutputContract

    task = given.get("task", stated.task)
    if task == "raw":
        return OutputContract(values=given.get("values", stated.values))
    kept = stated if task == stated.task else OutputContract(task, stated.values)
    if "classes" in given and "drivable" not in given:  # those that there were are of other names
        kept = replace(kept, drivable=())
    return replace(kept, **given)


# ---- What is asked -----------------------------------------------------------------------------------------------


def ask(known: Known) -> Known:
    """Ask for what is raw, one thing after another."""
    from codegen.graph.contract import PICTURE_CHANNELS

    for at, index in enumerate(known.graph.inputs):
        tensor = known.graph.tensor(index)
        is_possible = len(tensor.shape) == 4 and tensor.shape[3] in PICTURE_CHANNELS
        if known.model.contract.inputs[at].image is None and is_possible:
            known = _ask_input(known, at, tensor)
    for at, index in enumerate(known.graph.outputs):
        known = _ask_output(known, at, known.graph.tensor(index))
    return known


def _ask_input(known: Known, at: int, tensor: Tensor) -> Known:
    if not click.confirm(f"Is input {at}, {tensor.shape}, a picture?", default=False):
        return known
    say("  Its value for a pixel component v in 0..255 is (v/255 - mean) / std.")
    said = {key: click.prompt(f"  {key}", type=Numbers()) for key in ("mean", "std")}
    if tensor.shape[3] > 1:
        said["color_order"] = click.prompt("  colour order", type=click.Choice(["RGB", "BGR"]), default="RGB")
    return restated(known, said, at, 0)


def _ask_output(known: Known, at: int, tensor: Tensor) -> Known:
    stated, said = known.model.contract.outputs[at], dict[str, Any]()
    if stated.task == "raw":
        choices = click.Choice(["segment", "classify", "grid", "raw"])
        said["task"] = click.prompt(f"What is output {at}, {tensor.shape}?", type=choices, default="raw")
        if said["task"] == "raw":
            return known
        if stated.values == "raw":
            said["values"] = click.prompt("  its values are", type=click.Choice(["logits", "probabilities", "raw"]))
    if not stated.classes:
        count = max(2, tensor.shape[-1])
        names = click.prompt(f"  names of its {count} classes, with commas", default="", show_default=False)
        said |= {"classes": Names().convert(names, None, None)} if names else {}
    if said.get("task", stated.task) == "segment" and said.get("classes"):
        names = click.prompt("  which of them count as drivable", default="", show_default=False)
        said |= {"drivable": Names().convert(names, None, None)} if names else {}
    return restated(known, said, 0, at) if said else known


# ---- What is shown -----------------------------------------------------------------------------------------------


def print_known(known: Known) -> None:
    from codegen.graph.contract import remarks

    say(f"{known.model.name}  sha256 {known.model.sha256[:16]}  camera {known.model.camera}")
    for what, text, why in _lines(known):
        say(what)
        say(f"  {text}")
        say(f"  ({why})", fg="bright_black")
    for remark in remarks(known.model):
        say(remark, fg="yellow")


def _lines(known: Known) -> Iterator[tuple[str, str, str]]:
    """Each input and output: the tensor, its contract, and why that is so."""
    from codegen.graph.contract_text import input_text, output_text, quantization_text

    contract, graph = known.model.contract, known.graph
    inputs = zip(graph.inputs, map(input_text, contract.inputs), known.input_reasons, strict=True)
    outputs = zip(graph.outputs, map(output_text, contract.outputs), known.output_reasons, strict=True)
    for what, parts in (("input", inputs), ("output", outputs)):
        for at, (index, text, why) in enumerate(parts):
            tensor = graph.tensor(index)
            shape = "x".join(map(str, tensor.shape))
            yield f"{what} {at}: {tensor.dtype} {shape}{quantization_text(tensor)}", text, why


def _document(known: Known, written: Path | None) -> dict[str, Any]:
    from codegen.graph.contract import remarks
    from codegen.tflite.sidecar import sidecar

    reasons = {"inputs": known.input_reasons, "outputs": known.output_reasons}
    return {"sidecar": sidecar(known.model), "reasons": reasons, "remarks": remarks(known.model), "written": written}
