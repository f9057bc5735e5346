"""Which frameworks and accelerator packages a Python environment holds, what they were built for, and whose bytes are on
disk where several packages write the same files.

Versions are those of the installed metadata; builds come from text files in the packages (torch/version.py, onnxruntime's
build_and_package_info.py), from ELF headers and Requires-Dist. Nothing is imported. Ownership is what RECORD and sha256
say: pip lets one wheel overwrite another's files and reports nothing (pypa/pip#4625)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from infra_doctor.plugin import (
    AttributeValue,
    Component,
    Distribution,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    PythonEnvironment,
    RecordScan,
    Target,
    fact,
    python_environment,
)
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.orders import frameworks, ort_distributions, wheel_key

# The accelerator stack, by PEP 503 name. A name in "-*" stands for all that begin so.
STACK = """
torch torchvision torchaudio torchtext torchao torch-* torchtune torchrec triton triton-* pytorch-triton*
functorch torchdata torchmetrics tensorflow tensorflow-* tf-* tf2onnx keras jax jax-* jaxlib flax libtpu
libtpu-* optax onnxruntime onnxruntime-* ort-* onnx onnx-* onnxoptimizer onnxsim skl2onnx onnxconverter-common
tensorrt tensorrt-* torch-tensorrt polygraphy nvidia-* pynvml cuda-* cupy cupy-* numba numba-cuda cuda-python
vllm vllm-* sglang sglang-* sgl-kernel flash-attn flash-attn-* flash-mla xformers flashinfer flashinfer-*
deepspeed deepspeed-* bitsandbytes apex transformer-engine transformer-engine-* lmdeploy fastdeploy fastdeploy-*
llama-cpp-python ctranslate2 mnn mnn-* exllamav2 autoawq auto-gptq gptqmodel deep-gemm deep-ep lmcache
paddlepaddle paddlepaddle-* paddle-* mindspore mindspore-* mindformers mindie mindie-* oneflow oneflow-*
torch-npu torch-mlu torch-musa torch-xla torch-directml torch-gcu vllm-ascend triton-ascend te hccl auto-tune opc-tool
openvino openvino-* openvino-dev nncf intel-extension-for-* intel-* dpctl dpnp oneccl-bind-pt tvm apache-tvm
apache-tvm-* iree-* tpu-mlir tpu-mlir-* transformers accelerate peft trl diffusers safetensors optimum optimum-*
numpy protobuf sentence-transformers verl unsloth unsloth-* megatron-core megatron-* nemo-toolkit lightning
pytorch-lightning ray mpi4py horovod nccl4py ucx-py ucxx-* rmm rmm-* cudf cudf-* cuml cuml-* dali nvidia-dali-*
faiss-gpu faiss-gpu-* gpustat nvitop py3nvml
"""
_NAMES = frozenset(n for n in STACK.split() if not n.endswith("*"))
_PREFIXES = tuple(n[:-1] for n in STACK.split() if n.endswith("*"))
# Local version labels of PyTorch builds that are no CUDA build though some of them set torch.version.cuda.
_LOOK_ALIKES = {
    "das": "das", "dtk": "das", "corex": "corex", "metax": "metax", "maca": "metax", "musa": "musa", "mlu": "mlu",
    "npu": "npu", "gcu": "gcu", "topsrider": "gcu", "xpu": "xpu", "rocm": "rocm", "cpu": "cpu",
}  # fmt: skip
_ORT_BUILDS = {
    "onnxruntime": "cpu", "onnxruntime-gpu": "cuda", "onnxruntime-directml": "directml", "onnxruntime-training": "cuda",
}  # fmt: skip
_VERSION_CAP_BYTES = 65536


@fact("torch-build", 1)
@dataclass(frozen=True, kw_only=True, slots=True)
class TorchBuild:
    """What a torch was built for. `build`: cuda, cpu, rocm, xpu, or a vendor's own ("das", "corex", "metax" …)."""

    wheel: str
    target: str
    version: str
    build: str | None
    cuda: str | None
    hip: str | None
    tag: str | None
    evidence: tuple[Evidence, ...] = ()


@fact("onnxruntime-build", 1)
@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxRuntimeBuild:
    """The ONNX Runtime that an import gets, by the bytes on disk. `distributions` are all that write its folder."""

    wheel: str
    target: str
    version: str | None
    package_name: str | None
    distributions: tuple[str, ...]
    build: str | None
    cuda: str | None
    cudnn: str | None
    providers: tuple[str, ...]
    has_preload_dlls: bool
    opens_cudnn_late: bool
    evidence: tuple[Evidence, ...] = ()


@fact("wheel-contest", 1)
@dataclass(frozen=True, kw_only=True, slots=True)
class WheelContest:
    """Distributions that claim the same files with different contents. `won` has, for each wheel key of `wheels`, how many
    of the contested files hold its bytes; `files` is the number of contested files, `missing` of those that are gone,
    `changed` of those that hold nobody's bytes, `not_read` of those that were not hashed."""

    target: str
    wheels: tuple[str, ...]
    files: int
    won: tuple[tuple[str, int], ...]
    missing: int = 0
    changed: int = 0
    not_read: int = 0
    libraries: tuple[
        tuple[str, tuple[str, ...]], ...
    ] = ()  # (contested shared object, wheel keys whose bytes it holds)
    required_by: tuple[tuple[str, str], ...] = ()  # (wheel key, key of a framework that requires it)
    evidence: tuple[Evidence, ...] = ()


@fact("wheel-files-gone", 1)
@dataclass(frozen=True, kw_only=True, slots=True)
class WheelFilesGone:
    """A distribution that is installed by its metadata while shared objects that it lists are not there."""

    target: str
    wheel: str
    gone: tuple[str, ...]
    listed: int
    required_by: str = ""  # wheel key of a framework that requires it
    evidence: tuple[Evidence, ...] = ()


def in_stack(name: str) -> bool:
    """Whether a PEP 503 name belongs to the accelerator stack."""
    return name in _NAMES or name.startswith(_PREFIXES)


def run(ctx: ProbeContext) -> Iterator[object]:
    """wheel components, builds, contests and missing files of each target."""
    for target in ctx.targets:
        environment = python_environment(ctx.machine, target)
        wheels = [d for d in environment.distributions if in_stack(d.normalized)]
        torch = torch_build(ctx.machine, target, environment)
        ort = onnxruntime_build(ctx.machine, target, environment)
        for dist in wheels:
            yield wheel(target, dist, torch, ort)
        yield from (found for found in (torch, ort) if found is not None)
        yield from contests(target, environment)
        yield from files_gone(ctx.machine, target, environment, wheels)


def wheel(target: Target, dist: Distribution, torch: TorchBuild | None, ort: OnnxRuntimeBuild | None) -> Component:
    """The component of one distribution."""
    attributes: dict[str, AttributeValue] = {}
    key = wheel_key(dist.normalized, target)
    if torch is not None and torch.wheel == key:
        attributes = {"build": torch.build, "cuda": torch.cuda, "hip": torch.hip, "tag": torch.tag}
    elif ort is not None and key in ort.distributions:
        attributes = {"build": ort_build(dist.normalized)}
        if ort.wheel == key:
            attributes |= {"build": ort.build, "cuda": ort.cuda, "cudnn": ort.cudnn}
    if dist.editable:
        attributes["editable"] = True
    return Component(
        key=key,
        kind="wheel",
        name=dist.normalized,
        version=dist.version,
        location=dist.path,
        origin=dist.installer,
        target=target.key,
        attributes={k: v for k, v in attributes.items() if v is not None},
        evidence=(Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=f"{dist.name} {dist.version}"),),
    )


# -- PyTorch ------------------------------------------------------------------------------------------------------


def torch_build(machine: Machine, target: Target, environment: PythonEnvironment) -> TorchBuild | None:
    """The build of the environment's torch; None where there is none."""
    dist = environment.distribution("torch")
    if dist is None:
        return None
    path = dist.site_dir + "/torch/version.py"
    text = machine.read_text(path, max_bytes=_VERSION_CAP_BYTES, quiet=True) or ""
    said = parse_version_file(text)
    version = said.get("__version__") or dist.version
    label = version.partition("+")[2]
    cuda, hip = said.get("cuda"), said.get("hip") or said.get("rocm")
    evidence = [Evidence(kind=EvidenceKind.FILE, source=path, text=", ".join(f"{k} {v}" for k, v in said.items()))]
    if not said:
        cuda, evidence = cuda_by_metadata(dist)
    build = next((b for word, b in _LOOK_ALIKES.items() if label.startswith(word) or f".{word}" in label), None)
    if build is None:
        # Without any of these the text says "built for the CPU"; without the text nothing is known.
        known = "cuda" if cuda else "rocm" if hip else "xpu" if said.get("xpu") else None
        build = known or ("cpu" if said else None)
    tag = label if re.fullmatch(r"cu\d{2,3}", label) else None
    if tag is None and build == "cuda" and cuda:
        tag = "cu" + "".join(cuda.split(".")[:2])
    return TorchBuild(
        wheel=wheel_key("torch", target), target=target.key, version=version, build=build, cuda=cuda, hip=hip, tag=tag,
        evidence=tuple(evidence),
    )  # fmt: skip


def parse_version_file(text: str) -> dict[str, str]:
    """The string assignments of torch/version.py: `cuda: Optional[str] = '13.0'`, with or without the annotation."""
    found = re.findall(
        r"^(__version__|cuda|hip|rocm|xpu|git_version)\b[^=\n]*=\s*[\"']([^\"'\n]{1,80})[\"']", text, re.M
    )
    return dict(found)


def cuda_by_metadata(dist: Distribution) -> tuple[str | None, list[Evidence]]:
    """(CUDA version or major, evidence) by the version's label or what the wheel requires."""
    label = re.fullmatch(r"cu(\d{2})(\d)", dist.version.partition("+")[2])
    seen = Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=f"version {dist.version}")
    if label:
        return f"{label.group(1)}.{label.group(2)}", [seen]
    for line in dist.requires:
        match = re.match(r"nvidia-[a-z0-9-]+-cu(\d{2})\b", line.strip())
        if match:
            return match.group(1), [Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=line.strip()[:120])]
    return None, [seen]


# -- ONNX Runtime -------------------------------------------------------------------------------------------------


def ort_build(name: str) -> str:
    """What an ONNX Runtime distribution is built for, by its name."""
    return _ORT_BUILDS.get(name) or name.removeprefix("onnxruntime-")


def onnxruntime_build(machine: Machine, target: Target, environment: PythonEnvironment) -> OnnxRuntimeBuild | None:
    """The ONNX Runtime on disk; None where there is none."""
    names = ort_distributions(environment)
    found = frameworks(machine, target)
    ort = found.ort
    if ort is None:
        return None
    providers = tuple(p for p, _ in ort.providers)
    evidence = []
    if ort.info_path:
        text = f"package_name {ort.package_name}, __version__ {ort.version}, cuda_version {ort.cuda}"
        evidence.append(Evidence(kind=EvidenceKind.FILE, source=ort.info_path, text=text))
    evidence += [Evidence(kind=EvidenceKind.FILE, source=path, text=provider) for provider, path in ort.providers]
    build = ort_build(ort.package_name) if ort.package_name else None
    if "CUDAExecutionProvider" in providers:
        build = "cuda"
    return OnnxRuntimeBuild(
        wheel=found.ort_key,
        target=target.key,
        version=ort.version,
        package_name=ort.package_name,
        distributions=tuple(wheel_key(n, target) for n in names),
        build=build or (ort_build(names[0]) if names else None),
        cuda=ort.cuda,
        cudnn=ort.cudnn or ("9" if ort.lazy else None),
        providers=providers,
        has_preload_dlls=ort.preload is not None,
        opens_cudnn_late=ort.lazy,
        evidence=tuple(evidence),
    )


# -- whose bytes are on disk --------------------------------------------------------------------------------------


def requirers(target: Target, environment: PythonEnvironment) -> dict[str, str]:
    """Wheel key -> key of a distribution that requires it without an extra, torch before others."""
    found: dict[str, str] = {}
    for dist in sorted(environment.distributions, key=lambda d: (d.normalized != "torch", d.normalized)):
        for line in dist.requires:
            if line.startswith("nvidia") and "extra ==" not in line:
                name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")
                found.setdefault(wheel_key(name, target), wheel_key(dist.normalized, target))
    return found


def contests(target: Target, environment: PythonEnvironment) -> Iterator[WheelContest]:
    """Contested files by the group of distributions that claim them."""
    records: RecordScan = environment.records
    dists = {d.path: d for d in environment.distributions}
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, file in enumerate(records.contested):
        claimants = tuple(sorted({c.distribution for c in file.claims}))
        groups.setdefault(claimants, []).append(number)
    for claimants, numbers in sorted(groups.items()):
        known = [dists[c] for c in claimants if c in dists]
        if len(known) < 2 or not any(in_stack(d.normalized) for d in known):
            continue
        keys = {d.path: wheel_key(d.normalized, target) for d in known}
        won = dict.fromkeys(keys.values(), 0)
        missing = changed = not_read = 0
        libraries = []
        for file in (records.contested[n] for n in numbers):
            if not file.exists:
                missing += 1
            elif file.winners is None:
                not_read += 1
            else:
                changed += not file.winners
                for winner in file.winners:
                    won[keys.get(winner, "")] = won.get(keys.get(winner, ""), 0) + 1
                if ".so" in file.path.rpartition("/")[2]:
                    libraries.append((file.path, tuple(keys[w] for w in file.winners if w in keys)))
        won.pop("", None)
        yield WheelContest(
            target=target.key,
            wheels=tuple(keys.values()),
            files=len(numbers),
            won=tuple(won.items()),
            missing=missing,
            changed=changed,
            not_read=not_read,
            libraries=tuple(libraries),
            required_by=tuple((k, r) for k, r in requirers(target, environment).items() if k in keys.values()),
            evidence=tuple(
                Evidence(
                    kind=EvidenceKind.METADATA,
                    source=d.path + "/RECORD",
                    text=f"{won[keys[d.path]]} of {len(numbers)} contested files hold the bytes of {d.normalized} {d.version}",
                )
                for d in known
            ),
        )


def files_gone(
    machine: Machine, target: Target, environment: PythonEnvironment, wheels: list[Distribution]
) -> Iterator[WheelFilesGone]:
    """Shared objects of ONNX Runtime and NVIDIA wheels that RECORD lists and that are not there: what an uninstall of
    another wheel with the same files leaves behind."""
    watched = {d.path: d for d in wheels if d.normalized.startswith(("nvidia-", "onnxruntime", "tensorrt"))}
    listed: dict[str, list[str]] = {}
    for path, owner in environment.records.libraries:
        file = path.rpartition("/")[2]
        if owner in watched and (library_name(file) is not None or "onnxruntime" in file):
            listed.setdefault(owner, []).append(path)
    for owner, paths in listed.items():
        gone = tuple(p for p in paths if not machine.exists(p))
        if gone:
            seen = Evidence(
                kind=EvidenceKind.METADATA, source=owner + "/RECORD", text=f"lists {gone[0]}, which is not there"
            )
            key = wheel_key(watched[owner].normalized, target)
            yield WheelFilesGone(
                target=target.key, wheel=key, gone=gone, listed=len(paths),
                required_by=requirers(target, environment).get(key, ""), evidence=(seen,),
            )  # fmt: skip


PROBES = (
    Probe(
        id="python.wheels",
        version=1,
        title="Frameworks and accelerator packages of the Python environments",
        run=run,
        collect=(
            "site:torch/version.py", "site:torch/__init__.py", "site:onnxruntime/__init__.py", "site:onnxruntime/capi/*",
        ),
    ),
)  # fmt: skip
