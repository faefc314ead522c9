"""navigation.c against a second implementation in Python, call by call."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanou_deploy.build import drive_config
from nanou_deploy.resources import firmware_folder
from tests import navigation
from tests.conftest import missing
from tests.navigation import STOPPED, Cover, Policy

SEE, STOP = range(2)


@pytest.fixture(autouse=True, scope="module")
def gcc() -> None:
    if shutil.which("gcc") is None:
        missing("gcc")


class CCover(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint16) for name in ("left", "centre", "right")]


class CDecision(ctypes.Structure):
    _fields_ = [("go", ctypes.c_int8), ("steer", ctypes.c_int8), ("cover", CCover)]


class CPolicy(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint16) for name in ("go", "stop", "turn", "straight")),
        ("start_pictures", ctypes.c_uint32),
        ("stale_us", ctypes.c_uint32),
    ]


class CNavigation(ctypes.Structure):
    _fields_ = [
        ("policy", ctypes.POINTER(CPolicy)),
        ("taken_us", ctypes.c_uint64),
        ("allowed", ctypes.c_uint32),
        ("is_turning", ctypes.c_uint8),
        ("decision", CDecision),
    ]


@cache
def library() -> ctypes.CDLL:
    path = Path(mkdtemp(prefix="nanou-")) / "navigation.so"
    source = firmware_folder() / "app" / "vision" / "navigation.c"
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror"]
    flags.append(f"-I{source.parents[1]}")
    subprocess.run(["gcc", *flags, "-shared", "-fPIC", source, "-o", path], check=True)
    loaded = ctypes.CDLL(str(path))
    state = ctypes.POINTER(CNavigation)
    for name, arguments in (
        ("see", [state, CCover, ctypes.c_uint64, ctypes.c_uint64]),
        ("stop", [state]),
        ("judge", [ctypes.POINTER(CPolicy), CCover]),
    ):
        function = getattr(loaded, f"navigation_{name}")
        function.argtypes, function.restype = arguments, CDecision
    loaded.navigation_begin.argtypes, loaded.navigation_begin.restype = [state, ctypes.POINTER(CPolicy)], None
    return loaded


PERMILLE = st.one_of(st.integers(0, 1000), st.sampled_from([0, 99, 100, 199, 200, 549, 550, 551, 699, 700, 1000]))
COVERS = st.builds(Cover, PERMILLE, PERMILLE, PERMILLE)
POLICIES = st.one_of(
    st.just(Policy()),
    st.builds(
        lambda low, high, straight, turn, pictures, stale: Policy(
            max(low, high), min(low, high), max(straight, turn), min(straight, turn), pictures, stale
        ),
        PERMILLE, PERMILLE, PERMILLE, PERMILLE, st.integers(0, 4), st.integers(0, 1_000_000),
    ),
)  # fmt: skip
# What happens, after how long, and how long a picture takes.
EVENTS = st.lists(
    st.tuples(st.sampled_from([SEE, SEE, SEE, STOP]), st.integers(0, 700_000), st.integers(0, 600_000), COVERS),
    max_size=30,
)


@given(POLICIES, EVENTS)
@settings(max_examples=60)
def test_c_and_python_decide_alike(policy: Policy, events: list[tuple[int, int, int, Cover]]) -> None:
    c = library()
    c_policy = CPolicy(policy.go_permille, policy.stop_permille, policy.turn_permille, policy.straight_permille,
                       policy.start_pictures, policy.stale_us)  # fmt: skip
    c_state = CNavigation()
    c.navigation_begin(c_state, c_policy)
    state, now_us = STOPPED, 5_000_000
    for what, pause_us, work_us, cover in events:
        now_us += pause_us
        if what == SEE:
            taken_us, now_us = now_us, now_us + work_us
            before = state
            state = navigation.see(policy, state, cover, taken_us, now_us)
            values = (cover.left_permille, cover.centre_permille, cover.right_permille)
            decision = c.navigation_see(c_state, CCover(*values), taken_us, now_us)
            # What must hold of any policy.
            if cover.centre_permille < policy.stop_permille or work_us > policy.stale_us:
                assert not state.go
            if state.go and not before.go:
                assert cover.centre_permille >= policy.go_permille
        else:
            state = navigation.State(state.taken_us)
            decision = c.navigation_stop(c_state)
            assert not state.go
        assert (decision.go, decision.steer) == (state.go, state.steer)
        assert state.go or state.steer == 0


@given(POLICIES, COVERS)
def test_one_picture_is_judged_alike(policy: Policy, cover: Cover) -> None:
    c_policy = CPolicy(policy.go_permille, policy.stop_permille, policy.turn_permille, policy.straight_permille,
                       policy.start_pictures, policy.stale_us)  # fmt: skip
    seen = CCover(cover.left_permille, cover.centre_permille, cover.right_permille)
    decision = library().navigation_judge(c_policy, seen)
    assert (decision.go, decision.steer) == navigation.judge(policy, cover)
    assert -100 <= decision.steer <= 100


def test_the_default_policies_are_the_same() -> None:
    stated = asdict(drive_config.Policy())
    stated["stale_us"] = 1000 * stated.pop("stale_ms")
    assert stated.pop("hold_ms") * 1000 > stated["stale_us"]
    assert sorted(stated.values()) == sorted(vars(Policy()).values())
    assert list(stated.values())[:5] == list(vars(Policy()).values())[:5]


def test_hysteresis_keeps_it_going() -> None:
    policy, state, went = Policy(), STOPPED, []
    for number, centre in enumerate([700, 700, 700, 551, 600, 549, 700, 700, 699, 700]):
        state = navigation.see(policy, state, Cover(500, centre, 500), 100_000 * number, 100_000 * number)
        went.append(state.go)
    assert went == [False, False, True, True, True, False, False, False, False, False]


def test_cover_of_a_mask() -> None:
    mask = np.zeros((4, 7), bool)
    mask[2:, :2] = True  # left third of the lower half
    mask[2, 3] = True
    assert navigation.cover(mask) == Cover(1000, 166, 0)
    assert navigation.cover(np.ones((1, 1), bool)) == Cover(0, 1000, 0)
