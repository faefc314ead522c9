"""How well do experiments see seasons and places that training has not seen? For developers; goes on where it ended.

    python -m tests.train.hold_outs --data ROOT --groups ROOT/groups.csv --season environment --place component \\
        --leave-out fall_hood summer places:0 places:1 --experiments good good_half --seeds 0 1 2

ROOT is a prepared data set, `--groups` a table of its pictures. A split leaves out one value of the season's column, in
all parts of the data, or one of two halves of the training part's places (the largest place always stays); the split
`nothing` is the data set as it is, and its validation part is `home`. Left out of training, pictures are left out of
validation too. Each experiment is trained without them, quantized, and measured on them (`away`, and `unseen`, a half
of their drives) and on the test part's other pictures (`home`), all in int8. With `--unlabelled`, training is given the
other half of these drives without masks (`data.unlabelled`): `unseen` is what compares. `--teacher` FILE is everybody's
teacher; with `--teacher-of` EXPERIMENT, its teacher for the same split and seed is, from the runs in `--teachers`
(OUTPUT). Rows go to OUTPUT/table.json, runs beside it; `--set KEY=VALUE` changes a key of all experiments, such as
student.epochs=100.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codegen.atomic_files import write_text
from codegen.graph.model import QuantizedModel
from nanou_train.data.dataset import Dataset, DatasetSpec, Split, load_dataset
from nanou_train.evaluation.curves import THRESHOLDS, sweep
from nanou_train.evaluation.evaluate import constant_mask, evaluate_model
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.networks.saving import load_model
from nanou_train.runs.int8_model import save_int8
from nanou_train.runs.quantize_run import quantize_run
from nanou_train.training.train import train_model

HALVES = 2


@dataclass(frozen=True)
class Row:
    """mIoU of one run, 0..1; `best`: int8 on `away` with the threshold that is best there."""

    split: str
    experiment: str
    seed: int
    constant: float
    teacher: float
    floating: float
    away: float
    best: float
    unseen: float
    home: float


@dataclass(frozen=True, eq=False)
class Measured:
    """Pictures that measure a student, by where they are from."""

    away: Split
    unseen: Split
    home: Split


def places_of(table: dict[str, dict[str, str]], train: Split, column: str) -> dict[str, int]:
    """Half of each of the training part's places but the largest, in turn from large to small: place -> 0 or 1."""
    sizes = Counter(table[stem][column] for stem in train.stems)
    return {place: number % HALVES for number, (place, _) in enumerate(sizes.most_common()[1:])}


def taken(split: Split, keep: Sequence[int]) -> Split:
    """Some pictures of a part, by their positions."""
    return Split(split.images[keep], split.masks[keep], tuple(split.stems[index] for index in keep))


def without(data: Dataset, left_out: set[str], name: str) -> tuple[Dataset, Split]:
    """The data set to train on, whose test part is what is left out, and the test part's other pictures."""

    def chosen(split: Split, away: bool) -> Split:
        return taken(split, [index for index, stem in enumerate(split.stems) if (stem in left_out) == away])

    parts = [chosen(part, True) for part in (data.train, data.val, data.test)]
    images, masks = (np.concatenate([getattr(part, kind) for part in parts]) for kind in ("images", "masks"))
    away = Split(images, masks, tuple(stem for part in parts for stem in part.stems))
    source = {**data.source, "left_out": name}
    if not left_out:
        return replace(data, source=source), data.val
    return (
        replace(data, source=source, train=chosen(data.train, False), val=chosen(data.val, False), test=away),
        chosen(data.test, False),
    )


def alone(data: Dataset, kept: set[str], name: str) -> Dataset:
    """The data set of the pictures `kept`, in the parts in which they are."""

    def chosen(split: Split) -> Split:
        return taken(split, [index for index, stem in enumerate(split.stems) if stem in kept])

    source = {**data.source, "only": name}
    return replace(data, source=source, train=chosen(data.train), val=chosen(data.val), test=chosen(data.test))


def int8_miou(model: QuantizedModel, split: Split) -> tuple[float, float]:
    """mIoU of the int8 model with its own threshold, and with the best one for the split."""
    from nanou_deploy.evaluate.executors import predictor

    runs = predictor("int8", model, None)
    thresholds = (*THRESHOLDS, model.threshold)
    *points, own = sweep(runs.logits(split.images), split.masks, runs.cut, thresholds)
    return own.miou, max(point.miou for point in points)


def halves_of(away: Split, table: dict[str, dict[str, str]], column: str) -> tuple[Split, Split]:
    """Divide pictures by drives, in turn from long to short: those that may be shown, and those that stay unseen."""
    sizes = Counter(table[stem][column] for stem in away.stems)
    half = {drive: number % HALVES for number, (drive, _) in enumerate(sizes.most_common())}
    shown, unseen = (
        taken(away, [index for index, stem in enumerate(away.stems) if half[table[stem][column]] == wanted])
        for wanted in range(HALVES)
    )
    return shown, unseen


def write_pictures(split: Split, folder: Path) -> None:
    """Write the pictures without their masks, as a user's camera would."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, image in zip(split.stems, split.images, strict=True):
        Image.fromarray(image).save(folder / f"{stem}.png")


def measure(
    data: Dataset, measured: Measured, folder: Path, experiment: str, seed: int, changes: dict[str, Any]
) -> Row:
    """Train or go on, quantize, and measure."""
    result = train_model(
        experiment_name=experiment, dataset=data, output_dir=folder.parent, run_name=folder.name, seed=seed,
        progress=lambda message, done: print(f"  {folder.name} {done:4.0%} {message}", flush=True), **changes,
    )  # fmt: skip
    if result["status"] != "completed":
        raise SystemExit(result["error"])
    model = quantize_run(folder, dataset=data)
    save_int8(folder, model)
    away, best = int8_miou(model, measured.away)
    metrics = result["final_metrics"]
    student = load_model(folder / "student.keras")
    floating = evaluate_model(student, measured.away.images, measured.away.masks, preprocessing_of(student))["miou"]
    return Row(
        data.source["left_out"], experiment, seed, constant_mask(data.train.masks, measured.away.masks)["miou"],
        metrics["teacher"]["miou"] if "teacher" in metrics else float("nan"), floating, away, best,
        int8_miou(model, measured.unseen)[0], int8_miou(model, measured.home)[0],
    )  # fmt: skip


def print_table(rows: list[Row]) -> None:
    """Mean and spread over seeds, by split and experiment."""
    print(f"{'left out':12} {'experiment':24} runs  constant teacher  float   away (spread)   best  unseen   home")
    for split, experiment in sorted({(row.split, row.experiment) for row in rows}):
        own = [row for row in rows if (row.split, row.experiment) == (split, experiment)]
        mean = {key: np.mean([value[key] for value in map(asdict, own)]) for key in asdict(own[0]) if key not in NAMES}
        spread = max(row.away for row in own) - min(row.away for row in own)
        print(
            f"{split:12} {experiment:24} {len(own):4}  {mean['constant']:.4f}  {mean['teacher']:.4f}  "
            f"{mean['floating']:.4f} {mean['away']:.4f} ({spread:.4f}) {mean['best']:.4f} {mean['unseen']:.4f} "
            f"{mean['home']:.4f}"
        )


NAMES = ("split", "experiment", "seed")


def data_arguments(description: str | None, *, grouped: bool = True) -> argparse.ArgumentParser:
    """Options for a data set whose table has seasons and places; one that is not `grouped` may do without."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--groups", type=Path, required=grouped)
    parser.add_argument("--season", default="environment")
    parser.add_argument("--place", default="component")
    return parser


def read_groups(path: Path) -> dict[str, dict[str, str]]:
    """The table's rows by picture."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def left_out_of(data: Dataset, given: argparse.Namespace, split: str) -> set[str]:
    """The pictures of a split: `places:N` is a half of the places, `nothing` none, others a season."""
    if split == "nothing":
        return set()
    table, half = read_groups(given.groups), split.removeprefix("places:")
    halves = places_of(table, data.train, given.place)
    return {
        name
        for name, row in table.items()
        if (halves.get(row[given.place]) == int(half) if half != split else row[given.season] == split)
    }


def run_folder(runs: Path, split: str, experiment: str, seed: int) -> Path:
    return runs / f"{split.replace(':', '_')}-{experiment}-{seed}"


def main() -> None:
    parser = data_arguments(__doc__)
    parser.add_argument("--leave-out", nargs="+", required=True)
    parser.add_argument("--experiments", nargs="+", required=True)
    parser.add_argument("--config", type=Path, default=Path("config/experiments.yaml"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--teacher-of", default="")
    parser.add_argument("--teachers", type=Path)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--drive", default="run", help="the table's column of drives")
    parser.add_argument("--output", type=Path, default=Path("runs/hold_outs"))
    given = parser.parse_args()
    data = load_dataset(DatasetSpec(given.data))
    overrides = {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in given.set)}
    path = given.output / "table.json"
    rows = [Row(**row) for row in json.loads(path.read_text())] if path.is_file() else []
    done = {(row.split, row.experiment, row.seed) for row in rows}
    table = read_groups(given.groups)
    for seed in given.seeds:
        for split in given.leave_out:
            own, home = without(data, left_out_of(data, given, split), split)
            shown, unseen = halves_of(own.test, table, given.drive)
            measured, common = Measured(own.test, unseen, home), {"config_path": given.config, **overrides}
            if given.unlabelled:
                own = replace(own, test=unseen)  # what measures is not to be shown
                common["data.unlabelled"] = given.output / "shown" / split.replace(":", "_")
                write_pictures(shown, common["data.unlabelled"])
            for experiment in given.experiments:
                if (split, experiment, seed) in done:
                    continue
                changes = dict(common)
                if given.teacher:
                    changes["teacher.weights"] = given.teacher
                elif given.teacher_of not in ("", experiment):
                    taught = run_folder(given.teachers or given.output, split, given.teacher_of, seed)
                    changes["teacher.weights"] = taught / "teacher.keras"
                folder = run_folder(given.output, split, experiment, seed)
                rows.append(measure(own, measured, folder, experiment, seed, changes))
                write_text(path, json.dumps([asdict(row) for row in rows], indent=1) + "\n")
                print_table(rows)
    print_table(rows)


if __name__ == "__main__":
    main()
