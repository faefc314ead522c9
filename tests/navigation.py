"""Decide GO or STOP and the steering from masks: a second implementation of firmware/app/vision/navigation.c.

Integers only, so that both give the same decisions. What the numbers mean is said in docs/FIRMWARE.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Cover:
    """Drivable share of the left, middle and right third of the lower half of a mask, in thousandths."""

    left_permille: int
    centre_permille: int
    right_permille: int


@dataclass(frozen=True)
class Policy:
    """When to go, to stop and to turn; navigation.h explains each."""

    go_permille: int = 700
    stop_permille: int = 550
    turn_permille: int = 200
    straight_permille: int = 100
    start_pictures: int = 3
    stale_us: int = 500_000


@dataclass(frozen=True)
class State:
    """What is kept between pictures."""

    taken_us: int = 0
    allowed: int = 0
    is_turning: bool = False
    go: bool = False
    steer: int = 0


STOPPED = State()


def cover(mask: npt.NDArray[np.bool_]) -> Cover:
    """bool (H, W) -> what navigation looks at. A third of no width is not drivable."""
    height, width = mask.shape
    lower = mask[height // 2 :]
    bounds = (0, width // 3, width - width // 3, width)
    parts = [lower[:, begin:end] for begin, end in pairwise(bounds)]
    left, centre, right = (int(part.sum()) * 1000 // part.size if part.size else 0 for part in parts)
    return Cover(left, centre, right)


def steer(seen: Cover) -> int:
    """-100 (left) .. 100 (right): the side with more ground, by how much more."""
    total = seen.left_permille + seen.right_permille
    return int(100 * (seen.right_permille - seen.left_permille) / total) if total else 0


def see(policy: Policy, state: State, seen: Cover, taken_us: int, now_us: int) -> State:
    """A picture that was taken at `taken_us` and is judged at `now_us`; times in microseconds, never going back."""
    is_stale = now_us - taken_us > policy.stale_us
    if is_stale or taken_us - state.taken_us > policy.stale_us:
        state = STOPPED
    least = policy.stop_permille if state.go else policy.go_permille
    allowed = 0 if is_stale or seen.centre_permille < least else state.allowed + 1
    go = allowed >= max(1, policy.start_pictures)
    turn = policy.straight_permille if state.is_turning else policy.turn_permille
    is_turning = go and abs(seen.right_permille - seen.left_permille) >= turn
    return State(taken_us, allowed, is_turning, go, steer(seen) if is_turning else 0)


def judge(policy: Policy, seen: Cover) -> tuple[bool, int]:
    """Go and steer by one picture, without any other before it."""
    go = seen.centre_permille >= policy.go_permille
    turns = go and abs(seen.right_permille - seen.left_permille) >= policy.turn_permille
    return go, steer(seen) if turns else 0
