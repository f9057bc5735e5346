"""What packages with compiled extensions for PyTorch were built for: torch's release, CUDA, the C++ ABI.

None of it is in METADATA. It stands in the version's label or the file name of the wheel ("+cu12torch2.8cxx11abiTRUE", kept
in direct_url.json where it was installed by address), in xformers/cpp_lib.json, and in what the libraries need. torch's own
ABI is in its TorchConfig.cmake; from 2.7 on all its wheels have the C++11 ABI (PyTorch's release notes)."""

import json
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Distribution,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    PythonEnvironment,
    Target,
    fact,
    numbers,
    python_environment,
    record,
)
from infra_doctor_probes.loading.names import cuda_major_of, library_name
from infra_doctor_probes.loading.orders import package_folder, wheel_key

# Distributions whose extension modules are compiled against libtorch.
EXTENSIONS = frozenset(
    [
        "flash-attn",
        "flash-attn-3",
        "flash-mla",
        "xformers",
        "vllm",
        "sgl-kernel",
        "sglang-kernel",
        "causal-conv1d",
        "mamba-ssm",
        "apex",
        "transformer-engine-torch",
        "torchvision",
        "torchaudio",
        "torchcodec",
        "torchao",
        "deep-gemm",
        "deep-ep",
        "auto-gptq",
        "autoawq-kernels",
        "exllamav2",
        "gptqmodel",
        "torch-scatter",
        "torch-sparse",
        "torch-cluster",
        "torch-spline-conv",
        "pyg-lib",
        "natten",
        "detectron2",
        "mmcv",
        "fbgemm-gpu",
        "torch-tensorrt",
    ]
)
LIBRARIES_CAP = 6
_LABEL = re.compile(
    r"cu(?P<cuda>\d{2,3})(?=torch|pt|$|[.+-])|torch(?P<torch>\d\.\d{1,2})|pt(?P<pt>2\d{1,2})(?=cu)|cxx11abi(?P<abi>TRUE|FALSE|true|false)"
)
_TORCH_LIBRARIES = ("libtorch", "libc10")


@fact("compiled-extension", 1)
@record
class CompiledExtension:
    """What one package was built for; None and empty where nothing says it. `torch` is a release line ("2.8"); `cuda` a
    major or a version; `needs_cuda_torch`: one of its libraries needs libtorch_cuda or libc10_cuda; `cuda_sonames` are the
    CUDA libraries that its libraries need."""

    target: str
    wheel: str
    torch: str | None = None
    cuda: str | None = None
    cxx11_abi: bool | None = None
    needs_cuda_torch: bool = False
    cuda_sonames: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@fact("torch-abi", 1)
@record
class TorchAbi:
    """The C++ ABI of a torch: whether std::string has its C++11 form in its symbols."""

    target: str
    cxx11_abi: bool
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """One fact per package that is compiled against torch, and torch's ABI where one of them says its own."""
    machine: Machine = ctx.machine
    for target in ctx.targets:
        environment = python_environment(machine, target)
        found = [
            extension(machine, target, environment, d) for d in environment.distributions if d.normalized in EXTENSIONS
        ]
        yield from found
        torch = environment.distribution("torch")
        if torch is not None and any(f.cxx11_abi is not None for f in found):
            abi = torch_abi(machine, target, torch)
            if abi is not None:
                yield abi


def extension(
    machine: Machine, target: Target, environment: PythonEnvironment, dist: Distribution
) -> CompiledExtension:
    """The fact of one distribution."""
    said, evidence = labels(machine, dist)
    if dist.normalized == "xformers" and "torch" not in said:
        said |= built_for(machine, package_folder(machine, target, dist, "xformers") + "/cpp_lib.json", evidence)
    sonames: dict[str, str] = {}
    cuda_torch = False
    paths = [p for p, owner in environment.records.libraries if owner == dist.path and ".libs/" not in p]
    for path in paths[:LIBRARIES_CAP]:
        elf = machine.elf(path, quiet=True)
        needed = elf.needed if elf is not None else ()
        if not any(n.startswith(_TORCH_LIBRARIES) for n in needed):
            continue
        cuda_torch = cuda_torch or any(n.startswith(("libtorch_cuda", "libc10_cuda")) for n in needed)
        sonames |= {
            n: path for n in needed if (name := library_name(n)) is not None and cuda_major_of(name) is not None
        }
        evidence.append(Evidence(kind=EvidenceKind.ELF, source=path, text="needs " + ", ".join(needed)[:300]))
    return CompiledExtension(
        target=target.key,
        wheel=wheel_key(dist.normalized, target),
        torch=said.get("torch"),
        cuda=said.get("cuda"),
        cxx11_abi={"true": True, "false": False}.get(said.get("abi", "").lower()),
        needs_cuda_torch=cuda_torch,
        cuda_sonames=tuple(sorted(sonames)),
        evidence=tuple(evidence),
    )


def labels(machine: Machine, dist: Distribution) -> tuple[dict[str, str], list[Evidence]]:
    """What the version's label or the wheel's file name says."""
    label = dist.version.partition("+")[2]
    source, text = dist.path, f"version {dist.version}"
    if not label:
        source = dist.path + "/direct_url.json"
        raw = machine.read_text(source, max_bytes=65536, quiet=True) if dist.path.endswith(".dist-info") else None
        name = re.search(r"\"url\":\s*\"[^\"\n]*/([^\"/\n]+\.whl)\"", raw or "")
        label = name.group(1).replace("%2B", "+").partition("+")[2].partition("-")[0] if name else ""
        text = name.group(1) if name else ""
    said: dict[str, str] = {}
    for match in _LABEL.finditer(label):
        for key, value in match.groupdict().items():
            if value is not None:
                said.setdefault(key, value)
    if "pt" in said:
        said.setdefault("torch", f"{said['pt'][0]}.{said['pt'][1:]}")
    if "cuda" in said:
        said["cuda"] = said["cuda"][:2] + (f".{said['cuda'][2:]}" if said["cuda"][2:] else "")
    if label == "cpu":
        said["cuda"] = "none"
    return said, [Evidence(kind=EvidenceKind.METADATA, source=source, text=text)] if said else []


def built_for(machine: Machine, path: str, evidence: list[Evidence]) -> dict[str, str]:
    """xformers/cpp_lib.json: {"version": {"cuda": 1208, "torch": "2.10.0+cu128", …}, …}."""
    try:
        version = json.loads(machine.read_text(path, max_bytes=65536, quiet=True) or "")["version"]
        torch, cuda = str(version["torch"]), version.get("cuda")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    evidence.append(Evidence(kind=EvidenceKind.FILE, source=path, text=f"built for torch {torch[:40]}, CUDA {cuda}"))
    said = {"torch": ".".join(str(n) for n in numbers(torch)[:2])} if len(numbers(torch)) >= 2 else {}
    if isinstance(cuda, int) and 1000 <= cuda < 10000:
        said["cuda"] = f"{cuda // 100}.{cuda % 100}"
    return said


def torch_abi(machine: Machine, target: Target, torch: Distribution) -> TorchAbi | None:
    """By -D_GLIBCXX_USE_CXX11_ABI in TorchConfig.cmake, else by the release."""
    path = package_folder(machine, target, torch, "torch") + "/share/cmake/Torch/TorchConfig.cmake"
    text = machine.read_text(path, max_bytes=65536, quiet=True) or ""
    flag = re.search(r"_GLIBCXX_USE_CXX11_ABI=([01])", text)
    if flag:
        seen = Evidence(kind=EvidenceKind.FILE, source=path, text=flag.group(0))
        return TorchAbi(target=target.key, cxx11_abi=flag.group(1) == "1", evidence=(seen,))
    if numbers(torch.version)[:2] >= (2, 7):
        seen = Evidence(kind=EvidenceKind.METADATA, source=torch.path, text=f"torch {torch.version}")
        return TorchAbi(target=target.key, cxx11_abi=True, evidence=(seen,))
    return None


PROBES = (
    Probe(
        id="python.extensions",
        version=1,
        title="What extensions of PyTorch were compiled for",
        run=run,
        collect=(
            "site:flash_attn*.dist-info/direct_url.json", "site:causal_conv1d-*.dist-info/direct_url.json",
            "site:mamba_ssm-*.dist-info/direct_url.json", "site:vllm-*.dist-info/direct_url.json", "site:xformers/cpp_lib.json",
            "site:torch/share/cmake/Torch/TorchConfig.cmake",
            "site:flash_attn_2_cuda*.so", "site:xformers/*.so", "site:vllm/*.so", "site:sgl_kernel/*.so", "site:torchvision/*.so",
            "site:torchaudio/lib/*.so", "site:causal_conv1d_cuda*.so", "site:selective_scan_cuda*.so", "site:amp_C*.so",
        ),
    ),
)  # fmt: skip
