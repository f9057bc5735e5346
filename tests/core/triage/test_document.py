"""What leaves a triage: redacted, shortened, with advice, and as its published schema says."""

import json

import pytest

from infra_doctor.codec import convert, encode
from infra_doctor.model.triage import MachineCheck, Triage
from tests.core.triage.lab import check, named, triage_of

X = check("X", r"device [^\n]{0,200} is lost")


def shown(text: str) -> str:
    return triage_of(text, checks=[X]).causes[0].matched.text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("/home/alice/run/train.py: device a is lost", "alice"),
        ("/home/bob/run/train.py: device a is lost", "bob"),
        ("device a is lost, token=abcdef1234567890", "abcdef1234567890"),
        ("device hf_abcdefghijklmnop is lost", "hf_abcdefghijklmnop"),
        ("pid=4711, name=violet-otter, device a is lost", "violet-otter"),
        ("violet-otter:812:940 [0] NCCL WARN device a is lost", "violet-otter"),
        ("violet-otter:812:940 [0] misc/socket.cc:50 NCCL WARN device a is lost", "violet-otter"),
        ("train.py --hf-token violet-otter: device a is lost", "violet-otter"),
        ("52:54:00:12:34:56 says device a is lost", "12:34:56"),
        ("fe80::1ff:fe23:4567:890a says device a is lost", "4567"),
        ("device a is lost, serial number: violet-otter", "violet-otter"),
        ("https://me:secret@host/x: device a is lost", "secret"),
        ("mail to someone@example.org: device a is lost", "someone@example.org"),
        ("device a is lost at ip=10.3.4.5", "10.3.4.5"),
        ("worker (W pid=1) 192.168.7.9:41221 device a is lost", "192.168.7.9"),
        ("peer 203.0.113.7:5000 device a is lost", "203.0.113.7"),
        ("alice@node17:~$ device a is lost", "alice"),
        ("alice@node17:~$ device a is lost", "node17"),
        ("device GPU-01234567-89ab-cdef-0123-456789abcdef is lost", "89ab-cdef"),
    ],
)
def test_names_and_secrets_do_not_leave(text: str, secret: str) -> None:
    assert secret not in encode(triage_of(text, checks=[X]))
    assert "device" in shown(text) and "is lost" in shown(text)


def test_versions_are_no_addresses() -> None:
    text = "device a is lost: cuDNN 9.19.0.56 and cuBLAS 12.4.5.8 wanted"
    assert shown(text) == text


def test_no_half_of_a_secret_is_left_where_text_is_cut() -> None:
    text = "x" * 100 + " token=" + "s3cret" * 200 + " device a is lost " + "y " * 500
    assert "s3cret" not in encode(triage_of(text, checks=[X]))
    assert "device a is lost" in shown(text) and len(shown(text)) < 410


def test_nothing_else_of_the_log_leaves() -> None:
    document = encode(triage_of("private words\ndevice a is lost\nother private words\n", checks=[X]))
    assert "private" not in document


def test_the_document_reads_back_as_it_was() -> None:
    triage = triage_of("device a is lost\n" * 3, checks=[X])
    again = convert(json.loads(encode(triage)), Triage, where="here")
    assert again == triage
    assert again.causes[0].machine_check is MachineCheck.NOT_CHECKED
    assert (again.against, again.machine) == ("nothing", None)


def test_without_a_machine_the_advice_is_that_of_the_check() -> None:
    cause = triage_of("device a is lost", checks=[X]).causes[0]
    assert cause.remediation.text == "repair X" and cause.remediation.docs == ("https://example.org",)


def test_a_persons_own_words_are_believed() -> None:
    words = 'raise RuntimeError("device a is lost")'
    assert named(triage_of(words, checks=[X])) == []
    assert named(triage_of(words, checks=[X], trusted=True)) == ["X"]
