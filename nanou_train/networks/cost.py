"""State what one inference of a network costs on a board, and limits on it; nanou_deploy.measure.costing counts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """One inference on one board.

    `ram_bytes` is working memory, the two frames (`io_bytes`) not counted; `rows_bytes` is all RAM with row callbacks
    in place of frames. `code_bytes` and `table_bytes` are what the board's compiler, or that of its emulator, makes of
    the generated library; `instructions` are counted in the emulator.
    """

    board: str
    macs: int
    instructions: int
    ram_bytes: int
    io_bytes: int
    rows_bytes: int
    code_bytes: int
    table_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Code and tables of the model; no application, no camera driver."""
        return self.code_bytes + self.table_bytes

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Cost:
        """Restore what `to_json` wrote. Raises KeyError or TypeError for anything else."""
        return cls(str(values["board"]), **{name: int(values[name]) for name in _NUMBERS})


_NUMBERS = ("macs", "instructions", "ram_bytes", "io_bytes", "rows_bytes", "code_bytes", "table_bytes")


@dataclass(frozen=True)
class Limits:
    """Most that a model may cost; None where anything goes."""

    max_ram_bytes: int | None = None
    max_instructions: int | None = None
    max_flash_bytes: int | None = None

    def violations(self, cost: Cost) -> tuple[str, ...]:
        """Which limits `cost` breaks and by how much, in words; empty where it keeps them all."""
        checks = (
            ("working RAM", "bytes", cost.ram_bytes, self.max_ram_bytes),
            ("instructions", "", cost.instructions, self.max_instructions),
            ("code and tables", "bytes", cost.flash_bytes, self.max_flash_bytes),
        )
        return tuple(
            f"{name} {found:,}{' ' * bool(unit)}{unit} on {cost.board}, {found - limit:,} more than {limit:,}"
            for name, unit, found, limit in checks
            if limit is not None and found > limit
        )
