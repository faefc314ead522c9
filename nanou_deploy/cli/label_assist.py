"""`label-assist`: propose masks for pictures, to be corrected in a labelling tool and taken back by `prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.options import PROBABILITY, Existing, Names, Output, Real, json_option, model_option
from nanou_deploy.cli.output import emit_json, next_step, said_when_interrupted, say, warn
from nanou_deploy.errors import DeployError, UsageMistake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nanou_deploy.assist.folder import Written
    from nanou_deploy.assist.proposals import Proposal, Propose

_SHOWN = 3
_OURS = "proposals"


class _Pictures(Existing):
    """Parses the folder of the pictures."""

    _kind, _hint = "folder", "give the folder of the pictures"


@click.command(short_help="Propose masks, to be corrected in a labelling tool.")
@click.argument("pictures", type=_Pictures())
@click.option("--output", type=Output(), required=True, help="Folder for polygons, index masks and a contact sheet.")
@model_option
@click.option(
    "--executor",
    type=click.Choice(["int8", "keras", "tflm", "aot"]),
    help="What runs the model; keras is a run's float student. Default: int8.",
)
@click.option("--soft-masks", type=click.Path(path_type=Path), help="Folder of any program's 16-bit PNG or .npy masks.")
@click.option(
    "--classes",
    type=Names(),
    metavar="NAME,...",
    help="Of --soft-masks with more than two. Default: background,drivable.",
)
@click.option("--threshold", type=PROBABILITY, help="From which probability on a pixel is drivable.")
@click.option("--uncertain-below", type=PROBABILITY, help="Where the class is less probable, nobody has labelled.")
@click.option("--tolerance", type=Real(0, 100), default=1.0, show_default=True, help="Of polygons, in pixels.")
@click.option("--save-soft", is_flag=True, help="Save the probabilities too, as soft masks.")
@json_option
def label_assist(
    pictures: Path,
    output: Path,
    model: Path | None,
    executor: str | None,
    soft_masks: Path | None,
    classes: tuple[str, ...] | None,
    threshold: float | None,
    uncertain_below: float | None,
    tolerance: float,
    save_soft: bool,
    as_json: bool,
) -> None:
    """Propose a mask for each of PICTURES, by a model or by soft masks, as LabelMe polygons and as index masks.

    Open them in LabelMe or CVAT, correct them, and give them to `nanou-deploy prepare --labels`. A file that was
    corrected is never written over: run the command again with a better model for the rest.
    """
    from nanou_deploy.assist.folder import Style, check_record, write_proposals
    from nanou_deploy.assist.proposals import Deciding, propose_masks
    from nanou_deploy.cli.training_output import training_progress
    from nanou_train.data.pairs import find_pictures, skipped_in_words

    if soft_masks is not None and (model is not None or executor is not None):
        raise UsageMistake("--soft-masks and a model exclude each other", hint="give one of them")
    if soft_masks is None and classes is not None:
        raise UsageMistake("--classes belongs to --soft-masks", hint="a model names its own")
    inside = output.resolve()
    found = find_pictures(
        pictures, deep=True, skip=lambda path: "proposals" if inside in path.resolve().parents else ""
    )
    if not found.files:
        raise DeployError(f"no pictures in {pictures}", hint="PNG, JPEG, WebP, BMP, TIFF and PPM are read")
    check_record(output)
    propose, names, own_threshold, said = _proposer(model, executor, soft_masks, classes, found.files)
    deciding = Deciding(threshold or own_threshold, uncertain_below or 0.0)
    style = Style(names, tolerance, with_soft=save_soft)
    with said_when_interrupted(f"what is in {output} can be used"), training_progress() as progress:
        proposals = _counted(propose_masks(found.files, propose, deciding), len(found.files), progress)
        done = write_proposals(output, pictures, proposals, style)
    if as_json:
        uncertain = done.uncertain if uncertain_below else None
        counts = {"pictures": done.pictures, "files": done.files, "kept": done.kept, "uncertain_share": uncertain}
        emit_json("label-assist/1", {"output": output, "proposed_by": said, "classes": names, **counts})
        return
    say(f"proposed by {said}: {done.pictures} pictures, {', '.join(names)}")
    if uncertain_below:
        say(f"{done.uncertain:.1%} of the pixels are less than {uncertain_below:g} probable: __ignore__")
    if skipped := [one for one in found.skipped if one[0] not in ("of no known picture suffix", _OURS)]:
        say(f"{len(skipped)} files skipped: {skipped_in_words(skipped)}")
    _say_what_comes_next(done, pictures, output, names)


def _counted(proposals: Iterator[Proposal], count: int, progress: Callable[[str, float], None]) -> Iterator[Proposal]:
    for number, one in enumerate(proposals, 1):
        yield one
        progress(f"{number} of {count} pictures", number / count)


def _proposer(
    model: Path | None,
    executor: str | None,
    soft_masks: Path | None,
    classes: tuple[str, ...] | None,
    pictures: Mapping[str, Path],
) -> tuple[Propose, tuple[str, ...], float, str]:
    """Return what proposes, the class names, the threshold, and who that is in words."""
    from codegen.graph.model import BINARY_CLASSES
    from nanou_deploy.assist.proposals import by_soft_masks, soft_mask_files
    from nanou_train.data.labels import check_names
    from nanou_train.data.soft_masks import find_soft_masks

    if soft_masks is not None:
        names = classes or BINARY_CLASSES
        check_names("--classes", names)
        files = soft_mask_files(find_soft_masks(soft_masks).files, pictures)
        return by_soft_masks(files, len(names)), names, 0.5, f"the soft masks in {soft_masks}"
    return _by_model(model, executor)


def _by_model(path: Path | None, executor: str | None) -> tuple[Propose, tuple[str, ...], float, str]:
    from codegen.tflite.interpreters import builtin_ref_available
    from nanou_deploy.assist.proposals import by_model
    from nanou_deploy.build.library import open_model, trained_on
    from nanou_deploy.evaluate.executors import predictor

    run_folder = path if path is not None and path.is_dir() else None
    name = executor or ("int8" if builtin_ref_available() else "tflm")
    if name == "keras":
        from nanou_train.runs import run_folder as run

        keras = predictor(name, None, run_folder)
        assert run_folder is not None
        manifest = run.read_manifest(run_folder)
        threshold = run.configuration(manifest).student.threshold
        classes = tuple(str(one) for one in manifest["data"]["classes"])
        return by_model(keras, run.preprocessing(manifest)), classes, threshold, f"the float student of {run_folder}"
    model = open_model(path)
    if model.decision.task != "segment":
        raise DeployError(f"{model.name} makes no masks of pictures", hint="give a model that segments")
    data = trained_on(model)
    said = f"{model.name} by {name}" + ("" if data is None else f", trained on {data}")
    return by_model(predictor(name, model, run_folder), model.image), model.classes, model.threshold, said


def _say_what_comes_next(done: Written, pictures: Path, output: Path, names: tuple[str, ...]) -> None:
    from nanou_deploy.assist.folder import LABELME, SHEET

    if done.kept:
        shown = ", ".join(done.kept[:_SHOWN]) + (", ..." if len(done.kept) > _SHOWN else "")
        warn(f"{len(done.kept)} files stay, since somebody has changed them: {shown}")
    say(f"written: {output}, {done.files} files; look at {output / SHEET}")
    say(f"correct them, for example: labelme {pictures} --output {output / LABELME}")
    drivable = ("--drivable", names[-1]) if len(names) == 2 else ()
    next_step(
        "nanou-deploy", "prepare", "--labels", output / LABELME, "--images", pictures, *drivable, "--output", "data"
    )
