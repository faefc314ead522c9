"""Decides which trials go on from a rung: asynchronous successive halving for several objectives.

A trial that reaches a rung is compared with all that have reached it so far, and goes on if it is among the best
1/eta of them; nobody waits for anybody (ASHA, Li et al. 2020, arXiv 1810.05934; here in the variant that stops trials
and never takes a stopped one up again). With several objectives, best is: by non-dominated front, and within a front
by crowding distance (NSGA-II, Deb et al. 2002), so that those that stand alone on the front come before those that
have near neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]  # objectives, each the less the better


def dominates(one: Vector, other: Vector) -> bool:
    """Nowhere worse, somewhere better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def fronts(vectors: Sequence[Vector]) -> tuple[int, ...]:
    """For each vector the number of its front: 0 where nothing dominates it, 1 where only those of front 0 do, ..."""
    found = [-1] * len(vectors)
    left, front = set(range(len(vectors))), 0
    while left:
        best = [i for i in left if not any(dominates(vectors[j], vectors[i]) for j in left)]
        for index in best:
            found[index] = front
        left.difference_update(best)
        front += 1
    return tuple(found)


def crowding(vectors: Sequence[Vector]) -> tuple[float, ...]:
    """Crowding distance of each vector among these; infinite at both ends of an objective."""
    distance = [0.0] * len(vectors)
    for axis in range(len(vectors[0]) if vectors else 0):
        order = sorted(range(len(vectors)), key=lambda index: vectors[index][axis])
        span = vectors[order[-1]][axis] - vectors[order[0]][axis]
        distance[order[0]] = distance[order[-1]] = math.inf
        for before, here, after in zip(order, order[1:], order[2:], strict=False):
            if span > 0:
                distance[here] += (vectors[after][axis] - vectors[before][axis]) / span
    return tuple(distance)


def best_first(vectors: Sequence[Vector]) -> tuple[int, ...]:
    """Sort indices by front, then by crowding distance within it, then in the order given."""
    number = fronts(vectors)
    crowded: dict[int, float] = {}
    for front in set(number):
        members = [index for index, one in enumerate(number) if one == front]
        crowded |= dict(zip(members, crowding([vectors[index] for index in members]), strict=True))
    return tuple(sorted(range(len(vectors)), key=lambda index: (number[index], -crowded[index])))


def goes_on(reached: Sequence[Vector], own: Vector, eta: int) -> bool:
    """Whether `own` is among the best 1/eta, and at least one, of itself and those that have `reached` this rung."""
    vectors = [*reached, own]
    return best_first(vectors).index(len(reached)) < max(1, len(vectors) // eta)
