"""`predict`: masks, overlays and decisions of pictures, folders, videos, a webcam or a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nanou_deploy.cli.device_options import timeout_option
from nanou_deploy.cli.options import (
    MOST,
    PROBABILITY,
    Output,
    Real,
    camera_option,
    check_output,
    json_option,
    model_option,
)
from nanou_deploy.cli.output import emit_json, emit_table, note, percent, progress, remark, say, warn
from nanou_deploy.errors import EXIT_OK

if TYPE_CHECKING:
    from codegen.graph.model import CameraSize
    from nanou_deploy.predict.prediction import Prediction
    from nanou_deploy.predict.sources import Names, Shot

_MOST_ROWS = 40
_DEFAULT_OUTPUT = Path("build") / "predict"


@dataclass(frozen=True, eq=False)
class _Sight:
    """What is predicted by what: the predictions to come, and what is said of all of them."""

    predictions: Iterator[Prediction]
    title: str
    classes: tuple[str, ...]
    facts: dict[str, Any]
    is_live: bool


@dataclass(frozen=True)
class _Source:
    """Where pictures come from, as the command line says."""

    pictures: tuple[Path, ...]
    webcam: int | None
    watch: Path | None
    port: str | None
    every: int
    fps: float | None

    @property
    def is_live(self) -> bool:
        """Whether it never ends by itself."""
        return self.webcam is not None or self.watch is not None or (self.port is not None and not self.pictures)


@click.command(short_help="Pictures, video, webcam or device to masks and decisions.")
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1)
@model_option
@click.option(
    "--executor",
    type=click.Choice(["aot", "int8", "tflm", "keras"]),
    default="aot",
    show_default=True,
    help="Compiled C of the int8 model, TFLite's BUILTIN_REF, TFLite Micro, or a run's float student.",
)
@click.option("--webcam", type=click.IntRange(0, 99), metavar="N", help="See through this computer's webcam N.")
@click.option("--watch", type=click.Path(path_type=Path), metavar="FOLDER", help="Predict each picture that appears.")
@click.option("--port", metavar="ADDRESS", help="Let a device predict: its camera's pictures, or PICTURES.")
@click.option("--every", type=click.IntRange(1, MOST), default=1, show_default=True, help="Of videos, each n-th frame.")
@click.option("--fps", type=Real(0.01, 1000), help="Take a folder for a drive of so many pictures a second.")
@click.option("--limit", type=click.IntRange(1, MOST), metavar="N", help="End after so many pictures.")
@click.option("--threshold", type=PROBABILITY, help="Instead of the model's own.")
@camera_option
@click.option(
    "--direct", is_flag=True, help="Resize to the model's input as `evaluate` does, without a camera between."
)
@timeout_option
@click.option("--output", type=Output(), help=f"Folder for masks, overlays and a sheet. Default: {_DEFAULT_OUTPUT}.")
@json_option
def predict(
    pictures: tuple[Path, ...], model: Path | None, executor: str, webcam: int | None, watch: Path | None,
    port: str | None, every: int, fps: float | None, limit: int | None, threshold: float | None,
    camera: CameraSize | None, direct: bool, timeout_s: float, output: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Predict PICTURES: image files, folders, data sets, animations (GIF, WebP), videos.

    Writes masks (PNG, class indices), overlays, contact_sheet.png and predictions.json. By default the int8 model runs
    as the C that a device runs, on what its camera would deliver, and the firmware's policy says GO or STOP.
    Classifiers give labels, raw models .npy files, also of FOLDER/input.npy. Videos and webcams need OpenCV:
    nanou-deploy[video].
    """
    source = _Source(pictures, webcam, watch, port, every, fps)
    _check_usage(source, threshold, direct, executor)
    target = output or check_output(_DEFAULT_OUTPUT)
    from nanou_deploy.predict.arrays import is_tensor_folder
    from nanou_deploy.predict.folder import check_folder

    check_folder(target)
    if len(pictures) == 1 and is_tensor_folder(pictures[0]):
        _predict_arrays(pictures[0], model, executor, target, as_json)
        return EXIT_OK
    with ExitStack() as opened:
        if port is not None:
            sight = _by_device(source, model, camera, timeout_s, opened)
        else:
            sight = _by_model(source, model, executor, threshold, camera, direct, opened)
        _save(sight, target, limit, as_json, is_default=output is None)
    return EXIT_OK


def _check_usage(source: _Source, threshold: float | None, direct: bool, executor: str) -> None:
    live = [name for name in ("webcam", "watch", "port") if getattr(source, name) is not None]
    if len(live) > 1:
        raise click.UsageError(f"--{live[0]} and --{live[1]} exclude each other")
    if source.pictures and source.webcam is not None:
        raise click.UsageError("--webcam takes no PICTURES beside it")
    if not live and not source.pictures:
        raise click.UsageError("give PICTURES, --webcam, --watch or --port")
    if source.port is not None and (threshold is not None or direct or executor != "aot"):
        raise click.UsageError("a device decides by itself: --threshold, --direct and --executor are not for --port")


# ---- Who predicts ----------------------------------------------------------------------------------------------


def _shots(source: _Source, names: Names) -> Iterator[Shot]:
    from nanou_deploy.predict.session import begun, watched_shots
    from nanou_deploy.predict.sources import check_paths, shots_of, webcam_shots

    if source.webcam is not None:
        return begun(webcam_shots(source.webcam, names))
    check_paths(source.pictures)
    shots = shots_of(source.pictures, names, every=source.every, fps=source.fps)
    if source.watch is None:
        return begun(shots)
    check_paths((), folder=source.watch)

    def then_watched() -> Iterator[Shot]:
        yield from shots
        note(f"watching {source.watch} (Ctrl-C ends)")
        yield from watched_shots(source.watch or Path(), names, lambda error: warn(str(error)))

    return then_watched()


def _by_model(
    source: _Source, path: Path | None, executor: str, threshold: float | None, camera: CameraSize | None,
    direct: bool, opened: ExitStack,
) -> _Sight:  # fmt: skip
    from nanou_deploy.build.library import trained_on
    from nanou_deploy.predict.engine import open_engine
    from nanou_deploy.predict.session import predict_shots
    from nanou_deploy.predict.sources import Names

    shots = _shots(source, Names())
    progress(f"preparing {executor}")
    engine = opened.enter_context(open_engine(executor, path, threshold=threshold, camera=camera, direct=direct))
    for text in engine.remarks:
        remark(text)
    facts = {
        "model": engine.model.name,
        "model_sha256": engine.model.sha256 if engine.model.flatbuffer else None,
        "trained_on": trained_on(engine.model),
        "executor": engine.executor,
        "preprocessing": engine.preprocessing,
        "decisions": engine.decisions or None,
        "remarks": engine.remarks,
    }
    classes = engine.model.classes if engine.model.decision.task == "segment" else ()
    predictions = predict_shots(engine, shots, is_live=source.is_live)
    opened.callback(predictions.close)
    return _Sight(predictions, f"{engine.model.name} by {executor}", classes, facts, source.is_live)


def _by_device(
    source: _Source, path: Path | None, camera: CameraSize | None, timeout_s: float, opened: ExitStack
) -> _Sight:
    from codegen.graph.model import BINARY_CLASSES, CameraSize
    from nanou_deploy.build.library import open_model, trained_on
    from nanou_deploy.device.client import Device
    from nanou_deploy.predict.devices import judged_by_device, seen_by_device
    from nanou_deploy.predict.sources import Names

    assert source.port is not None
    names = Names()
    shots = _shots(source, names) if source.pictures else None
    wanted = open_model(path) if path else None
    device = opened.enter_context(
        Device.open(source.port, timeout_s=timeout_s, model_sha256=wanted.sha256 if wanted else None)
    )
    size = camera or (wanted.camera if wanted else CameraSize())
    info = device.info()
    sent = f"each picture squeezed to {size} RGB565 and sent; the rest on the device"
    facts: dict[str, Any] = {
        "model": info.model_name,
        "model_sha256": info.model_sha256,
        "trained_on": trained_on(wanted) if wanted else None,
        "executor": f"device at {source.port}",
        "preprocessing": sent if shots else "the device's own camera",
        "decisions": "by the device" + ("; each picture by itself" if shots else ""),
        "remarks": [],
    }
    predictions = judged_by_device(device, shots, size) if shots else seen_by_device(device, names)
    opened.callback(predictions.close)  # while the line is still open
    return _Sight(predictions, f"{info.model_name} by a device", BINARY_CLASSES, facts, source.is_live)


# ---- What comes of it ------------------------------------------------------------------------------------------


def _save(sight: _Sight, target: Path, limit: int | None, as_json: bool, *, is_default: bool) -> None:
    from nanou_deploy.build.built_folder import tag_built
    from nanou_deploy.predict.folder import PredictionFolder, prediction_folder

    make = partial(PredictionFolder, title=sight.title, classes=sight.classes, facts=sight.facts)
    if not as_json:
        _say_facts(sight.facts)
    rows: list[Prediction] = []
    with prediction_folder(target, make, is_live=sight.is_live) as folder:
        if is_default:
            tag_built(folder.path)
        try:
            for number, one in enumerate(islice(sight.predictions, limit), 1):
                folder.add(one)
                if sight.is_live:
                    folder.finish()
                    if not as_json:
                        say(f"{one.name}: {_in_a_line(one)}")
                elif number <= _MOST_ROWS:
                    rows.append(one)
                if number % 100 == 0:
                    progress(f"{number:,} pictures")
        except KeyboardInterrupt:
            if not sight.is_live:  # what never ends by itself was meant to be ended
                raise
        entries = folder.entries
    if as_json:
        emit_json("predict/1", {**folder.document(), "output": target})
        return
    if rows:
        _print_rows(rows, len(entries))
    _say_summary(entries, target)


def _say_facts(facts: dict[str, Any]) -> None:
    trained = f", trained on {facts['trained_on']}" if facts["trained_on"] else ""
    say(f"{facts['model']}{trained}", label="model     ")
    for name, label in (("executor", "executor  "), ("preprocessing", "pictures  "), ("decisions", "decisions ")):
        if facts[name]:
            say(facts[name], label=label)


def _in_a_line(one: Prediction) -> str:
    from nanou_deploy.predict.drawing import detail

    share = "" if one.drivable_share is None else f", {percent(one.drivable_share)} % of the mask drivable"
    return ", ".join(filter(None, (one.verdict, detail(one)))) + share


def _print_rows(rows: list[Prediction], count: int) -> None:
    if rows[0].mask is not None:
        columns = ("Picture", "Decision", "Drivable %", "Left", "Centre", "Right")
        table = [(one.name, one.verdict or "-", percent(one.drivable_share), *_covers(one)) for one in rows]
        emit_table(columns, table, right=(2, 3, 4, 5))
    elif rows[0].label:
        best = [dict(one.scores[:3]) for one in rows]
        shown = [", ".join(f"{name} {value:.4g}" for name, value in scores.items()) for scores in best]
        emit_table(
            ("Picture", "Label", "Highest"),
            [(one.name, one.label, text) for one, text in zip(rows, shown, strict=True)],
        )
    else:
        shapes = [", ".join("x".join(map(str, part.shape)) for part in one.outputs) for one in rows]
        emit_table(("Picture", "Outputs"), [(one.name, text) for one, text in zip(rows, shapes, strict=True)])
    if count > len(rows):
        say(f"and {count - len(rows):,} more, in predictions.json")


def _covers(one: Prediction) -> tuple[str, str, str]:
    if one.decision is None:
        return "-", "-", "-"
    left, centre, right = (percent(value / 1000) for value in (
        one.decision.left_permille, one.decision.centre_permille, one.decision.right_permille
    ))  # fmt: skip
    return left, centre, right


def _say_summary(entries: list[dict[str, Any]], target: Path) -> None:
    decided = [entry["decision"]["go"] for entry in entries if entry["decision"]]
    gone = f": GO on {sum(decided)}, STOP on {len(decided) - sum(decided)}" if decided else ""
    say(f"{len(entries):,} picture{'s' * (len(entries) != 1)}{gone}")
    say(f"written: {target}" + (" (begin with contact_sheet.png)" if entries else ""))


def _predict_arrays(folder: Path, path: Path | None, executor: str, target: Path, as_json: bool) -> None:
    """Predict a raw model's .npy files."""
    from codegen.atomic_files import write_bytes
    from codegen.library.write import staged_folder
    from nanou_deploy.build.library import open_model
    from nanou_deploy.evaluate.cases import named_file
    from nanou_deploy.predict.arrays import predict_arrays
    from nanou_deploy.predict.folder import npy_bytes

    if executor == "keras":
        raise click.UsageError("executor keras runs students, which segment pictures")
    model = open_model(path)
    count, outputs = predict_arrays(model, executor, folder)
    names = [f"outputs/{named_file('output', at, len(outputs))}" for at in range(len(outputs))]
    with staged_folder(target) as staging:
        for name, output in zip(names, outputs, strict=True):
            write_bytes(staging / name, npy_bytes(output))
    shapes = {name: list(output.shape) for name, output in zip(names, outputs, strict=True)}
    if as_json:
        facts = {"model": model.name, "model_sha256": model.sha256, "executor": executor, "cases": count}
        emit_json("predict/1", {**facts, "outputs": shapes, "output": target})
        return
    say(f"{model.name} by {executor}, {count} cases")
    for name, shape in shapes.items():
        say(f"{target / name}: {'x'.join(map(str, shape))}")
