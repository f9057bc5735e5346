"""`infra-doctor plan`: its contract on this machine and on recorded ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra_doctor.cli.plan import read_wish
from infra_doctor.errors import UsageError

RECORDED = Path(__file__).parents[2] / "machines" / "h200-torch211" / "snapshot.json.gz"


def plan(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra_doctor", "plan", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_wish_is_read_as_pip_reads_it() -> None:
    wish = read_wish("ONNXRuntime_GPU[cuda,cudnn]>=1.28,<1.31")
    assert (wish.part, wish.extras) == ("onnxruntime-gpu", ("cuda", "cudnn"))
    assert wish.text == "onnxruntime-gpu[cuda,cudnn]<1.31,>=1.28"


@pytest.mark.parametrize("text", ["a b", "", "torch @ https://example.org/x.whl", "torch; python_version<'3'", "-r x"])
def test_what_is_no_wish_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_wish(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("torhc",), "Did you mean torch?"),
        ((), "--repair"),
        (("torch", "torch==2"), "Give each once"),
        (("torch", "--all-pythons"), "--python"),
    ],
)
def test_wrong_usage_says_the_way_out(arguments: tuple[str, ...], said: str) -> None:
    result = plan(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_plan_as_json_and_as_text() -> None:
    result = plan("torch==2.9.1+cu126", "--replay", str(RECORDED), "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["kind"], document["fits"]) == ("plan", True)
    assert [c["after"] for s in document["steps"] for c in s["changes"] if c["part"] == "torch"] == ["2.9.1 (cu126)"]
    text = plan("torch==2.9.1+cu126", "--replay", str(RECORDED), "--ascii")
    assert "pip install torch==2.9.1+cu126" in text.stdout
    assert text.stdout.isascii()


def test_nothing_fits_is_exit_code_1() -> None:
    result = plan("torch==0.1", "--replay", str(RECORDED))
    assert result.returncode == 1
    assert result.stdout.startswith("✖ Nothing fits: torch==0.1")
