"""Which variables are read, which of two sources counts, and what is never read."""

from typing import Any

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor_probes.detect.tuning_variables import (
    ALLOWED,
    PROBES,
    MissingPath,
    NetworkInterfaces,
    TuningVariable,
    is_known,
)
from infra_doctor_probes.tables.nccl_variables import NAMES, PRIVATE, RELEASES, REPLACED, table
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine


def gathered(**recipe: Any) -> Gathered:
    return gather(recipe_machine(recipe, ALLOWED), PROBES)


def values(found: Gathered) -> dict[str, tuple[str | None, str]]:
    return {f.name: (f.value, f.source) for f in found.facts if isinstance(f, TuningVariable)}


def test_the_environment_counts_before_the_users_file_and_that_before_the_systems() -> None:
    found = gathered(
        environment={"NCCL_DEBUG": "WARN", "HOME": "/root"},
        files={
            "/root/.nccl.conf": "NCCL_DEBUG=TRACE\nNCCL_ALGO=Ring\n NCCL_PROTO=LL\n#NCCL_NTHREADS=1\nno line\n",
            "/etc/nccl.conf": "NCCL_ALGO=Tree\nNCCL_IB_DISABLE=1\nNCCL_COMM_ID=10.0.0.1:7000\nPATH=/x\n",
        },
    )
    assert values(found) == {
        "NCCL_DEBUG": ("WARN", "environment"),
        "NCCL_ALGO": ("Ring", "/root/.nccl.conf"),
        "NCCL_IB_DISABLE": ("1", "/etc/nccl.conf"),
    }


def test_a_named_file_takes_the_place_of_the_users() -> None:
    found = gathered(
        environment={"NCCL_CONF_FILE": "/opt/job.conf", "HOME": "/root"},
        files={"/root/.nccl.conf": "NCCL_ALGO=Ring\n", "/opt/job.conf": "NCCL_PROTO=LL\n"},
    )
    assert set(values(found)) == {"NCCL_CONF_FILE", "NCCL_PROTO"}


def test_of_names_that_nobody_knows_only_the_name_is_read() -> None:
    found = gathered(other_variables=["NCCL_SECRET_OF_MINE", "NCCL_VERSION", "NCCL_TESTS_SPLIT", "OTHER"])
    assert values(found) == {"NCCL_SECRET_OF_MINE": (None, "environment")}


def test_addresses_are_never_read() -> None:
    assert not PRIVATE & set(ALLOWED)
    assert not PRIVATE & set(NAMES)
    assert all(is_known(name) for name in PRIVATE)


def test_the_agent_gives_names_and_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_MY_TOKEN", "value of it")
    found = Agent("/").ask("environ_names", None, ["NCCL_MY"])
    assert found == ["NCCL_MY_TOKEN"]
    assert Agent("/").ask("environ_names", None, ["NCCL_NONE_SUCH"]) == []


def test_interfaces_are_asked_only_where_a_variable_names_some() -> None:
    files = {"/sys/class/net/eth0": {"type": "dir"}}
    assert not gathered(files=files).has(NetworkInterfaces)
    assert gathered(files=files, environment={"NCCL_SOCKET_IFNAME": "eth"}).fact(NetworkInterfaces).names == ("eth0",)


def test_missing_paths() -> None:
    found = gathered(
        environment={
            "CUDA_HOME": "/usr/local/cuda-9.0", "CUDA_PATH": "/usr/local/cuda", "NCCL_TOPO_FILE": "relative.xml",
            "LD_PRELOAD": "libjemalloc.so.2 /gone/a.so:/here/b.so /usr/$LIB/c.so",
        },
        files={"/usr/local/cuda/version.json": "{}", "/here/b.so": ""},
    )  # fmt: skip
    missing = {(f.variable, f.path) for f in found.facts if isinstance(f, MissingPath)}
    assert missing == {("CUDA_HOME", "/usr/local/cuda-9.0"), ("LD_PRELOAD", "/gone/a.so")}


@pytest.mark.parametrize(
    "conf",
    [
        {"type": "fifo"},
        {"error": "Permission denied"},
        {"base64": "//4A/w=="},
        "NCCL_DEBUG",
        "=\n=\n",
        "NCCL_" + "A" * 100000,
    ],
)
def test_hostile_settings_files(conf: Any) -> None:
    assert values(gathered(files={"/etc/nccl.conf": conf})) == {}


def test_the_history_of_names() -> None:
    assert RELEASES["NCCL_P2P_DISABLE"] == ("2.3.7", "")
    assert RELEASES["NCCL_NVLS_ENABLE"] == ("2.17.1", "")
    assert RELEASES["NCCL_TREE_THRESHOLD"] == ("2.4.2", "2.4.8")
    assert {row["env"] for row in table().rows} <= set(RELEASES)
    assert set(REPLACED.values()) <= set(RELEASES)
