"""Text from a machine made safe to show, and the words that front ends share."""

import pytest

from infra_doctor.model.finding import Command, Status
from infra_doctor.model.wording import (
    MEANING,
    SIGN,
    attribute,
    command_line,
    counted,
    is_web_link,
    joined,
    own_path,
    printable,
    shortened,
    size,
    to_ascii,
)
from tests.support.sample_report import HOSTILE


@pytest.mark.parametrize("text", HOSTILE)
def test_printable_leaves_nothing_that_a_terminal_acts_on(text):
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_printable_shows_what_was_there():
    assert printable("a\x1b[31mb\u202ec\udce9\td") == r"a\x1b[31mb\u202ec\udce9 d"
    assert printable("a\nb") == r"a\nb"
    assert printable("a\nb\r", lines=True) == "a\nb\\r"
    assert printable("libcudnn · Größe") == "libcudnn · Größe"


def test_ascii_has_a_stand_in_for_every_sign_and_escapes_the_rest():
    signs = [to_ascii(SIGN[status]) for status in Status]
    assert all(len(sign) == 1 and sign.isascii() for sign in signs)
    assert len(set(signs)) == len(signs)
    assert to_ascii("2 × é → “x”") == '2 x \\xe9 -> "x"'
    assert to_ascii("\udce9") == "\\udce9"


def test_every_status_has_a_sign_and_a_meaning():
    assert set(SIGN) == set(MEANING) == set(Status)
    assert all(len(sign) == 1 for sign in SIGN.values())


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://docs.nvidia.com/deploy/#a?b=c&d", True),
        ("http://x", True),
        ("javascript:alert(1)", False),
        ("JavaScript:alert(1)", False),
        ("data:text/html,x", False),
        (" https://x", False),
        ("https://x/ onclick=y", False),
        ('https://x/"><script>', False),
        ("https://x\\@y", False),
        ("https://x\n", False),
        ("https://ex\u0430mple", False),
        ("cudnn_support.csv row 3", False),
        ("", False),
    ],
)
def test_only_plain_web_addresses_become_links(address, link):
    assert is_web_link(address) is link


def test_commands_are_quoted_for_the_shell():
    assert command_line(Command(argv=("pip", "install", "a[b]==1.*"))) == "pip install 'a[b]==1.*'"
    assert command_line(Command(argv=("modprobe", "nvidia"), needs_root=True)) == "sudo modprobe nvidia"
    assert "\x1b" not in command_line(Command(argv=("ls", "\x1b[2J")))


def test_small_words():
    assert [counted(n, "copy", "copies") for n in (0, 1, 2)] == ["0 copies", "1 copy", "2 copies"]
    assert [joined(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert [size(n) for n in (0, 1023, 1536, 3 * 2**30, 5 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "3.0 GiB",
        "5.0 TiB",
    ]
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcd", 4) == "abcd"


def test_attributes_read_as_words():
    assert attribute("memory_bytes", 2**31) == "memory 2.0 GiB"
    assert attribute("wsl", False) == "wsl no"
    assert attribute("page_size", 65536) == "page size 65536"
    assert attribute("chip", None) == "chip unknown"


def test_ones_own_home_is_written_as_a_shell_takes_it():
    command = Command(argv=("/home/user1/my env/bin/python", "-m", "pip", "install", "a b"))
    assert command_line(command) == "~/'my env/bin/python' -m pip install 'a b'"
    assert command_line(Command(argv=("/home/user12/x",))) == "/home/user12/x"
    assert command_line(Command(argv=("/home/user1/x",), needs_root=True)) == "sudo /home/user1/x"
    assert own_path("/home/user1/v/lib") == "~/v/lib"
    assert own_path("/home/user12/v") == "/home/user12/v"
