"""Run pictures through an engine in batches, and watch a folder for new ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path

from nanou_deploy.errors import INTENDED_ERRORS, DeployError, IntendedError
from nanou_deploy.predict.engine import Engine
from nanou_deploy.predict.prediction import Prediction
from nanou_deploy.predict.sources import Names, Shot, new_pictures, shots_of

BATCH = 16


def predict_shots(engine: Engine, shots: Iterable[Shot], *, is_live: bool = False) -> Generator[Prediction, None, None]:
    """Yield what the engine makes of each picture, in order; one by one where more would have to be waited for."""
    pictures = iter(shots)
    while batch := list(islice(pictures, 1 if is_live else BATCH)):
        yield from engine.predict(batch)


def watched_shots(folder: Path, names: Names, failed: Callable[[IntendedError], None]) -> Iterator[Shot]:
    """Yield the pictures that appear in a folder, for ever; one that cannot be read is told to `failed`."""
    for path in new_pictures(folder):
        try:
            if path is not None:
                yield from shots_of([path], names)
        except INTENDED_ERRORS as error:
            failed(error)


def begun(shots: Iterator[Shot]) -> Iterator[Shot]:
    """Read the first picture at once, so that what is wrong is said before anything is built. Raises as `shots` does.

    DeployError where there is none.
    """
    first = next(shots, None)
    if first is None:
        raise DeployError("there is no picture to predict", hint="give pictures, a folder of them, or a video")

    def all_of_them() -> Iterator[Shot]:
        yield first
        yield from shots

    return all_of_them()
