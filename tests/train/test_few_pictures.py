"""The draws of tests.train.few_pictures."""

from __future__ import annotations

from nanou_train.data.dataset import terrain_dataset
from tests.train.few_pictures import drawn


def test_draws_are_of_three_quarters_and_one_and_leave_the_test_part() -> None:
    data = terrain_dataset({"train": 12, "val": 6, "test": 2}, seed=0, height_px=12, width_px=16, channels=3)
    few, again, other = drawn(data, 8, 0), drawn(data, 8, 0), drawn(data, 8, 1)
    assert (len(few.train.images), len(few.val.images), few.test) == (6, 2, data.test)
    assert few.train.stems == again.train.stems != other.train.stems
    assert set(few.train.stems) < set(data.train.stems)
    assert few.source != other.source  # so that no run is taken for another's
