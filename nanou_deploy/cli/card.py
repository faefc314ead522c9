"""`card`: write the card of a model, with what is measured or said for it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.completion import complete_boards, complete_runs
from nanou_deploy.cli.options import DataFolder, Output, Terms, group_by_option, json_option, model_option
from nanou_deploy.cli.output import emit_json, note, progress, say
from nanou_deploy.errors import DeployError

if TYPE_CHECKING:
    from codegen.graph.model import QuantizedModel


@click.command(short_help="Write a model's card: data, scores, limits, costs.")
@model_option
@click.option("--data", type=DataFolder(), help="Measure scores on the test part of this data set, by sequence.")
@group_by_option
@click.option(
    "--beside",
    multiple=True,
    shell_complete=complete_runs,
    type=click.Path(path_type=Path),
    help="With --data: another model, scored on the same pictures. May be repeated.",
)
@click.option(
    "--board", "boards", multiple=True, shell_complete=complete_boards, metavar="NAME",
    help="Count what an inference costs there. May be repeated.",
)  # fmt: skip
@click.option("--licence", type=Terms(), help="On what terms the training data are.")
@click.option("--attribution", type=Terms(), help="Whom to name for the training data.")
@click.option("--limit", "limits", type=Terms(), multiple=True, help="What it cannot, or was not tried on. Repeatable.")
@click.option("--output", type=Output(), help="Folder to write the card to. Default: beside the model.")
@json_option
def card(
    model: Path | None,
    data: Path | None,
    group_by: str,
    beside: tuple[Path, ...],
    boards: tuple[str, ...],
    output: Path | None,
    as_json: bool,
    **said: Any,
) -> None:
    """Write NAME.card.md and NAME.card.html: data and licence, scores by sequence, limits, contract, costs.

    What the options measure or say is recorded in the model's sidecar first, so that the card needs no data again.
    `quantize` and `import` write one themselves.
    """
    from codegen.tflite.files import save_sidecar
    from nanou_deploy.build.library import is_shipped, model_path, open_model
    from nanou_deploy.report.model_card import model_card, save_card

    if (beside or group_by) and data is None:
        raise click.UsageError("--beside and --group-by need --data")
    if is_shipped(model) and (data is not None or boards or any(said.values())):
        raise DeployError("a shipped model is not yours to change", hint="copy it, and name the copy with --model")
    known, path = open_model(model), model_path(model)
    recorded = _recorded(known, data, group_by, beside, boards, said)
    if recorded is not known:
        note(f"written: {save_sidecar(recorded, path)}")
    if output is None and is_shipped(model):
        output = Path("build") / "card"
    made = model_card(recorded)
    files = save_card(made, output / path.name if output else path)
    if as_json:
        emit_json("card/1", {"files": files, "card": made})
        return
    for file in files:
        say(f"{file}")


def _recorded(
    model: QuantizedModel,
    data: Path | None,
    group_by: str,
    beside: tuple[Path, ...],
    boards: tuple[str, ...],
    said: dict[str, Any],
) -> QuantizedModel:
    """Put what was measured and said into the model's provenance; return the same model where that is nothing."""
    provenance: dict[str, Any] = {key: value for key, value in said.items() if value}
    if "limits" in provenance:
        provenance["limits"] = list(provenance["limits"])
    if data is not None:
        provenance |= _scores(model, data, group_by, beside)
    if boards:
        provenance["costs"] = [_cost(model, board) for board in boards]
    return replace(model, provenance={**model.provenance, **provenance}) if provenance else model


def _scores(model: QuantizedModel, data: Path, group_by: str, beside: tuple[Path, ...]) -> dict[str, Any]:
    from nanou_deploy.build.library import open_model
    from nanou_train.data.dataset import DatasetSpec, load_dataset
    from nanou_train.data.splits import regrouped
    from nanou_train.runs.quantize_run import card_scores

    others = [open_model(path) for path in beside]
    dataset = regrouped(load_dataset(DatasetSpec.of(data, model.image)), group_by)
    progress(f"{1 + len(others)} model(s) on {len(dataset.test)} pictures")
    return card_scores(model, dataset, others)


def _cost(model: QuantizedModel, board: str) -> dict[str, Any]:
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.measure.bench import bench
    from nanou_deploy.report.card_facts import COST_KEYS

    found = asdict(bench(model, find_board(board), progress=progress))
    return {"board": board, **{key: found[key] for key in COST_KEYS}, "compiler": found["compiler"]}
