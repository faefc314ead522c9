"""Read the redundancy that a training logged, RUN/nas_logs/nas_log.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOG_SCHEMA = 1


def redundancy_log(folder: Path) -> tuple[dict[str, Any], ...]:
    """Read the records of FOLDER/nas_log.json in order; none where there is no log, or another version's."""
    try:
        log = json.loads((folder / "nas_log.json").read_text(encoding="utf-8"))
        return tuple(log["records"]) if log["schema"] == LOG_SCHEMA else ()
    except (OSError, ValueError, KeyError, TypeError):
        return ()
