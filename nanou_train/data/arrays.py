"""Open arrays of numbers in .npy files, without running or allocating what the file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nanou_train.errors import DataError

_KINDS = "fiub"  # NumPy's letters for numbers and truth values


def open_array(path: Path) -> npt.NDArray[Any]:
    """Map a .npy file's array, of which nothing is read yet. Never a pickle, never a pipe. Raises DataError."""
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.ndarray) or mapped.dtype.kind not in _KINDS:
            raise ValueError("it is no array of numbers")
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"cannot read {path} as an array: {error}", hint="write it with numpy.save") from error
    return mapped
