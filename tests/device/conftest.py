"""Device programs around the hand-written model, built once for each session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_device
from tests.device import recurrent_model
from tests.unit.invert_model import make_library

SHA256 = "a1" * 32
OTHER_SHA256 = "b2" * 32


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """programs(fault="...", sanitize=False, ...) -> the device program with that library; as its make_library."""
    made: dict[tuple[object, ...], Path] = {}

    def build(*, sanitize: bool = True, model: str = "invert", **library: str) -> Path:
        key = (sanitize, model, *sorted(library.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("device")
            make = {"invert": make_library, "recurrent": recurrent_model.make_library}[model]
            make(folder / "lib", **{"sha256": SHA256, **library})  # type: ignore[arg-type,operator]
            made[key] = build_device(folder / "lib", find_board("host"), folder / "build", sanitize=sanitize).elf
        return made[key]

    return build


@pytest.fixture
def program(require_tool: Callable[..., str], programs: Callable[..., Path]) -> Path:
    """The sound one, under sanitizers."""
    require_tool("gcc", "clang")
    return programs()


@pytest.fixture
def recurrent(require_tool: Callable[..., str], programs: Callable[..., Path]) -> Path:
    """The same with a model of two inputs, two outputs and state."""
    require_tool("gcc", "clang")
    return programs(model="recurrent")
