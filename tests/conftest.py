"""What all tests share: deterministic Hypothesis, what waits for the soak, and what a missing tool or file means."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"

# As codegen.start_tensorflow.import_tensorflow has it, for tests that import TensorFlow before it.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# What a shell starts in the background ignores Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Compilers and emulators run inside properties, so wall time says nothing; the same examples on every run.
settings.register_profile(
    "nanou", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("nanou")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run what is marked soak, and nothing else")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    soak: bool = config.getoption("--soak")
    left_out = [item for item in items if (item.get_closest_marker("soak") is not None) != soak]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def _compiled_objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All tests, those of other xdist workers too, share the objects that they compile in their own processes."""
    from nanou_deploy.build import build
    from tests.compiled_objects import CompiledObjects

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "compiled-objects"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "compile_source", CompiledObjects(folder, build.compile_source))
        yield


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where NANOU_REQUIRE_TOOLS says that everything must be here."""
    if os.environ.get("NANOU_REQUIRE_TOOLS"):
        pytest.fail(f"{what} is missing and NANOU_REQUIRE_TOOLS is set", pytrace=False)
    pytest.skip(f"{what} is missing; `make setup` installs it where it may")


@pytest.fixture
def require_tool() -> Callable[..., str]:
    """require_tool("gcc", "clang") -> path of the first one on PATH; else skips, or fails in strict mode."""

    def require(*names: str) -> str:
        for name in names:
            if path := shutil.which(name):
                return path
        missing(" or ".join(names))

    return require


@pytest.fixture
def require_module() -> Callable[[str], None]:
    """require_module("tensorflow") -> None; else skips, or fails in strict mode. Imports nothing."""

    def require(name: str) -> None:
        if importlib.util.find_spec(name) is None:
            missing(f"Python package {name}")

    return require


@pytest.fixture
def shared_model() -> Callable[[str], Path]:
    """shared_model("nano_u_botanic.tflite") -> path of a public model kept beside the checkout, else skips.

    These files are not ours to distribute, so their absence is never a failure.
    """

    def find(name: str) -> Path:
        path = SHARED / "models" / name
        if not path.exists():
            pytest.skip(f"{name} is not beside this checkout")
        return path

    return find


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """shared_data("ycor") -> root of a public data set kept beside the checkout, else skips."""

    def find(name: str) -> Path:
        path = SHARED / "data" / name
        if not path.is_dir():
            pytest.skip(f"data set {name} is not beside this checkout")
        return path

    return find
