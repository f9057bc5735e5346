"""Nothing private leaves, what is compared stays comparable, what is no secret stays as it is."""

import pytest

from infra_doctor.machine.redaction import Redactor
from infra_doctor.model.component import Component
from infra_doctor.model.evidence import Evidence, EvidenceKind


def redactor(home: str | None = "/home/alice", **fields: bool) -> Redactor:
    return Redactor(key=b"k", home=home, **fields)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/home/alice/venv/bin/python", "/home/user1/venv/bin/python"),
        ("/home/bob/x:/home/alice/y:/home/bob/z", "/home/user2/x:/home/user1/y:/home/user2/z"),
        ("/home/ubuntu/x", "/home/ubuntu/x"),
        ("/root/.cache", "/root/.cache"),
        ("https://me:hunter2@proxy.example:8080/x", "https://***@proxy.example:8080/x"),
        ("PIP_TOKEN=abc123 next", "PIP_TOKEN=*** next"),
        ('api_key: "zzz"', 'api_key: "***"'),
        ('{"password": "hunter2", "x": 1}', '{"password": "***", "x": 1}'),
        ("os.environ['DB_PASSWORD'] = 'hunter2'", "os.environ['DB_PASSWORD'] = '***'"),
        ("tokenizers==0.22.1 secretstorage==3.3", "tokenizers==0.22.1 secretstorage==3.3"),
        ("nvapi-0123456789abcdef", "***"),
        ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "Bearer ***"),
        ("ghp_0123456789abcdef0123", "***"),
        ("mail bob.smith@corp.example.com now", "mail *** now"),
        ("wheel:torch@/opt/venv", "wheel:torch@/opt/venv"),
        ("nvidia-cublas 13.1.0.3", "nvidia-cublas 13.1.0.3"),
        ("libcuda.so.580.159.04", "libcuda.so.580.159.04"),
    ],
)
def test_strings(text: str, wanted: str) -> None:
    assert redactor().text(text) == wanted


def test_a_home_elsewhere_is_a_home_too() -> None:
    found = redactor("/data/people/carol")
    assert found.text("/data/people/carol/venv:/data/people/caroline") == "/home/user1/venv:/data/people/caroline"


def test_device_uuids_become_keyed_hashes_that_still_compare() -> None:
    one = "GPU-11111111-2222-3333-4444-555555555555"
    other = "GPU-11111111-2222-3333-4444-555555555556"
    a, b = redactor().text(one), redactor().text(other)
    assert a != b and a.startswith("GPU-") and "1111" not in a
    assert redactor().text(f"uuid {one}") == f"uuid {a}"
    assert Redactor(key=b"other", home=None).text(one) != a


def test_what_is_redacted_stays_as_it_is() -> None:
    live = redactor()
    for text in ("/home/alice/x /home/bob/y", "GPU-11111111-2222-3333-4444-555555555555", "token=abc"):
        once = live.text(text)
        assert Redactor(key=b"k", home="/home/user1", replayed=True).text(once) == once


@pytest.mark.parametrize(
    "text",
    ["token_" * 200_000, "a" * 2_000_000 + "@", "://" * 500_000, "x@" * 500_000, "/home/" * 300_000],
    ids=range(5),
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    assert len(redactor().text(text)) > 0


def test_identify_turns_it_off() -> None:
    assert redactor(enabled=False).text("/home/alice") == "/home/alice"


def test_dataclasses_keep_their_type() -> None:
    component = Component(
        key="python:/home/alice/v", kind="python", name="python", attributes={"path": "/home/alice", "n": 3},
        evidence=(Evidence(kind=EvidenceKind.FILE, source="/home/alice/v/pyvenv.cfg"),),
    )  # fmt: skip
    found = redactor().typed(component)
    assert found.key == "python:/home/user1/v"
    assert found.attributes == {"path": "/home/user1", "n": 3}
    assert found.evidence[0].source == "/home/user1/v/pyvenv.cfg"
    assert found.evidence[0].kind is EvidenceKind.FILE
