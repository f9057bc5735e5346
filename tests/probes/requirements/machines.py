"""Contexts of recorded and described machines, and what a policy's key is on them."""

from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from infra_doctor.codec import read_document
from infra_doctor.machine.forms import replayed_machine
from infra_doctor.model.finding import Finding
from infra_doctor.model.plugins import CheckContext, Observed, PolicyKey
from infra_doctor.model.policy import Policy
from infra_doctor.model.report import ProbeOutcome
from infra_doctor.policy.judging import judge_requirements
from infra_doctor.policy.reading import read_requirement
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from tests.support.recipe import read_recipe, recipe_machine

FOLDER = Path(__file__).parents[2] / "machines"
JUDGING = registry.load(third_party=False)
NAMES = tuple(sorted({n for p in JUDGING.probes for n in p.environment}))
KEYS: tuple[PolicyKey, ...] = tuple(registry.load(("requirements",), third_party=False).requirements)
SITE = "/opt/venv/lib/python3.12/site-packages"
UNSEEN = "unseen"


def provider_of(name: str, *needed: str) -> dict[str, Any]:
    """An onnxruntime-NAME whose provider needs these libraries."""
    capi = f"{SITE}/onnxruntime/capi"
    return {
        "elf": {
            f"{capi}/onnxruntime_pybind11_state.cpython-312-x86_64-linux-gnu.so": {"needed": ["libc.so.6"]},
            f"{capi}/libonnxruntime_providers_shared.so": {"needed": ["libc.so.6"]},
            f"{capi}/libonnxruntime_providers_{name}.so": {"needed": [*needed, "libc.so.6"]},
        },
        "files": {
            f"{capi}/build_and_package_info.py": f"package_name = 'onnxruntime-{name}'\n__version__ = '1.22.0'\n"
        },
        "distributions": [{"site": SITE, "name": f"onnxruntime-{name}", "version": "1.22.0"}],
    }


# Machines beside those of the folder: a base, and the tables that are added to it.
OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "an image with torch and ORT": ("ort-gpu-needs-preload/machine.toml", {"form": "rooted"}),
    "an image without the driver": (
        "ort-gpu-needs-preload/machine.toml",
        {
            "form": "rooted",
            "elf": {"/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05": "absent"},
            "links": {f"/usr/lib/x86_64-linux-gnu/libcuda.so{n}": "absent" for n in ("", ".1")},
            "ldcache": {"libcuda.so.1": "absent", "libcuda.so": "absent"},
        },
    ),
    "a host below /host": ("base-h100.toml", {"form": "rooted"}),
    "ROCm 6.4": ("base-amd.toml", {"files": {"/opt/rocm/.info/version": "6.4.1-83\n"}}),
    "OpenVINO provider": ("base-linux.toml", provider_of("openvino")),
    "ROCm provider": ("base-amd.toml", provider_of("rocm")),
    "ROCm provider, no GPU": ("base-linux.toml", provider_of("rocm")),
    "ROCm provider, incomplete": ("base-amd.toml", provider_of("rocm", "libamdhip64.so.6")),
    "MIGraphX provider": ("base-amd.toml", provider_of("migraphx")),
    "ROCm provider in an image": ("base-linux.toml", {"form": "rooted", **provider_of("rocm")}),
    "two of eight by variable": ("healthy-8-gpus/machine.toml", {"environment": {"CUDA_VISIBLE_DEVICES": "2,5"}}),
    "two environments": (
        "base-linux.toml",
        {
            "files": {
                "/opt/other/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.12.3\n",
                **{
                    f"/opt/{v}/lib/python3.12/site-packages/torch/version.py": f"__version__ = '{t}'\ncuda: Optional[str] = {c!r}\n"
                    for v, t, c in (("venv", "2.9.0+cpu", None), ("other", "2.11.0+cu130", "13.0"))
                },
            },
            "links": {"/opt/other/bin/python": "/usr/bin/python3", "/opt/other/bin/python3": "python"},
            "distributions": [
                {"site": "/opt/venv/lib/python3.12/site-packages", "name": "torch", "version": "2.9.0"},
                {"site": "/opt/other/lib/python3.12/site-packages", "name": "torch", "version": "2.11.0"},
                {"site": "/opt/other/lib/python3.12/site-packages", "name": "vllm", "version": "0.12.0"},
            ],
            "every": True,
        },
    ),
    "two NUMA nodes": ("base-linux.toml", {"files": {"/sys/devices/system/node/online": "0-1\n"}}),
    "a limit of memory": ("base-linux.toml", {"files": {"/sys/fs/cgroup/memory.max": "68719476736\n"}}),
    "two TensorRTs": (
        "trt-healthy-system/machine.toml",
        {"elf": {"/usr/local/lib/libnvinfer.so.10.9.0": {"soname": "libnvinfer.so.10", "needed": ["libc.so.6"]}}},
    ),
    "a package of nobody's business": (
        "base-linux.toml",
        {"distributions": [{"site": SITE, "name": "Acme.Secret_Model", "version": "1.4"}]},
    ),
    "an environment that executes code": ("base-linux.toml", {"files": {f"{SITE}/plugins.pth": "import acme.start\n"}}),
    "RoCE": (
        "base-linux.toml",
        {
            "files": {
                "/sys/class/infiniband/mlx5_0/fw_ver": "22.38.1002\n",
                "/sys/class/infiniband/mlx5_0/ports/1/state": "4: ACTIVE\n",
                "/sys/class/infiniband/mlx5_0/ports/1/phys_state": "5: LinkUp\n",
                "/sys/class/infiniband/mlx5_0/ports/1/rate": "100 Gb/sec (4X EDR)\n",
                "/sys/class/infiniband/mlx5_0/ports/1/link_layer": "Ethernet\n",
            }
        },
    ),
    "two of eight AMD GPUs": (
        "base-linux.toml",
        {
            "files": {
                "/.dockerenv": "",
                "/dev/kfd": {"type": "char", "rdev": [511, 0]},
                "/dev/dri/renderD128": {"type": "char", "rdev": [226, 128]},
                **{
                    f"/sys/bus/pci/devices/0000:{n}3:00.0/{name}": f"{value}\n"
                    for n in range(1, 9)
                    for name, value in (("vendor", "0x1002"), ("device", "0x74a1"), ("class", "0x120000"))
                },
                "/sys/module/amdgpu/version": "6.10.5\n",
            },
            "links": {
                "/sys/class/drm/renderD128/device": "../../../bus/pci/devices/0000:13:00.0",
                **{f"/sys/bus/pci/devices/0000:{n}3:00.0/driver": "../../../../bus/pci/drivers/amdgpu" for n in range(1, 9)},
            },
        },
    ),
}  # fmt: skip


@cache
def context(machine: str) -> CheckContext:
    """What is judged on a machine of the folder, or one of OWN."""
    run = run_of(machine)
    run.execute()
    assert run.context is not None
    return run.context


def run_of(machine: str, *requirements: str) -> Run:
    """A run over it, held against these requirements."""
    policy = Policy(requirements=tuple(read_requirement(r, KEYS) for r in requirements)) if requirements else None
    plugins = replace(JUDGING, requirements=list(KEYS))
    recorded = next(iter((FOLDER / machine).glob("snapshot.json*")), None) if machine not in OWN else None
    if recorded is not None:
        document = read_document(str(recorded), ("snapshot",))
        found = replayed_machine(document, where=str(recorded), environment_names=NAMES)
        return Run(RunOptions(policy=policy), registry=plugins, machine=found, replayed_from=document)
    recipe = described(*OWN[machine]) if machine in OWN else read_recipe(FOLDER / machine / "machine.toml")
    options = RunOptions(python=recipe.get("python"), all_pythons="every" in recipe, policy=policy)
    return Run(options, registry=plugins, machine=recipe_machine(recipe, NAMES))


def described(base: str, more: dict[str, Any]) -> dict[str, Any]:
    """A description with tables added."""
    recipe = read_recipe(FOLDER / base)
    for name, value in more.items():
        old = recipe.get(name)
        if isinstance(old, dict):
            recipe[name] = {k: v for k, v in {**old, **value}.items() if v != "absent"}
        else:
            recipe[name] = [*old, *value] if isinstance(old, list) else value
    return recipe


def blind(looked_at: CheckContext, *probes: str) -> CheckContext:
    """The same context, had these probes been abandoned; their finds stay, as other probes may have made them."""
    outcomes = [
        replace(o, status=o.status.ERROR, reason="not done within 20 s") if o.id in probes else o
        for o in looked_at.probes.values()
    ]
    return CheckContext(
        targets=looked_at.targets, components=looked_at.components, facts=looked_at.facts(object),
        compatibility=looked_at.compatibility, probes=outcomes, today=looked_at.today,
    )  # fmt: skip


def nothing(outcome: ProbeOutcome | None, probes: tuple[str, ...] = ()) -> CheckContext:
    """A context without any fact, in which each of these probes ended like this."""
    outcomes = [replace(outcome, id=p) for p in probes] if outcome is not None else []
    return CheckContext(targets=(), components=(), facts=(), probes=outcomes, today=date(2026, 1, 1))


def key_of(name: str) -> PolicyKey:
    """The key that a policy means."""
    return next(k for k in KEYS if k.key == name or (k.key.endswith(".*") and name.startswith(k.key[:-1])))


def observed(name: str, machine: str | CheckContext) -> list[Observed]:
    """What a key is on a machine."""
    key = key_of(name)
    star = name[len(key.key) - 1 :] if key.key.endswith(".*") else ""
    return list(key.observe(context(machine) if isinstance(machine, str) else machine, star))


def values(name: str, machine: str | CheckContext) -> list[Any]:
    """The values, UNSEEN for what was not."""
    return [UNSEEN if o.unseen else o.value for o in observed(name, machine)]


def judged(requirement: str, machine: str | CheckContext) -> Finding:
    """The finding that a requirement gives, as on the command line."""
    looked_at = context(machine) if isinstance(machine, str) else machine
    ((finding, _),) = judge_requirements((read_requirement(requirement, KEYS),), KEYS, looked_at)
    return finding
