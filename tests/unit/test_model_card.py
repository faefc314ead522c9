"""Model cards: what they say of the shipped models, and what a stranger's sidecar can make them say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.tflite.files import load_model, save_model
from nanou_deploy.cli.options import _TERMS_CHARACTERS
from nanou_deploy.report.card_facts import read_facts
from nanou_deploy.report.model_card import SUFFIXES, ModelCard, Section, model_card, render_card, write_card
from nanou_train.data.dataset import MAX_TERMS, Dataset, Split
from nanou_train.evaluation.sequences import sequence_scores
from tests.command_line import run
from tests.conftest import REPOSITORY
from tests.unit.test_sidecar import flatbuffer

MODEL = QuantizedModel("small", flatbuffer(), segmentation(Preprocessing(6, 8)))
SHIPPED = sorted((REPOSITORY / "models").glob("*.tflite"))


def section(card: ModelCard, slug: str) -> Section:
    return next(one for one in card.sections if one.slug == slug)


def rows(card: ModelCard, slug: str) -> list[list[str]]:
    table = section(card, slug).table
    assert table is not None
    return [[cell.text for cell in row] for row in table.rows]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_cards_are_what_the_sidecar_says(path: Path) -> None:
    """So that a model, its sidecar or the card's form is not changed without the cards."""
    for suffix, text in render_card(model_card(load_model(path))).items():
        assert path.with_suffix(suffix).read_text(encoding="utf-8") == text, "`nanou-deploy card --model` writes it"


def test_the_shipped_model_is_scored_by_sequence_beside_the_terrain_model() -> None:
    card = model_card(load_model(REPOSITORY / "models" / "nano_u_offroad.tflite"))
    scores = {row[0]: row[1] for row in rows(card, "scores")}
    assert float(scores["int8, what a device runs"]) > float(scores["constant mask"])
    assert float(scores["nano_u_terrain, int8"]) < float(scores["constant mask"])
    sequences = rows(card, "sequences")
    assert sum(int(row[1]) for row in sequences) == 120
    assert [float(row[2]) for row in sequences] == sorted(float(row[2]) for row in sequences)
    weak = sum(float(row[2]) <= float(row[3]) for row in sequences)
    limits = " ".join(section(card, "limits").sentences)
    assert f"In {weak} of {len(sequences)} sequences it sees no more than the constant mask" in limits
    assert dict(map(tuple, rows(card, "data")))["licence"] == "CC BY 4.0"


def test_nothing_known_is_said_so() -> None:
    card = model_card(MODEL)
    assert (card.verdict.css, "Nobody has measured" in card.verdict.text) == ("bad", True)
    assert "Nobody has said on what it was trained" in section(card, "limits").sentences[0]
    assert not {"data", "scores", "sequences", "costs"} & {one.slug for one in card.sections}


HOSTILE = '<img src=x onerror=alert(1)> | **x** [a](javascript:1) \x1b[31m\u202e "'


def test_a_strangers_sidecar_formats_nothing() -> None:
    scores = {"miou": 0.5, HOSTILE: 0.25, "iou_drivable": "0.5", "precision": 7}
    provenance = {
        "licence": HOSTILE,
        "data": {"name": HOSTILE, "train": {"count": -1, "sha256": 5.5}, "classes": [HOSTILE, 3, {}]},
        "metrics": {"int8": scores, HOSTILE: scores}, "beside": {"x": [1]}, "limits": [HOSTILE, 9.5, None],
        "sequences": {"rows": [{"sequence": HOSTILE, "pictures": 2, "miou": {"int8": 0.5}}, 7, {}], "left_out": "many"},
        "costs": [{"board": HOSTILE, "instructions": True}], "versions": {HOSTILE: HOSTILE}, "seed": [1],
    }  # fmt: skip
    texts = render_card(model_card(replace(MODEL, provenance=provenance)))
    markdown, page = (texts[suffix] for suffix in SUFFIXES)
    assert "<img" not in markdown + page
    assert "\x1b" not in markdown + page
    assert "\u202e" not in markdown + page
    assert "**x**" not in markdown
    assert not re.search(r"(?<!\\)\[a", markdown)
    for line in markdown.splitlines():  # no cell ends another one
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in {3, 4, 6, 7}, line


@pytest.mark.parametrize("value", [None, 3, "x", [], [[]], {"rows": 3}, {"int8": 3}, {"rows": [None] * 10_000}])
def test_any_json_is_read(value: object) -> None:
    keys = ("data", "metrics", "beside", "sequences", "limits", "costs", "versions", "calibration", "licence", "source")
    for key in keys:
        read_facts({key: value})
    read_facts(dict.fromkeys((*keys, "pruning"), value))


@pytest.mark.parametrize(
    ("pruning", "text"),
    [
        ({"to": 0.5, "cost": "instructions on rv32-qemu", "from": "4552cfabe5d1ab1d395c"},
         "to 50 % of its instructions on rv32-qemu, from 4552cfabe5d1"),
        ({"to": 0.25, "cost": "macs"}, "to 25 % of its macs"),
        ({"to": "0.5", "cost": "macs"}, None),
        ({"to": float("nan"), "cost": "macs"}, None),
        ({"to": 0.5, "from": "4552cfabe5d1"}, None),
    ],
)  # fmt: skip
def test_a_pruned_network_says_so(pruning: dict[str, object], text: str | None) -> None:
    card = model_card(replace(MODEL, provenance={"pruning": pruning}))
    assert dict(map(tuple, rows(card, "origin"))).get("pruned") == text


def test_sequences_are_scored_beside_the_constant_mask() -> None:
    masks = np.zeros((4, 2, 2), np.uint8)
    masks[:, 1] = 1
    images = np.zeros((4, 2, 2, 3), np.uint8)
    part = Split(images, masks, ("a1", "a2", "a3", "b1"), ("a", "a", "a", "b"))
    wrong = masks.copy()
    wrong[3] = 1 - wrong[3]
    found = sequence_scores(Dataset("d", {}, part, part, part), {"int8": wrong})
    assert found == {
        "left_out": 0,
        "rows": [
            {"sequence": "a", "pictures": 3, "miou": {"constant_mask": 1.0, "int8": 1.0}},
            {"sequence": "b", "pictures": 1, "miou": {"constant_mask": 1.0, "int8": 0.0}},
        ],
    }
    ungrouped = replace(part, groups=())
    assert sequence_scores(Dataset("d", {}, part, part, ungrouped), {}) == {}


def test_what_is_said_is_recorded_and_shown(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "m.tflite")
    done = run("card", "--model", "m.tflite", "--licence", "mine", "--limit", "no snow", "--json", cwd=tmp_path)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["files"] == ["m.card.md", "m.card.html"]
    model = load_model(tmp_path / "m.tflite")
    assert (model.provenance["licence"], model.provenance["limits"]) == ("mine", ["no snow"])
    assert "- no snow" in (tmp_path / "m.card.md").read_text()
    before = (tmp_path / "m.card.html").read_text()
    assert run("describe", "m.tflite", "--camera", "96x96", cwd=tmp_path).returncode == 0
    assert "pictures of 96x96" in (tmp_path / "m.card.html").read_text()
    assert "pictures of 96x96" not in before
    assert write_card(model, tmp_path / "m.tflite") == tuple(tmp_path / f"m{suffix}" for suffix in SUFFIXES)


def test_the_shipped_model_is_not_changed(tmp_path: Path) -> None:
    done = run("card", "--licence", "mine", cwd=tmp_path)
    assert (done.returncode, "not yours to change" in done.stderr) == (1, True)
    done = run("card", "--board", "host", cwd=tmp_path)  # at once: the host cannot be counted
    assert (done.returncode, "not yours to change" in done.stderr) == (1, True)
    assert run("card", "--output", "out", cwd=tmp_path).returncode == 0
    assert (tmp_path / "out" / "nano_u_offroad.card.md").is_file()


def test_terms_have_one_limit() -> None:
    assert _TERMS_CHARACTERS == MAX_TERMS
