"""`up`: do what a project's file asks for and is not done yet, from data to verified firmware."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from codegen.untrusted import read_json
from nanou_deploy.cli.options import json_option
from nanou_deploy.cli.output import as_dict, emit_json, heading, next_step, progress, say, warn
from nanou_deploy.cli.platform_offer import yes_option
from nanou_deploy.cli.project_file import Project, needed_project
from nanou_deploy.cli.up_steps import Step, steps_of
from nanou_deploy.errors import EXIT_NOT_LINKED, EXIT_OK

STATE = Path("build/up.json")
_SCHEMA = 1
_RECORDED = ("sources", "made", "exit_code")
State = dict[str, dict[str, str]]  # by step: digests of what it was made of and of what it made, and how that ended


@dataclass(frozen=True)
class Outcome:
    """What became of a step: "in place", "made" or "to do"; and why, where it was not in place."""

    step: str
    outcome: str
    reason: str
    command: str
    result: Path


@click.command(short_help="From data to firmware: what is not done yet.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@yes_option
@json_option
def up(dry_run: bool, yes: bool, as_json: bool) -> int:
    """Do what nanou.toml asks for and is not done yet: data set, training, int8 model, scores, verified firmware.

    Each step is a command of its own, and is printed as one. A step is done again where what it was made of, or what it
    made, has changed. A run that is no longer the project's is kept beside the new one. Exit codes are the command's.
    """
    project = needed_project()
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        outcomes, code = _bring_up(project, dry_run, yes)
    if as_json:
        emit_json("up/1", {"steps": [as_dict(one) for one in outcomes], "exit_code": code})
    elif code == EXIT_OK and not dry_run:
        next_step("nanou-deploy", "run", "--board", project.values["board"])
    return code


def _bring_up(project: Project, dry_run: bool, yes: bool) -> tuple[list[Outcome], int]:
    """Run the steps that are to do, in order, up to the first that ends with another exit code than 0."""
    steps, state, outcomes, code = steps_of(project), _read_state(), list[Outcome](), EXIT_OK
    for number, step in enumerate(steps, 1):
        to_do = any(one.outcome == "to do" for one in outcomes)  # then what this step is made of is not there yet
        reason = "what it is made of is to be made" if to_do else _reason(step, state.get(step.name))
        label = f"{number}/{len(steps)}  {step.title}"
        if not reason:
            say(f"{label}: in place, {step.result}")
            step.check()
            outcomes.append(Outcome(step.name, "in place", "", step.command, step.result))
            continue
        heading(f"{label}: {reason}")
        if dry_run:
            say(f"would run: {step.command}")
        else:
            progress(step.command)
            code = step.run(state.get(step.name, {}).get("made", ""), yes=yes)
            if code not in (EXIT_OK, EXIT_NOT_LINKED):
                return [*outcomes, Outcome(step.name, "to do", reason, step.command, step.result)], code
            state[step.name] = {"sources": step.sources(), "made": step.made(), "exit_code": str(code)}
            _write_state(state)
            step.check()
        outcomes.append(Outcome(step.name, "to do" if dry_run else "made", reason, step.command, step.result))
    return outcomes, code


def _reason(step: Step, recorded: Mapping[str, str] | None) -> str:
    """Why a step is to be done; empty where all is in place."""
    made = step.made()
    if not made:
        return f"{step.result} is not complete" if step.result.exists() else f"there is no {step.result} yet"
    if recorded is None:
        return f"{step.result} was not made by `up`"
    if recorded["sources"] != step.sources():
        return f"what {step.result} was made of has changed"
    if recorded["made"] != made:
        return f"{step.result} has changed"
    return "" if recorded["exit_code"] == str(EXIT_OK) else f"{step.result} is not linked yet"


def _read_state() -> State:
    """Read what was done before; nothing where that cannot be read: then it is found out by the commands themselves."""
    try:
        document: Any = read_json(STATE)
        if document["schema"] != _SCHEMA:
            return {}
        steps: State = document["steps"]
        return {name: {key: str(one[key]) for key in _RECORDED} for name, one in steps.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        warn(f"{STATE} cannot be read: every step is looked at anew")
        return {}


def _write_state(state: State) -> None:
    from codegen.atomic_files import write_text

    write_text(STATE, json.dumps({"schema": _SCHEMA, "steps": state}, indent=2, sort_keys=True) + "\n")
