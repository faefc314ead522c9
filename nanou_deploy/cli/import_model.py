"""`import`: make an int8 model of one from Keras, TensorFlow or ONNX, and show what it loses."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.contract_options import Numbers, contract_options
from nanou_deploy.cli.describe import Known, ask, restated
from nanou_deploy.cli.options import DataFolder, FrameSize, Output, camera_option, check_output, json_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, next_step, percent, progress, remark, say
from nanou_deploy.errors import DeployError

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize, Preprocessing, QuantizedModel
    from codegen.tflite.quantize import Samples
    from nanou_deploy.convert.conversion import Conversion, LayerLoss, Quantized, TensorFacts
    from nanou_deploy.convert.samples import Sample, SampleSet
    from nanou_deploy.convert.score import Score
    from nanou_deploy.convert.source import ModelSource

_SHOWN_LAYERS = 10
_MOST_SCORED = 200
_FORMATS = {"keras": "Keras", "saved_model": "SavedModel", "onnx": "ONNX"}
_PICTURE = ("mean", "std", "color_order", "resize_filter")


@click.command("import", short_help="Make int8 of a Keras, TensorFlow, PyTorch (ONNX) model.")
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.option("--data", type=DataFolder(), required=True,
              help="Pictures in ROOT, ROOT/{img,mask} or ROOT/CLASS, or below ROOT/{train,val,test}; or .npy arrays.",
)  # fmt: skip
@click.option("--output", type=Output(is_file=True), help="Where to write. Default: beside the model, NAME.tflite.")
@click.option("--samples", type=click.IntRange(1, 10_000), default=100, show_default=True,
              help="Samples on which the ranges of activations are measured.")  # fmt: skip
@click.option("--size", type=FrameSize(), help="Height and width, where the model leaves them open.")
@click.option("--signature", default="serving_default", show_default=True, help="A SavedModel's signature.")
@contract_options
@camera_option
@click.option("--name", help="Name of the model in generated code. Default: the file's.")
@click.option("--force", is_flag=True, help="Replace the output, if there is one.")
@json_option
def import_model(
    model: Path,
    data: Path,
    output: Path | None,
    samples: int,
    size: tuple[int, int] | None,
    signature: str,
    camera: CameraSize | None,
    name: str | None,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Quantize a .keras file, a SavedModel or an .onnx file (PyTorch exports it) to int8, and show what it loses.

    Ranges are measured on --data. Float and int8 are compared by masks, by folders of classes, or with each other, and
    layer by layer. Pictures need --mean and --std; what else `describe` takes may be said here. Writes NAME.tflite and
    its sidecar. What the model may do is to compute: it is converted in a process of its own.
    """
    from codegen.tflite.files import contract_graph, save_model
    from nanou_deploy.convert.conversion import Conversion
    from nanou_deploy.convert.samples import find_samples, has_arrays
    from nanou_deploy.convert.score import score
    from nanou_deploy.convert.source import find_source
    from nanou_deploy.report.model_card import write_card

    source = find_source(model)
    target = _target(model, output, force)
    is_asked = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    _complete(given, is_asked, is_pictures=not has_arrays(data))
    progress(f"{model}: {_FORMATS[source.format]}, loaded in a process of its own")
    with Conversion(source, signature=signature, size=size) as conversion:
        found = find_samples(data, conversion.inputs, most=samples, most_scored=_MOST_SCORED)
        picture = None if found.is_arrays else _picture(conversion.inputs[0], given)
        progress(f"ranges of {len(found.representative)} samples, int8")
        quantized = conversion.quantize(_read(found, found.representative, picture, full_range=True))
        made = _with_contract(quantized.flatbuffer, name or _name(model), picture, given, camera, is_asked)
        progress(f"float and int8 on {len(found.scored)} samples")
        floats, int8s = conversion.run(_read(found, found.scored, picture, full_range=False))
        scored = score(made, contract_graph(made.flatbuffer), found, floats, int8s)
        made = replace(made, provenance=_provenance(source, conversion.weights, found, scored))
        save_model(made, target)
        write_card(made, target)
        _show(conversion, made, quantized, scored, target, as_json=as_json)


def _target(model: Path, output: Path | None, force: bool) -> Path:
    target = output or check_output(model.absolute().with_suffix(".tflite"), is_file=True)
    if target.suffix != ".tflite":
        raise click.BadParameter(f"{target} does not end in .tflite", param_hint="--output")
    for path in (target, target.with_suffix(".json")):
        if path.exists() and not force:
            raise DeployError(f"{path} is there already", hint="--force replaces it, --output names another")
    return target if output else Path(model.parent / target.name)


def _name(model: Path) -> str:
    import re

    return re.sub(r"[^A-Za-z0-9._-]", "_", model.absolute().stem)[:64]


# ---- What the tensors mean -----------------------------------------------------------------------------------------


def _complete(given: dict[str, Any], is_asked: bool, *, is_pictures: bool) -> None:
    """Ask for the mean and std of pictures, where options lack them, before any work is done."""
    if not is_pictures:
        if given["input_kind"] == "image" or any(given[key] is not None for key in _PICTURE):
            raise click.UsageError("arrays hold what the model takes: mean, std and the like are of pictures")
        return
    for key in ("mean", "std"):
        if given[key] is None and is_asked:
            given[key] = click.prompt(
                f"(v/255 - mean) / std is the input for a pixel component v: {key}", type=Numbers()
            )
    if lacking := [f"--{key}" for key in ("mean", "std") if given[key] is None]:
        raise click.UsageError(f"pictures need {' and '.join(lacking)}: what the model was trained with")


def _picture(facts: TensorFacts, given: dict[str, Any]) -> Preprocessing:
    """Return the contract of pictures."""
    from codegen.graph.contract import PICTURE_CHANNELS
    from codegen.graph.model import Preprocessing

    if len(facts.shape) != 4 or facts.shape[3] not in PICTURE_CHANNELS or given["input_kind"] == "raw":
        shape = ", ".join(map(str, facts.shape[1:]))
        raise DeployError(
            f"the model's input, ({shape}) after the batch, takes no pictures",
            hint=f"give .npy arrays of shape (N, {shape}) as --data",
        )
    return Preprocessing(*facts.shape[1:], **{key: given[key] for key in _PICTURE if given[key] is not None})


def _with_contract(
    flatbuffer: bytes,
    name: str,
    picture: Preprocessing | None,
    given: dict[str, Any],
    camera: CameraSize | None,
    is_asked: bool,
) -> QuantizedModel:
    """Return the model with what is certain of its contract, what was said, and what was answered."""
    from codegen.graph.contract import check_contract
    from codegen.graph.model import Contract, InputContract, QuantizedModel
    from codegen.tflite.files import contract_graph, inferred

    graph, certain = contract_graph(flatbuffer), inferred(flatbuffer)
    inputs = (InputContract(picture),) if picture else (InputContract(),) * len(graph.inputs)
    contract = Contract(inputs, certain.contract.outputs)
    known = Known(
        QuantizedModel(name, flatbuffer, contract), graph, ("as given",) * len(inputs), certain.output_reasons
    )
    settled = ("input_index", "output_index", "input_kind", *_PICTURE)
    said = {key: value for key, value in given.items() if value is not None and key not in settled}
    if said:
        known = restated(known, said, given["input_index"], given["output_index"])
    elif is_asked:
        known = ask(known)
    made = known.model if camera is None else replace(known.model, camera=camera)
    check_contract(made.contract, graph)
    return made


def _read(found: SampleSet, samples: tuple[Sample, ...], picture: Preprocessing | None, *, full_range: bool) -> Samples:
    from nanou_deploy.convert.samples import read_arrays, read_pictures

    if picture is None:
        return read_arrays(samples, found)
    return read_pictures(samples, picture, full_range=full_range)


def _provenance(source: ModelSource, weights: dict[str, str], found: SampleSet, scored: Score) -> dict[str, Any]:
    """State what the model was made of: `sha256` covers all files, `weights` has that of each beside an .onnx file."""
    beside = {"weights": [{"file": name, "sha256": one} for name, one in sorted(weights.items())]} if weights else {}
    named = {"file": source.path.name, "format": source.format, "sha256": source.sha256(weights)}
    return {
        "source": "import",
        "imported": {**named, **beside},
        "calibration": {"samples": len(found.representative), "method": "post-training, full int8"},
        "score": as_dict(scored),
    }


# ---- What is shown -------------------------------------------------------------------------------------------------


def _show(
    conversion: Conversion, made: QuantizedModel, quantized: Quantized, scored: Score, target: Path, *, as_json: bool
) -> None:
    from codegen.graph.contract import remarks
    from codegen.tflite.sidecar import contract_document

    if as_json:
        emit_json(
            "import/1",
            {
                "model": target,
                "sha256": made.sha256,
                "size_bytes": len(made.flatbuffer),
                "inputs": [as_dict(one) for one in conversion.inputs],
                "outputs": [as_dict(one) for one in conversion.outputs],
                "contract": contract_document(made.contract),
                "score": as_dict(scored),
                "layers": [as_dict(one) for one in quantized.layers],
                "worst_layer": as_dict(quantized.worst) if quantized.worst else None,
            },
        )
        return
    for what, facts in (("input", conversion.inputs), ("output", conversion.outputs)):
        for one in facts:
            say(f"{what} {one.name}: {'x'.join(map(str, one.shape))}")
    _show_score(scored)
    _show_layers(quantized)
    for told in (*remarks(made), *filter(None, [scored.remark])):
        remark(told)
    say(f"{target}: {len(made.flatbuffer):,} bytes, sha256 {made.sha256[:16]}, and its sidecar")
    next_step("nanou-deploy", "verify", "--model", target)


def _show_score(scored: Score) -> None:
    names = {"miou": "mIoU", "top1": "top-1"}
    unseen = "none of which gave ranges" if scored.is_unseen else "which gave the ranges too"
    if scored.metric:
        metric = names[scored.metric]
        say(f"float  {metric} {percent(scored.float_score)} %")
        say(f"int8   {metric} {percent(scored.int8_score)} %")
    for index, one in enumerate(scored.agreements):
        same = "" if one.same_decision is None else f"the same decision in {percent(one.same_decision)} %, "
        apart = f"{one.mean_difference:.4g} apart on average ({one.mean_difference_steps:.2f} int8 steps)"
        say(f"float and int8, output {index}: {same}{apart}")
    say(f"on {scored.samples} samples, {unseen}")


def _show_layers(quantized: Quantized) -> None:
    ranked = sorted(quantized.layers, key=lambda layer: -layer.lost)
    emit_table(
        ("#", "Operator", "Lost %", "Error, steps", "Tensor"),
        (
            (_number(one), one.operator, f"{100 * one.lost:.3g}", f"{one.error_steps:.2f}", one.tensor.split(";")[0])
            for one in ranked[:_SHOWN_LAYERS]
        ),
        right=(0, 2, 3),
    )
    if worst := quantized.worst:
        where = f"operator {_number(worst)} ({worst.operator})" if worst.index is not None else worst.operator
        say(f"most is lost in {where}, {worst.tensor.split(';')[0]}: {100 * worst.lost:.3g} % of the signal's power")


def _number(layer: LayerLoss) -> str:
    return "" if layer.index is None else str(layer.index)
