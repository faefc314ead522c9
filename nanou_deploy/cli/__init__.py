"""Define the command line. Commands import what they need when they run, so that `--help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module

import click

from codegen import __version__
from codegen.child_python import keep_current_folder_out
from nanou_deploy.cli.interrupts import no_interrupt_lost
from nanou_deploy.cli.output import abandon_stdout, fail, fail_usage, interrupted, prepare_streams, show_log
from nanou_deploy.errors import EXIT_ERROR, EXIT_OK

# In the order of a first project. Each is a function in the module of its name, unless Python has that word itself.
_COMMANDS = (
    "demo", "init", "up", "prepare", "data-check", "train", "experiment", "runs", "evaluate", "prune", "quantize",
    "calibrate", "import", "describe", "card", "inspect", "predict", "generate", "export", "build", "verify", "bench",
    "cost", "search", "pareto", "fit", "flash", "run", "monitor", "capture", "label-assist", "bench-train",
    "model-size", "migrate-config", "boards", "doctor", "clean",
)  # fmt: skip
_FUNCTIONS = {"import": "import_model"}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = _FUNCTIONS.get(cmd_name, cmd_name.replace("-", "_"))
        command: click.Command = getattr(import_module(f"nanou_deploy.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            near = get_close_matches(args[0], _COMMANDS, n=3)
            mean = f"; did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"there is no command {args[0]!r}{mean}", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="nanou-deploy")
@click.pass_context
def cli(context: click.Context) -> None:
    """From images and masks to verified segmentation firmware on a microcontroller.

    \b
    Start with        nanou-deploy demo
    Your own images   nanou-deploy init
                      nanou-deploy up
    """
    from nanou_deploy.cli.project_file import defaults_of, read_project

    name = context.invoked_subcommand or ""
    command = cli.get_command(context, name)
    if command is not None and (project := read_project()) is not None:
        context.default_map = {name: defaults_of(project, command)}


def main() -> None:
    """Run the command line; every intended error becomes two lines on stderr and a stable exit code."""
    keep_current_folder_out()
    prepare_streams()
    with no_interrupt_lost() as came:
        code = _run(came)
    sys.exit(code)


def _run(came: Callable[[], bool]) -> int:
    show_log()
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()  # a full disk is found out here
        return code if isinstance(code, int) else EXIT_OK
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        return interrupted(error)
    except Exception as error:
        return interrupted(error) if came() else _failed(error)


def _failed(error: Exception) -> int:
    if isinstance(error, click.ClickException):
        return fail_usage(error)
    if isinstance(error, BrokenPipeError):  # whoever read the results has seen enough
        abandon_stdout()
        return EXIT_ERROR
    return fail(error)


if __name__ == "__main__":
    main()
