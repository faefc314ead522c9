"""docs/BENCHMARKS.md says what the code does now, and quotes nobody without a source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.library import open_model
from nanou_deploy.measure.compare import compare
from nanou_deploy.report.benchmarks import compare_table, compilers_table, load_published, markdown

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8")
REGENERATE = "run the command at the head of docs/BENCHMARKS.md again"


def test_the_default_model_costs_what_the_document_says(require_tool: Callable[..., str]) -> None:
    require_tool("riscv64-unknown-elf-gcc")
    require_tool("qemu-system-riscv32")
    model = open_model(None)
    comparison = compare(model, [find_board("rv32-qemu")])
    (built,) = markdown(compilers_table([comparison])).splitlines()[2:]
    if built not in DOCUMENT:
        pytest.skip("the document was made with another compiler, which gives other code")
    section = DOCUMENT.partition(f"## {model.name}\n")[2].partition("\n## ")[0]
    assert f"sha256 `{model.sha256}`" in section
    for line in markdown(compare_table(comparison)).splitlines():
        assert line in section, REGENERATE


def test_figures_of_others_are_those_of_the_data_file() -> None:
    figures = load_published()
    for figure in figures["published"]:
        assert set(figure) == {"engine", "target", "model", "figure", "measured", "source", "date"}
        assert figure["source"].startswith("https://")
        line = f"| {figure['engine']} | {figure['target']} | {figure['model']} | {figure['figure']} |"
        assert line in DOCUMENT, REGENERATE
        assert figure["source"] in DOCUMENT, REGENERATE
    for figure in figures["outside"]:
        assert f"| {figure['engine']} | {figure['target']} |" in DOCUMENT, REGENERATE


def test_milliseconds_are_those_of_others_alone() -> None:
    ours, _, others = DOCUMENT.partition("\n## Published by others\n")
    assert " ms" not in ours
    assert " ms" in others
