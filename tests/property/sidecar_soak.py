"""The soak of hostile sidecars: every field of the schema times hostile values. For developers; few are in `make test`.

    python -m tests.property.sidecar_soak --cases 1500 --seed 1

Each case is a sidecar in which one or two things were changed, of a model of each task, and goes through `describe`,
and where that accepts it through `generate`, `export` and, one in fifty, `verify`, which compiles and runs it. Allowed
are a refusal in words and files in which no text has left its comment, string or scalar. Anything else is a failure:
another exception, a traceback, a control character on the terminal, hostile text among a language's own words, a file
that the text's commands would make. Exit code 1 if anything failed; the same seed makes the same cases.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any, get_args

from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from codegen.tflite.sidecar import sidecar
from nanou_deploy.build.export import Format
from tests.command_line import Finished, run
from tests.golden.test_tensors import CLASSIFIER, DETECTOR, deciding
from tests.unit.test_escaping import c_skeleton, cmake_skeleton
from tests.unit.test_sidecar import COLOURS, MODEL, changed, members, sidecar_1

COMPILED_SHARE = 50  # one in so many of the accepted is also compiled and run
TOUCH = "touch evil_file"
# "evil" is looked for outside strings, "EVIL" is what a template would make of the last but one line, and files too.
TEXTS = (
    "*/ int evil; /*", '"; int evil; "', "evil\\", "evil\nint evil2;", "\r\n#define evil", "// evil", "??/ evil",
    "%s%n%s evil", f"$({TOUCH})", f"`{TOUCH}`", f";{TOUCH};", f"'; {TOUCH} #", f'"; {TOUCH} #', "${evil}",
    "$ENV{evil}", "a) evil(", "[[evil]]", "- evil: 1", "evil: {a: b}", "&evil *evil", "!!python/object:evil",
    "<script>evil()</script>", "</style><evil>", "<!-- evil", "' onload='evil", "![a](http://evil)", "[a](evil)",
    f"system(\"{TOUCH}\");", "evil\0", "\x1b[2Jevil", "\x1b]0;evil\x07", "\u2028evil", "\u202eevil", "\ufeffevil",
    "\x85evil", "\ud800evil", "\udfff", "=evil()", "-rf /evil", "../../evil", "/evil", "evil" * 16,
    "evil" * 2000, "{{ 'EV' ~ 'IL' }}", "{% raw %}evil", "",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *TEXTS, *TEXTS, None, True, False, 0, -1, 1, 2, 0.5, 1e308, -1e-320, 2**63 - 1, -(2**63), 10**18, [], {}, [[]],
    ["evil"], [TEXTS[0], TEXTS[1]], {"evil": 1}, {"*/ evil": "*/ evil"}, [0.5] * 3, [0.5] * 5000, ["evil"] * 40,
)  # fmt: skip
# What JSON can say and Python's values cannot: each in place of a value, or of the beginning of the document.
RAW = (
    "NaN", "-Infinity", "1e999", "1" * 5000, "0x10", "01", "'evil'", "[" * 5000 + "]" * 5000, '{"a":' * 500,
    '"\\ud800"', '"\\u0000"', '"unterminated', "/* evil */ 1", "1, 2", "", '"' + "evil" * 2_500_000 + '"',
)  # fmt: skip


@cache
def documents() -> tuple[tuple[bytes, dict[str, Any]], ...]:
    """Models of every task with their sidecars, of both schemas where the first can say it."""
    models = [MODEL, COLOURS, deciding(*CLASSIFIER), deciding(*DETECTOR)]
    stated = [(model.flatbuffer, json.loads(json.dumps(sidecar(model)))) for model in models]
    return (*stated, *((model.flatbuffer, sidecar_1(model)) for model in (MODEL, COLOURS)))


def hostile(rng: Random) -> tuple[bytes, bytes]:
    """A model and a sidecar for it, hostile in one or two places."""
    flatbuffer, document = rng.choice(documents())
    if rng.random() < 0.5:
        document = _free(document, rng)
    for _ in range(rng.choice((0, 1, 1, 2))):
        path = rng.choice([path for path in members(document) if path not in (("sha256",), ("schema",))])
        match rng.randrange(8):
            case 0:
                document = (
                    changed(document, (*path[:-1], rng.choice(TEXTS)), rng.choice(VALUES)) if _keyed(path) else {}
                )
            case 1 if rng.random() < 0.5:
                document = _without(document, path)
            case _:
                document = changed(document, path, rng.choice(VALUES))
        document = document or copy.deepcopy(rng.choice(documents())[1])
    text = json.dumps(document)
    match rng.randrange(8):
        case 0:
            text = _with_raw(text, document, rng)
        case 1 if rng.random() < 0.3:
            key = rng.choice(list(document))
            text = text.replace("{", '{"' + str(key).encode("unicode_escape").decode() + '": "evil", ', 1)
    data = text.encode()
    if rng.random() < 0.05:
        damaged = bytearray(data)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        data = bytes(damaged)
    return flatbuffer, rng.choice((b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe")) + data if rng.random() < 0.1 else data


def _free(document: dict[str, Any], rng: Random) -> dict[str, Any]:
    """The document with hostile text where any is allowed: names of classes, and what its maker recorded."""
    names = {path[:-1]: _member(document, path[:-1]) for path in members(document) if "classes" in path[:-1]}
    for path, classes in names.items():
        renamed = {name: rng.choice(TEXTS)[:60] + str(index) for index, name in enumerate(classes)}
        document = changed(document, path, list(renamed.values()))
        drivable = (*path[:-1], "drivable")
        if drivable in members(document):
            document = changed(document, drivable, [renamed[name] for name in _member(document, drivable)])
    return document | {"provenance": {rng.choice(TEXTS): rng.choice(VALUES), "metrics": {"int8": rng.choice(VALUES)}}}


def _member(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _keyed(path: tuple[Any, ...]) -> bool:
    return isinstance(path[-1], str)


def _without(document: Any, path: tuple[Any, ...]) -> Any:
    document = copy.deepcopy(document)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    return document


def _with_raw(text: str, document: dict[str, Any], rng: Random) -> str:
    marked = changed(document, rng.choice(list(members(document))), "<MARK>")
    return json.dumps(marked).replace('"<MARK>"', rng.choice(RAW), 1) or text


# ---- One case ----------------------------------------------------------------------------------------------------


def outcome(number: int, seed: int, folder: Path) -> str:
    """What becomes of a case: "refused", "accepted" or "accepted, compiled and run". Raises AssertionError."""
    rng = Random(f"{seed} {number}")
    flatbuffer, data = hostile(rng)
    (folder / "m.tflite").write_bytes(flatbuffer)
    (folder / "m.json").write_bytes(data)
    described = _checked(run("describe", "m.tflite", cwd=folder))
    if described.returncode:
        for command in ("generate --output lib", "export --format cmake --output out"):
            done = _checked(run(*command.split(), "--model", "m.tflite", cwd=folder))
            assert done.returncode == described.returncode
        assert not {"lib", "out"} & {path.name for path in folder.iterdir()}
        return "refused"
    form = rng.choice(get_args(Format))
    for command in ("generate --output lib", f"export --format {form} --output out"):
        done = _checked(run(*command.split(), "--model", "m.tflite", cwd=folder))
        assert done.returncode == 0, done
    for path in (*(folder / "lib").rglob("*"), *(folder / "out").rglob("*")):
        if path.is_file():
            check_file(path)
    is_run = rng.randrange(COMPILED_SHARE) == 0
    if is_run:
        verified = _checked(run("verify", "--model", "m.tflite", "--board", "host:1", cwd=folder))
        assert verified.returncode == 0, verified
    assert not list(folder.rglob("evil_file"))
    return "accepted, compiled and run" if is_run else "accepted"


def _checked(done: Finished) -> Finished:
    assert done.returncode in (0, 1), done
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert all(line.isprintable() for line in said.split("\n")), done
    assert len(done.stderr) < 4000, done
    return done


def _markdown(text: str) -> str:
    """What of a document is no text: links, raw HTML, the words behind a fence."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    inside = [part for token in tokens for part in token.children or ()]
    raw = [token.content for token in (*tokens, *inside) if token.type in ("html_block", "html_inline")]
    return " ".join([*raw, *(str(token.attrs) for token in (*tokens, *inside)), *(token.info for token in tokens)])


class _Page(HTMLParser):
    """What of a page is no text: its elements, their attributes, scripts and styles, comments and declarations."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words += [tag, *(f"{name}={value}" for name, value in attrs)]

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.words.append(data)

    def handle_decl(self, decl: str) -> None:
        self.words.append(decl)

    def handle_pi(self, data: str) -> None:
        self.words.append(data)

    def unknown_decl(self, data: str) -> None:
        self.words.append(data)


def _html(text: str) -> str:
    page = _Page()
    page.feed(text)
    page.close()
    return " ".join(page.words)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(item)


OWN_WORDS: dict[str, Callable[[str], str]] = {
    ".c": c_skeleton, ".h": c_skeleton, ".cc": c_skeleton, ".ino": c_skeleton, ".cpp": c_skeleton, ".S": c_skeleton,
    ".txt": cmake_skeleton, ".cmake": cmake_skeleton, ".md": _markdown,
    ".html": _html,
    ".json": lambda text: " ".join(_keys(json.loads(text))),
    ".yml": lambda text: " ".join(_keys(YAML(typ="safe", pure=True).load(text))),
    ".ini": lambda text: text, ".defaults": lambda text: text, ".cfg": lambda text: text, "": lambda text: "",
    ".properties": lambda text: text.partition("sentence=")[0],
}  # fmt: skip


def check_file(path: Path) -> None:
    """Raise AssertionError where a stranger's text is among the words of the file's language, or was evaluated."""
    text = path.read_text(encoding="utf-8")
    assert "EVIL" not in text, path
    words = OWN_WORDS[path.suffix](text)
    if path.name != "provenance.json":  # which is what the sidecar says, keys included
        assert "evil" not in words, (path, words)


# ---- Many --------------------------------------------------------------------------------------------------------


def soak(cases: int, seed: int, first: int = 0) -> tuple[Counter[str], list[int]]:
    """Outcomes of so many cases from `first` on, and the numbers of those that failed."""
    tally, failed = Counter[str](), []
    for number in range(first, first + cases):
        with tempfile.TemporaryDirectory(prefix="nanou-") as folder:
            try:
                tally[outcome(number, seed, Path(folder))] += 1
            except Exception:
                failed.append(number)
                tally["FAILED"] += 1
                print(f"case {number}: {traceback.format_exc()}", file=sys.stderr)
    return tally, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="Number of the first case, to go on from.")
    options = parser.parse_args()
    tally, failed = soak(options.cases, options.seed, options.first)
    print(f"{tally.total():,} hostile sidecars, {len(failed)} failures: {', '.join(map(str, failed)) or 'none'}")
    for what, count in tally.most_common():
        print(f"  {count:7,}  {what}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
