"""`infra-doctor bench` on this machine's CPU: a document with checked measurements; wrong input is said before anything runs."""

import importlib.util
import json
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "infra_doctor", "bench"]


def run(*argv: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *argv], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_the_quick_suite_on_a_cpu(tmp_path: object) -> None:
    done = run("--quick", "--device", "cpu", "--python", sys.executable, "--json")
    found = json.loads(done.stdout)["measurements"]
    assert {m["benchmark"] for m in found} == {"bandwidth", "gemm", "collectives"}
    assert all(m["verified"] and m["value"] > 0 and m["sample_count"] > 1 and m["method"] for m in found)
    assert "left]" in done.stderr
    text = run("gemm", "--shape", "64x32x96", "--device", "cpu", "--python", sys.executable).stdout
    assert "Measured" in text and "fp32 64x32x96" in text and "FLOP/s" in text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["bandwith"], "Nearest: bandwidth"),
        (["gemm", "--shape", "8192x8192"], "three sizes are wanted"),
        (["gemm", "--shape", "0x1x1"], "three sizes are wanted"),
        (["--python", "/no/such/python"], "/no/such/python"),
        (["--timeout", "0"], "above 0"),
        (["--format", "jsn"], "Nearest: json"),
    ],
)
def test_wrong_input_is_said(argv: list[str], said: str) -> None:
    done = run(*argv, code=2)
    assert said in done.stderr and not done.stdout


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_device_that_is_not_there() -> None:
    done = run("--device", "cuda:7", "--python", sys.executable, code=2)
    assert "no such device" in done.stderr and "cpu" in done.stderr


def test_an_environment_without_torch(tmp_path_factory: pytest.TempPathFactory) -> None:
    venv = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    done = run("--python", str(venv), code=2)
    assert "No module named 'torch'" in done.stderr and "--python" in done.stderr
