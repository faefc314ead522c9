"""The report: one HTML file that is well formed, escaped, complete, and the same on every run."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from codegen.graph.graph import Graph, Operator, Tensor
from codegen.kernels.portable import copy
from codegen.plan.plan import Placement, Plan
from codegen.program.kernel import Storage
from codegen.program.program import Program, RowRead, Rows, Stage
from nanou_deploy.measure.bench import BenchResult
from nanou_deploy.report import (
    AccuracyRow,
    OperatorRow,
    Panel,
    ReportData,
    operator_rows,
    render_report,
    write_panel_png,
)
from nanou_deploy.report.arena_map import PLOT_HEIGHT_PX, arena_map, live_bytes
from nanou_deploy.report.legend import AGREED_RGB, FALSE_DRIVABLE_RGB, MISSED_RGB
from nanou_deploy.report.pictures import iou, overlay, panel_tiles
from nanou_deploy.verify.golden import Divergence, ExecutorResult

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects the elements, and insists that every one that opens also closes, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def placement(tensor: int, offset: int, size: int, first: int, last: int, region: str = "work") -> Placement:
    return Placement(
        tensor=tensor,
        name=f"block_{tensor}/Relu6",
        offset_bytes=offset,
        row_bytes=size // 2,
        rows=5,
        slots=(((first, last),), ((first, last),)),
        region=region,  # type: ignore[arg-type]
    )


PLACEMENTS = (
    placement(0, 320, 96, -1, 2, "input"),
    placement(1, 0, 256, 0, 1),
    placement(2, 192, 128, 2, 2),  # its first 64 bytes lie in tensor 1's, which dies in step 1
    placement(3, 416, 32, 2, 2, "output"),
)


def make_plan(placements: tuple[Placement, ...] = PLACEMENTS) -> Plan:
    return Plan(
        schedule=(0, 1, 2),
        step_names=("0 CONV_2D", "1 CONV_2D", "2 CONV_2D", "input row"),
        cuts=(),
        placements=placements,
        row_input=PLACEMENTS[0],
        row_output=PLACEMENTS[3],
        rows_arena_bytes=448,
        state_bytes=0,
        working_bytes=320,
        arena_bytes=448,
        io_bytes=128,
        macs=1000,
    )


def make_panel(name: str = "frame_1") -> Panel:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    truth = np.zeros((6, 8), np.uint8)
    truth[3:] = 1
    int8_mask = np.roll(truth, 1, axis=0)
    return Panel(name, image, truth, truth, int8_mask)


def differs_at(operator: str) -> Divergence:
    return Divergence(1, "random 0", 7, operator, "block_7/Relu6", 12, 3)


def make_data() -> ReportData:
    shapes = ((1, 6, 8, 3), (1, 6, 8, 1))
    return ReportData(
        model_name="terrain",
        model_sha256="ab" * 32,
        generator_version="0.1.0",
        input_shape=shapes[0],
        output_shape=shapes[1],
        plan=make_plan(),
        operators=tuple(OperatorRow(i, "CONV_2D", *shapes, "scale 0.5, zero point -128", 1234, 56) for i in range(3)),
        executors=(
            ExecutorResult("TFLM", "equal", 40, 40),
            ExecutorResult("BUILTIN_REF", "equal", 40, 40),
            ExecutorResult("aot host", "equal", 40, 40, detail="gcc"),
            ExecutorResult("aot esp32c3-sim", "absent", detail="labwired is not installed"),
        ),
        accuracy=(
            AccuracyRow("float", {"miou": 0.9, "f1": 0.95}),
            AccuracyRow("int8", {"miou": 0.876, "f1": 0.93}),
            AccuracyRow("constant mask", {"miou": 0.512}),
        ),
        bench=(
            BenchResult(
                board="rv32-qemu",
                runtime="aot",
                model_sha256="ab" * 32,
                macs=1000,
                instructions=5_000,
                instructions_per_mac=5.0,
                ram_bytes=320,
                io_bytes=128,
                stack_bytes=None,
                code_bytes=2_000,
                table_bytes=700,
                exact=True,
                compiler="riscv64-unknown-elf-gcc 12.2",
                flags=("-O2",),
            ),
        ),
        panels=(make_panel("frame_1"), make_panel("frame_2")),
        provenance={"data set": "embedded terrain, seed 7"},
        commands=("nanou-deploy verify --board host",),
    )


def test_is_well_formed_and_self_contained() -> None:
    html = render_report(make_data())
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    links = [value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")]
    assert links
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert "url(" not in html
    assert "@import" not in html
    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == ["pictures", "accuracy", "executors", "cost", "arena", "operators", "provenance"]


def test_same_data_gives_same_bytes() -> None:
    assert render_report(make_data()) == render_report(make_data())


def test_pictures_are_pngs_of_the_models_size() -> None:
    page = Page(render_report(make_data()))
    images = page.all("img")
    assert len(images) == 8  # camera, truth, float, int8, for two examples
    for attributes in images:
        png = Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2], validate=True)))
        assert png.format == "PNG"
        assert png.size == (8, 6) == (int(attributes["width"]), int(attributes["height"]))
    camera = Image.open(io.BytesIO(base64.b64decode(images[0]["src"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(camera), make_panel().image)


def test_hostile_names_are_text() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    data = replace(
        make_data(),
        model_name=hostile,
        panels=(make_panel(hostile),),
        plan=make_plan((*PLACEMENTS[:3], replace(PLACEMENTS[3], name=hostile))),
        executors=(ExecutorResult(hostile, "differs", 3, 2, 5, differs_at(hostile), hostile),),
        provenance={hostile: hostile},
        commands=(hostile,),
    )
    html = render_report(data)
    page = Page(html)
    assert page.all("script") == []
    assert "<script" not in html
    assert page.text.count(hostile) >= 7


def test_arena_rectangles_are_the_placements() -> None:
    html = render_report(make_data())
    svg = ElementTree.fromstring(re.search(r"<svg.*?</svg>", html, re.DOTALL)[0])  # type: ignore[index]
    rectangles = {rect.findtext("title"): rect for rect in svg.iter("rect") if rect.get("class", "").startswith("box")}
    assert len(rectangles) == len(PLACEMENTS)
    columns = {float(rect.get("width", "")) for title, rect in rectangles.items() if title and "steps 2 to 2" in title}
    (column_px,) = columns
    for expected in PLACEMENTS:
        (rect,) = (rect for title, rect in rectangles.items() if title and title.startswith(expected.name + " "))
        assert rect.get("class") == f"box {expected.region}"
        x, y, width, height = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        assert width == pytest.approx((expected.last_step - expected.first_step + 1) * column_px, abs=0.05)
        assert height == pytest.approx(expected.size_bytes / 448 * PLOT_HEIGHT_PX, abs=0.05)
        bottom = float(arena_map(make_plan(), {}).bottom)
        assert y + height == pytest.approx(bottom - expected.offset_bytes / 448 * PLOT_HEIGHT_PX, abs=0.05)
        assert x == pytest.approx(arena_map(make_plan(), {}).left + (expected.first_step + 1) * column_px, abs=0.05)


def test_the_peak_is_where_most_rows_are_wanted() -> None:
    assert live_bytes(PLACEMENTS) == {-1: 96, 0: 352, 1: 352, 2: 256}
    assert arena_map(make_plan(), {0: "0 CONV_2D"}).peak.label == "peak 352 B at 0 CONV_2D"


def test_rows_that_come_and_go_have_rectangles_of_their_own() -> None:
    ring = replace(placement(1, 0, 64, 0, 2), slots=(((0, 0), (2, 2)), ((1, 1),)))
    boxes = arena_map(make_plan((ring,)), {}).boxes
    assert [box.title.partition(" (")[0].rpartition("· ")[2] for box in boxes] == ["bytes 0 to 31"] * 2 + [
        "bytes 32 to 63"
    ]


def test_every_label_lies_inside_its_rectangle() -> None:
    for box in arena_map(make_plan(), {}).boxes:
        x, y = map(float, re.findall(r"translate\((\S+) (\S+)\)", box.label_transform)[0])
        assert box.x <= x <= box.x + box.width
        assert box.y <= y <= box.y + box.height


def test_verdict_names_who_differs_and_where() -> None:
    data = make_data()
    assert "2 executors equal TFLM byte for byte, on 40 cases." in Page(render_report(data)).text
    slow = tuple(ExecutorResult(name, "equal", 1, 1) for name in ("aot esp32c3-sim", "application esp32c3-sim"))
    text = Page(render_report(replace(data, executors=(*data.executors, *slow)))).text
    assert (
        "4 executors equal TFLM byte for byte, 2 of them on 40 cases, "
        "aot esp32c3-sim, application esp32c3-sim on 1." in text
    )
    wrong = ExecutorResult("aot rv32-qemu", "differs", 20, 19, 3, differs_at("operator 7 (CONV_2D)"))
    text = Page(render_report(replace(data, executors=(*data.executors, wrong)))).text
    assert "aot rv32-qemu: not equal to TFLM, first at operator 7 (CONV_2D)." in text
    assert "operator 7 (CONV_2D), block_7/Relu6, case random 0" in text
    assert "executors equal TFLM" not in text
    text = Page(render_report(replace(data, executors=data.executors[:1]))).text
    assert "Not verified: nothing was compared with TFLM." in text
    text = Page(render_report(replace(data, executors=()))).text  # of an evaluation, which is none
    assert "Scores alone: `nanou-deploy verify` compares" in text
    assert "executors equal" not in text


def test_headline_figures() -> None:
    html = render_report(make_data())
    figures = dict(
        re.findall(r'<dt>([^<]+)</dt><dd class="value">([^<]+) <span class="unit">', html),
    )
    assert figures == {
        "int8 mIoU": "87.6",
        "working RAM": "0.3",
        "flash": "2.7",
        "instructions": "0.0",
        "executors equal": "2",
    }
    assert "float 90.0 % · constant mask 51.2 %" in html
    assert "5.0 per MAC, rv32-qemu, aot" in html
    assert "Compiled by riscv64-unknown-elf-gcc 12.2 -O2." in html


def test_a_model_without_labels_or_measurements_still_reports() -> None:
    data = replace(make_data(), accuracy=(), bench=(), panels=(), provenance=None, commands=())
    page = Page(render_report(data))
    assert [attributes["id"] for attributes in page.all("section")] == ["executors", "arena", "operators", "provenance"]
    assert page.all("img") == []


def test_operator_rows_state_the_graph() -> None:
    quantized = {"dtype": "int8", "scales": (0.5,), "zero_points": (-3,)}
    graph = Graph(
        tensors=(
            Tensor(0, "in", (1, 6, 8, 3), **quantized),  # type: ignore[arg-type]
            Tensor(1, "w", (4, 1, 1, 3), data=np.zeros((4, 1, 1, 3), np.int8), **quantized),  # type: ignore[arg-type]
            Tensor(2, "b", (4,), "int32", data=np.zeros(4, np.int32)),
            Tensor(3, "out", (1, 6, 8, 4), **quantized),  # type: ignore[arg-type]
        ),
        operators=(Operator(0, "conv_2d", (0, 1, 2), (3,), {}),),
        inputs=(0,),
        outputs=(3,),
    )
    kernel = copy.build(24, Storage(0)).kernel  # any one
    stage = Stage(0, "conv_2d", "", (0,), 3, (RowRead(0, (0, 1, 2)),), kernel, macs=6 * 8 * 3 * 4)
    stored = {0: Storage(0), 3: Storage(0)}
    program = Program((stage,), (0,), (3,), {0: Rows(6, 24), 3: Rows(6, 32)}, stored, {0: "in", 3: "out"})
    (row,) = operator_rows(graph, program)
    assert row == OperatorRow(0, "CONV_2D", (1, 6, 8, 3), (1, 6, 8, 4), "scale 0.5, zero point -3", 576, 12 + 16)


def test_overlay_colours_tell_agreement_from_error() -> None:
    image = np.full((1, 4, 3), 100, np.uint8)
    mask, truth = np.array([[1, 1, 0, 0]], np.uint8), np.array([[1, 0, 1, 0]], np.uint8)
    agreed, false_drivable, missed, background = overlay(image, mask, truth)[0].astype(int)
    for pixel, rgb in ((agreed, AGREED_RGB), (false_drivable, FALSE_DRIVABLE_RGB), (missed, MISSED_RGB)):
        distance = [np.abs(pixel - other).sum() for other in (AGREED_RGB, FALSE_DRIVABLE_RGB, MISSED_RGB)]
        assert np.argmin(distance) == [AGREED_RGB, FALSE_DRIVABLE_RGB, MISSED_RGB].index(rgb)
    assert len(set(background)) == 1


def test_iou_and_captions() -> None:
    panel = make_panel()
    assert panel.truth is not None
    assert iou(panel.int8_mask, panel.truth) == pytest.approx(16 / 32)
    assert iou(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)) == 1.0
    assert [tile.caption for tile in panel_tiles(panel)] == ["frame_1", "50 % drivable", "IoU 100.0 %", "IoU 50.0 %"]
    unlabelled = panel_tiles(replace(panel, truth=None, float_mask=None))
    assert [tile.caption for tile in unlabelled] == ["frame_1", "no label", "no float model", ""]
    assert [tile.picture is None for tile in unlabelled] == [False, True, True, False]


def test_panel_png(tmp_path: Path) -> None:
    path = tmp_path / "images" / "panel.png"
    write_panel_png(path, [make_panel()], tile_width_px=80)
    first = path.read_bytes()
    with Image.open(path) as picture:
        assert picture.size[0] == 4 * 80 + 3 * 12 + 2 * 24
        pixels = np.asarray(picture)
    # The camera tile is the frame, every pixel ten times as large.
    np.testing.assert_array_equal(pixels[58 : 58 + 60 : 10, 24 : 24 + 80 : 10], make_panel().image)
    write_panel_png(path, [make_panel()], tile_width_px=80)
    assert path.read_bytes() == first
    with pytest.raises(ValueError, match="at least one"):
        write_panel_png(path, [])
