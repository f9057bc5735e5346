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
        ("train.py --token abc --lr 3 --api-key x", "train.py --token *** --lr 3 --api-key ***"),
        ("serve --max-tokens 100 --token-file - x", "serve --max-tokens 100 --token-file - x"),
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


def test_outputs_of_commands_keep_no_serial_number_and_no_process_name() -> None:
    xml = (
        "<serial>1654221009876</serial>\n<process_name>/home/x/train</process_name>\n<product_name>H100</product_name>"
    )
    text = (
        "    Serial Number                   : 1654221009876\n    GPU Fabric GUID : 0xabcdef\n    Board ID : 0x5300\n"
    )
    result = {"rc": 0, "stdout": xml, "stderr": text, "timed_out": False}
    ((_, _, kept),) = redactor().observations([("run", [["nvidia-smi", "-q", "-x"]], result)])
    assert kept["stdout"] == (
        "<serial>left_out</serial>\n<process_name>left_out</process_name>\n<product_name>H100</product_name>"
    )
    assert "1654221009876" not in kept["stderr"] and "abcdef" not in kept["stderr"] and "0x5300" in kept["stderr"]
    assert (kept["rc"], kept["timed_out"]) == (0, False)


def test_messages_of_the_kernel_name_no_process() -> None:
    lines = [
        [1.5, "NVRM: Xid (PCI:0000:9b:00): 119, pid=2024380, name=my-trainer, Timeout after 6s"],
        [2.5, "NVRM: API mismatch: the client 'my-trainer' (pid 77)\\x0aNVRM: has the version 595.84, but"],
    ]
    log = {"lines": lines, "source": "/dev/kmsg", "truncated": False}
    ((_, _, kept),) = redactor().observations([("kernel_log", [["NVRM"]], log)])
    assert kept["lines"] == [
        [1.5, "NVRM: Xid (PCI:0000:9b:00): 119, pid=0, name=left_out, Timeout after 6s"],
        [2.5, "NVRM: API mismatch: the client 'left_out' (pid 0)\\x0aNVRM: has the version 595.84, but"],
    ]
