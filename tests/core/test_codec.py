"""JSON that may be printed anywhere: into the log of a CI system, to a terminal."""

import json

import pytest

from infra_doctor.codec import encode
from tests.support.ci_runners import commands

VALUES = [
    "##[error]x",
    "###[x]",
    "\\##vso[a.b]",
    "##",
    "#",
    "\x1b]0;x\x07",
    "\x7f\x9b",
    "\u202e\u2028\u200b\ufeff",
    "\U000e0001",
    "Größe ×",
    "::error::x",
]


@pytest.mark.parametrize("indent", [0, 1, 2])
@pytest.mark.parametrize("value", VALUES)
def test_what_is_escaped_reads_as_it_was(value, indent):
    document = {value: [value, {"x": value * 3}], "##[a]": None}
    text = encode(document, indent=indent)
    assert json.loads(text) == document
    assert not commands(text)
    assert all(c.isprintable() or c == "\n" for c in text)


def test_ordinary_text_is_written_as_it_is():
    assert encode({"a": "Größe × → C# #1"}, indent=0) == '{"a":"Größe × → C# #1"}\n'


def test_half_characters_are_spelt_out():
    assert json.loads(encode({"a\udce9": ["\ud800##[x]"]})) == {"a\\udce9": ["\\ud800##[x]"]}
