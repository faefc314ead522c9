"""`inspect --proofs`: what holds for every input, proven again from what is generated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from nanou_deploy.cli.output import emit_json, emit_table
from nanou_deploy.errors import EXIT_ERROR, EXIT_OK

if TYPE_CHECKING:
    from codegen.compile import Compiled
    from codegen.program.program import AccumulatorBound
    from codegen.proof.proof import Proofs


def show_proofs(compiled: Compiled, as_json: bool) -> int:
    """Prove, print, and return the exit code."""
    from codegen.library.render_aot import aot_files
    from codegen.proof.proof import prove

    proofs = prove(compiled, aot_files(compiled))
    failures = proofs.failures
    if as_json:
        model = compiled.model
        emit_json("proofs/1", {"name": model.name, "sha256": model.sha256, "failures": failures, **vars(proofs)})
    else:
        click.echo(f"{compiled.model.name}  sha256 {compiled.model.sha256[:16]}")
        if not failures:
            _print_summary(proofs)
        _print_layers(proofs)
    for failure in failures:
        click.echo(f"not proven: {failure}", err=True)
    if failures:
        click.echo("This is a defect of nanou-deploy, not of the model: please report it with the model.", err=True)
    return EXIT_ERROR if failures else EXIT_OK


def _print_summary(proofs: Proofs) -> None:
    """What is proven, by category."""
    memory, exact = proofs.memory, proofs.channels - proofs.one_multiply
    layers = sum(layer.values is not None for layer in proofs.layers)
    arrays = sum(len(layer.arrays) for layer in proofs.layers)
    stack = ", ".join(f"{bound.size_bytes:,} ({bound.processor})" for bound in proofs.stack)
    lines = {
        "sums": (f"{layers} layers add within {_interval(proofs.values)}, at every point: no int32 overflows",),
        "requantization": (
            f"{proofs.one_multiply} of {proofs.channels} channels by one multiply, equal to TFLite's two roundings "
            f"({exact} compute those);",
            f"compared at {proofs.compared:,} sums, between which neither side changes",
        ),
        "index ranges": (f"{proofs.calls:,} kernel calls stay inside {arrays} arrays: rows and tables",),
        "memory": (
            f"{memory.steps:,} steps executed on tags, with frames and again with rows: "
            f"all {memory.rows_read:,} rows read were those meant;",
            f"most in use: {memory.peak_bytes:,} of {memory.working_bytes:,} bytes at step {memory.peak_step}, "
            f"{memory.peak_stage}: tensors {', '.join(map(str, memory.peak_tensors))}",
        ),
        "stack": (f"at most {stack} bytes, with -O2; callbacks not counted",),
    }
    for what, (first, *rest) in lines.items():
        click.echo(f"{what:<15} {first}")
        for line in rest:
            click.echo(f"{'':<15} {line}")


def _print_layers(proofs: Proofs) -> None:
    emit_table(
        ("#", "Operator", "Accumulator", "Sums in C", "One multiply", "Compared", "Calls", "Arrays", "Verdict"),
        (
            (
                layer.number,
                layer.op,
                _interval(layer.accumulator),
                _interval(layer.values),
                f"{layer.one_multiply} of {len(layer.channels)}" if layer.channels else "",
                f"{layer.compared:,}" if layer.compared else "",
                layer.calls,
                len(layer.arrays),
                "NOT proven" if layer.failures else "proven",
            )
            for layer in proofs.layers
        ),
        right=(0, 2, 3, 4, 5, 6, 7),
    )


def _interval(bound: AccumulatorBound | None) -> str:
    return f"{bound.low:,} .. {bound.high:,}" if bound else ""
