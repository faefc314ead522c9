"""docs/PROTOCOL.md as the tests read it."""

from __future__ import annotations

import re

from nanou_deploy.device.frames import Frame
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "PROTOCOL.md").read_text()


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", TEXT.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str, first: str) -> list[list[str]]:
    """Rows of the table whose first column has that heading."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def vectors() -> list[tuple[Frame, bytes]]:
    """Frames and their bytes on the line."""
    found = []
    for version, kind, flags, status, sequence, boot, payload, line in table(section("Vectors"), "version"):
        frame = Frame(
            int(kind),
            int(sequence, 16),
            bytes.fromhex(payload),
            flags=int(flags),
            status=int(status),
            boot=int(boot, 16),
            version=int(version),
        )
        found.append((frame, bytes.fromhex(line)))
    return found
