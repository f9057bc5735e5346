"""What a machine names its files, packages and messages never becomes a command of a CI system's runner, markup, or an order to a
terminal: in every registered format, on both streams, through every field. Read back by real parsers."""

import html.parser
import json
import math
import os
import re
import subprocess
import sys
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt

from infra_doctor.model.difference import Difference
from infra_doctor.model.planning import Plan
from infra_doctor.model.plugins import ReportFormat
from infra_doctor.model.triage import Triage
from infra_doctor.plugin import encode_json
from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import CORE_IDS
from infra_doctor_reports.github import LEVELS
from tests.reports.cases import every_status
from tests.support import rooted_tree
from tests.support.ci_runners import azure_command, commands, github_command, github_commands
from tests.support.tainting import example, shadow, tainted

PAYLOADS = {
    "a command on a line of its own": "\n::error::x\n",
    "a command after a carriage return": "\r::error file=a,line=1::x\r\n",
    "a command at the very start": "::set-output name=a::b",
    "a command after blanks": "\n \t ::add-mask::x",
    "a command after a line that only .NET trims": "\n\u3000::stop-commands::x",
    "the old form": "##[add-path]/tmp",
    "the old form, more marks": "###[error]x",
    "half of the old form": "##",
    "the other half": "[error]x",
    "azure": "##vso[task.setvariable variable=PATH]/tmp",
    "teamcity": "##teamcity[buildStop comment='x']",
    "an escaped newline": "%0A::warning::x%0D%0A",
    "a property's end": ",title=x::y",
    "gitlab": "\x1b[0Ksection_start:1:x\r\x1b[0K",
    "xml": "]]><x/><!-- --> <![CDATA[",
    "an entity": "&amp;&#10;&lt;&x;",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "an attribute": "\" onmouseover='alert(1)' x=",
    "the end of a comment": "--> </style></script>",
    "a template": "{{ 7*7 }} {% raw %} ${x} {0}",
    "a table's bar": "a|b\\|c\\\\|d",
    "backticks": "`a ``` b ~~~",
    "out of code": "` <b>x</b> [a](http://x) @org/team `` <i>y</i>",
    "a block of HTML": "<details open\n<div x\n<!-- \n",
    "a fence": "\n```\n\n# heading\n\n- [ ] item\n",
    "emphasis": "*a* _b_ **c** ~~d~~ $e$",
    "a list": "- a",
    "another list": "1. a",
    "an underline": "\n===\n---\n",
    "a link": "[a](javascript:alert(1)) ![b](http://x/y.png) <http://x> [^1]",
    "a mention": "@org/team @user #1 GH-1 org/repo#2",
    "an address on GitHub": "https://github.com/org/repo/issues/1",
    "colours": "\x1b[31mred\x1b[2J",
    "C1 codes": "\x9b31mred\x9d0;x\x9c\x85",
    "a title": "\x1b]0;owned\x07",
    "a link of a terminal": "\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\",
    "the clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "the other direction": "\u202egnp.exe\u2066\u2069",
    "invisible": "\u200b\u2060\ufeff\xad",
    "NUL": "a\0b\x7f",
    "half characters": "\ud800\udce9",
    "separators": "\u2028::error::x\u2029\u0085",
    "prometheus": 'a"} 1\nowned{b="c\\',
    "attachment": "[[ATTACHMENT|/etc/passwd]]",
    "toml": '"]\n[require]\nx = """',
}  # fmt: skip
TAGS_OF_MARKDOWN = {"details", "summary", "br", "sub"}


@cache
def formats() -> dict[str, ReportFormat]:
    return {f.name: f for f in registry.load(("reports",), third_party=False).reports}


@cache
def checks() -> dict[str, Any]:
    return {c.id: c for c in registry.load(("checks",), third_party=False).checks}


def options(**more: Any) -> dict[str, Any]:
    return {
        "width": 100,
        "verbose": 0,
        "checks": checks(),
        "core_ids": CORE_IDS,
        "exit_code": 1,
        "fail_on": "warn",
        **more,
    }


@cache
def rendered(name: str, text: str, verbose: int = 0) -> str:
    report = tainted(every_status(), text)
    shown = formats()[name].render(report, options(verbose=verbose, anchor=os.fspath(Path(__file__).parent)))
    assert isinstance(shown, str)
    return shown


# -- what holds of any output ---------------------------------------------------------------------------------------


def assert_inert(output: str) -> None:
    """No runner, and no terminal, does anything but show it."""
    assert commands(output) == []
    acting = {c for c in output if not c.isprintable() and c != "\n" and unicodedata.category(c) != "Zs"}
    assert not acting, f"a terminal acts on {sorted(map(ascii, acting))}"
    output.encode("utf-8")


def test_the_runners_would_be_noticed() -> None:
    assert github_command("  ::error file=a%2Cb,line=3,title=t::x%0Ay%250A").properties == {
        "file": "a,b",
        "line": "3",
        "title": "t",
    }  # type: ignore[union-attr]
    assert github_command("\u2003::Error::x%0Ay%250A").data == "x\ny%0A"  # type: ignore[union-attr]
    assert github_command("text ##[add-path]/tmp").name == "add-path"  # type: ignore[union-attr]
    assert github_command("::unheard::x") is github_command("x ::error::y") is github_command("::error x") is None
    assert azure_command("x ##vso[task.complete result=Failed]y").data == "y"  # type: ignore[union-attr]
    assert azure_command("##vso[task]y") is None
    for payload in ("a command on a line of its own", "the old form", "azure", "teamcity", "a command after blanks"):
        assert commands(PAYLOADS[payload]), payload


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("name", formats())
def test_no_format_lets_it_act(name: str, payload: str) -> None:
    for verbose in (0, 2) if name in {"text", "github"} else (0,):
        output = rendered(name, PAYLOADS[payload], verbose)
        if name == "github":
            output = without_own_annotations(output)
        assert_inert(output)


def without_own_annotations(output: str) -> str:
    """The text without the commands of the format's own; each is one that a benign report gives too."""
    lines = output.split("\n")
    own = [
        n
        for n, line in enumerate(lines)
        if (found := github_command(line)) and found.name in LEVELS and line.startswith("::")
    ]
    assert own == list(range(own[0], own[0] + len(own))), "one block, after the text"
    for n in own:
        found = github_command(lines[n])
        assert found is not None
        assert set(found.properties) <= {"file", "line", "title"}
        assert all(c.isprintable() or c == "\n" for c in found.data + "".join(found.properties.values()))
        assert_inert(lines[n].removeprefix("::"))
    return "\n".join(line for n, line in enumerate(lines) if n not in own)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_annotations_are_as_many_and_at_the_same_places_as_without_it(payload: str) -> None:
    found, benign = (
        github_commands(rendered("github", text)) for text in (PAYLOADS[payload], shadow(PAYLOADS[payload]))
    )
    assert [c.name for c in found] == [c.name for c in benign] and len(found) > 8
    places = [[(c.properties.get("file"), c.properties.get("line")) for c in side] for side in (found, benign)]
    assert {file for file, _ in places[0]} <= {file for file, _ in places[1]}, "no file of the machine's choosing"
    assert {c.properties["title"].partition(" ")[0] for c in found} == {"FAIL", "ERROR", "WARN", "UNKNOWN"}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("name", [n for n in formats() if n != "github"])
def test_what_a_format_is_made_of_does_not_change(name: str, payload: str) -> None:
    """The same elements, keys, headings and tables, whatever the texts are."""
    skeletons = [skeleton(name, rendered(name, text)) for text in (PAYLOADS[payload], shadow(PAYLOADS[payload]))]
    assert skeletons[0] == skeletons[1]


def skeleton(name: str, output: str) -> Any:
    """What stands in the document but for its texts, by the parser for what it is."""
    if output.startswith("<?xml"):
        return [(e.tag, sorted(e.attrib)) for e in ET.fromstring(output).iter()]
    if output.startswith(("{", "[")):
        return None if name == "json" else shape(json.loads(output))
    if output.lstrip().lower().startswith("<!doctype html"):
        return html_skeleton(output)
    if output.startswith("#") and formats()[name].suffix == ".md":
        return markdown_skeleton(output)
    if formats()[name].suffix == ".prom":
        return [re.match(r"(# \w+ )?\w+", line)[0] for line in output.splitlines()]  # type: ignore[index]
    return len(output.splitlines()) > 0  # plain text has no parts


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    return [shape(v) for v in value] if isinstance(value, list) else type(value).__name__


# -- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", PAYLOADS)
def test_json_says_what_was_there(payload: str) -> None:
    """Escapes are JSON's own: who reads it gets the machine's text back, half characters spelt out."""
    report = msgspec.to_builtins(tainted(every_status(), PAYLOADS[payload]))
    assert json.loads(rendered("json", PAYLOADS[payload])) == whole(report)


def whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {whole(k): whole(v) for k, v in value.items()}
    return [whole(v) for v in value] if isinstance(value, list | tuple) else value


# -- HTML -----------------------------------------------------------------------------------------------------------


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in {"href", "src", "action", "formaction"}:
                assert value == "data:," or (value or "").startswith(("https://", "http://", "#")), value
        self.found.append((tag, sorted(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.found.append(decl)


def html_skeleton(output: str) -> list[Any]:
    tags = Tags()
    tags.feed(output)
    tags.close()
    return tags.found


# -- Markdown -------------------------------------------------------------------------------------------------------


def markdown_skeleton(output: str) -> list[str]:
    """The blocks of the page; on the way, that nothing inside of them is markup but what we write."""
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(output)
    blocks = []
    for token in tokens:
        linked = False
        for child in inside(token.children or []):
            linked = child.type == "link_open" or (linked and child.type != "link_close")
            if child.type == "html_inline":
                assert re.fullmatch(r"</?(\w+)>", child.content)[1] in TAGS_OF_MARKDOWN  # type: ignore[index]
            if child.type == "link_open":
                assert child.markup == "autolink"
                assert re.fullmatch(r"https?://[!-~]+", str(child.attrs["href"]))
            if child.type == "text" and not linked:  # what GitHub looks for in the rendered page
                assert not re.search(r"@[A-Za-z0-9]|#\d|\bGH-\d|github\.com/", child.content, re.IGNORECASE), (
                    child.content
                )
            assert child.type in {
                "text", "text_special", "code_inline", "html_inline", "softbreak", "link_open", "link_close", "strong_open", "strong_close",
            }, child.type  # fmt: skip
        blocks.append(f"{token.type} {token.tag} {token.content if token.type == 'html_block' else ''}")
    # A renderer drops cells that the table's head does not have: they are counted in the source.
    rows = [line for line in output.split("\n") if line.startswith("|")]
    return [*blocks, *(str(len(re.findall(r"(?<!\\)\|", row))) for row in rows)]


def inside(tokens: list[Any]) -> Iterator[Any]:
    for token in tokens:
        yield token
        yield from inside(token.children or [])


@pytest.mark.parametrize("payload", PAYLOADS)
def test_an_issues_markdown_too(payload: str) -> None:
    pages = [
        formats()["markdown"].render(tainted(every_status(), text), options(for_issue=True))
        for text in (PAYLOADS[payload], shadow(PAYLOADS[payload]))
    ]
    assert_inert(pages[0])
    skeletons = [markdown_skeleton(page) for page in pages]
    if "**Left out, as" not in pages[0]:  # escapes take room of their own
        assert skeletons[0] == skeletons[1]
    assert (
        sum("<details>" in block for block in skeletons[0]) == sum("</details>" in block for block in skeletons[0]) > 8
    )
    assert "<https://github.com/" not in pages[0]


# -- the other documents --------------------------------------------------------------------------------------------

DOCUMENTS = {"plan": Plan, "difference": Difference, "triage": Triage}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_no_other_document_lets_it_act(kind: str, payload: str) -> None:
    document = tainted(example(DOCUMENTS[kind]), PAYLOADS[payload])
    for shape_ in varied(document):
        for verbose in (0, 1):
            output = formats()["text"].documents[kind](shape_, {"verbose": verbose, "width": 80})
            assert_inert(output)
            colored = formats()["text"].documents[kind](shape_, {"verbose": verbose, "width": 80, "color": True})
            assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == output
        assert_inert(encode_json(shape_))


def varied(document: Any) -> list[Any]:
    """The forms of a document that are written differently."""
    if isinstance(document, Plan):
        return [replace(document, fits=fits, steps=steps) for fits in (True, False) for steps in (document.steps, ())]
    if isinstance(document, Triage):
        against = [replace(document, against=a) for a in ("machine", "report", "snapshot", "nothing")]
        return [*against, replace(against[0], causes=())]
    return [
        document,
        replace(document, worse=False),
        replace(document, findings=(), components=(), measurements=(), worse=False),
    ]


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_examples_fill_everything(kind: str) -> None:
    text = formats()["text"].documents[kind](varied(tainted(example(DOCUMENTS[kind]), "zz"))[0], {"verbose": 1})
    assert text.count("zz") > 20


# -- from the machine to the log ------------------------------------------------------------------------------------

EVIL = "\n::error title=pwned::pwned"
EVILS = (
    EVIL,
    "##[add-path]pwned",
    "##vso[task.setvariable variable=PATH]pwned",
    "\x1b]52;c;pwned\x07\u202e|`</script>]]>",
)


@pytest.fixture(scope="module")
def evil_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine under a folder whose files and packages are named, versioned and filled by an attacker."""
    root = rooted_tree.build(tmp_path_factory.mktemp("evil"))
    site = root / rooted_tree.SITE
    (root / "etc/os-release").write_text(
        f'NAME="x"\nID=ubuntu\nPRETTY_NAME="pwned {EVILS[3]} ::error::pwned ##[error]pwned"\n'
    )
    for number, text in enumerate(EVILS):
        folder = root / f"usr/local/cuda-1{number}.0{text.replace('/', '')}"
        rooted_tree.put(
            folder, "version.json", json.dumps({"cuda": {"name": "CUDA SDK", "version": f"13.{number}{text}"}})
        )
        rooted_tree.put(folder, "bin/nvcc", "x")
        (site / f"x{number}{text.replace('/', '')}.pth").write_text("import os\n")
        info = site / f"pwned_{number}-1.0{text.replace('/', '')}.dist-info"
        header = text.replace("\n", " ")
        rooted_tree.put(
            info,
            "METADATA",
            f"Metadata-Version: 2.1\nName: torch-pwned{header}\nVersion: 1.0{header}\nRequires-Dist: torch=={header}\n\n{text}\n",
        )
        rooted_tree.put(
            info, "RECORD", f'"torch/__init__.py{text}",sha256=AA,1\ntorch/__init__.py,sha256=pwned{header},5\n'
        )
        rooted_tree.put(info, "INSTALLER", f"pip{text}\n")
    (site / "torch/version.py").write_text(
        f"__version__ = {'2.11.0' + EVIL!r}\ncuda = {'13.0' + EVILS[1]!r}\nhip = None\n"
    )
    (root / "usr/local/cuda").unlink()
    (root / "usr/local/cuda").symlink_to(f"/usr/local/cuda-10.0{EVIL}")
    return root


def command_line(*argv: str, cwd: Path) -> "subprocess.CompletedProcess[bytes]":
    environment = {
        k: v for k, v in os.environ.items() if k not in {"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "SOURCE_DATE_EPOCH"}
    }
    return subprocess.run(
        [sys.executable, "-m", "infra_doctor", *argv], capture_output=True, cwd=cwd, env=environment, timeout=120, check=False
    )  # fmt: skip


def streams(done: "subprocess.CompletedProcess[bytes]") -> tuple[str, str]:
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


@pytest.mark.parametrize("name", formats())
def test_a_hostile_machine_through_the_command_line(name: str, evil_root: Path, tmp_path: Path) -> None:
    argv = ("check", "--root", os.fspath(evil_root), "--python", "/opt/venv", "--no-plugins", "--no-policy")
    done = command_line(*argv, "--format", name, "-vv", "--debug", cwd=tmp_path)
    out, err = streams(done)
    assert done.returncode in {0, 1, 3}, err
    assert name not in {"text", "json", "html", "markdown"} or "pwned" in out, "the attack has to arrive"
    if name == "github":
        assert all(c.name in LEVELS and c.properties["file"] == "infra-doctor.toml" for c in github_commands(out))
        out = "\n".join(line for line in out.split("\n") if not line.startswith("::"))
    assert_inert(out)
    assert_inert(err)


def test_names_on_the_command_line_are_talked_of_safely(evil_root: Path, tmp_path: Path) -> None:
    policy = tmp_path / f"p{EVIL}.toml".replace("/", "")
    policy.write_text("[require]\nnonsense = 1\n")
    good = tmp_path / f"q{EVIL}##[add-path]x.toml".replace("/", "")
    good.write_text('[require]\ndriver = ">=1"\n')
    report = f"r{EVIL}.json".replace("/", "")
    root = ("--root", os.fspath(evil_root), "--no-plugins")
    for argv in (
        ("check", *root, "--policy", os.fspath(policy)),
        ("check", *root, "--policy", os.fspath(good), "--format", f"json={report}", "--format", "github"),
        ("check", "--replay", EVIL),
        ("check", *root, "--format", f"x{EVIL}"),
        ("check", *root, "--no-policy", "--only", EVIL),
        ("diff", report, report),
        ("diff", report, f"nothing{EVIL}"),
        ("triage", "--log-only", "--against", EVIL, "x"),
        ("explain", EVIL),
        (f"check{EVIL}",),
        ("check", f"--unheard{EVIL}"),
        ("check", "--timeout", EVIL),
    ):
        out, err = streams(command_line(*argv, cwd=tmp_path))
        assert_inert(err)
        assert_inert(
            "\n".join(
                line
                for line in out.split("\n")
                if not line.startswith(("::error file=", "::warning file=", "::notice "))
            )
        )


def test_a_hostile_log_through_triage(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    lines = [
        f"{evil} libcudnn.so.9: cannot open shared object file: No such file or directory {evil}" for evil in EVILS
    ]
    log.write_text("\n".join((*lines, "::error::RuntimeError: CUDA out of memory pwned", *EVILS)))
    for argv in (
        ("triage", "--log-only", "-v", "train.log"),
        ("triage", "--log-only", "--json", "train.log"),
        ("triage", "--log-only", *lines),
    ):
        out, err = streams(command_line(*argv, cwd=tmp_path))
        assert "pwned" in out
        assert_inert(out)
        assert_inert(err)
