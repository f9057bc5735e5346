"""A damaged snapshot is one clear error with its place, never a fault of ours."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.errors import InputError
from infra_doctor.machine.agent import Agent
from infra_doctor.machine.forms import replayed_machine
from infra_doctor.machine.shapes import RESULTS, wrong


def snapshot(*observations: Any, **more: Any) -> dict[str, Any]:
    return {"machine": {"capabilities": ["files"]}, "observations": list(observations), **more}


def test_every_operation_that_is_replayed_has_a_shape() -> None:
    assert set(Agent().operations) <= set(RESULTS)
    assert set(RESULTS) - set(Agent().operations) == {"child"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("realpath", ["/etc"]), ("stat", ["/etc", True]), ("stat", ["/dev/null", True]), ("list", ["/etc"]),
        ("read", ["/etc/passwd", 100]), ("read", [sys.executable, 100]), ("elf", [sys.executable]),
        ("ldcache", ["/etc/ld.so.cache"]), ("environ", [None, ["PATH"]]), ("environ_names", [None, ["P"]]),
        ("system", []), ("space", ["/"]), ("limits", []), ("opens", ["/dev/null", False]), ("run", [["true"], 5]),
        ("kernel_log", [["x"]]), ("processes", [["init"]]), ("records", [["/nowhere"]]), ("read", ["/etc", 10]),
    ],
)  # fmt: skip
def test_the_agents_own_answers_have_their_shape(name: str, arguments: list[Any]) -> None:
    plain = json.loads(json.dumps(Agent().ask(name, *arguments)))
    assert wrong(name, arguments, plain) == ""


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("stat", ["/x", True], [1]), ("stat", ["/x", True], "file"), ("stat", ["/x", True], ["file", "1", 0, 0, "x", None]),
        ("list", ["/x"], [["a"]]), ("list", ["/x"], {"a": 1}), ("read", ["/x"], {}), ("read", ["/x"], {"text": 3}),
        ("read", ["/x"], {"base64": "*"}), ("elf", ["/x"], {"path": "/x"}), ("elf", ["/x"], {"error": 3}),
        ("environ", [None], "x"), ("environ", [None], {"HOME": 3}), ("distributions", ["/x"], [{"path": "/x"}]),
        ("distributions", ["/x"], [{"path": "/x", "name": "n"}]), ("run", [["a"]], {"rc": 0}), ("child", ["m"], {}),
        ("child", ["m"], {"data": []}), ("kernel_log", [["x"]], {"lines": [["x", 1]], "source": "x"}),
        ("limits", [], {"memlock": [1]}), ("stat", [{}], None), ("stat", [["/x", []]], None),
    ],
)  # fmt: skip
def test_another_shape_is_named_with_its_place(name: str, arguments: list[Any], result: Any) -> None:
    with pytest.raises(InputError, match=rf"^where: damaged snapshot: observation 1 \({name}\): ."):
        replayed_machine(snapshot(["realpath", ["/"], "/"], [name, arguments, result]), where="where")


@pytest.mark.parametrize("request_", [[], 3, {"python": 3}, {"pid": "x"}, {"all_pythons": "yes"}])
def test_a_request_that_is_none(request_: Any) -> None:
    with pytest.raises(InputError, match="damaged snapshot: request"):
        replayed_machine(snapshot(request=request_), where="where")


def test_capabilities_of_any_type() -> None:
    machine = replayed_machine({"machine": {"capabilities": [{}, 3, "files"]}, "observations": []}, where="where")
    assert [str(c) for c in machine.capabilities] == ["files"]


def test_the_command_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps({"kind": "snapshot", "schema_version": "1.0", **snapshot(["stat", ["/x", True], "?"])}))
    for verb in (
        ["check", "--replay", str(file)],
        ["diff", str(file), str(file)],
        ["triage", "--against", str(file), "x"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "infra_doctor", *verb], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (2, ""), (verb, done.stderr)
        assert f"{file}: damaged snapshot: observation 0 (stat)" in done.stderr
