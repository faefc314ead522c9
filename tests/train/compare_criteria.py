"""Which criterion prunes best? Cuts a completed run by each, and trains what is left for the same few epochs.

    python -m tests.train.compare_criteria --run runs/mine --to 0.5 --epochs 10 --output runs/criteria

Prints validation mIoU (per cent) right after the cut, without and with what the remaining channels can absorb, and
after the epochs; the latter for each seed. `uniform` takes as much from all layers, chosen by the default criterion.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nanou_train.pruning.importance import CRITERIA
from nanou_train.pruning.prune_run import PruneSettings, Source, open_source, preview_cut, prune_run
from nanou_train.runs.run_folder import write_json


def after_the_cut(source: Source, settings: PruneSettings, seeds: list[int]) -> list[tuple[float, float]]:
    """mIoU without and with absorbing; for `random` one pair for each seed."""
    chosen = seeds if settings.criterion == "random" else seeds[:1]
    return [
        (
            preview_cut(source, settings.model_copy(update={"seed": seed, "absorb": False})).miou_cut,
            preview_cut(source, settings.model_copy(update={"seed": seed})).miou_cut,
        )
        for seed in chosen
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--to", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=0, help="0: only right after the cut")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--criteria", nargs="+", default=[*CRITERIA, "uniform"])
    parser.add_argument("--output", type=Path, default=Path("runs/criteria"))
    given = parser.parse_args()
    source = open_source(given.run, data_root=given.data)
    rows = []
    for name in given.criteria:
        changes = {"layers": "uniform"} if name == "uniform" else {"criterion": name}
        settings = PruneSettings(to=given.to, rounds=1, final_epochs=given.epochs or 1, **changes)
        cuts = after_the_cut(source, settings, given.seeds)
        trained = []
        for seed in given.seeds if given.epochs else []:
            own = settings.model_copy(update={"seed": seed})
            result = prune_run(given.run, given.output / f"{name}-{seed}", own, dataset=source.dataset)
            trained.append((result.rounds[-1].miou_trained, result.metrics["student"]["miou"]))
        rows.append({"criterion": name, "after_cut": cuts, "trained_val_test": trained})
        shown = ", ".join(f"{100 * one:.1f} / {100 * other:.1f}" for one, other in cuts)
        ends = ", ".join(f"{100 * val:.1f} (test {100 * test:.1f})" for val, test in trained)
        print(f"{name:12} right after the cut, without and with absorbing: {shown}; trained: {ends or '-'}", flush=True)
        given.output.mkdir(parents=True, exist_ok=True)
        write_json(given.output / "criteria.json", {"to": given.to, "epochs": given.epochs, "rows": rows})


if __name__ == "__main__":
    main()
