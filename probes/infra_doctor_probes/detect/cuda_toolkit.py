"""CUDA toolkits on disk: what nvcc would compile with. Says nothing of the runtime that wheels bring, nor of the driver.

The version is the toolkit's own word: version.json (`cuda.version`; its `nvidia_driver` entry is the driver bundled with
it, not the installed one), version.txt, CUDA_VERSION in include/cuda.h, conda's package records, and `nvcc --version` last."""

import json
import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    AttributeValue,
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    fact,
    record,
)

DISTRIBUTION_ROOT = "/usr/lib/nvidia-cuda-toolkit"
DISTRIBUTION_RECORD = "/var/lib/dpkg/info/nvidia-cuda-toolkit.list"
PATTERNS = ("/usr/local/cuda*", "/opt/cuda*")
SCRIPT_CAP_BYTES = 16384


@fact("cuda-environment", 1)
@record
class CudaEnvironment:
    """Which toolkit a build would take. `nvcc` is the first on PATH, `nvcc_toolkit` the component key that it belongs to;
    `default_toolkit` follows CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda, the order of torch.utils.cpp_extension."""

    cuda_home: str | None
    cuda_path: str | None
    nvcc: str | None
    nvcc_toolkit: str | None
    default_toolkit: str | None
    arch_list: str | None  # TORCH_CUDA_ARCH_LIST: somebody builds extensions here
    evidence: tuple[Evidence, ...] = ()


@fact("host-compiler", 1)
@record
class HostCompiler:
    """The gcc that nvcc would call; `version` may be the major number alone."""

    path: str
    version: str
    evidence: tuple[Evidence, ...] = ()


@record
class Root:
    """A folder that may hold a toolkit."""

    path: str
    origin: str = "toolkit"
    target: str | None = None


def run(ctx: ProbeContext) -> Iterator[object]:
    """cuda-toolkit components, CudaEnvironment and HostCompiler where a toolkit is there."""
    machine: Machine = ctx.machine
    nvcc = machine.which("nvcc")
    nvcc_root = root_of_nvcc(machine, nvcc) if nvcc else None
    environment = {n: machine.environ.get(n) or None for n in ("CUDA_HOME", "CUDA_PATH")}
    roots = find_roots(ctx, nvcc_root, environment)
    toolkits = {r.path: t for r in roots if (t := toolkit(machine, r)) is not None}
    if not toolkits and nvcc is None and not any(environment.values()):
        return
    default = default_root(machine, environment, nvcc_root)
    for path, found in toolkits.items():
        found.attributes["default"] = path == default
        found.attributes["on_path"] = nvcc_root is not None and path == nvcc_root.path
        yield found
    yield CudaEnvironment(
        cuda_home=environment["CUDA_HOME"],
        cuda_path=environment["CUDA_PATH"],
        nvcc=nvcc,
        nvcc_toolkit=toolkits[nvcc_root.path].key if nvcc_root and nvcc_root.path in toolkits else None,
        default_toolkit=toolkits[default].key if default in toolkits else None,
        arch_list=machine.environ.get("TORCH_CUDA_ARCH_LIST") or None,
        evidence=tuple(Evidence(kind=EvidenceKind.ENVIRONMENT, source=n, text=v) for n, v in environment.items() if v),
    )
    if any(t.attributes.get("nvcc_path") for t in toolkits.values()):
        yield from host_compiler(machine)


# -- where toolkits are -------------------------------------------------------------------------------------------


def find_roots(ctx: ProbeContext, nvcc_root: Root | None, environment: dict[str, str | None]) -> list[Root]:
    """The folders to look at, each real path once."""
    machine: Machine = ctx.machine
    found = [
        Root(path=machine.realpath(t.prefix), origin="conda", target=t.key)
        for t in ctx.targets
        if machine.is_file(t.prefix + "/bin/nvcc") and machine.is_dir(t.prefix + "/conda-meta")
    ]
    if machine.is_file(DISTRIBUTION_RECORD) or machine.is_file(DISTRIBUTION_ROOT + "/bin/nvcc"):
        found.append(Root(path=DISTRIBUTION_ROOT, origin="dpkg nvidia-cuda-toolkit"))
    named = [v for v in environment.values() if v and v.startswith("/")]
    paths = [p for pattern in PATTERNS for p in machine.glob(pattern)] + named
    found += [Root(path=machine.realpath(p)) for p in paths if machine.is_dir(p)]
    if nvcc_root is not None:
        found.append(nvcc_root)
    once: dict[str, Root] = {}
    for root in found:
        once.setdefault(root.path, root)
    return list(once.values())


def root_of_nvcc(machine: Machine, nvcc: str) -> Root | None:
    """The toolkit that an nvcc belongs to; None for one out of a Python wheel, which is no toolkit of the machine."""
    real = behind_script(machine, machine.realpath(nvcc))
    if "/site-packages/" in real or "/dist-packages/" in real:
        return None
    root = posixpath.dirname(posixpath.dirname(real))
    if root in {"/usr", "/", DISTRIBUTION_ROOT}:
        if machine.is_file(DISTRIBUTION_RECORD) or machine.is_file(DISTRIBUTION_ROOT + "/bin/nvcc"):
            return Root(path=DISTRIBUTION_ROOT, origin="dpkg nvidia-cuda-toolkit")
        return Root(path=root, origin="distribution package")
    return Root(path=root, origin="conda" if machine.is_dir(root + "/conda-meta") else "toolkit")


def behind_script(machine: Machine, path: str) -> str:
    """The nvcc that a wrapper script calls (Debian's /usr/bin/nvcc is one), else the path itself."""
    found = machine.stat(path)
    if found is None or found.type != "file" or found.size_bytes > SCRIPT_CAP_BYTES:
        return path
    text = machine.read_text(path, max_bytes=SCRIPT_CAP_BYTES, quiet=True) or ""
    called = re.search(r"(/[^\s\"';&|$]{1,200}/bin/nvcc)\b", text) if text.startswith("#!") else None
    return machine.realpath(called.group(1)) if called and machine.is_file(called.group(1)) else path


def default_root(machine: Machine, environment: dict[str, str | None], nvcc_root: Root | None) -> str:
    """The real folder that a build takes by itself."""
    named = environment["CUDA_HOME"] or environment["CUDA_PATH"]
    if named:
        return machine.realpath(named)
    return nvcc_root.path if nvcc_root else machine.realpath("/usr/local/cuda")


# -- one toolkit --------------------------------------------------------------------------------------------------


def toolkit(machine: Machine, root: Root) -> Component | None:
    """The component, None where the folder holds no toolkit (a runtime-only image, cuda-compat alone)."""
    of_distribution = root.origin.startswith("dpkg")
    nvcc = next(
        (
            path
            for path in (root.path + "/bin/nvcc", *(["/usr/bin/nvcc"] if of_distribution else []))
            if machine.is_file(path)
        ),
        None,
    )
    version, nvcc_version, evidence = versions_by_files(machine, root)
    if nvcc is None and version is None:
        return None
    if nvcc is not None and nvcc_version is None:
        nvcc_version, said = ask_nvcc(machine, nvcc)
        evidence += said
        version = version or (".".join(nvcc_version.split(".")[:2]) if nvcc_version else None)
    attributes: dict[str, AttributeValue] = {"nvcc": nvcc_version, "nvcc_path": nvcc}
    return Component(
        key=f"cuda-toolkit:{root.path}",
        kind="cuda-toolkit",
        name="cuda-toolkit",
        version=version,
        location=root.path,
        origin=root.origin,
        target=root.target,
        attributes=attributes,
        evidence=tuple(evidence),
    )


def versions_by_files(machine: Machine, root: Root) -> tuple[str | None, str | None, list[Evidence]]:
    """(toolkit version, nvcc version, evidence) without running anything."""
    if root.origin == "conda":
        return versions_by_conda(machine, root.path)
    path = root.path + "/version.json"
    text = machine.read_text(path, max_bytes=1 << 20)
    if text is not None:
        version, nvcc = json_version(text, "cuda"), json_version(text, "cuda_nvcc")
        if version:
            return version, nvcc, [Evidence(kind=EvidenceKind.FILE, source=path, text=f"cuda.version {version}")]
        machine.note_problem(path, "no cuda.version in it that could be understood")
    path = root.path + "/version.txt"
    text = machine.read_text(path, max_bytes=4096) or ""
    match = re.search(r"CUDA Version (\d+\.\d+(?:\.\d+)?)", text)
    if match:
        return match.group(1), None, [Evidence(kind=EvidenceKind.FILE, source=path, text=match.group(0))]
    headers = "/usr/include" if root.origin.startswith(("dpkg", "distribution")) else root.path + "/include"
    version, evidence = header_version(machine, headers + "/cuda.h")
    return version, None, evidence


def json_version(text: str, name: str) -> str | None:
    """`NAME.version` of a version.json. Only the toolkit's own entries are asked for."""
    try:
        entry = json.loads(text).get(name)
    except (ValueError, AttributeError, RecursionError):
        # Cut or hand-edited files still say it in one entry. Bounded: a hostile file must not cost seconds.
        match = re.search(rf'"{name}"\s*:\s*\{{[^{{}}]{{0,200}}?"version"\s*:\s*"([0-9.]{{1,30}})"', text[:65536])
        return match.group(1) if match else None
    version = entry.get("version") if isinstance(entry, dict) else None
    return version if isinstance(version, str) and re.fullmatch(r"[0-9.]{1,30}", version) else None


def header_version(machine: Machine, path: str) -> tuple[str | None, list[Evidence]]:
    """CUDA_VERSION of a cuda.h: 12040 is 12.4. It stands near the top of a file of a megabyte."""
    text = machine.read_text(path, max_bytes=65536) or ""
    match = re.search(r"^#define CUDA_VERSION (\d{4,5})\b", text, re.MULTILINE)
    if not match:
        return None, []
    number = int(match.group(1))
    evidence = Evidence(kind=EvidenceKind.FILE, source=path, text=match.group(0))
    return f"{number // 1000}.{number % 1000 // 10}", [evidence]


def versions_by_conda(machine: Machine, prefix: str) -> tuple[str | None, str | None, list[Evidence]]:
    """By the names of the package records: cuda-version-12.4-h…json, cuda-nvcc-12.4.131-0.json."""
    found: dict[str, str] = {}
    evidence = []
    for name in machine.names(prefix + "/conda-meta"):
        match = re.fullmatch(r"(cuda-version|cuda-nvcc|cuda-toolkit|cudatoolkit)-(\d[\d.]*)-[^-]+\.json", name)
        if match:
            found[match.group(1)] = match.group(2)
            evidence.append(Evidence(kind=EvidenceKind.METADATA, source=f"{prefix}/conda-meta/{name}"))
    version = found.get("cuda-toolkit") or found.get("cuda-version") or found.get("cudatoolkit")
    nvcc = found.get("cuda-nvcc")
    return version or (".".join(nvcc.split(".")[:2]) if nvcc else None), nvcc, evidence


def ask_nvcc(machine: Machine, nvcc: str) -> tuple[str | None, list[Evidence]]:
    """nvcc's own version ("13.0.88"), where commands may be run."""
    if Capability.COMMANDS not in machine.capabilities:
        return None, []
    result = machine.run(nvcc, "--version", timeout_s=5.0)
    match = re.search(r"release \d+\.\d+, V(\d+\.\d+\.\d+)", result.stdout[:4000])
    said = (
        match.group(0) if match else result.error or ("timed out" if result.timed_out else "no version in its answer")
    )
    evidence = [Evidence(kind=EvidenceKind.COMMAND, source=f"{nvcc} --version", text=said)]
    return match.group(1) if match else None, evidence


def host_compiler(machine: Machine) -> Iterator[HostCompiler]:
    """The gcc on PATH: its major version by the file that it stands for (x86_64-linux-gnu-gcc-12), else its own word."""
    gcc = machine.which("gcc")
    if gcc is None:
        return
    real = machine.realpath(gcc)
    named = re.search(r"-gcc-(\d+(?:\.\d+)*)$", real)
    if named:
        seen = Evidence(kind=EvidenceKind.FILE, source=gcc, text=f"stands for {real}")
        yield HostCompiler(path=gcc, version=named.group(1), evidence=(seen,))
    elif Capability.COMMANDS in machine.capabilities:
        version = machine.run(gcc, "-dumpfullversion", timeout_s=5.0).stdout.strip()
        if re.fullmatch(r"\d+(?:\.\d+){0,3}", version):
            seen = Evidence(kind=EvidenceKind.COMMAND, source=f"{gcc} -dumpfullversion", text=version)
            yield HostCompiler(path=gcc, version=version, evidence=(seen,))


PROBES = (
    Probe(
        id="cuda-toolkit",
        version=1,
        title="CUDA toolkits on disk",
        run=run,
        environment=("CUDA_HOME", "CUDA_PATH", "TORCH_CUDA_ARCH_LIST"),
        collect=(
            "/usr/local/cuda*/version.json", "/usr/local/cuda*/version.txt", "/usr/local/cuda*/bin/nvcc",
            "/opt/cuda*/version.json", "/opt/cuda*/bin/nvcc", DISTRIBUTION_RECORD, DISTRIBUTION_ROOT + "/bin/nvcc",
            "/usr/include/cuda.h", "/usr/local/cuda*/include/cuda.h", "/opt/cuda*/include/cuda.h",
            *(f"${v}/{f}" for v in ("CUDA_HOME", "CUDA_PATH") for f in ("version.json", "bin/nvcc", "include/cuda.h")),
            "which:nvcc", "which:gcc",
        ),
    ),
)  # fmt: skip
