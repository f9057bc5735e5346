"""ROCm as it lies on disk: its versions, its main libraries, and the instruction sets that a PyTorch wheel brings kernels for.

Versions come from `.info/version` ("6.3.0-39") and from the file name of librocm-core. PyTorch's wheels for ROCm carry rocBLAS
with one set of kernel files per instruction set: their names tell for which GPUs the wheel was built."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import Component, Evidence, EvidenceKind, Machine, ProbeContext, Target, fact, numbers, record

LIBRARIES = {"libamdhip64": "libamdhip64.so", "libhsa-runtime64": "libhsa-runtime64.so", "librccl": "librccl.so"}
KERNELS = "torch/lib/rocblas/library"
_GFX = re.compile(r"gfx[0-9a-f]{3,5}")
FILES_CAP = 20_000


@fact("rocm-wheel-kernels", 1)
@record
class RocmWheelKernels:
    """The instruction sets ("gfx942") that the rocBLAS of a target's PyTorch has kernels for."""

    wheel: str
    target: str
    gfx: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


@fact("rocm-environment", 1)
@record
class RocmEnvironment:
    """Variables that change what ROCm does with a GPU: (name, value)."""

    variables: tuple[tuple[str, str], ...]
    evidence: tuple[Evidence, ...] = ()

    def value(self, name: str) -> str | None:
        """The value of a variable."""
        return dict(self.variables).get(name)


def run(ctx: ProbeContext) -> Iterator[object]:
    """rocm components and their libraries; what the wheels of the targets carry."""
    machine: Machine = ctx.machine
    for place, is_default in roots(machine).items():
        yield from installation(machine, place, is_default=is_default)
    override = machine.environ.get("HSA_OVERRIDE_GFX_VERSION")
    if override:
        seen = Evidence(kind=EvidenceKind.ENVIRONMENT, source="HSA_OVERRIDE_GFX_VERSION", text=override[:40])
        yield RocmEnvironment(variables=(("HSA_OVERRIDE_GFX_VERSION", override[:40]),), evidence=(seen,))
    for wheel in ctx.by_kind("wheel"):
        if wheel.name == "torch" and wheel.attributes.get("build") == "rocm":
            target = next((t for t in ctx.targets if t.key == wheel.target), None)
            if target is not None:
                yield from kernels(machine, target, wheel)


def roots(machine: Machine) -> dict[str, bool]:
    """Real folders of ROCm -> whether the environment or /opt/rocm leads there."""
    named = [machine.environ.get(n, "") for n in ("ROCM_PATH", "ROCM_HOME")]
    default = {machine.realpath(p) for p in (*named, "/opt/rocm") if p.startswith("/") and machine.is_dir(p)}
    others = {machine.realpath(f"/opt/{n}") for n in machine.names("/opt") if n.startswith("rocm-")}
    return {place: place in default for place in sorted(default | {p for p in others if machine.is_dir(p)})}


def installation(machine: Machine, place: str, *, is_default: bool) -> Iterator[Component]:
    """One ROCm and its libraries; a folder without either is none."""
    found, evidence = rocm_version(machine, place)
    libraries = tuple(library_components(machine, place))
    if found is None and not libraries:
        return
    yield Component(
        key=f"rocm:{place}", kind="rocm", name="ROCm", version=found, location=place, attributes={"default": is_default},
        evidence=(evidence or Evidence(kind=EvidenceKind.DIRECTORY, source=place, text="no version file"),),
    )  # fmt: skip
    yield from libraries


def rocm_version(machine: Machine, place: str) -> tuple[str | None, Evidence | None]:
    """("6.3.0", where it stands)."""
    for name in ("version", "version-rocm", "version-dev"):
        path = f"{place}/.info/{name}"
        text = (machine.read_text(path, max_bytes=200, quiet=True) or "").strip()
        if numbers(text):
            return ".".join(map(str, numbers(text)[:3])), Evidence(kind=EvidenceKind.FILE, source=path, text=text)
    for path in machine.glob(f"{place}/lib/librocm-core.so.1.0.*"):
        packed = path.rpartition(".")[2]  # 60300 is 6.3.0
        if packed.isdecimal() and 5 <= len(packed) <= 6:
            number = int(packed)
            found = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
            return found, Evidence(kind=EvidenceKind.FILE, source=path, text="named after its ROCm")
    return None, None


def library_components(machine: Machine, place: str) -> Iterator[Component]:
    """The copies of the main libraries, each once; the version is the file name's suffix."""
    for kind, stem in LIBRARIES.items():
        for path in dict.fromkeys(machine.realpath(p) for p in machine.glob(f"{place}/lib/{stem}*")):
            suffix = posixpath.basename(path).partition(".so.")[2]
            yield Component(
                key=f"{kind}:{path}", kind=kind, name=kind, version=suffix or None, location=path, origin=f"ROCm {place}",
                evidence=(Evidence(kind=EvidenceKind.FILE, source=path, text="exists"),),
            )  # fmt: skip


def kernels(machine: Machine, target: Target, wheel: Component) -> Iterator[RocmWheelKernels]:
    """The instruction sets in the names of the wheel's kernel files."""
    for site in target.site_dirs:
        folder = f"{site}/{KERNELS}"
        names = machine.names(folder)[:FILES_CAP]
        found = sorted({name for n in names for name in _GFX.findall(n[:200])})
        if found:
            seen = Evidence(kind=EvidenceKind.DIRECTORY, source=folder, text=" ".join(found))
            yield RocmWheelKernels(wheel=wheel.key, target=target.key, gfx=tuple(found), evidence=(seen,))
            return
