"""What an evaluation looks like: charts that are where they say, tables, and executors that are one shown once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from codegen.graph.model import Preprocessing, logit
from nanou_deploy.build.library import open_model
from nanou_deploy.errors import DeployError
from nanou_deploy.evaluate.evaluate_executors import (
    EvaluationResult,
    _golden_rows,
    merge_equal,
    worst_panels,
    write_evaluation,
)
from nanou_deploy.report.charts import Chart, Line, Mark, chart_svg, evaluation_charts
from nanou_deploy.report.drawing import COLORS, svg_element, svg_file
from nanou_deploy.report.evaluation_tables import evaluation_tables
from nanou_deploy.report.legend import FALSE_DRIVABLE_RGB
from nanou_deploy.report.pictures import class_overlay, panel_picture
from nanou_train.data.dataset import Split
from nanou_train.data.labels import BINARY_CLASSES
from nanou_train.evaluation.evaluate import Predictor, compare, evaluate_logits
from tests.unit.test_report import Page, make_data

CONTRACT = Preprocessing(12, 16)
# What a watched training logs: batches between epochs; layers are the more redundant the later in the alphabet.
REDUNDANCY = [
    {
        "event": event,
        "epoch": epoch,
        "aggregate": {"redundancy_score": {"mean": 0.25 * epoch}},
        "layer_metrics": {name: {"redundancy_score": 0.1 * epoch * n} for n, name in enumerate("abcd", start=1)},
    }
    for event, epoch in (("epoch", 1), ("batch", 2), ("epoch", 2))
]


def make_result(classes: tuple[str, ...] = BINARY_CLASSES) -> tuple[EvaluationResult, Split]:
    """keras, and int8, tflm and aot of which the last differs in one output."""
    rng = np.random.default_rng(7)
    masks = rng.integers(0, len(classes), (10, 12, 16)).astype(np.uint8)
    images = rng.integers(0, 256, (10, 12, 16, 3), np.uint8)
    split = Split(images, masks, tuple(f"frame{i}" for i in range(10)), tuple("ab"[i % 2] for i in range(10)))
    if len(classes) == 2:
        logits = np.round(rng.normal(masks * 2.0 - 1, 1.5), 1)
    else:
        logits = np.round(rng.normal(np.eye(len(classes))[masks] * 3, 2), 1)
    other = logits.copy()
    other.reshape(-1)[0] += 0.1
    predictors = [Predictor("keras", lambda _: logits, logit)]
    predictors += [Predictor(name, lambda _: logits, logit, True, 0.1) for name in ("int8", "tflm", "aot")]
    given = [logits + 0.01, logits, logits, other]
    evaluations = [evaluate_logits(p, g, split, classes, threshold=0.4) for p, g in zip(predictors, given, strict=True)]
    comparisons = [
        compare(predictors[i], predictors[j], (given[i], given[j]), masks, classes, 0.4)
        for i in range(4)
        for j in range(i + 1, 4)
    ]
    decisions = {p.name: p.decide(g, 0.4) for p, g in zip(predictors, given, strict=True)}
    mask_metrics = evaluations[0].metrics
    facts = ("data", "test", 10, classes, 0.4, mask_metrics)
    return EvaluationResult(*facts, tuple(evaluations), tuple(comparisons), decisions), split


def test_charts_show_their_lines_by_name_and_marks_by_pointing() -> None:
    charts = evaluation_charts(make_result()[0].executors, REDUNDANCY)
    assert [chart.slug for chart in charts] == ["precision_recall", "thresholds", "reliability", "redundancy"]
    for chart in charts:
        svg = chart_svg(chart)
        assert svg == chart_svg(chart)
        root = ElementTree.fromstring(svg_file(svg))
        assert root.tag.endswith("svg")
        texts = {text.text for text in root.findall(".//{*}text")}
        assert {*chart.labels, *(line.name for line in chart.lines)} <= texts
        marks = [mark.text for line in chart.lines for mark in line.marks]
        assert [title.text for title in root.findall(".//{*}title")] == marks
        assert not root.findall(".//{*}metadata")
        for color in COLORS[: len(chart.lines)]:
            assert color in svg
            assert color not in svg_element(svg)  # a page's style has its own


def test_lines_are_drawn_where_their_points_are() -> None:
    line = Line("a line", ((0.0, 0.0), (0.5, 1.0), (1.0, 0.25)))
    svg = ElementTree.fromstring(chart_svg(Chart("x", "x", "", ("x", "y"), (line,))))
    drawn = next(path for path in svg.findall(".//{*}path") if COLORS[0] in path.get("style", ""))
    numbers = [float(number) for number in re.findall(r"[\d.]+", drawn.get("d", ""))]
    (x0, y0), (x1, y1), (x2, y2) = zip(numbers[::2], numbers[1::2], strict=True)
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.5)
    assert (y0 - y2) / (y0 - y1) == pytest.approx(0.25)


def test_names_are_text_whatever_they_hold() -> None:
    chart = Chart("x", "<b>", "", ("$x_", "y"), (Line("</svg> & $^$ 日", ((0, 0), (1, 1)), (Mark(0, 0, "<i>"),)),))
    root = ElementTree.fromstring(chart_svg(chart))
    assert {"$x_", "</svg> & $^$ 日"} <= {text.text for text in root.findall(".//{*}text")}
    assert root.find(".//{*}title").text == "<i>"  # type: ignore[union-attr]


def test_the_precision_recall_curve_goes_through_the_sweep() -> None:
    result, _ = make_result()
    (line,) = evaluation_charts(result.executors[:1])[0].lines
    assert line.points == tuple((point.recall, point.precision) for point in result.executors[0].sweep)


def test_redundancy_is_the_mean_and_the_most_redundant_layers() -> None:
    (chart,) = evaluation_charts([], REDUNDANCY)
    assert [line.name for line in chart.lines] == ["mean of all layers", "d", "c", "b"]
    assert chart.lines[1].points == ((1, 0.4), (2, 0.8))


def test_executors_of_equal_bytes_are_one() -> None:
    result, _ = make_result()
    assert [one.executor for one in merge_equal(result)] == ["keras", "int8, tflm", "aot"]
    assert list(result.rows) == ["constant mask", "float", "int8", "aot"]
    rows = _golden_rows(result)
    assert [(row.name, row.status) for row in rows] == [
        ("TFLM", "equal"),
        ("BUILTIN_REF", "equal"),
        ("aot host", "differs"),
    ]
    assert rows[2].max_difference == 1


def test_tables_say_what_was_measured() -> None:
    result, _ = make_result()
    data = replace(make_data(), evaluations=merge_equal(result), comparisons=result.comparisons)
    tables = {table.slug: table for table in evaluation_tables(data)}
    assert set(tables) == {"classes", "confusion", "sequences", "comparison"}
    assert len(tables["classes"].rows) == 6
    assert tables["confusion"].rows[0][1].text.startswith(f"{result.executors[-1].confusion[0][0]:,} (")
    assert {row[0].text for row in tables["sequences"].rows} == {"a", "b"}
    assert len(tables["comparison"].rows) == 6


def test_the_page_holds_charts_and_worst_pictures() -> None:
    from nanou_deploy.report import render_report

    result, split = make_result()
    panels = worst_panels(result, split, CONTRACT)
    assert [panel.name for panel in panels] == [score.stem for score in result.executors[-1].worst[:6]]
    data = replace(make_data(), evaluations=merge_equal(result), comparisons=result.comparisons, worst=panels)
    page = Page(render_report(data))
    ids = [section["id"] for section in page.all("section")]
    assert ids[:7] == ["pictures", "accuracy", "evaluation", "classes", "confusion", "sequences", "comparison"]
    assert "worst" in ids
    assert sum(attributes.get("class") == "chart" for attributes in page.all("svg")) == 3


def test_several_classes_have_no_curves_but_pictures() -> None:
    result, split = make_result(("sky", "tree", "road"))
    assert [chart.slug for chart in evaluation_charts(result.executors)] == ["reliability"]
    picture = panel_picture(worst_panels(result, split, CONTRACT))
    assert picture.ndim == 3
    mask, truth = np.array([[1, 2]], np.uint8), np.array([[1, 0]], np.uint8)
    drawn = class_overlay(np.zeros((1, 2, 3), np.uint8), mask, truth, 3)
    assert tuple(drawn[0, 1]) == FALSE_DRIVABLE_RGB
    assert tuple(drawn[0, 0]) != FALSE_DRIVABLE_RGB


def test_a_bgr_model_is_shown_in_rgb() -> None:
    result, split = make_result()
    ours = worst_panels(result, split, CONTRACT)[0].image
    theirs = worst_panels(result, split, replace(CONTRACT, color_order="BGR"))[0].image
    assert np.array_equal(ours, theirs[..., ::-1])


def test_the_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    result, split = make_result()
    watched = replace(result, redundancy=tuple(REDUNDANCY))
    written = write_evaluation(tmp_path / "out", watched, split, CONTRACT, open_model(None), ("nanou-deploy evaluate",))
    assert "redundancy.svg" in {path.name for path in written}
    assert {path.name for path in written} == {path.name for path in (tmp_path / "out").iterdir()}
    without = write_evaluation(tmp_path / "out", result, split, CONTRACT, None, ())
    assert "report.html" not in {path.name for path in without}
    assert not (tmp_path / "out" / "report.html").exists()  # not one of another evaluation
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DeployError, match="holds no evaluation"):
        write_evaluation(tmp_path / "out", result, split, CONTRACT, None, ())
    assert (tmp_path / "out" / "mine.txt").exists()
