"""Offer the stages as five functions of Python: load_model, compile, verify, predict, build (docs/API.md, Deployment).

They raise CodegenError, DeployError or TrainError, each with a `hint` of what to try, and print nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from codegen.compile import Compilation
from codegen.graph.model import CameraSize, QuantizedModel
from codegen.program.objective import DEFAULT_OBJECTIVE, Objective
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.compilation import compile_for
from nanou_deploy.build.library import open_model
from nanou_deploy.errors import DeployError
from nanou_deploy.firmware.make_firmware import Firmware as Firmware
from nanou_deploy.firmware.make_firmware import Order, make_firmware
from nanou_deploy.predict.engine import open_engine
from nanou_deploy.predict.prediction import Prediction
from nanou_deploy.predict.session import predict_shots
from nanou_deploy.predict.sources import Names, Shot, check_paths, shots_of
from nanou_deploy.verify.golden import GoldenReport
from nanou_deploy.verify.verify import verify as verify_targets

Model = QuantizedModel | Path | str | None  # a model, a .tflite file or a run folder, or the one that ships
Picture = Path | str | Image.Image | npt.NDArray[np.uint8]


def load_model(path: Path | str | None = None, *, camera: tuple[int, int] | None = None) -> QuantizedModel:
    """Load a .tflite file with its contract, or a run's int8 model; without `path` the one that ships.

    `camera` is the width and height of the device's pictures, in place of what the contract states. Raises CodegenError
    or TrainError where the file is missing, damaged, or contradicts its contract.
    """
    return open_model(None if path is None else Path(path), None if camera is None else CameraSize(*camera))


def compile(model: Model = None, *, board: str = "host", objective: Objective = DEFAULT_OBJECTIVE) -> Compilation:
    """Compile a model for a board, down to the proofs: graph, program, plan and what holds for every input.

    Raises CodegenError where an operator cannot be compiled exactly, or a limit of `objective` not be met.
    """
    return compile_for(_opened(model), find_board(board), objective)


def verify(model: Model = None, *, boards: Sequence[str] = ("host",), cases: int = 10, seed: int = 0) -> GoldenReport:
    """Compare, byte for byte, all that can run a model here: interpreters, oracle, and the C on each board.

    `GoldenReport.passed` says whether all agree. Raises ToolMissing where a board's compiler or emulator is.
    """
    if cases < 1 or not boards:
        raise DeployError(f"{cases} cases on {len(boards)} boards compare nothing", hint="give at least one of each")
    return verify_targets(_opened(model), [(find_board(board), cases) for board in boards], seed=seed)


def predict(
    pictures: Picture | Sequence[Picture],
    model: Model = None,
    *,
    executor: str = "aot",
    threshold: float | None = None,
    direct: bool = False,
) -> tuple[Prediction, ...]:
    """Predict pictures: masks and decisions, labels, or arrays, one `Prediction` for each in order.

    A picture is a path (a file, a folder, an animation, a video), a Pillow image, or uint8 (H, W, 3) or (H, W); of any
    size. `executor` is aot, int8, tflm, or keras for a run's float student. Raises DeployError and DataError for what
    is not there or no picture, ToolMissing without a C compiler for aot.
    """
    given = [pictures] if isinstance(pictures, Path | str | Image.Image | np.ndarray) else list(pictures)
    check_paths([Path(one) for one in given if isinstance(one, Path | str)])
    path = Path(model) if isinstance(model, Path | str) else None
    loaded = model if isinstance(model, QuantizedModel) else None
    with open_engine(executor, path, model=loaded, threshold=threshold, direct=direct) as engine:
        names = Names()
        shots = [shot for one in given for shot in _shots(one, names)]
        return tuple(predict_shots(engine, shots))


def build(
    model: Model = None, *, board: str, output: Path | str | None = None, cases: int = 10, force: bool = False
) -> Firmware:
    """Generate, verify and link for a board: a program for those that run here, a PlatformIO project for hardware.

    Written below `output`, by default build/BOARD; edited files there are kept unless `force`. Where outputs differ, or
    PlatformIO's platform is not installed, nothing is linked. Raises WriteError where the folder holds other files.
    """
    order = Order(find_board(board), Path(output or Path("build") / board), cases=cases, force=force)
    return make_firmware(_opened(model), order)


def _opened(model: Model) -> QuantizedModel:
    return model if isinstance(model, QuantizedModel) else load_model(model)


def _shots(picture: Picture, names: Names) -> list[Shot]:
    if isinstance(picture, Path | str):
        return list(shots_of([Path(picture)], names))
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
            raise DeployError(
                f"an array {picture.dtype} {picture.shape} is no picture", hint="give uint8 (H, W, 3), or (H, W)"
            )
        picture = Image.fromarray(picture)
    return [Shot(names.take("picture"), "Python", picture)]
