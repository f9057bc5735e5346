"""What the runners of CI systems, terminals and browsers would act on is made visible; what people copy stays as it is."""

import pytest

from infra_doctor.model.escaping import inert, printable
from infra_doctor.model.finding import Command
from infra_doctor.model.wording import command_line
from tests.support.ci_runners import commands


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("##[error]x", r"#\x23[error]x"),
        ("###[error]x", r"##\x23[error]x"),
        ("####[error]x", r"###\x23[error]x"),
        ("##vso[task.complete]x", r"#\x23vso[task.complete]x"),
        ("a ##teamcity[x 'y'] ##[z]", r"a #\x23teamcity[x 'y'] #\x23[z]"),
        ("a\x1b]8;;x\x07\x9b1m\u202e\ud800\u2028", r"a\x1b]8;;x\x07\x9b1m\u202e\ud800\u2028"),
    ],
)
def test_printable_shows_a_command_inside_of_a_line(text, shown):
    assert printable(text) == printable(shown) == shown
    assert not commands(printable(text))


@pytest.mark.parametrize(
    "text",
    [
        "/opt/a::b/lib/libtorch.so.2",
        "at::cuda::Stream",
        "## heading",
        "C# ##",
        "[1] #2",
        "::",
        "tcp://[::1]:29500",
        "a##b (c)[d]",
    ],
)
def test_what_people_copy_stays(text):
    assert printable(text) == text
    assert inert(f"  in {text}") == f"  in {text}"


@pytest.mark.parametrize("start", ["", "  ", "\t ", "\u3000", "\x1b[1;31m", "  \x1b[2m ", "first line\n", "\n\n  "])
def test_no_line_begins_with_a_command(start):
    whole = inert(f"{start}::error file=a::x\nlast")
    assert not commands(whole)
    assert whole == f"{start}\\x3a:error file=a::x\nlast"
    assert inert(whole) == whole


def test_a_command_line_is_quoted_where_a_runner_would_take_it_for_its_own():
    shown = command_line(
        Command(argv=("::error::x", "##[add-path]/tmp", "##vso[x.y]", "it's ##[z]", "/home/user1/##[a]", "plain"))
    )
    assert shown == "'::error::x' '#''#[add-path]/tmp' '#''#vso[x.y]' 'it'\"'\"'s #''#[z]' ~/'#''#[a]' plain"
    assert not commands(f"    {shown}")
    assert command_line(Command(argv=("pip", "install", "a::b", "x#y"))) == "pip install a::b 'x#y'"
