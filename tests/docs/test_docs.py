"""What the documents promise exists: commands, options, files, make targets."""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from codegen import __version__
from nanou_deploy.cli import cli
from tests.generated import compiled

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "models/README.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
)
CONTEXT = click.Context(cli, info_name="nanou-deploy")
COMMANDS = cli.list_commands(CONTEXT)


@dataclass(frozen=True)
class Mention:
    """A command line in a document. Inside a code block it is complete; in running text it may be abbreviated."""

    document: str
    line: str
    is_complete: bool


def mentions() -> Iterator[Mention]:
    for path in DOCUMENTS:
        name, text = path.relative_to(REPOSITORY).as_posix(), path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        indented = re.findall(r"(?<=\n\n)(?: {4}.*\n)+", text)
        for block in (*blocks, *map(textwrap.dedent, indented)):
            for line in block.replace("\\\n", " ").splitlines():
                if match := re.match(r"(?:\$ )?(?:\S*/)?nanou-deploy (.+)", line):
                    yield Mention(name, match[1], True)
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        for line in re.findall(r"`nanou-deploy ([^`]+)`", prose):
            yield Mention(name, line, False)


MENTIONS = tuple(dict.fromkeys(mentions()))


@pytest.mark.parametrize("mention", MENTIONS, ids=lambda m: f"{m.document}: {m.line}")
def test_documented_command_parses(mention: Mention) -> None:
    name, *arguments = shlex.split(mention.line, comments=True)
    command = cli.get_command(CONTEXT, name)
    assert command is not None, f"{mention.document} names a command that does not exist: {name}"
    context = click.Context(command, info_name=name)
    values, surplus, _ = command.make_parser(context).parse_args(list(arguments))
    assert surplus == []
    for parameter in command.params:
        given = values.get(parameter.name)
        if given is not None and isinstance(parameter.type, click.Choice):
            parameter.type_cast_value(context, given)
        if mention.is_complete and parameter.required:
            assert given is not None, f"{mention.line}: {parameter.name} is required"


def test_documents_show_commands() -> None:
    assert sum(mention.is_complete for mention in MENTIONS) >= 4


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_has_help(name: str) -> None:
    assert any(mention.line.split()[0] == name for mention in MENTIONS), f"no document names nanou-deploy {name}"
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cli {name}")
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    assert command.get_short_help_str(200)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_relative_links_resolve(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(
        r'<(?:img|source|a)\b[^>]*?(?:src|srcset|href)="([^"]+)"', text
    )
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{target} does not exist"
        assert linked.is_relative_to(REPOSITORY), f"{target} leaves the repository"
        if anchor:
            assert anchor in _anchors(linked), f"{target}: no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_documents_are_portable_and_finished(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?:(?<=[\s`\"'(=])/(?:home|root|tmp|Users|work|opt)/|[A-Z]:\\)\S*", text) == []
    assert str(REPOSITORY) not in text
    assert re.findall(r"\b(?:TODO|FIXME|TBD|XXX)\b", text) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_named_files_exist(path: Path) -> None:
    folders = "codegen|nanou_train|nanou_deploy|firmware|templates|docs|tests|config|models|scripts"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", path.read_text(encoding="utf-8"))
    assert [file for file in named if not (REPOSITORY / file).exists()] == []


SOURCES = sorted(
    path
    for folder in ("codegen", "nanou_train", "nanou_deploy", "firmware", "templates", "config", "scripts", "tests")
    for path in (REPOSITORY / folder).rglob("*")
    if path.suffix in (".py", ".j2", ".c", ".h", ".cc", ".S", ".yaml", "") and path.is_file()
)


def test_sources_and_messages_name_documents_sections_and_commands_that_exist() -> None:
    """Wherever a document, a section of one, or a command is named: in a docstring, a comment, a hint, a template."""
    seen = set[str]()
    for path in (*SOURCES, *DOCUMENTS):
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for file, section in re.findall(r"\b(?:docs/)?([A-Z]+\.md),? \(?\"([^\"]+)\"", text):
            assert _slug(section) in _anchors(REPOSITORY / "docs" / file), f"{path}: {file} has no section {section}"
            seen.add("section")
        for file, anchor in re.findall(r"\bdocs/((?:adr/)?[\w-]+\.md)(?:#([\w-]+))?", text):
            assert (REPOSITORY / "docs" / file).is_file(), f"{path}: docs/{file} does not exist"
            assert not anchor or anchor in _anchors(REPOSITORY / "docs" / file), f"{path}: {file}#{anchor}"
            seen.add("document")
        for number in re.findall(r"\badr/(\d{4})", text):
            assert list((REPOSITORY / "docs/adr").glob(f"{number}-*.md")), f"{path}: there is no decision {number}"
            seen.add("decision")
        for name, rest in re.findall(r"`nanou-deploy ([a-z][a-z-]*)((?: [^`]*)?)`", text):
            command = cli.get_command(CONTEXT, name)
            assert command is not None, f"{path} names the command {name}"
            known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            assert set(re.findall(r"(?<= )--[a-z-]+", rest)) <= known, f"{path}: nanou-deploy {name}{rest}"
            seen.add("command")
    assert seen == {"section", "document", "decision", "command"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_named_tests_exist(path: Path) -> None:
    for file, name in re.findall(r"(tests/[\w/]+\.py)(?:::(test_\w+))?", path.read_text(encoding="utf-8")):
        assert (REPOSITORY / file).is_file(), file
        assert not name or f"def {name}(" in (REPOSITORY / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_stated_limits_are_those_of_the_code() -> None:
    text = (REPOSITORY / "docs/TRUST.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| ([\d,]+) \| `([\w.]+)\.(\w+)` \|$", text, re.MULTILINE)
    assert len(rows) > 20
    for value, module, name in rows:
        assert f"{getattr(import_module(module), name):,}" == value, f"{module}.{name}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
        assert named <= targets, f"{path.name} names make targets that do not exist: {named - targets}"


def test_readme_names_the_two_commands_and_every_board() -> None:
    from nanou_deploy.boards.boards import BOARDS

    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert "\nmake demo" in readme
    assert "\nmake test" in readme
    table = re.findall(r"^\| `([a-z0-9-]+)` \|", readme, re.MULTILINE)
    assert set(table) == set(BOARDS)


def test_readme_states_the_memory_of_the_default_model() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    plan = compiled("default", "rv32imc").plan
    assert f"{plan.macs:,} multiply-accumulates" in readme
    assert f"\n| working RAM | {plan.working_bytes:,} bytes |" in readme
    assert f"\n| input and output frame, beside it | {plan.io_bytes:,} bytes |" in readme


def test_every_decision_record_is_listed_and_names_its_successor() -> None:
    folder = REPOSITORY / "docs/adr"
    listed = dict(re.findall(r"^\| \[\d+\]\((\S+)\) \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE))
    assert set(listed) == {path.name for path in folder.glob("0*.md")}
    for name, title in listed.items():
        text = (folder / name).read_text(encoding="utf-8")
        successor = re.search(r"^Superseded by \[(\d+)\]", text, re.MULTILINE)
        suffix = f" (superseded by {successor[1]})" if successor else ""
        assert title == re.match(r"# \d+: (.+)", text)[1] + suffix  # type: ignore[index]


def test_the_c_example_compiles(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    from codegen.library.render import render_aot
    from codegen.library.write import write_project

    (example,) = re.findall(r"^```c\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "example.c").write_text(example)
    write_project(render_aot(compiled("default")), tmp_path / "nanou_model")
    command = [require_tool("gcc", "clang", "cc"), "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run(
        [*command, "-Inanou_model/include", "example.c"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_changelog_knows_this_version() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in changelog or "## [Unreleased]" in changelog


def _anchors(path: Path) -> set[str]:
    """Heading anchors as GitHub makes them."""
    return set(map(_slug, re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)))


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
