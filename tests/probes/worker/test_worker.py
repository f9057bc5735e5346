"""The worker in this very interpreter, with its torch, on the CPU: what it measures is checked and in the right units."""

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest

from infra_doctor_probes.benchmarks.place import WORKER

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
CPU = {"kind": "cpu", "index": 0}


def ask(*requests: tuple[str, dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The events of each request, all of one worker."""
    lines = [
        json.dumps({"id": n, "call": call, "arguments": arguments}) for n, (call, arguments) in enumerate(requests)
    ]
    done = subprocess.run(
        [sys.executable, "-B", WORKER],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return [[e for e in events if e["id"] == n] for n in range(len(requests))]


def test_devices_and_host_memory_and_products() -> None:
    devices, triad, products, copies, unknown = ask(
        ("devices.describe", {}),
        ("bandwidth.host_memory", {"size": 8 << 20}),
        ("gemm.square", {"device": CPU, "dtype": "fp32", "shapes": [[64, 32, 96], [128, 128, 128]], "seconds": 0.01}),
        ("bandwidth.host_device", {"device": CPU, "sizes": [4096]}),
        ("os.system", {}),
    )
    assert devices[0]["devices"][-1]["kind"] == "cpu" and devices[0]["build"]["torch"]
    assert triad[0]["unit"] == "B/s" and triad[0]["verified"] and 1e8 < triad[0]["value"] < 1e13
    assert triad[0]["began_ns"] < triad[0]["ended_ns"] and len(triad[0]["samples"]) == 10
    assert [e["name"] for e in products[:-1]] == ["fp32 64x32x96", "fp32 128x128x128"]
    assert all(e["verified"] and e["unit"] == "FLOP/s" and e["cache"] == "warm" for e in products[:-1])
    assert copies[0]["event"] == "skip" and "no other memory" in copies[0]["reason"]
    assert unknown[0]["event"] == "failed" and "no such call" in unknown[0]["message"]
    assert [group[-1]["event"] for group in (devices, triad, products, copies)] == ["done"] * 4


PLANTED = """
import sys; sys.argv = ["x"]
import importlib.util
spec = importlib.util.spec_from_file_location("bootstrap", {worker!r}); boot = importlib.util.module_from_spec(spec)
spec.loader.exec_module(boot); boot.load()
import torch
real = torch.{name}
def wrong(*a, **k):
    out = real(*a, **k)
    out.view(-1)[{index}] += {by}
    return out
torch.{name} = wrong
import importlib
importlib.import_module(boot.NAME + ".serve").main()
"""


@pytest.mark.parametrize(
    ("name", "call", "arguments"),
    [
        ("mm", "gemm.square", {"device": CPU, "dtype": "fp32", "shapes": [[64, 64, 64]], "seconds": 0.01}),
        ("add", "bandwidth.host_memory", {"size": 1 << 20}),
    ],
)
def test_a_wrong_result_is_seen(name: str, call: str, arguments: dict[str, Any]) -> None:
    """The library's own function is replaced by one that spoils its result."""
    index = "slice(None)" if name == "mm" else "7"  # products are checked on sampled entries
    code = PLANTED.format(worker=WORKER, name=name, index=index, by="1000.0")
    request = json.dumps({"id": 1, "call": call, "arguments": arguments}) + "\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], input=request, capture_output=True, text=True, timeout=300, check=True
    )
    (result,) = [e for line in done.stdout.splitlines() if (e := json.loads(line))["event"] == "result"]
    assert result["verified"] is False


def test_what_the_library_prints_does_not_reach_the_answers() -> None:
    code = PLANTED.format(worker=WORKER, name="mm", index="0", by="0").replace(
        "    out = real", "    print('noise'); out = real"
    )
    request = json.dumps({"id": 1, "call": "gemm.square",
                          "arguments": {"device": CPU, "dtype": "fp32", "shapes": [[32, 32, 32]], "seconds": 0.01}})  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        input=request + "\n",
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert all(line.startswith("{") for line in done.stdout.splitlines()) and "noise" in done.stderr


def test_nothing_of_the_doctor_comes_onto_the_targets_path() -> None:
    code = PLANTED.format(worker=WORKER, name="mm", index="0", by="0").replace(
        "import importlib\nimportlib", "print([m for m in sys.modules if m.startswith('infra_doctor_probes')], file=sys.stderr)\n"
        "import importlib\nimportlib",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], input="", capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"
