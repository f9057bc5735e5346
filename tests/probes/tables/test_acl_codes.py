"""The error codes of CANN: each one points to a check that has its signature, in the words that programs print it with."""

import re

import pytest

from infra_doctor.runner.registry import load
from infra_doctor_probes.tables.acl_codes import CODES, Code, pattern_of, table

CHECKS = {check.id: check for check in load(third_party=False).checks}


@pytest.mark.parametrize("code", CODES, ids=lambda c: c.number)
def test_its_check_has_it(code: Code) -> None:
    check = CHECKS[code.finding]
    (signature,) = [s for s in check.log_signatures if s.pattern == pattern_of(code.number)]
    assert (signature.strength, signature.source) == (code.strength, code.source)
    assert signature.source.startswith("https://")
    assert f"| {code.number} | {code.name} | {code.meaning} |" in table(code.finding)
    assert code.number in check.explanation


def test_each_code_once() -> None:
    assert len({code.number for code in CODES}) == len(CODES)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("RuntimeError: Initialize:build/CMakeFiles/torch_npu.dir/…:217 NPU function error: …, error code is 507033", "507033"),
        ("drv devRetCode=7, errorCode=507054", "507054"), ("ret[507033], runtime result = 507033", "507033"),
        ("call aclnnSwiGlu failed, detail:… error code is 561103", "561103"), ("ErrCode=107001, desc=", "107001"),
        ("EI0006: [PID: 5071] 2024-07-22 Getting socket times out.", "EI0006"), ("[Communication_Error_Bind_IP_Port(EI0019)]: ", "EI0019"),
        ("aclnnStatus: 561112", "561112"), ("rtError:207001", "207001"),
    ],
)  # fmt: skip
def test_as_programs_print_it(line: str, number: str) -> None:
    assert re.search(pattern_of(number), line, re.MULTILINE)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("step 507033 loss 0.1", "507033"), ("error code is 5070331", "507033"), ("XEI0006: no", "EI0006"), ("EI00061: no", "EI0006"),
        ("pid 207001 exited", "207001"), ("0xEI0006", "EI0006"),
    ],
)  # fmt: skip
def test_a_number_alone_is_no_code(line: str, number: str) -> None:
    assert not re.search(pattern_of(number), line, re.MULTILINE)
