"""The Kubernetes manifests: the official schemas (as the package kubernetes-validate has them), the least of privileges, and
their container's own arguments run on a tree that stands for /host.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ says what `restricted` asks for;
https://kubernetes.io/docs/concepts/storage/volumes/#recursive-read-only-mounts what goes with a recursive read-only mount."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from infra_doctor.model.evidence import EvidenceKind
from tests.ci.lab import DOCS, DOCTOR, blocks, documents, environment, program
from tests.support import rooted_tree

MANIFESTS = {
    name: documents((DOCS / f"{name}.yaml").read_text("utf-8"))
    for name in ("kubernetes-job", "kubernetes-init-container")
}
VERSIONS = ("1.31", "1.33", "1.37")
# Judged from what only a process of that machine can ask: NVML, its variables, limits, file systems, devices, commands.
LIVE = {
    "ECC/XID", "FABRIC", "GPU-BUSY", "GPU-SLOWDOWN", "MIG", "NVLINK", "PERSIST", "ENV-CVD", "NCCL-ENV", "CUDA-ENV", "MEMLOCK",
    "SHM", "SMI", "K8S-DEVICE", "LDPATH-SHADOW", "ASCEND-HEALTH", "ASCEND-PERM", "NPU-BUSY", "ASCEND-LINK", "ROCM-PERM",
}  # fmt: skip
LIVE_EVIDENCE = {EvidenceKind.COMMAND, EvidenceKind.LIBRARY, EvidenceKind.ENVIRONMENT}


def pod(name: str) -> dict[str, Any]:
    """The pod's specification of a manifest."""
    (document,) = MANIFESTS[name]
    spec: dict[str, Any] = document["spec"]["template"]["spec"] if document["kind"] == "Job" else document["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    """infra-doctor's own container of a manifest."""
    spec = pod(name)
    (found,) = [c for c in (*spec.get("initContainers", ()), *spec["containers"]) if c["name"] == "infra-doctor"]
    return found


BOTH = pytest.mark.parametrize("name", list(MANIFESTS))


@BOTH
@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_takes_it(name: str, version: str) -> None:
    for document in MANIFESTS[name]:
        kubernetes_validate.validate(document, version, strict=True)
    document["spec"]["nonsense"] = 1
    try:
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(document, version, strict=True)
    finally:
        del document["spec"]["nonsense"]


@BOTH
def test_the_least_of_privileges(name: str) -> None:
    spec, own = pod(name), container(name)
    security = {**spec.get("securityContext", {}), **own["securityContext"]}
    assert security["runAsNonRoot"] is True and security["runAsUser"] > 0 and security["runAsGroup"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]} and "privileged" not in security
    assert not {"hostPID", "hostNetwork", "hostIPC"} & set(spec)
    assert all(m["readOnly"] for m in own["volumeMounts"])
    (host,) = [m for m in own["volumeMounts"] if m["name"] == "host"]
    assert host["mountPath"] == "/host" and host["recursiveReadOnly"] == "IfPossible"
    assert "mountPropagation" not in host, "the API server refuses it beside recursiveReadOnly"
    assert {"requests", "limits"} == set(own["resources"]), "and takes no GPU"
    assert set(own["resources"]["limits"]) == {"cpu", "memory"}
    if name == "kubernetes-job":
        assert spec["automountServiceAccountToken"] is False
        job = MANIFESTS[name][0]["spec"]
        assert job["backoffLimit"] == 0 and job["ttlSecondsAfterFinished"] > 0
        assert job["activeDeadlineSeconds"] > float(own["args"][-2].removeprefix("--timeout="))


def test_both_run_the_same() -> None:
    job, init = container("kubernetes-job"), container("kubernetes-init-container")
    assert {k: v for k, v in job.items() if k != "securityContext"} == {
        k: v for k, v in init.items() if k != "securityContext"
    }


# -- its arguments, on a tree -----------------------------------------------------------------------------------------


def judged(folder: Path, policy: str, *more: str, tree: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The container's arguments, with /host and the mounted policy put where the test has them; what the container's own
    environment holds is not the host's. Nothing can be written, and there is no home."""
    (folder / "infra-doctor.toml").write_text(policy)
    root = tree or rooted_tree.build(folder / "host")
    args = [
        a.replace("=/host", f"={root}").replace("/etc/infra-doctor/", f"{folder}/")
        for a in container("kubernetes-job")["args"]
    ]
    assert [f"--root={root}" in args, any(str(folder / "infra-doctor.toml") in a for a in args)] == [True, True]
    traps = {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64/stubs", "CUDA_VISIBLE_DEVICES": "7", "NCCL_P2P_DISABLE": "1"}
    env = environment(KUBERNETES_SERVICE_HOST="10.0.0.1", HOME="/nonexistent", TMPDIR="/nonexistent", **traps)
    return subprocess.run(
        ["sh", "-c", f'exec {DOCTOR} "$@"', "sh", *args, *more], cwd="/", env=env, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip


def test_what_cannot_be_seen_is_skipped_with_the_reason(tmp_path: Path) -> None:
    done = judged(tmp_path, "", "--json")
    report = json.loads(done.stdout)
    passed = [f for f in report["findings"] if f["status"] == "pass"]
    assert passed, "what stands in files is judged"
    for finding in passed:
        assert finding["id"] not in LIVE, finding
        assert not {e["kind"] for e in finding["evidence"]} & LIVE_EVIDENCE, finding
    found = {f["id"] for f in report["findings"]}
    assert found > LIVE, "each is there, with its reason"
    for finding in report["findings"]:
        if finding["id"] in LIVE:
            assert finding["status"] == "skip" and finding["title"], finding
    nvml = [f for f in report["findings"] if f["id"] in {"ECC/XID", "FABRIC", "MIG", "NVLINK", "PERSIST"}]
    assert {f["title"] for f in nvml} == {"the state of the NVIDIA GPUs is not visible here: NVML cannot be asked"}
    probes = {p["id"]: p for p in report["probes"]}
    for probe in ("nvidia-smi", "tuning-variables", "visible-devices", "nvidia-node-access"):
        assert (probes[probe]["status"], "not visible" in probes[probe]["reason"]) == ("skip", True), probes[probe]
    assert report["machine"]["form"] == "rooted"
    assert "CUDA_VISIBLE_DEVICES" not in done.stdout and "NCCL_P2P_DISABLE" not in done.stdout


FITS = 'skip = ["ORT-FALLBACK"]\n'  # the tree's libraries are one real file under many names


@pytest.mark.parametrize(
    ("policy", "without", "code", "words"),
    [
        (FITS, (), 0, "No fault found"),
        ("", (), 1, "ORT-FALLBACK"),
        (f"{FITS}[require]\ngpu.count = 1\npackage.torch = '>=2.8'\n", (), 0, "No fault found"),
        (f"{FITS}[require]\ngpu.count = 8\n", (), 1, "gpu.count 8 is required; this is 1"),
        (
            f"{FITS}[require]\ngpu.count = 1\n",
            ("sys", "proc"),
            3,
            "gpu.count 1 is required, and could not be looked at",
        ),
        (f"{FITS}lenient = true\n[require]\ngpu.count = 1\n", ("sys", "proc"), 0, "could not be looked at"),
        ("[require]\ngpu.cuont = 1\n", (), 2, "infra-doctor.toml:2"),
    ],
)
def test_exit_codes(tmp_path: Path, policy: str, without: tuple[str, ...], code: int, words: str) -> None:
    tree = rooted_tree.build(tmp_path / "host")
    for name in without:
        (tree / name).rename(tmp_path / name)
    done = judged(tmp_path, policy, tree=tree)
    assert done.returncode == code, done
    assert words in " ".join((done.stdout + done.stderr).split())
    assert code != 2 or not done.stdout


def test_a_requirement_that_only_nvml_can_tell(tmp_path: Path) -> None:
    done = judged(tmp_path, f"{FITS}[require]\ngpu.memory = '>=80 GiB'\n", "--json")
    assert done.returncode == 3, done
    (found,) = [f for f in json.loads(done.stdout)["findings"] if f["id"] == "REQUIREMENT"]
    assert found["status"] == "error", found


# -- the page's commands ----------------------------------------------------------------------------------------------


def test_the_page_s_commands(tmp_path: Path) -> None:
    """Run with a kubectl and a docker that write down what they get."""
    for name in ("kubectl", "docker"):
        program(
            tmp_path / "bin" / name,
            f'echo "{name} $*" >>{tmp_path}/asked\n'
            'case "$*" in\n"get nodes"*) printf "node/gpu-a\\nnode/gpu-b.example\\n" ;;\n'
            f'"create -f -") cat >>{tmp_path}/created; echo --- >>{tmp_path}/created ;;\n"create configmap"*) echo "kind: ConfigMap" ;;\n'
            f'"apply -f -") cat >>{tmp_path}/applied ;;\nesac',
        )
    for found in blocks("sh", page="kubernetes.md"):
        env = environment(PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
        done = subprocess.run(
            ["sh", "-eu", "-c", found.text], cwd=DOCS, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done
    assert (tmp_path / "applied").read_text() == "kind: ConfigMap\n"
    created = documents((tmp_path / "created").read_text())
    assert [c["spec"]["template"]["spec"]["nodeName"] for c in created] == ["gpu-a", "gpu-b.example"]
    for document in created:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    asked = (tmp_path / "asked").read_text()
    assert "kubectl create -f kubernetes-job.yaml" in asked and "--target doctor" in asked
    assert "kubectl create configmap infra-doctor-policy --from-file=infra-doctor.toml" in asked
