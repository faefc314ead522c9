"""Read representative data: folders of pictures, with masks or a folder a class beside them, or .npy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from codegen.graph.model import Preprocessing
from codegen.tflite.quantize import Samples
from codegen.untrusted import shown
from nanou_deploy.convert.conversion import TensorFacts
from nanou_deploy.errors import DeployError
from nanou_train.data.arrays import open_array
from nanou_train.data.images import SUFFIXES, camera_pixels, read_picture

Truth = Literal["masks", "classes", "none"]

_MOST_FILES = 200_000
_MOST_BYTES = 2 << 30  # of samples in memory
_FEW = 10  # fewer scored pictures than this say nothing
_LAYOUT = "give a folder of pictures, ROOT/{img,mask}, ROOT/CLASS/, either below ROOT/{train,val,test}, or .npy arrays"


@dataclass(frozen=True)
class Sample:
    """One case: a picture's file, or the index of a row of arrays; and what is true of it, where that is known."""

    path: Path
    row: int = 0
    mask: Path | None = None
    label: str = ""


@dataclass(frozen=True)
class SampleSet:
    """What ranges are measured on, and what float and int8 are compared on."""

    representative: tuple[Sample, ...]
    scored: tuple[Sample, ...]
    truth: Truth = "none"
    labels: tuple[str, ...] = ()  # folders of classes, in order of their names
    arrays: Mapping[int, Sequence[Path]] = field(default_factory=dict)  # files by input; empty for pictures
    root: Path = Path()  # where a data set's dataset.json is

    @property
    def is_arrays(self) -> bool:
        return bool(self.arrays)

    @property
    def is_scored_unseen(self) -> bool:
        return not set(self.scored) & set(self.representative)


def has_arrays(root: Path) -> bool:
    """Whether the data are arrays; else pictures."""
    return any(path.suffix == ".npy" for path in _listed(root))


def find_samples(root: Path, inputs: Sequence[TensorFacts], *, most: int, most_scored: int) -> SampleSet:
    """Choose evenly spaced samples. Those that are scored are others, as far as there are any. Raises DeployError."""
    if has_arrays(root):
        by_input = _array_files(root, [path for path in _listed(root) if path.suffix == ".npy"], inputs)
        found = [Sample(path, row) for path in by_input[0] for row in range(len(open_array(path)))]
        return SampleSet(*_parts(found, found, most, most_scored), arrays=by_input)
    if len(inputs) > 1:
        raise DeployError(f"the model has {len(inputs)} inputs, {root} has pictures", hint="give input_0.npy and so on")
    parts = {name: root / name for name in ("train", "test", "val") if (root / name).is_dir()}
    train = next(iter(parts.values()), root)
    test = parts.get("test") or parts.get("val") or train
    truth, known = _pictures(train)
    same_truth, unknown = _pictures(test)
    if same_truth != truth:
        raise DeployError(f"{train} and {test} are laid out differently", hint=_LAYOUT)
    labels = tuple(sorted({sample.label for sample in (*known, *unknown) if sample.label}))
    return SampleSet(*_parts(known, unknown, most, most_scored), truth, labels, root=root)


def _parts(
    known: Sequence[Sample], unknown: Sequence[Sample], most: int, most_scored: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    if not known:
        raise DeployError("there are no samples in the data", hint=_LAYOUT)
    representative = _evenly(known, most)
    taken = set(representative)
    others = [sample for sample in unknown if sample not in taken]
    return representative, _evenly(others if len(others) >= _FEW else unknown, most_scored)


def _evenly(samples: Sequence[Sample], most: int) -> tuple[Sample, ...]:
    chosen = np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(int)
    return tuple(samples[index] for index in chosen)


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DeployError(f"there is no folder {folder}", hint=_LAYOUT)
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if len(files) > _MOST_FILES:
        raise DeployError(f"{folder} has more than {_MOST_FILES:,} files", hint="give a folder with some of them")
    return files


# ---- Pictures ------------------------------------------------------------------------------------------------------


def _pictures(folder: Path) -> tuple[Truth, list[Sample]]:
    files = _listed(folder)
    if (folder / "img").is_dir():
        masks = {path.stem: path for path in _images(_listed(folder / "mask"))} if (folder / "mask").is_dir() else {}
        found = [Sample(path, mask=masks.get(path.stem)) for path in _images(_listed(folder / "img"))]
        if masks and (alone := [sample.path.name for sample in found if sample.mask is None]):
            raise DeployError(f"{len(alone)} pictures have no mask, such as {shown(alone[0])}", hint=_LAYOUT)
        return ("masks" if masks else "none"), found
    if pictures := _images(files):
        return "none", [Sample(path) for path in pictures]
    found = [Sample(path, label=one.name) for one in files if one.is_dir() for path in _images(_listed(one))]
    if not found:
        raise DeployError(f"there are no pictures and no .npy arrays in {folder}", hint=_LAYOUT)
    return "classes", found


def _images(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in SUFFIXES]


def read_pictures(samples: Sequence[Sample], picture: Preprocessing, *, full_range: bool) -> Samples:
    """float32 (N, height, width, channels) as the network takes them.

    With `full_range` one corner of the first is black and one white: the ranges of representative pictures then hold
    all pixel values, and the others' ranges hardly change.
    """
    size = (picture.height_px, picture.width_px, picture.channels)
    _check_size(len(samples) * 4 * int(np.prod(size)))
    pixels = np.empty((len(samples), *size), np.uint8)
    for index, sample in enumerate(samples):
        pixels[index] = camera_pixels(read_picture(sample.path), picture)
    if full_range:
        pixels[0, 0, 0], pixels[0, -1, -1] = 0, 255
    return [picture.normalize(pixels)]


# ---- Arrays --------------------------------------------------------------------------------------------------------


def _array_files(root: Path, files: list[Path], inputs: Sequence[TensorFacts]) -> dict[int, list[Path]]:
    """Files by input: input.npy, or input_0.npy, input_1.npy...; of one input also any others, one behind the other."""
    if len(inputs) == 1:
        stated = [path for path in files if path.name in ("input.npy", "input_0.npy")]
        by_input = {0: stated[:1] or files}
    else:
        by_input = {index: [root / f"input_{index}.npy"] for index in range(len(inputs))}
        if any(paths[0] not in files for paths in by_input.values()):
            wanted = ", ".join(f"input_{index}.npy ({shown(one.name)})" for index, one in enumerate(inputs))
            raise DeployError(f"the model has {len(inputs)} inputs, and {root} not a file for each", hint=wanted)
    for index, paths in by_input.items():
        for path in paths:
            _check_array(path, inputs[index])
    counts = {sum(len(open_array(path)) for path in paths) for paths in by_input.values()}
    if len(counts) > 1:
        raise DeployError(f"the arrays in {root} have different numbers of samples", hint="the same N in each")
    return by_input


def _check_array(path: Path, facts: TensorFacts) -> None:
    array, wanted = open_array(path), facts.shape[1:]
    if array.ndim == 0 or not len(array):
        raise DeployError(f"{path} is {array.dtype} {array.shape}", hint="numbers of shape (N, ...), N at least 1")
    if array.shape[1:] != wanted:
        moved = array.ndim > 2 and (*array.shape[2:], array.shape[1]) == wanted
        first = "the converted model has its channels last: np.moveaxis(array, 1, -1)"
        raise DeployError(
            f"{path} is {array.shape}, input {shown(facts.name)} takes (N, {', '.join(map(str, wanted))})",
            hint=first if moved else "save one sample a row, as the model takes it",
        )


def read_arrays(samples: Sequence[Sample], data: SampleSet) -> Samples:
    """float32 (N, ...) for each input. Raises DeployError, also for values that are no numbers."""
    first, results = data.arrays[0], []
    starts = dict(zip(first, np.cumsum([0, *(len(open_array(path)) for path in first)]), strict=False))
    rows = [int(starts[sample.path]) + sample.row for sample in samples]
    for paths in data.arrays.values():
        arrays = [open_array(path) for path in paths]
        _check_size(len(rows) * 4 * int(np.prod(arrays[0].shape[1:])))
        bounds = np.cumsum([0, *map(len, arrays)])
        owners = np.searchsorted(bounds, rows, side="right") - 1
        values = np.stack([arrays[owner][row - bounds[owner]] for owner, row in zip(owners, rows, strict=True)])
        if not np.isfinite(values.astype(np.float32)).all():
            raise DeployError(f"{paths[0]} has values that are no numbers", hint="take those samples out")
        results.append(values.astype(np.float32))
    return results


def _check_size(size_bytes: int) -> None:
    if size_bytes > _MOST_BYTES:
        raise DeployError(f"so many samples take {size_bytes:,} bytes", hint="use fewer --samples")
