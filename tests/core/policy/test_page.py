"""docs/policy.md: its example is a valid policy, its tables are the plug-ins', and what it says of numbers is so."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import jsonschema

from infra_doctor.cli.policies import known_names
from infra_doctor.cli.schema import policy_schema
from infra_doctor.model.policy import SpecKind
from infra_doctor.policy.meeting import meets
from infra_doctor.policy.reading import parse_policy, read_requirement
from infra_doctor.policy.sections import SECTIONS
from infra_doctor.policy.specs import read_spec

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
KNOWN = known_names(third_party=False)


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("policy_schema_tool", ROOT / "tools" / "policy_schema.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_is_valid_and_whole() -> None:
    policy = parse_policy(EXAMPLE, "docs/policy.md", KNOWN)
    document = tomllib.loads(EXAMPLE)
    assert set(SECTIONS) - {"only"} == document.keys()
    assert {r.spec.kind for r in policy.requirements} == set(SpecKind)
    assert {"torch", "torch.cuda", "torch.gpu", "driver", "driver.flavor", "package.vllm"} <= {
        r.key for r in policy.requirements
    }
    document["waivers"] = [{**w, "until": w["until"].isoformat()} for w in document["waivers"]]
    jsonschema.Draft202012Validator(policy_schema(third_party=False)).validate(document)


def test_the_example_in_a_project_file() -> None:
    """With the tables named as the page says."""
    table = "tool.infra-doctor"
    text = re.sub(r"(?m)^\[\[waivers\]\]", f"[[{table}.waivers]]", EXAMPLE)
    text = re.sub(r"(?m)^\[(?=\w+\] )", f"[{table}.", text)
    project = parse_policy(f"[project]\nname = 'x'\n[{table}]\n{text}", "pyproject.toml", KNOWN, project=True)
    alone = parse_policy(EXAMPLE, "x", KNOWN)
    assert [(r.key, r.spec) for r in project.requirements] == [(r.key, r.spec) for r in alone.requirements]
    assert len(project.waivers) == 1


def test_the_tables_are_the_plug_ins() -> None:
    """Else: python tools/policy_schema.py"""
    assert tool().page(PAGE) == PAGE
    for key in KNOWN.keys:
        assert f"| `{key.key}` | {key.kind} | `{key.example}` |" in PAGE


def test_what_is_required_on_the_command_line() -> None:
    line = next(p for p in PAGE.split("\n\n") if p.startswith("On the command line"))
    asked = [a or b for a, b in re.findall(r"`--require\s+(?:'([^']*)'|([^`\s']+))`", line)]
    assert (asked[0], len(asked)) == ("KEY[=SPEC]", 5)
    for text in asked[1:]:
        read_requirement(text, KNOWN.keys)


def test_what_is_said_of_versions() -> None:
    """Each sentence of the form "X meets/does not meet `SPEC`"."""
    text = " ".join(PAGE.split())
    said = re.findall(r"(\d[\w.+]*) (meets|does not meet) `([^`]+)`(?: and (meets|does not meet) `([^`]+)`)?", text)
    assert len(said) == 2
    for version, one, spec, other, more in said:
        assert meets(read_spec(SpecKind.VERSION, spec), version) is (one == "meets")
        if more:
            assert meets(read_spec(SpecKind.VERSION, more), version) is (other == "meets")


def test_what_is_said_of_sizes() -> None:
    gib = 2**30
    said = re.findall(r'`"(==[\d.]+ GiB)"`(?: is)? from ([\d.]+) to\s+([\d.]+) GiB', PAGE)
    assert len(said) == 2
    for spec, low, high in said:
        one = read_spec(SpecKind.SIZE, spec)
        inside, outside = (float(low) + 0.001, float(high) - 0.001), (float(low) - 0.001, float(high) + 0.001)
        assert [meets(one, int(v * gib)) for v in (*inside, *outside)] == [True, True, False, False]
    h100 = int(79.6 * gib)
    assert [meets(read_spec(SpecKind.SIZE, s), h100) for s in (">=80 GiB", ">=79 GiB", ">=80 GB")] == [
        False,
        True,
        True,
    ]


def test_the_page_names_no_key_that_is_not_there() -> None:
    names = {k.key for k in KNOWN.keys}
    for key in re.findall(r"`((?:gpu|torch|ort|driver|cuda|package)\.[a-z_]+)`", PAGE):
        name = key.removesuffix(".version") if key not in names else key
        assert name in names or name.startswith("package."), key
