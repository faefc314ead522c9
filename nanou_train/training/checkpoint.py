"""Save and load the state of an unfinished training, so that it goes on as if never interrupted.

Order of the data and augmentation follow from seed and epoch alone, and a step draws no random number, so the state is
the weights (current, averaged, best), the optimizer's variables and the history. Each file belongs to one training:
`identity` is a hash of what determines it, and a file of another identity is ignored.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.atomic_files import write_bytes

Arrays = Sequence[npt.NDArray[Any]]
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class TrainingState:
    """State after `epoch` epochs (0 = none): groups of arrays by name, and the best epoch so far with its score."""

    epoch: int
    best_epoch: int
    best_score: float
    history: tuple[dict[str, float], ...]
    arrays: Mapping[str, Arrays]


def save_state(state: TrainingState, path: Path, identity: str) -> None:
    """Replace PATH in one step: after a kill or a power failure it holds this state or the one before."""
    facts = {
        "schema": SCHEMA,
        "identity": identity,
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
        "history": state.history,
        "counts": {name: len(group) for name, group in state.arrays.items()},
    }
    named: dict[str, Any] = {
        f"{name}/{index}": array for name, group in state.arrays.items() for index, array in enumerate(group)
    }
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **named)
    write_bytes(path, buffer.getbuffer())


def load_state(path: Path, identity: str) -> TrainingState | None:
    """Load the state in PATH; None where there is none, it is damaged, or it belongs to another training."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            facts = json.loads(archive["facts"].tobytes())
            if facts["schema"] != SCHEMA or facts["identity"] != identity:
                return None
            arrays = {
                name: [archive[f"{name}/{index}"] for index in range(count)] for name, count in facts["counts"].items()
            }
            return TrainingState(
                facts["epoch"], facts["best_epoch"], facts["best_score"], tuple(facts["history"]), arrays
            )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
