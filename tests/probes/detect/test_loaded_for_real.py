"""On a machine with a GPU and a real PyTorch: the predicted copies are those that a process of this environment has mapped.

Runs in the interpreter of the tests: `pytest -m gpu`, with torch installed beside the tests' own requirements."""

import importlib.util
import json
import posixpath
import subprocess
import sys
from pathlib import Path

import pytest

from infra_doctor.machine.python_env import find_target
from infra_doctor_probes.detect import libraries, onnxruntime, wheels
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.orders import play_all
from tests.core.machine.libraries import live
from tests.support.gather import gather
from tests.support.onnx_model import conv_model

pytestmark = pytest.mark.gpu

# Prints what is mapped after the imports and sessions, then after a convolution by each; and the session's providers.
SCRIPT = """
import json, sys
order, model = sys.argv[1:]
def mapped():
    return sorted({line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if ".so" in line})
providers = None
def make_torch():
    import torch
    return lambda: torch.nn.functional.conv2d(
        torch.ones(1, 4, 16, 16, device="cuda"), torch.ones(4, 4, 3, 3, device="cuda")).cpu()
def make_session(preload=False):
    global providers
    import numpy, onnxruntime
    if preload:
        onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(model, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    providers = session.get_providers()
    one = numpy.ones
    return lambda: session.run(None, {"x": one((1, 4, 16, 16), "float32"), "w": one((4, 4, 3, 3), "float32")})
makers = {
    "torch": [make_torch], "onnxruntime": [make_session], "torch, onnxruntime": [make_torch, make_session],
    "onnxruntime, torch": [make_session, make_torch], "onnxruntime.preload_dlls()": [lambda: make_session(True)],
}[order]
steps = [make() for make in makers]
after_import = mapped()
for step in steps:
    step()
print(json.dumps([after_import, mapped(), providers]))
"""


def test_predicted_copies_are_the_mapped_ones(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed beside the tests")
    model = tmp_path / "conv.onnx"
    model.write_bytes(conv_model())
    machine = live()
    target = find_target(machine, python=sys.executable)
    assert target is not None
    found = gather(machine, wheels.PROBES, libraries.PROBES, onnxruntime.PROBES, targets=(target,))
    copies = {c.location for c in found.components}
    plays = play_all(machine, target)
    assert plays
    for play in plays:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, play.order, str(model)], capture_output=True, text=True, check=True, cwd="/"
        )
        after_import, after_use, providers = json.loads(done.stdout.splitlines()[-1])
        early = {u.object.real_path for u in play.uses if not u.on_first_use}
        late = {u.object.real_path for u in play.uses if u.on_first_use}
        real, used = ({p for p in paths if library_name(posixpath.basename(p))} for paths in (after_import, after_use))
        assert real - late == early - late, play.order
        assert {p for p in used if "libcudnn" in p} <= early | late, play.order
        assert used <= copies, play.order
        for outcome in play.outcomes:
            if outcome.provider == "CUDAExecutionProvider":
                assert outcome.loads is ("CUDAExecutionProvider" in providers), (play.order, outcome, providers)
        sys.stdout.write(f"{play.order}: {len(real)} after the imports, {len(used)} after use, providers {providers}\n")
        for path in sorted(used):
            sys.stdout.write(f"    {path}\n")
