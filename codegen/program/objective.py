"""State what to spend less of, which planning and the choice of kernels follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Optimize = Literal["ram", "time", "balanced"]
OPTIMIZE: tuple[Optimize, ...] = get_args(Optimize)


@dataclass(frozen=True)
class Objective:
    """`time` takes the fastest kernels, which are larger; `ram` and `balanced` take those in between.

    `ram` computes skip connections twice wherever that saves working memory; the others only as far as
    `max_ram_bytes` (working memory; frames not counted) makes them. `max_flash_bytes` bounds code and tables as a
    compiler makes them, so only whoever has one can keep to it: nanou_deploy.build.compilation. `cores`: 2 share each
    inference, where that gains something (codegen.plan.cores).
    """

    optimize: Optimize = "balanced"
    max_ram_bytes: int | None = None
    max_flash_bytes: int | None = None
    cores: int = 1


DEFAULT_OBJECTIVE = Objective()
