"""Fronts, crowding and who goes on."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from nanou_train.search.halving import best_first, crowding, dominates, fronts, goes_on

VECTORS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=25)


@given(VECTORS)
def test_each_front_is_dominated_by_the_one_before_and_not_within_itself(vectors: list[tuple[int, int]]) -> None:
    number = fronts(vectors)
    for one, front in zip(vectors, number, strict=True):
        better = {number[i] for i, other in enumerate(vectors) if dominates(other, one)}
        assert front not in better
        assert (front - 1 in better) == (front > 0)
    order = best_first(vectors)
    assert sorted(order) == list(range(len(vectors)))
    assert [number[index] for index in order] == sorted(number)


def test_crowding_is_the_room_to_both_sides() -> None:
    assert crowding([(0, 4), (1, 2), (3, 1), (4, 0)]) == (math.inf, 3 / 4 + 3 / 4, 3 / 4 + 2 / 4, math.inf)
    assert crowding([(1, 1), (1, 1)]) == (math.inf, math.inf)
    assert crowding([]) == ()


def test_a_third_goes_on_and_always_one() -> None:
    assert goes_on([], (5.0, 5.0), 3)
    assert not goes_on([(0.0, 0.0)], (1.0, 1.0), 3)
    reached = [(0.0, 9.0), (9.0, 0.0), (5.0, 5.0), (6.0, 6.0), (7.0, 7.0)]
    assert goes_on(reached[:4], (4.0, 4.0), 2) is False  # two of five, and both ends of the front come first
    assert goes_on(reached, (4.0, 4.0), 2)
    assert not goes_on(reached, (8.0, 8.0), 2)
