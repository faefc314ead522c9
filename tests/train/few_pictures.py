"""What do few pictures of a new place teach a trained network, by which recipe? For developers; goes on where it ended.

    python -m tests.train.few_pictures --start models/nano_u_offroad.keras --data ROOT --pictures 20 50 100

ROOT is a prepared data set; with `--groups ROOT/groups.csv --only SEASON`, its pictures of one season (or `places:N`,
as in `tests.train.hold_outs`), which the start should not know. So many are drawn, three quarters of the training part
and a quarter of the validation part; scores are of the test part, in float mIoU, beside the start as it is, each with
a threshold of 0.5 and with the one that is best for the drawn pictures, and minutes of training. `distilled` and
`decoder`, which leaves the encoder as it is, learn half from `--teacher`, the start's own. Runs and their table are in
OUTPUT.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from codegen.atomic_files import write_text
from nanou_train.data.dataset import Dataset, DatasetSpec, Split, load_dataset
from nanou_train.evaluation.curves import THRESHOLDS, sweep
from nanou_train.evaluation.evaluate import constant_mask, evaluate_model, predict_logits
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.networks.saving import load_model
from nanou_train.training.train import train_model
from tests.train.hold_outs import alone, data_arguments, left_out_of, taken

GENTLE: dict[str, Any] = {
    "distillation.enabled": False, "student.learning_rate": 0.002, "student.batch_size": 4, "student.epochs": 40,
}  # fmt: skip
DISTILLED: dict[str, Any] = {
    **GENTLE, "distillation.enabled": True, "distillation.alpha": 0.5, "distillation.temperature": 1.0,
}  # fmt: skip
FROZEN = {"student.freeze": "encoder"}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "gentle": GENTLE,
    "frozen": {**GENTLE, **FROZEN},
    "distilled": DISTILLED,
    "decoder": {**DISTILLED, **FROZEN},
}


def drawn(data: Dataset, count: int, seed: int) -> Dataset:
    """The data set with `count` pictures to train and validate on."""
    rng = np.random.default_rng(seed)

    def some(split: Split, size: int) -> Split:
        return taken(split, np.sort(rng.permutation(len(split.images))[:size]).tolist())

    source = {**data.source, "drawn": count, "draw": seed}
    return replace(data, source=source, train=some(data.train, count - count // 4), val=some(data.val, count // 4))


def scores(network: Path, data: Dataset) -> tuple[float, float]:
    """mIoU on the test part with the threshold of 0.5, and with the one that is best for the drawn pictures."""
    student = load_model(network)
    contract = preprocessing_of(student)

    def cut(threshold: float) -> float:
        return float(np.log(threshold / (1 - threshold)))

    images, masks = (
        np.concatenate([getattr(part, kind) for part in (data.train, data.val)]) for kind in ("images", "masks")
    )
    best = max(sweep(predict_logits(student, images, contract), masks, cut, THRESHOLDS), key=lambda point: point.miou)
    at_best = sweep(predict_logits(student, data.test.images, contract), data.test.masks, cut, (best.threshold,))
    return float(evaluate_model(student, data.test.images, data.test.masks, contract)["miou"]), at_best[0].miou


def main() -> None:
    parser = data_arguments(__doc__, grouped=False)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--pictures", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--recipes", nargs="+", choices=sorted(RECIPES), default=["plain", "gentle", "frozen"])
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/few_pictures"))
    given = parser.parse_args()
    taught = {recipe for recipe in given.recipes if RECIPES[recipe].get("distillation.enabled")}
    if taught and given.teacher is None:
        parser.error(f"{', '.join(sorted(taught))}: --teacher is missing")
    data = load_dataset(DatasetSpec(given.data))
    if given.only:
        data = alone(data, left_out_of(data, given, given.only), given.only)
    path = given.output / "table.json"
    rows: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    constant = constant_mask(data.train.masks, data.test.masks)["miou"]
    for seed in range(given.draws):
        for count in given.pictures:
            few = drawn(data, count, seed)
            rows[f"{count} start {seed}"] = scores(given.start, few)
            print(f"{count:4} start    {seed} {rows[f'{count} start {seed}']} constant {constant:.4f}", flush=True)
            for recipe in given.recipes:
                name = f"{count} {recipe} {seed}"
                if name not in rows:
                    began = time.monotonic()
                    result = train_model(
                        dataset=few, output_dir=given.output, run_name=name.replace(" ", "-"), seed=seed,
                        start_from=given.start, **RECIPES[recipe],
                        **({"teacher.weights": given.teacher} if recipe in taught else {}),
                    )  # fmt: skip
                    if result["status"] != "completed":
                        raise SystemExit(result["error"])
                    minutes = (time.monotonic() - began) / 60
                    rows[name] = (*scores(given.output / name.replace(" ", "-") / "student.keras", few), minutes)
                    write_text(path, json.dumps(rows, indent=1) + "\n")
                print(f"{count:4} {recipe:8} {seed} {rows[name]}", flush=True)


if __name__ == "__main__":
    main()
