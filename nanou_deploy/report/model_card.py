"""Make the card of a model: what it was trained on, how well it sees and where not, what it means and costs.

Everything is in the model and its provenance, which is read as a stranger's: what has another type is not there. The
form follows M. Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import codegen
from codegen.atomic_files import write_text
from codegen.compile import Compilation
from codegen.errors import CodegenError
from codegen.graph.contract import remarks
from codegen.graph.contract_text import input_text, output_text, quantization_text
from codegen.graph.graph import Graph, Tensor
from codegen.graph.macs import count_macs
from codegen.graph.model import QuantizedModel
from codegen.library.resources import render_template
from codegen.tflite.files import contract_graph
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.compilation import compile_for
from nanou_deploy.report.card_facts import Facts, read_facts
from nanou_deploy.report.tables import MISSING, Cell, Table, count_text, percent_text, shape_text

SUFFIXES = (".card.md", ".card.html")
_ROLES = {
    "int8": "int8, what a device runs",
    "float": "float, the same weights",
    "fake_quant": "float that rounds as int8",
    "teacher": "teacher",
    "constant_mask": "constant mask",
}
_SCORES = ("miou", "iou_drivable", "iou_background", "precision", "recall")
_LISTED = 12


@dataclass(frozen=True)
class Section:
    """A part of a card: sentences, a table, or both."""

    slug: str
    title: str
    sentences: tuple[str, ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class ModelCard:
    """What a card says, in the order of the page; all plain text."""

    name: str
    subtitle: str
    verdict: Cell
    sections: tuple[Section, ...]

    @property
    def generator(self) -> str:
        return f"nanou-deploy {codegen.__version__}"


def model_card(model: QuantizedModel) -> ModelCard:
    """Make the card: a pure function of the model. What it costs in RAM is the compiler's word, for rv32."""
    facts, graph = read_facts(model.provenance), contract_graph(model.flatbuffer)
    ends = (shape_text(graph.tensor(index).shape) for index in (graph.inputs[0], graph.outputs[0]))
    subtitle = f"{' → '.join(ends)} · {len(model.flatbuffer):,} bytes · sha256 {model.sha256[:12]}"
    sections = (
        Section("data", "Data", table=_data(facts)),
        *_scores(facts),
        Section("limits", "Limits", tuple(_limits(model, facts))),
        *_sequences(facts),
        Section("contract", "Contract", remarks(model), _contract(model, graph)),
        *_costs(model, graph, facts),
        Section("origin", "Where it comes from", table=_origin(model, facts)),
    )
    return ModelCard(model.name, subtitle, _verdict(facts), tuple(s for s in sections if s.table or s.sentences))


def render_card(card: ModelCard) -> dict[str, str]:
    """Render the card as Markdown and as one HTML page, by SUFFIXES."""
    templates = zip(SUFFIXES, ("report/card.md.j2", "report/card.html.j2"), strict=True)
    return {suffix: render_template(template, card=card, MISSING=MISSING) for suffix, template in templates}


def write_card(model: QuantizedModel, path: Path) -> tuple[Path, ...]:
    """Make and save the card of the model at `path` (.tflite); return the files. Raises OSError."""
    return save_card(model_card(model), path)


def save_card(card: ModelCard, path: Path) -> tuple[Path, ...]:
    """Write the card beside the model at `path` (.tflite); return the files. Raises OSError."""
    files = []
    for suffix, text in render_card(card).items():
        files.append(path.with_suffix(suffix))
        write_text(files[-1], text)
    return tuple(files)


def refresh_card(model: QuantizedModel, path: Path) -> None:
    """Write the card again where there is one: its contract has changed. Raises OSError."""
    if any(path.with_suffix(suffix).exists() for suffix in SUFFIXES):
        write_card(model, path)


# ---- What it was made of -----------------------------------------------------------------------------------------


def _table(slug: str, columns: tuple[str, ...], rows: Iterator[tuple[str, ...]], note: str = "") -> Table | None:
    """Make a table of texts; all columns but the first hold numbers, except where there are two."""
    css = "n" if len(columns) > 2 else ""
    made = tuple(tuple(Cell(text, css if at else "") for at, text in enumerate(row)) for row in rows)
    heads = tuple(Cell(text, css if at else "") for at, text in enumerate(columns))
    return Table(slug, "", note, heads, made) if made else None


def _facts_table(slug: str, rows: Iterator[tuple[str, str]]) -> Table | None:
    return _table(slug, ("", ""), ((name, text) for name, text in rows if text))


def _data(facts: Facts) -> Table | None:
    def rows() -> Iterator[tuple[str, str]]:
        if not facts.data_name:
            return
        yield "trained on", facts.data_name
        yield "licence", facts.licence or "nobody has said"
        yield "attribution", facts.attribution
        yield "pictures", ", ".join(f"{count:,} {part}" for part, count in facts.counts.items())
        yield "sequences in the test part", str(len(facts.sequences) + facts.left_out) if facts.sequences else ""
        yield "classes", ", ".join(facts.classes)
        yield "drivable", ", ".join(facts.drivable)
        yield "sha256 of the training part", facts.train_sha256

    return _facts_table("data", rows())


def _scores(facts: Facts) -> Iterator[Section]:
    if facts.metrics:
        keys = [key for key in _SCORES if any(key in row for row in facts.metrics.values())]
        ordered = [*(role for role in _ROLES if role in facts.metrics), *(r for r in facts.metrics if r not in _ROLES)]
        rows = ((_role(role), *(percent_text(facts.metrics[role].get(key)) for key in keys)) for role in ordered)
        titles = (key.replace("miou", "mIoU").replace("iou_", "IoU ").replace("_", " ") for key in keys)
        where = facts.scored_on or "the test part"
        note = f"Percent, on {where}, threshold as below. The constant mask looks at no picture."
        yield Section("scores", "Scores", table=_table("scores", ("predictor", *titles), rows, note))


def _sequences(facts: Facts) -> Iterator[Section]:
    if facts.sequences:
        names = list(facts.sequences[0].miou)
        names = [name for name in ("int8", "constant_mask") if name in names] + [
            name for name in names if name not in ("int8", "constant_mask")
        ]
        by_score = sorted(facts.sequences, key=lambda row: row.miou.get("int8", 0.0))
        lines = (
            (row.name, str(row.pictures), *(percent_text(row.miou.get(name)) for name in names)) for row in by_score
        )
        columns = ("sequence", "pictures", *(_role(name).partition(",")[0] for name in names))
        left_out = f" {facts.left_out:,} of fewer pictures are left out." if facts.left_out else ""
        note = f"mIoU in percent of each sequence of the test part, the worst first.{left_out}"
        yield Section("sequences", "Scores by sequence", table=_table("sequences", columns, lines, note))


def _role(name: str) -> str:
    return _ROLES.get(name, f"{name}, int8")


def _verdict(facts: Facts) -> Cell:
    int8, constant = (facts.metrics.get(role, {}).get("miou") for role in ("int8", "constant_mask"))
    if int8 is None:
        return Cell("Nobody has measured how well it sees: `nanou-deploy card --data` does.", "bad")
    text = f"{percent_text(int8)} % mIoU in int8 on {facts.scored_on or 'its test part'}"
    if constant is None:
        return Cell(f"{text}.", "good")
    return Cell(
        f"{text}; a mask that looks at no picture has {percent_text(constant)} %.", "good" if int8 > constant else "bad"
    )


# ---- Limits --------------------------------------------------------------------------------------------------------


def _limits(model: QuantizedModel, facts: Facts) -> Iterator[str]:
    if facts.data_name:
        yield (
            f"It has learned from {facts.data_name} and nothing else. Other ground, seasons, light, weather, cameras,"
            " and another height or angle of the camera were not tried, unless a table here says so."
        )
    else:
        yield "Nobody has said on what it was trained, so nobody can say where it may be used."
    yield from facts.limits
    yield from _weak_sequences(facts)
    if model.drivable:
        yield (
            f"It tells {', '.join(model.drivable)} from the rest by looks, in single pictures. It was not made to find"
            " people, animals, steps, water or edges: a vehicle needs sensors of their own for those."
        )
    yield "Nothing that is stated here was measured on a board."


def _weak_sequences(facts: Facts) -> Iterator[str]:
    both = [row for row in facts.sequences if row.miou.keys() >= {"int8", "constant_mask"}]
    if not both:
        return
    weak = [row.name for row in both if row.miou["int8"] <= row.miou["constant_mask"]]
    listed = ", ".join(weak[:_LISTED]) + (", …" if len(weak) > _LISTED else "")
    yield (
        f"In {len(weak)} of {len(both)} sequences it sees no more than the constant mask: {listed}."
        if weak
        else f"In each of {len(both)} sequences it sees more than the constant mask."
    )
    worst = min(both, key=lambda row: row.miou["int8"])
    yield f"The worst sequence is {worst.name}: {percent_text(worst.miou['int8'])} % mIoU, pictures: {worst.pictures}."


# ---- What it means and costs -----------------------------------------------------------------------------------------


def _contract(model: QuantizedModel, graph: Graph) -> Table | None:
    def rows() -> Iterator[tuple[str, str]]:
        for number, (stated, index) in enumerate(zip(model.contract.inputs, graph.inputs, strict=True)):
            yield f"input {number}", f"{_tensor_text(graph.tensor(index))}; {input_text(stated)}"
        for number, (output, index) in enumerate(zip(model.contract.outputs, graph.outputs, strict=True)):
            yield f"output {number}", f"{_tensor_text(graph.tensor(index))}; {output_text(output)}"
        if model.picture is not None:
            yield "camera", f"pictures of {model.camera}, unless firmware was built for others"

    return _facts_table("contract", rows())


def _tensor_text(tensor: Tensor) -> str:
    return f"{tensor.dtype} {shape_text(tensor.shape)}{quantization_text(tensor)}"


def _costs(model: QuantizedModel, graph: Graph, facts: Facts) -> Iterator[Section]:
    compiled = _compiled(model)
    table = _facts_table("memory", _memory(model, graph, compiled))
    sentences = (f"It does not compile: {compiled}",) if isinstance(compiled, str) else ()
    yield Section("memory", "Costs", sentences, table)
    if facts.costs:
        columns = ("counted on", "instructions", "working RAM", "code", "tables", "stack")
        rows = ((cost.board, *(count_text(value) for value in cost.figures)) for cost in facts.costs)
        note = "Of one inference, counted under emulation; bytes. Another compiler gives other code."
        yield Section("costs", "Costs, counted", table=_table("costs", columns, rows, note))


def _compiled(model: QuantizedModel) -> Compilation | str:
    """Compile for rv32, or say why that cannot be."""
    try:
        return compile_for(model, find_board("rv32-qemu"))
    except CodegenError as error:
        return str(error)


def _memory(model: QuantizedModel, graph: Graph, compiled: Compilation | str) -> Iterator[tuple[str, str]]:
    macs = count_macs(graph)
    yield "multiply-accumulates", f"{macs:,}" if macs else ""
    yield ".tflite file", f"{len(model.flatbuffer):,} bytes"
    if not isinstance(compiled, str):
        plan = compiled.plan
        yield "working RAM, compiled for rv32", f"{plan.working_bytes:,} bytes, and {plan.io_bytes:,} of frames"
        yield "with row callbacks, all included", f"{plan.rows_arena_bytes:,} bytes"


def _origin(model: QuantizedModel, facts: Facts) -> Table | None:
    def rows() -> Iterator[tuple[str, str]]:
        yield "sha256", model.sha256
        yield "made by", facts.source
        yield "experiment", f"{facts.experiment}, seed {facts.seed}" if facts.experiment else ""
        yield "pruned", facts.pruned
        yield "rounding", facts.calibration
        yield "threshold", facts.threshold
        yield "versions", ", ".join(f"{name} {version}" for name, version in facts.versions.items())

    return _facts_table("origin", rows())
