"""What a threshold from a few pictures of a place gains on its other ones: the mean of many draws. For developers.

    python -m tests.train.threshold_draws --model models/nano_u_terrain.tflite --data ROOT --pictures 1 5 10 20

ROOT is a prepared data set, of which the test part is the place; with `--groups ROOT/groups.csv --only SEASON`, all its
pictures of one season. Draws are of pictures without replacement; scores are
mIoU of the int8 model over all pixels of the pictures that were not drawn: with the model's threshold, with the best
one of the drawn ones, and with what `calibrate` makes of it, which takes it only where it is certain to gain (`taken`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.tflite.files import load_model
from nanou_deploy.evaluate.executors import predictor
from nanou_train.data.dataset import DatasetSpec, load_dataset, load_split
from nanou_train.data.pairs import FileCount
from nanou_train.evaluation.curves import count_pixels, points_of
from nanou_train.evaluation.evaluate import Predictor
from nanou_train.runs.calibrate import LabelledPictures, calibrate
from tests.train.hold_outs import data_arguments, left_out_of, without


def main() -> int:
    parser = data_arguments(__doc__, grouped=False)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--pictures", type=int, nargs="+", default=[1, 5, 10, 20])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    spec = DatasetSpec.of(arguments.data, model.image)
    if arguments.only:
        data = load_dataset(spec)
        split = without(data, left_out_of(data, arguments, arguments.only), arguments.only)[0].test
    else:
        split = load_split(spec, "test")
    runs = predictor("int8", model, None)
    logits, rng = runs.logits(split.images), np.random.default_rng(arguments.seed)

    def score(kept: npt.NDArray[np.intp], threshold: float) -> float:
        return points_of(count_pixels(logits[kept], split.masks[kept], runs.cut, (threshold,)), (threshold,))[0].miou

    print("pictures   as it is   best of drawn      calibrated   worst   taken")
    for count in arguments.pictures:
        rows = []
        for _ in range(arguments.draws):
            order = rng.permutation(len(logits))
            drawn, kept = np.sort(order[:count]), order[count:]
            known = Predictor("drawn", lambda _, drawn=drawn: logits[drawn], runs.cut)  # type: ignore[misc]
            found = calibrate(model, known, LabelledPictures(split.images[drawn], split.masks[drawn], FileCount()))
            before, best = score(kept, model.threshold), score(kept, found.model.threshold)
            rows.append((before, best, best if found.is_certain else before, found.is_certain))
        before, best, after, taken = 100 * np.array(rows, np.float64).T
        print(
            f"{count:8}     {before.mean():.2f} {best.mean():8.2f} {(best - before).mean():+6.2f} {after.mean():8.2f} "
            f"{(after - before).mean():+6.2f}  {(after - before).min():+6.2f}  {taken.mean():4.0f} %"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
