"""`inspect --proofs`: show what the compiler proved of a model, and how much stack it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanou_deploy.cli.output import emit_json, emit_table, note, say
from nanou_deploy.errors import EXIT_ERROR, EXIT_OK

if TYPE_CHECKING:
    from codegen.compile import Compilation
    from codegen.program.program import AccumulatorBound
    from codegen.proof.proof import LayerProof, Proofs
    from nanou_deploy.boards.boards import Board
    from nanou_deploy.build.stack_usage import StackUsage


def show_proofs(compiled: Compilation, board: Board, as_json: bool) -> int:
    """Print what is proven and what the stack takes; return the exit code."""
    from codegen.library.stack_estimate import estimate_stack

    proofs, estimates = compiled.proofs, estimate_stack(compiled.program)
    failures = proofs.failures
    usage, stack = (None, "") if failures else _measured_stack(compiled, board)
    if as_json:
        about = {"name": compiled.model.name, "sha256": compiled.model.sha256, "board": board.name}
        emit_json("proofs/1", {**about, "failures": failures, **vars(proofs), "stack": estimates, "stack_usage": usage})
    else:
        say(f"{compiled.model.name}  sha256 {compiled.model.sha256[:16]}  for {board.name}")
        if not failures:
            _print_summary(proofs)
            say(f"{'stack':<15} {stack}")
            listed = ", ".join(f"{estimate.size_bytes:,} ({estimate.processor})" for estimate in estimates)
            say(f"{'':<15} estimated, not proven: {listed} bytes")
        _print_layers(proofs)
    for failure in failures:
        note(f"not proven: {failure}")
    if failures:
        note("This is a defect of nanou-deploy, not of the model: please report it with the model.")
    return EXIT_ERROR if failures else EXIT_OK


def _measured_stack(compiled: Compilation, board: Board) -> tuple[StackUsage | None, str]:
    """Read what the board's compiler states of the stack, and say it in words."""
    from nanou_deploy.build.compilation import measure_stack, measurement_board
    from nanou_deploy.errors import ToolMissing

    try:
        usage = measure_stack(compiled, board)
    except ToolMissing as error:
        return None, f"not measured: {error}; {error.hint}"
    if usage is None:
        return None, "not measured: this compiler does not state it"
    return usage, (
        f"{usage.total_bytes:,} bytes for {measurement_board(board).name}, as its compiler states each function; "
        "row callbacks and interrupts not counted"
    )


def _print_summary(proofs: Proofs) -> None:
    """Print what is proven, by category."""
    memory, exact = proofs.memory, proofs.channels - proofs.one_multiply - proofs.digits
    digits = (f"{proofs.digits} by digits of their weights, in 20 bits, equal as well;",) if proofs.digits else ()
    layers = sum(layer.values is not None for layer in proofs.layers)
    arrays = sum(len(layer.arrays) for layer in proofs.layers)
    lines = {
        "sums": (f"{layers} layers add within {_interval(proofs.values)}, at every point: no int32 overflows",),
        "requantization": (
            f"{proofs.one_multiply} of {proofs.channels} channels by one multiply, equal to TFLite's two roundings "
            f"({exact} compute those);",
            *digits,
            f"compared at {proofs.compared:,} sums, between which neither side changes",
        ),
        "index ranges": (f"{proofs.calls:,} kernel calls stay inside {arrays} arrays: rows and tables",),
        "memory": (
            f"{memory.steps:,} steps executed on tags, with frames and again with rows: "
            f"all {memory.rows_read:,} rows read were those meant;",
            f"most in use: {memory.peak_bytes:,} of {memory.working_bytes:,} bytes at step {memory.peak_step}, "
            f"{memory.peak_stage}: tensors {', '.join(map(str, memory.peak_tensors))}",
        ),
    }
    if cores := proofs.cores:
        lines["two cores"] = (
            f"{cores.steps[0]} and {cores.steps[1]} steps, {cores.waits} waits; of {cores.accesses:,} accesses of rows "
            f"{cores.conflicts:,} are to what",
            "the other core touched before: none can run beside it",
        )
    for what, (first, *rest) in lines.items():
        say(f"{what:<15} {first}")
        for line in rest:
            say(f"{'':<15} {line}")


def _print_layers(proofs: Proofs) -> None:
    emit_table(
        ("#", "Operator", "Accumulator", "Sums in C", "Requantized", "Compared", "Calls", "Arrays", "Verdict"),
        (
            (
                layer.number,
                layer.op,
                _interval(layer.accumulator),
                _interval(layer.values),
                _forms(layer),
                f"{layer.compared:,}" if layer.compared else "",
                layer.calls,
                len(layer.arrays),
                "NOT proven" if layer.failures else "proven",
            )
            for layer in proofs.layers
        ),
        right=(0, 2, 3, 4, 5, 6, 7),
    )


def _forms(layer: LayerProof) -> str:
    """Say how many channels are requantized in which way, where not all are by one multiply."""
    if layer.digits:
        return f"{layer.digits} by digits"
    return f"{layer.one_multiply} of {len(layer.channels)} by one multiply" if layer.channels else ""


def _interval(bound: AccumulatorBound | None) -> str:
    return f"{bound.low:,} .. {bound.high:,}" if bound else ""
