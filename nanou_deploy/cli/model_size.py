"""`model-size`: count parameters and bytes of networks."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from nanou_deploy.cli.options import json_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table
from nanou_deploy.errors import UsageMistake


@click.command(short_help="Parameters and bytes of a network, in float and int8.")
@click.argument("models", nargs=-1, metavar="[PRESET|FILE|RUN]...")
@json_option
def model_size(models: tuple[str, ...], as_json: bool) -> None:
    """Count parameters and bytes of presets, saved models or runs; without a name, of all presets.

    Int8 bytes are the constants of the deployed network; for a run that is quantized, its .tflite file's too.
    """
    from nanou_train.networks.architectures import PRESETS

    for name in models:
        if name not in PRESETS and not Path(name).exists():
            near = get_close_matches(name, PRESETS, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else f"presets: {', '.join(PRESETS)}"
            raise UsageMistake(f"there is no preset, file or run {name!r}", hint=hint)
    rows = [_size_row(name) for name in models or PRESETS]
    if as_json:
        emit_json("model-size/1", {"models": rows})
        return
    columns = ("Model", "Parameters", "Trainable", "Float bytes", "Int8 parameters", "Int8 bytes", ".tflite bytes")
    keys = ("float_parameters", "trainable_parameters", "float_bytes", "int8_parameters", "int8_bytes", "tflite_bytes")
    shown = ((row["model"], *("-" if row[key] is None else f"{row[key]:,}" for key in keys)) for row in rows)
    emit_table(columns, shown, right=range(1, 7))


def _size_row(name: str) -> dict[str, Any]:
    from nanou_train.networks.architectures import PRESETS, create_model_from_config
    from nanou_train.networks.saving import load_model
    from nanou_train.networks.size import model_size
    from nanou_train.runs import run_folder as run
    from nanou_train.runs.int8_model import int8_path

    path = Path(name)
    if name in PRESETS:
        model = create_model_from_config(name)
    else:
        model = run.load_student(path) if (path / run.MANIFEST).is_file() else load_model(path)
    tflite = int8_path(path)
    return {
        "model": name,
        **as_dict(model_size(model)),
        "tflite_bytes": tflite.stat().st_size if tflite.is_file() else None,
    }
