"""The soak's cases, a few of them."""

from __future__ import annotations

from collections import Counter

from tests.property.damage_soak import damaged_file, outcome


def test_damaged_files_are_refused_or_mean_the_same() -> None:
    tally = Counter(outcome(damaged_file(number), runs=number % 4 == 0) for number in range(120))
    assert tally["refused"] > 60, tally
    assert tally["compiled"] + tally["equal"] > 5, tally
