"""On which line each key stands: for every form that TOML knows, and never a wrong one."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_doctor.policy.places import PARTS_CAP, Path, TooDeepError, key_lines
from tests.core.policy.lab import QUIET

DOCUMENT = '''# a comment with a [table] and key = 1
preset = [ # the first line of an array
  "a",
  """
[require]
gpu.count = 8 # not here
""", 'c',
]
"quoted key" . 'literal.key'."esc\\u0061ped" = 1979-05-27 07:32:00 # a date with a blank

[require] # and a comment
gpu.count = 8
torch = { version = ">=2", cuda = [1, { x = "}" }] , a.b = "]" }
text = """\\
[[waivers]]
id = 1 """"
raw = \'\'\'
x = \'\'1\'\'\'\'
[[waivers]]
id = "A"
[waivers.below]
q = 1.5e3
[[ "waivers" ]]
id = "B"
[[waivers.deep]]
k = 1
[[waivers.deep]]
k = 2
[a . b."c d"]
'''
WANTED: dict[Path, int] = {
    ("preset",): 2, ("preset", 0): 3, ("preset", 1): 4, ("preset", 2): 7,
    ("quoted key",): 9, ("quoted key", "literal.key"): 9, ("quoted key", "literal.key", "escaped"): 9,
    ("require",): 11, ("require", "gpu"): 12, ("require", "gpu", "count"): 12,
    ("require", "torch"): 13, ("require", "torch", "version"): 13, ("require", "torch", "cuda"): 13,
    ("require", "torch", "cuda", 0): 13, ("require", "torch", "cuda", 1): 13, ("require", "torch", "cuda", 1, "x"): 13,
    ("require", "torch", "a"): 13, ("require", "torch", "a", "b"): 13,
    ("require", "text"): 14, ("require", "raw"): 17,
    ("waivers",): 19, ("waivers", 0): 19, ("waivers", 0, "id"): 20, ("waivers", 0, "below"): 21, ("waivers", 0, "below", "q"): 22,
    ("waivers", 1): 23, ("waivers", 1, "id"): 24, ("waivers", 1, "deep"): 25, ("waivers", 1, "deep", 0): 25,
    ("waivers", 1, "deep", 0, "k"): 26, ("waivers", 1, "deep", 1): 27, ("waivers", 1, "deep", 1, "k"): 28,
    ("a",): 29, ("a", "b"): 29, ("a", "b", "c d"): 29,
}  # fmt: skip


def paths(value: Any, at: Path = ()) -> set[Path]:
    """Every key, table and element of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {p for k, below in items for p in ({(*at, k)} | paths(below, (*at, k)))}


def test_every_form_of_a_key() -> None:
    assert key_lines(DOCUMENT) == WANTED
    assert paths(tomllib.loads(DOCUMENT)) == WANTED.keys()


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "# only\n", "a = 1", "a = 1 # end", 'a = ""', "a = ''", 'a = """"""', 'a = """a"""""', "a = '''a'''''",
     "a = [\n[1,\n2], # c\n[\n]\n]", "a = {}", "a = {b = {}}", "a = [{}, {}]", "a.b.c = 1\na.b.d = 2", "[a]\n[a.b]\n[c]", "1 = 1",
     "-a_1- = 1", "a = -1.5", "a = +nan", "a = 0xff", "a = 07:32:00.5", "a = 1979-05-27T07:32:00Z",
     "a=\"\\\"\" # \"\nb=2", "[[a]]\n[[a]]\n[a.b]\n[[a.c]]", "[x]\n[[x.a]]\nb = 1\n[x.y]"],
)  # fmt: skip
def test_small_documents(text: str) -> None:
    assert key_lines(text).keys() == paths(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    ["= 1", "a", "a =", "[a", "a = [", "a = {", 'a = "', 'a = """', "a b = 1", "a = 1 b = 2\nc = 3", "\x00", "a\r= 1"],
)
def test_what_is_no_toml_has_no_lines_from_there_on(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    found = key_lines(f"good = 1\n{text}")
    assert found.pop(("good",)) == 1
    assert found.keys() <= {("a",), ("a", 0)}


def test_a_key_of_too_many_parts_is_refused_before_it_costs_anything() -> None:
    # tomllib alone would take minutes and gigabytes over each.
    for text in ("a." * 200_000 + "b = 1", "x = 1\n[" + "a." * 200_000 + "b]", "a = {" + '"".' * 200_000 + "b = 1}"):
        with pytest.raises(TooDeepError):
            key_lines(text)
    assert len(key_lines(".".join(["a"] * PARTS_CAP) + " = 1")) == PARTS_CAP


HOSTILE = {
    "arrays": ("a = " + "[" * 50_000, PARTS_CAP),
    "tables": ("a = " + "{a=" * 50_000, PARTS_CAP),
    "quotes": ('"' * 500_000, 0),
    "single quotes": ("'" * 500_000, 0),
    "quotes in a text": ('a = """' + '""x' * 200_000 + '"""', 1),
    "elements": ("a=[" + "1," * 100_000 + "]", 100_001),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_end(name: str) -> None:
    text, keys = HOSTILE[name]
    assert len(key_lines(text)) == keys


# -- documents out of a grammar, whose lines are known because we write them ---------------------------------------

KEYS = st.from_regex(r"[a-z_-][a-z0-9_-]{0,3}", fullmatch=True)
VALUES = st.sampled_from(
    ["1", "-1.5e3", "true", '"x # [y] = z"', "'}'", '"\\""', "1979-05-27", "1979-05-27 07:32:00", '"""\n[t]\nk = 1\n"""',
     "'''\n'k' = 1'''", "[\n1,\n2 # c\n]", "[ [1], { x = 1 } ]", "{ y = [1,\n2] }", '""""quoted""""']
)  # fmt: skip
GAPS = st.sampled_from(["", "\n", "# c = 1\n", "\n\n# [t]\n"])


@QUIET
@given(data=st.data())
def test_written_documents(data: st.DataObject) -> None:
    text, wanted, table, used = "", {}, (), set()
    for name in data.draw(st.lists(KEYS, min_size=1, max_size=8, unique=True)):
        text += data.draw(GAPS)
        line = text.count("\n") + 1
        kind = data.draw(st.sampled_from(["key", "key", "key", "table", "array"]))
        spelt = data.draw(st.sampled_from([name, f'"{name}"', f"'{name}'"]))
        if kind == "key":
            text += f"{spelt} = {data.draw(VALUES)}\n"
            wanted[(*table, name)] = line
        elif kind == "table":
            text, table = text + f"[{spelt}]\n", (name,)
            wanted[table] = line
        else:
            text, table = text + f"[[ {spelt} ]] # c\n", (name, 0)
            wanted[(name,)] = wanted[table] = line
        used.add(name)
    found = key_lines(text)
    assert found.keys() == paths(tomllib.loads(text))
    assert {k: found[k] for k in wanted} == wanted


@QUIET
@given(text=st.text(alphabet="ab.=\"'[]{}#\n ,1-\\", max_size=60))
def test_what_tomllib_reads_has_all_its_lines(text: str) -> None:
    found = key_lines(text)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    assert found.keys() == paths(document)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
