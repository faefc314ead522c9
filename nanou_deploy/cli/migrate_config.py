"""`migrate-config`: turn an old configuration into an experiment file."""

from __future__ import annotations

from pathlib import Path

import click

from nanou_deploy.cli.options import Output, json_option
from nanou_deploy.cli.output import emit_json, next_step, say, warn


@click.command(short_help="Turn an old configuration into an experiment file.")
@click.argument("old", type=click.Path(path_type=Path))
@click.option("--output", type=Output(is_file=True), required=True, help="The experiment file to write.")
@click.option("--name", default="", help="Name of an experiment that has none. Default: the old file's.")
@click.option("--force", is_flag=True, help="Replace the file, if there is one.")
@json_option
def migrate_config(old: Path, output: Path, name: str, force: bool, as_json: bool) -> None:
    """Write OLD's settings in the new format, and say what means something else now.

    Old keys: model, epochs, batch_size, learning_rate, distillation, teacher_weights, alpha, temperature, nas,
    layers_to_monitor, nas_frequency.
    """
    from nanou_train.experiments.migrate import migrate_file, write_migration

    migration = migrate_file(old, name=name)
    write_migration(migration, old, output, force=force)
    if as_json:
        found = {"output": output, "experiments": migration.experiments, "warnings": migration.warnings}
        emit_json("migrate-config/1", found)
        return
    for warning in migration.warnings:
        warn(warning)
    say(f"{output}: {', '.join(migration.experiments)}")
    next_step("nanou-deploy", "experiment", "--config", output, "--list")
