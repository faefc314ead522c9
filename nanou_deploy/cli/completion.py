"""Complete boards, experiments and runs in a shell, by click's own mechanism; README.md has how to switch it on.

A shell asks at every press of Tab: whatever cannot be read completes nothing, and nothing is printed.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from nanou_deploy.boards.boards import BOARDS

_MOST_RUNS = 200


def complete_boards(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Boards whose names begin so, with what they are."""
    return [
        CompletionItem(name, help=board.description) for name, board in BOARDS.items() if name.startswith(incomplete)
    ]


def complete_experiments(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Experiments of --config, where that was given before, else of config/experiments.yaml."""
    from nanou_train.errors import TrainError
    from nanou_train.experiments.experiment_file import DEFAULT_CONFIG, experiment_names

    given = ctx.params.get("config")
    try:
        names = experiment_names(Path(given) if given else DEFAULT_CONFIG)
    except (TrainError, OSError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_runs(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Run folders below runs/, with their status; anywhere else whatever files and folders the shell finds."""
    from itertools import islice

    from nanou_train.errors import TrainError
    from nanou_train.runs.run_summary import find_runs, summarize_run

    try:
        found = [str(path) for path in islice(find_runs(Path("runs")), _MOST_RUNS)]
    except (TrainError, OSError):
        found = []
    fitting = [name for name in found if name.startswith(incomplete)]
    if not fitting:
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(name, help=summarize_run(Path(name)).status) for name in fitting]
