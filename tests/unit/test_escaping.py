"""Whatever a stranger's text is, it stays inside the comment, string, argument, scalar or word that it was put into.

All templates are walked three ways: which filter ends each of their expressions; every filter against a parser of its
language; and real renderings, each of whose strings is replaced by hostile text, against the renderings as they were.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import jinja2
import pytest
from jinja2 import nodes
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from codegen.compile import compile_model
from codegen.errors import UnsupportedError
from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.library import escaping, resources
from codegen.library.render import render_aot, render_tflm
from codegen.library.resources import template_folder
from codegen.library.tflm_arena import arena_budget
from codegen.tflite.load import load_graph
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.export import Format, default_package, render_export
from nanou_deploy.build.firmware_project import render_firmware_project, render_repository_project
from nanou_deploy.build.library import open_model
from nanou_deploy.flash.web_installer import render_page
from nanou_deploy.report import render_report
from nanou_deploy.report.model_card import model_card, render_card
from nanou_deploy.report.pareto import render_front
from nanou_deploy.report.training import Training, render_training
from tests.golden.test_tensors import CLASSIFIER, DETECTOR, deciding, foreign
from tests.unit import test_pareto_page, test_report
from tests.unit.test_sidecar import flatbuffer

HOSTILE = (
    "*/ int evil(void); /*", '"; int evil; "', "\\", "a\\", "end\nint evil;", "\r\n#define X", "// x", "??/", "%s%n",
    "$(touch evil)", "`touch evil`", "${PROJECT_DIR}", "$ENV{HOME}", "a;b", "a) evil(", "[[evil]]", "#", "x #y", "a: b",
    "- a", "'", "''", '"', "{a: b}", "[a]", "&a", "*a", "!!python/object:os.system", "%YAML", "|", "> x", "a | b", "~",
    "{{ 7 * 7 }}", "{% raw %}", "{# x #}", "<script>alert(1)</script>", "</style>", "<!--", "]]>", "' onload='x",
    "&amp;", "![a](http://evil)", "[a](javascript:evil)", "# head", "1. x", "==", "```", "`` ` ``", "<http://evil>",
    "**b**", "__b__", "a\0b", "\x1b[2J", "\u2028", "\u202e", "\ufeff", "\x7f", "\x85", "=1+1", "-rf /", "!history",
    "\u0416 \u00e9", "\U0001f697", "x" * 3000, "",
)  # fmt: skip
TEMPLATES = sorted(path.relative_to(template_folder("")).as_posix() for path in template_folder("").rglob("*.j2"))
MODEL = QuantizedModel(
    "small", flatbuffer(3), segmentation(Preprocessing(6, 8), classes=("sky", "road", "tree"), drivable=("road",))
)


# ---- Every expression of every template ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_a_language_and_no_way_round_it(name: str) -> None:
    assert escaping.language_of(name) in (*escaping._NOT_PLAIN, "HTML")
    source = (template_folder("") / name).read_text(encoding="utf-8")
    tree = jinja2.Environment(trim_blocks=True).parse(source)
    used = {filtered.name for filtered in tree.find_all(nodes.Filter)}
    assert not used & {"safe", "tojson", "e", "escape", "forceescape", "xmlattr", "urlize"}
    assert not list(tree.find_all((nodes.MarkSafe, nodes.MarkSafeIfAutoescape, nodes.ScopedEvalContextModifier)))
    for output in tree.find_all(nodes.Output):
        for expression in output.nodes:
            assert all(passes(name, text) for text in constants(expression)), expression
    if escaping.language_of(name) == "C":  # a value could end a line comment by a backslash, which it may not have
        assert not re.search(r"(?<!:)//.*@", re.sub(r"{{.*?}}", "@", source))


def constants(expression: nodes.Node) -> Iterator[str]:
    """What of the template's own strings may come out of the expression as it stands."""
    if isinstance(expression, nodes.Const):
        yield str(expression.value)
    elif isinstance(expression, nodes.CondExpr):
        yield from constants(expression.expr1)
        yield from constants(expression.expr2) if expression.expr2 else ()
    elif isinstance(expression, nodes.Concat):
        yield from (text for part in expression.nodes for text in constants(part))


def test_no_language_is_guessed() -> None:
    with pytest.raises(AssertionError, match="knows no language"):
        escaping.language_of("common/run.sh.j2")


# ---- Every filter against its language -----------------------------------------------------------------------------


def render(name: str, source: str, value: object) -> str:
    environment = jinja2.Environment(loader=jinja2.DictLoader({name: source}), keep_trailing_newline=True)
    escaping.install(environment)
    return environment.get_template(name).render(value=value)


def compile_c(folder: Path, text: str) -> bytes:
    (folder / "a.c").write_text(text)
    subprocess.run(["gcc", "-std=c99", "-trigraphs", "-Wall", "-Werror", "a.c", "-o", "a"], cwd=folder, check=True)
    return subprocess.run([folder / "a"], capture_output=True, check=True).stdout


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_c_strings_are_the_texts(tmp_path: Path) -> None:
    texts = [text for text in HOSTILE if len(text) < 500 and text.isascii() and "\0" not in text] + ["\u0416", "a0"]
    lines = "".join(
        render("a.c.j2", '/* {{ value | c_string }} */ puts({{ value | c_string }} "0");\n', text) for text in texts
    )
    said = compile_c(tmp_path, f"#include <stdio.h>\nint main(void) {{\n{lines}return 0;\n}}\n")
    assert said.decode() == "".join(f"{text}0\n" for text in texts)


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_what_is_plain_in_c_ends_neither_comment_nor_string(tmp_path: Path) -> None:
    plain = [text for text in HOSTILE if passes("a.c.j2", text) and len(text) < 500]
    assert "*/ int evil(void); /*" not in plain
    assert "'" in plain
    lines = "".join(f'/* {text} */ puts("{text}");\n' for text in plain)
    said = compile_c(tmp_path, f"#include <stdio.h>\nint main(void) {{\n{lines}return 0;\n}}\n")
    assert said.decode() == "".join(f"{text}\n" for text in plain)


def passes(name: str, text: str) -> bool:
    """Whether the text may stand there without a filter; then it stands there as it is."""
    try:
        rendered = render(name, "{{ value }}", text)
    except UnsupportedError:
        return False
    assert rendered == text
    return True


@pytest.mark.parametrize("text", HOSTILE)
def test_json(text: str) -> None:
    assert json.loads(render("a.json.j2", '{"a": {{ value | json }}, "b": 1}', text)) == {"a": text, "b": 1}
    if passes("a.json.j2", text):
        assert json.loads(f'{{"a": "{text}"}}') == {"a": text}


@pytest.mark.parametrize("text", HOSTILE)
def test_yaml(text: str) -> None:
    rendered = render("a.yml.j2", "a: {{ value | yaml }}\nb: [{{ value | yaml }}, 1]\n", text)
    loaded = YAML(typ="safe", pure=True).load(rendered)
    assert loaded == {"a": text, "b": [text, 1]}
    if passes("a.yml.j2", text):
        loaded = YAML(typ="safe", pure=True).load(f'# {text}\na: "{text}"\nb: 1\n')
        assert loaded == {"a": text, "b": 1}


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake")
def test_cmake(tmp_path: Path) -> None:
    texts = [text for text in HOSTILE if len(text) < 500]
    lines = "".join(render("a.cmake.j2", "one({{ value | cmake }} x)\n", text) for text in texts)
    lines += "".join(f'# {text}\none("{text}" x)\n' for text in texts if passes("a.cmake.j2", text))
    check = 'if(NOT ARGC EQUAL 2 OR NOT "${ARGV1}" STREQUAL x)\nmessage(FATAL_ERROR broken)\nendif()\n'
    script = f"function(one)\n{check}endfunction()\n"
    (tmp_path / "a.cmake").write_text(script + lines)
    subprocess.run(["cmake", "-P", "a.cmake"], cwd=tmp_path, check=True, timeout=30)
    assert {path.name for path in tmp_path.iterdir()} == {"a.cmake"}


@pytest.mark.parametrize("text", HOSTILE)
def test_ini(text: str) -> None:
    if passes("a.ini.j2", text):
        assert "${" not in text  # PlatformIO interpolates that alone
        parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
        parser.read_string(f"; {text}\n[env:a]\nvalue = {text}\nlast = 1\n")
        assert {name: dict(parser[name]) for name in parser.sections()} == {
            "env:a": {"value": text.strip(), "last": "1"}
        }


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown(text: str) -> None:
    for template in (
        "| {{ value | md }} | b |\n|---|---|\n| c | {{ value | md }} |\n",
        "{{ value | md }} and\n",
        "# {{ value | md }}\n",
    ):
        tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(render("a.md.j2", template, text))
        bare = MarkdownIt("gfm-like", {"linkify": False}).parse(render("a.md.j2", template, "x"))
        assert [token.type for token in tokens] == [token.type for token in bare]
        inside = [part.type for token in tokens for part in token.children or ()]
        assert set(inside) <= {"text", "softbreak", "text_special"}
    (paragraph,) = [
        token
        for token in MarkdownIt().parse(render("a.md.j2", "See {{ value | code }}.\n", text or "x"))
        if token.children
    ]
    assert [part.type for part in paragraph.children or ()] == ["text", "code_inline", "text"]


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\0" not in text])
def test_shell(text: str, tmp_path: Path) -> None:
    if not text.isprintable():
        with pytest.raises(UnsupportedError):
            render("a.md.j2", "{{ value | shell }}", text)
        return
    line = render("a.md.j2", "printf '%s\\n' {{ value | shell }}", text)
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout == f"{text}\n"
    assert not list(tmp_path.iterdir())


class Skeleton(HTMLParser):
    """The names of elements and attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[object] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag: str) -> None:
        self.seen.append(tag)

    def handle_comment(self, data: str) -> None:
        self.seen.append("comment")


@pytest.mark.parametrize("text", HOSTILE)
def test_html(text: str) -> None:
    source = '<p title="{{ value }}">{{ value }}</p><title>{{ value }}</title><script>var a = 1;</script>'
    assert Skeleton(render("a.html.j2", source, text)).seen == Skeleton(render("a.html.j2", source, "x")).seen


# ---- Real renderings, with every string replaced -------------------------------------------------------------------


def c_skeleton(text: str) -> str:
    """The source with comments and what is in strings left out."""
    token = re.compile(r'/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|//[^\n]*', re.DOTALL)
    return token.sub(lambda found: '""' if found[0][0] == '"' else " ", text)


def json_skeleton(text: str) -> object:
    def shape(value: Any) -> object:
        if isinstance(value, dict):
            return {key: shape(item) for key, item in value.items()}
        return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__

    return shape(json.loads(text))


def yaml_skeleton(text: str) -> object:
    return json_skeleton(json.dumps(YAML(typ="safe", pure=True).load(text)))


def cmake_skeleton(text: str) -> str:
    return re.sub(r'#[^\n]*|"(?:[^"\\]|\\.)*"', '""', text)


def ini_skeleton(text: str) -> object:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text if "[" in text else f"[all]\n{text}")
    return {name: list(parser[name]) for name in parser.sections()}


def markdown_skeleton(text: str) -> object:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    inside = [[p.type for p in t.children or () if p.type not in ("text", "text_special")] for t in tokens]
    return [token.type for token in tokens], inside


def html_skeleton(text: str) -> object:
    return Skeleton(text).seen


SKELETONS: Mapping[str, Callable[[str], object]] = {
    "C": c_skeleton,
    "CMake": cmake_skeleton,
    "JSON": json_skeleton,
    "YAML": yaml_skeleton,
    "INI": ini_skeleton,
    "Kconfig": lambda text: re.sub(r'"[^"\n]*"|#[^\n]*', '""', text),
    "Markdown": markdown_skeleton,
    "HTML": html_skeleton,
}


@dataclass(frozen=True)
class Rendering:
    template: str
    values: Mapping[str, Any]
    text: str


@pytest.fixture(scope="module")
def renderings() -> dict[str, Rendering]:
    """The first real rendering of each template that is rendered for itself."""
    seen: dict[str, Rendering] = {}
    original = jinja2.Template.render

    def record(template: jinja2.Template, *args: Any, **values: Any) -> str:
        text = original(template, *args, **values)
        context = {**dict(*args), **values}
        assert template.name is not None
        known = seen.get(template.name)
        if known is None or len(context) > len(known.values):
            seen[template.name] = Rendering(template.name, context, text)
        return text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Template, "render", record)
        compiled = compile_model(MODEL)
        library = render_aot(compiled)
        graph = load_graph(MODEL.flatbuffer)
        for other in (QuantizedModel("foreign", foreign("float32")), deciding(*CLASSIFIER), deciding(*DETECTOR)):
            render_aot(compile_model(other))
        interpreter = render_tflm(MODEL, graph, arena_budget(graph, 4096), macs=1, crc32=2)
        package = replace(default_package(MODEL), url="https://example.org")
        for form in get_args(Format):
            render_export(library, MODEL, package, form, command=["nanou-deploy", "export"])
        render_export(interpreter, MODEL, package, "esp-idf-component", command=["nanou-deploy", "export"])
        render_firmware_project(find_board("esp32s3"), library)
        render_repository_project()
        render_report(test_report.make_data())
        render_front(test_pareto_page.FRONT)
        render_card(model_card(open_model(None)))
        render_training(Training("run", {"status": "failed", "error": "none"}, None, {}))
        render_page(find_board("esp32cam"), {0x1000: Path("bootloader.bin")}, 4096)
    return seen


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of the strings in a context; of alike elements of a list the first alone."""
    if isinstance(value, str):
        if not isinstance(value, escaping.Rendered):
            yield path
    elif is_dataclass(value) and not isinstance(value, type):
        for member in fields(value):
            yield from leaves(getattr(value, member.name), (*path, member.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list | tuple) and value:
        yield from leaves(value[0], (*path, 0))


class Changed:
    """An object whose one attribute is another, past the checks of its class."""

    def __init__(self, original: object, name: str, value: object) -> None:
        self._original, self._name, self._value = original, name, value

    def __getattr__(self, name: str) -> Any:
        return self._value if name == self._name else getattr(self._original, name)


def changed(value: Any, path: tuple[Any, ...], text: str) -> Any:
    if not path:
        return text
    if isinstance(value, Mapping):
        return {**value, path[0]: changed(value[path[0]], path[1:], text)}
    if isinstance(value, list | tuple):
        return [changed(item, path[1:], text) if i == path[0] else item for i, item in enumerate(value)]
    return Changed(value, path[0], changed(getattr(value, path[0]), path[1:], text))


def test_real_renderings_are_of_nearly_all_templates(renderings: dict[str, Rendering]) -> None:
    """What is missing is a part of others, or one kernel among many, or needs devices and long measurements."""
    missing = {name for name in TEMPLATES if name not in renderings}
    parts = {name for name in missing if re.search(r"/_|/use\.md|_style\.css|aot/[a-z_/0-9]+\.[chS]\.j2$", name)}
    assert missing - parts <= {"monitor/monitor.html.j2", "report/benchmarks.md.j2"}


@pytest.mark.parametrize(
    "text",
    ["*/ evil(); /*", '"; evil(); "', "a\nevil();", "$(evil) ${evil} `evil`", "<evil a='b'>", "'evil\\", "- evil: [a]"],
)
def test_no_string_leaves_its_place(renderings: dict[str, Rendering], text: str) -> None:
    """Rendering refuses it, or the text has the same structure as before."""
    environment = resources._environment()
    tried = 0
    for rendering in renderings.values():
        template = environment.get_template(rendering.template)
        language = escaping.language_of(rendering.template)
        if language != "HTML" and passes(rendering.template, text):  # plain there, and harmless as shown above
            continue
        skeleton = SKELETONS[language]
        for path in leaves(rendering.values):
            try:
                found = template.render(changed(rendering.values, path, text))
            except (UnsupportedError, jinja2.TemplateNotFound, TypeError):
                continue
            if "evil" not in found:  # a template may also choose by it
                continue
            tried += 1
            if skeleton(found) != skeleton(rendering.text):  # any text there may bring a part with it
                plain = template.render(changed(rendering.values, path, "plain"))
                assert skeleton(found) == skeleton(plain), (rendering.template, path)
    assert tried > 10
