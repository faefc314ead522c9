"""`demo`: train, quantize, compile, verify and report, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.options import Output, seed_option
from nanou_deploy.cli.output import heading, progress, said_when_interrupted, say
from nanou_deploy.cli.verify import print_golden
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_OK

if TYPE_CHECKING:
    from nanou_deploy.demo import DemoResult


@click.command(short_help="Do everything once, on rendered terrain, in about three minutes.")
@click.option("--output", type=Output(), default=Path("build/demo"), show_default=True, help="Folder to fill.")
@seed_option()
def demo(output: Path, seed: int) -> int:
    """Train, quantize, compile, verify and report, in about three minutes on two cores."""
    from nanou_deploy.cli.training_output import training_progress
    from nanou_deploy.demo import run_demo

    kept = f"{output} keeps each finished epoch; the same command goes on"
    with said_when_interrupted(kept), training_progress() as training:
        result = run_demo(output, seed=seed, heading=heading, progress=progress, training_progress=training)
    print_golden(result.golden)
    _summarize(result)
    return EXIT_OK if result.golden.passed else EXIT_MISMATCH


def _summarize(result: DemoResult) -> None:
    plan, bench, rows = result.compiled.plan, result.bench, result.evaluation.rows
    instructions = f"{bench.instructions:,} per inference" if bench.instructions else "not counted"
    lines = (
        ("Model", f"{result.model.name}, {plan.macs:,} MACs, {len(result.model.flatbuffer):,} B as .tflite"),
        (
            "Accuracy",
            f"int8 {100 * rows['int8']['miou']:.1f} % mIoU, float {100 * rows['float']['miou']:.1f} %, "
            f"constant mask {100 * rows['constant mask']['miou']:.1f} %",
        ),
        ("RAM", f"{plan.working_bytes:,} B working + {plan.io_bytes:,} B frames + {bench.stack_bytes:,} B stack"),
        ("Flash", f"{bench.code_bytes:,} B code + {bench.table_bytes:,} B tables"),
        ("Instructions", f"{instructions} on {bench.board} ({bench.instructions_per_mac} per MAC)"),
        ("Firmware", f"{result.project}" + (f" ({result.not_linked})" if result.not_linked else "")),
        ("Pictures", f"{result.picture}"),
        ("Report", f"{result.report}"),
    )
    for label, text in lines:
        say(text, label=f"{label:<13} ", bold=True)
    for line in (
        "",
        "Now with your own images (ROOT/{train,val,test}/{img,mask}):",
        "  nanou-deploy train --data ROOT --output runs/mine",
        "  nanou-deploy quantize --run runs/mine",
        "  nanou-deploy build --board esp32s3 --model runs/mine",
    ):
        say(line)
