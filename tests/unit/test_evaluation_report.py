"""What an evaluation looks like: charts that are where they say, tables, and executors that are one shown once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from codegen.graph.model import Preprocessing
from nanou_deploy.build.library import open_model
from nanou_deploy.errors import DeployError
from nanou_deploy.evaluate.evaluation import EvaluationResult, _golden_rows, merge_equal, worst_panels, write_evaluation
from nanou_deploy.report.charts import Chart, evaluation_charts, svg_file
from nanou_deploy.report.evaluation import evaluation_tables
from nanou_deploy.report.pictures import FALSE_DRIVABLE_RGB, class_overlay, panel_picture
from nanou_train.data.dataset import Split
from nanou_train.data.labels import BINARY_CLASSES
from nanou_train.evaluation.evaluate import Predictor, compare, evaluate_logits, logit
from tests.unit.test_report import Page, make_data

CONTRACT = Preprocessing(12, 16)


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


def points(chart: Chart) -> list[tuple[float, float]]:
    """All points of a chart's lines, from coordinates back to 0..1."""
    found = []
    for series in chart.series:
        for pair in series.points.split():
            x, y = map(float, pair.split(","))
            found.append(
                ((x - chart.left) / (chart.right - chart.left), (chart.bottom - y) / (chart.bottom - chart.top))
            )
    return found


def test_charts_are_well_formed_and_inside() -> None:
    charts = evaluation_charts(make_result()[0].executors)
    assert [chart.slug for chart in charts] == ["precision_recall", "thresholds", "reliability"]
    for chart in charts:
        root = ElementTree.fromstring(svg_file(chart))
        assert root.tag.endswith("svg")
        lines = root.findall(".//{*}polyline")
        assert len(lines) == len(chart.series) + len(chart.guides)
        assert all(-1e-3 <= value <= 1.001 for point in points(chart) for value in point)
        texts = {text.text for text in root.findall(".//{*}text")}
        assert {chart.x_label, chart.y_label, *(series.name for series in chart.series)} <= texts
        assert max(entry.y for entry in chart.legend) < chart.height_px


def test_the_precision_recall_curve_goes_through_the_sweep() -> None:
    result, _ = make_result()
    chart = evaluation_charts(result.executors[:1])[0]
    expected = [(point.recall, point.precision) for point in result.executors[0].sweep]
    assert np.allclose(points(chart), expected, atol=5e-4)


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
    written = write_evaluation(tmp_path / "out", result, split, CONTRACT, open_model(None), ("nanou-deploy evaluate",))
    assert {path.name for path in written} == {path.name for path in (tmp_path / "out").iterdir()}
    without = write_evaluation(tmp_path / "out", result, split, CONTRACT, None, ())
    assert "report.html" not in {path.name for path in without}
    assert not (tmp_path / "out" / "report.html").exists()  # not one of another evaluation
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DeployError, match="holds no evaluation"):
        write_evaluation(tmp_path / "out", result, split, CONTRACT, None, ())
    assert (tmp_path / "out" / "mine.txt").exists()
