"""What of a score on an unseen season is the season's, and what the place's? For developers, after hold_outs.

    python -m tests.train.season_gap --data ROOT --groups ROOT/groups.csv --runs runs/hold_outs --experiment accurate

Pictures of a season, in places that one of the two halves leaves out, are judged twice: by the run without that half of
the places, which knows the season, and by the run without the season, which knows the places. mIoU in float.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from nanou_train.data.dataset import DatasetSpec, load_dataset
from nanou_train.data.images import IGNORE
from nanou_train.evaluation.evaluate import decide, segmentation_metrics
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.networks.saving import load_model
from tests.train.hold_outs import HALVES, data_arguments, places_of, read_groups, run_folder

Mask = npt.NDArray[np.uint8]


def masks_of(folder: Path, images: npt.NDArray[np.uint8]) -> Mask:
    """What a run's student decides."""
    student = load_model(folder / "student.keras")
    return decide(student, images, preprocessing_of(student), 0.5)


def main() -> None:
    parser = data_arguments(__doc__)
    parser.add_argument("--seasons", nargs="+", default=["fall_hood", "summer"])
    parser.add_argument("--runs", type=Path, default=Path("runs/hold_outs"))
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table = read_groups(given.groups)
    train = load_dataset(DatasetSpec(given.data)).train
    halves = places_of(table, train, given.place)
    print(f"{'season':12} pictures  season known  place known   false alarms, misses of each, share of the pixels")
    for season in given.seasons:
        chosen = [i for i, stem in enumerate(train.stems) if table[stem][given.season] == season]
        chosen = [i for i in chosen if table[train.stems[i]][given.place] in halves]
        truth, half = train.masks[chosen], np.array([halves[table[train.stems[i]][given.place]] for i in chosen])
        by_season = np.zeros_like(truth)
        for number in range(HALVES):
            run = run_folder(given.runs, f"places:{number}", given.experiment, given.seed)
            by_season[half == number] = masks_of(run, train.images[chosen][half == number])
        by_place = masks_of(run_folder(given.runs, season, given.experiment, given.seed), train.images[chosen])
        known = truth != IGNORE
        shares = [((mask > truth) & known).mean() for mask in (by_season, by_place)]
        shares += [((mask < truth) & known).mean() for mask in (by_season, by_place)]
        scores = [segmentation_metrics(truth, mask)["miou"] for mask in (by_season, by_place)]
        print(
            f"{season:12} {len(chosen):8}  {scores[0]:12.4f}  {scores[1]:11.4f}   "
            f"{shares[0]:.3f} {shares[2]:.3f}, {shares[1]:.3f} {shares[3]:.3f}"
        )


if __name__ == "__main__":
    main()
