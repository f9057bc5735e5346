"""A realistic report with every status: an H200 machine with two GPUs, two cuDNN and two NCCL copies, an ONNX Runtime GPU
build that finds its libraries only after torch, a diagnosis, waivers, and strings that an attacker would choose."""

from dataclasses import replace

from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.component import Component, LoadedBy, Target
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import (
    Command,
    Confidence,
    Diagnosis,
    Finding,
    Remediation,
    Severity,
    Status,
    Waiver,
    fingerprint,
    sort_key,
)
from infra_doctor.model.report import MachineInfo, ProbeOutcome, Report, Tool

PREFIX = "/opt/venv"
SITE = f"{PREFIX}/lib/python3.12/site-packages"
TORCH = f"wheel:torch@{PREFIX}"
ORT = f"wheel:onnxruntime-gpu@{PREFIX}"
CUDNN_WHEEL = f"cudnn:{SITE}/nvidia/cudnn/lib/libcudnn.so.9"
CUDNN_SYSTEM = "cudnn:/usr/lib/x86_64-linux-gnu/libcudnn.so.9.14.0"
PROVIDER = f"ort-provider:CUDAExecutionProvider@{PREFIX}"
TORCH_FIRST = ("torch", "torch, onnxruntime")
ORT_FIRST = ("onnxruntime", "onnxruntime, torch")

# What a hostile machine would name its files, libraries and messages.
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>' onmouseover='alert(3)",
    "</script><script>alert(4)</script><!--",
    "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe \x9b31m",
    "half \udce9 character \u2028 and {{ 7*7 }} {% raw %}",
    "| pipe ` tick ``` @someone #12 [x](javascript:alert(5)) ![i](http://x/y.png) <b>\n# heading",
)


def evidence(kind: EvidenceKind, source: str, text: str = "") -> Evidence:
    return Evidence(kind=kind, source=source, text=text)


def finding(name: str, status: Status, title: str, *subject: str, **more) -> Finding:
    return Finding(id=name, status=status, title=title, subject=subject, fingerprint=fingerprint(name, subject), **more)


def wheel(name: str, version: str, **attributes) -> Component:
    return Component(
        key=f"wheel:{name}@{PREFIX}",
        kind="wheel",
        name=name,
        version=version,
        target=PREFIX,
        origin="pip",
        location=f"{SITE}/{name.replace('-', '_')}-{version}.dist-info",
        attributes=attributes,
        evidence=(evidence(EvidenceKind.METADATA, f"{SITE}/{name.replace('-', '_')}-{version}.dist-info/METADATA"),),
    )


def library(kind: str, path: str, version: str, origin: str, loaded_by: tuple[LoadedBy, ...] = (), **attributes):
    soname = attributes.pop("soname", path.rpartition("/")[2])
    return Component(
        key=f"{kind}:{path}",
        kind=kind,
        name=soname.partition(".so")[0],
        version=version,
        location=path,
        origin=origin,
        loaded_by=loaded_by,
        target=PREFIX if path.startswith(PREFIX) else None,
        attributes={"soname": soname, **attributes},
        evidence=(evidence(EvidenceKind.ELF, path, f"DT_SONAME {soname}"),),
    )


def loads(consumer: str, via: str, orders: tuple[str, ...]) -> tuple[LoadedBy, ...]:
    return tuple(LoadedBy(consumer=consumer, via=via, order=order) for order in orders)


def system() -> tuple[Component, ...]:
    def gpu(address: str, index: int) -> Component:
        return Component(
            key=f"gpu:{address}",
            kind="gpu",
            name="NVIDIA H200",
            attributes={
                "vendor": "nvidia", "pci_id": "10de:2335", "compute_capability": "9.0", "architecture": "Hopper",
                "memory_bytes": 150_754_820_096, "mig": "disabled", "ecc": "enabled", "seen_by": "nvml",
                "uuid": f"GPU-6f0d2c9a41b{index}",
            },
            evidence=(evidence(EvidenceKind.LIBRARY, f"nvmlDeviceGetName({index})", "NVIDIA H200"),),
        )  # fmt: skip

    return (
        Component(
            key="os:ubuntu", kind="os", name="Ubuntu 24.04.3 LTS", version="24.04",
            attributes={"kernel": "6.18.44", "arch": "x86_64", "page_size": 4096, "wsl": False, "container": "docker"},
            evidence=(evidence(EvidenceKind.FILE, "/etc/os-release", 'PRETTY_NAME="Ubuntu 24.04.3 LTS"'),),
        ),
        Component(key="libc:glibc", kind="libc", name="glibc", version="2.39", location="/lib/x86_64-linux-gnu/libc.so.6"),
        Component(key="cpu:0", kind="cpu", name="Intel(R) Xeon(R) Processor", attributes={"cores": 32}),
        Component(key="memory:0", kind="memory", name="memory", attributes={"total_bytes": 412_316_860_416}),
        Component(
            key="driver:nvidia", kind="driver", name="nvidia", version="580.159.04",
            attributes={"module_flavor": "open", "branch": "R580", "cuda_api": "13.0"},
            evidence=(
                evidence(
                    EvidenceKind.KERNEL, "/proc/driver/nvidia/version",
                    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build",
                ),
            ),
        ),
        gpu("0000:00:06.0", 0),
        gpu("0000:00:07.0", 1),
        Component(
            key="cuda-toolkit:/usr/local/cuda-13.0", kind="cuda-toolkit", name="cuda-toolkit", version="13.0.88",
            location="/usr/local/cuda-13.0", origin="toolkit", attributes={"nvcc": "13.0.88", "default": True},
            evidence=(evidence(EvidenceKind.FILE, "/usr/local/cuda-13.0/version.json"),),
        ),
    )  # fmt: skip


def libraries() -> tuple[Component, ...]:
    rpath = "RUNPATH $ORIGIN/../../nvidia/cudnn/lib of libtorch_cuda.so"
    loaded = "already loaded when libonnxruntime_providers_cuda.so asks for libcudnn.so.9"
    cache = "ld.so.cache, for libonnxruntime_providers_cuda.so"
    preload = "onnxruntime.preload_dlls() looks under site-packages/nvidia"
    wheel_uses = loads(TORCH, rpath, (*TORCH_FIRST, "onnxruntime, torch")) + loads(ORT, loaded, TORCH_FIRST[1:])
    return (
        library("cudnn", CUDNN_WHEEL.partition(":")[2], "9.19.0", "wheel nvidia-cudnn-cu13 9.19.0.56",
                wheel_uses + loads(ORT, preload, ("onnxruntime.preload_dlls()",)), cuda_major=13),
        library("cudnn", CUDNN_SYSTEM.partition(":")[2], "9.14.0", "system", loads(ORT, cache, ORT_FIRST),
                soname="libcudnn.so.9"),
        library("cudnn-sub", f"{SITE}/nvidia/cudnn/lib/libcudnn_ops.so.9", "9.19.0", "wheel nvidia-cudnn-cu13 9.19.0.56"),
        library("nccl", f"{SITE}/nvidia/nccl/lib/libnccl.so.2", "2.28.9", "wheel nvidia-nccl-cu13 2.28.9",
                loads(TORCH, "RUNPATH $ORIGIN/../../nvidia/nccl/lib of libtorch_cuda.so", TORCH_FIRST)),
        library("nccl", "/usr/lib/x86_64-linux-gnu/libnccl.so.2.28.3", "2.28.3", "system", soname="libnccl.so.2"),
        library("cublas", f"{SITE}/nvidia/cu13/lib/libcublas.so.13", "13.1.0", "wheel nvidia-cublas 13.1.0.3",
                loads(TORCH, "RUNPATH $ORIGIN/../../nvidia/cu13/lib of libtorch_cuda.so", TORCH_FIRST), cuda_major=13),
        library("libcuda", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.159.04", "580.159.04", "system",
                soname="libcuda.so.1", first=True, on_loader_path=True),
    )  # fmt: skip


def packages() -> tuple[Component, ...]:
    return (
        Component(key=f"python:{PREFIX}", kind="python", name="python", version="3.12.3", target=PREFIX, location=f"{PREFIX}/bin/python"),
        wheel("torch", "2.11.0", build="cuda", cuda="13.0", tag="cu130"),
        wheel("onnxruntime-gpu", "1.30.0", build="cuda", cuda="13.0", cudnn="9.*"),
        wheel("triton", "3.6.0"),
        wheel("nvidia-cudnn-cu13", "9.19.0.56"),
        wheel("nvidia-nccl-cu13", "2.28.9"),
        wheel("nvidia-cublas", "13.1.0.3"),
        wheel("pynvml", "11.5.0"),
        Component(
            key=PROVIDER, kind="ort-provider", name="CUDAExecutionProvider", target=PREFIX,
            attributes={"loads": "only after torch", "missing": "libcublasLt.so.13 libcufft.so.12", "wheel": "onnxruntime-gpu"},
            evidence=(
                evidence(
                    EvidenceKind.ELF, f"{SITE}/onnxruntime/capi/libonnxruntime_providers_cuda.so",
                    "DT_NEEDED libcublasLt.so.13: in no directory of the loader's search",
                ),
            ),
        ),
        Component(key=f"ort-provider:CPUExecutionProvider@{PREFIX}", kind="ort-provider", name="CPUExecutionProvider",
                  target=PREFIX, attributes={"loads": "yes"}),
    )  # fmt: skip


def compatibility() -> tuple[Compatibility, ...]:
    docs = "https://docs.nvidia.com/deploy/cuda-compatibility/"
    pytorch = "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"
    rows = [
        (TORCH, "driver:nvidia", Verdict.COMPATIBLE, "cuda-driver-floor", docs,
         "CUDA 13.0 needs a driver of R580 or newer; 580.159.04 is loaded."),
        (TORCH, "gpu:0000:00:06.0", Verdict.COMPATIBLE, "torch-arch", pytorch, "The wheel has kernels for sm_90."),
        (TORCH, "gpu:0000:00:07.0", Verdict.COMPATIBLE, "torch-arch", pytorch, "The wheel has kernels for sm_90."),
        (TORCH, "libc:glibc", Verdict.COMPATIBLE, "wheel-glibc", "https://peps.python.org/pep-0600/",
         "manylinux_2_28 needs glibc 2.28 or newer; 2.39 is here."),
        (TORCH, CUDNN_WHEEL, Verdict.COMPATIBLE, "wheel-pin", pytorch, "torch 2.11.0 pins nvidia-cudnn-cu13==9.19.0.56."),
        (ORT, CUDNN_SYSTEM, Verdict.UNKNOWN, "ort-cudnn", "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html",
         "ONNX Runtime 1.30 is newer than the last row of the table (1.27)."),
        (ORT, "driver:nvidia", Verdict.COMPATIBLE, "cuda-driver-floor", docs,
         "CUDA 13.0 needs a driver of R580 or newer; 580.159.04 is loaded."),
        (ORT, TORCH, Verdict.COMPATIBLE, "torch-ort-cuda", "https://onnxruntime.ai/docs/", "Both are built for CUDA 13."),
        (CUDNN_SYSTEM, CUDNN_WHEEL, Verdict.INCOMPATIBLE, "one-cudnn-per-process",
         "https://docs.nvidia.com/deeplearning/cudnn/backend/latest/", "9.14.0 and 9.19.0 meet in one process."),
    ]  # fmt: skip
    return tuple(
        Compatibility(left=left, right=right, verdict=verdict, rule=rule, source=source, detail=detail)
        for left, right, verdict, rule, source, detail in rows
    )


def problems() -> tuple[Finding, ...]:
    install = Command(argv=(f"{PREFIX}/bin/python", "-m", "pip", "install", "onnxruntime-gpu[cuda,cudnn]==1.30.0"))
    provider = f"{SITE}/onnxruntime/capi/libonnxruntime_providers_cuda.so"
    return (
        finding(
            "CUDNN-MISSING", Status.FAIL, "libcublasLt.so.13 and libcufft.so.12 are not where ONNX Runtime looks",
            ORT, PROVIDER, severity=Severity.HIGH,
            detail="Both sonames lie under site-packages/nvidia, which the loader does not search. They are found only after "
                   "torch was imported, or after onnxruntime.preload_dlls().",
            evidence=(
                evidence(EvidenceKind.ELF, provider, "DT_NEEDED libcublasLt.so.13"),
                evidence(EvidenceKind.DIRECTORY, f"{SITE}/nvidia/cu13/lib", "libcublasLt.so.13 is here"),
                evidence(EvidenceKind.FILE, "/etc/ld.so.cache", "no entry for libcublasLt.so.13"),
                evidence(EvidenceKind.ENVIRONMENT, "LD_LIBRARY_PATH", "/usr/local/nvidia/lib64"),
            ),
            remediation=Remediation(
                text="Call onnxruntime.preload_dlls() before the first session, or import torch first. Install the CUDA and "
                     "cuDNN wheels beside it if they are not pinned by torch.",
                commands=(install,),
                docs=("https://onnxruntime.ai/docs/install/", "javascript:alert(6)"),
            ),
        ),
        finding(
            "ORT-FALLBACK", Status.FAIL, "CUDAExecutionProvider does not load; ONNX Runtime silently runs on the CPU",
            PROVIDER, severity=Severity.CRITICAL, confidence=Confidence.DERIVED,
            detail="get_available_providers() names it all the same.",
            evidence=(evidence(EvidenceKind.ELF, provider, "2 of 9 needed libraries do not resolve"),),
        ),
        finding(
            "CUDNN-MIX", Status.WARN, "onnxruntime imported first takes cuDNN 9.14.0, torch takes 9.19.0",
            CUDNN_WHEEL, CUDNN_SYSTEM, severity=Severity.MEDIUM,
            evidence=(evidence(EvidenceKind.DERIVED, "import order onnxruntime, torch"),),
            remediation=Remediation(
                text="Import torch first, or remove the system copy when nothing else needs it.",
                docs=("https://docs.nvidia.com/deeplearning/cudnn/backend/latest/",),
            ),
        ),
        finding(
            "PROBE-FAILED", Status.ERROR, "NVML: could not be looked at", "gpu:0000:00:07.0", "probe:nvml",
            severity=Severity.MEDIUM, detail="the child did not answer in 5 s",
            evidence=(evidence(EvidenceKind.DERIVED, "probe:nvml", "the child did not answer in 5 s"),),
            remediation=Remediation(text="Look at the kernel log.", commands=(Command(argv=("dmesg", "-T"), needs_root=True),)),
        ),
        finding(
            "NVCC-MISMATCH", Status.UNKNOWN, "nvcc 13.0.88 is newer than the table", "cuda-toolkit:/usr/local/cuda-13.0",
            evidence=(evidence(EvidenceKind.TABLE, "cuda_toolkit.csv", "last row 12.9"),),
        ),
        finding("PYNVML", Status.WARN, "The deprecated distribution pynvml is installed", f"wheel:pynvml@{PREFIX}",
                waived=Waiver(reason="removed with the next image", until="2027-01-31")),
    )  # fmt: skip


def quiet() -> tuple[Finding, ...]:
    ascend = "no Ascend device, driver or CANN was found"
    return (
        finding("DRV-OLD", Status.PASS, "driver 580.159.04 serves CUDA 13.0", "driver:nvidia"),
        finding("ARCH", Status.PASS, "torch 2.11.0 has kernels for compute capability 9.0", TORCH),
        finding("GLIBC", Status.PASS, "glibc 2.39 serves every wheel", "libc:glibc"),
        finding("CANN-ENV", Status.SKIP, ascend),
        finding("CANN-DRV", Status.SKIP, ascend),
        finding("TORCH-NPU", Status.SKIP, ascend),
        finding("DISTRO-CUDA", Status.SKIP, "the distribution's CUDA package is not installed"),
    )


def hostile_findings() -> tuple[Finding, ...]:
    """One finding for each hostile string, in every field that a machine can fill."""
    return tuple(
        finding(
            f"HOSTILE-{n}", Status.WARN, f"title {text}", f"wheel:{text}@{PREFIX}", detail=f"detail {text}",
            evidence=(evidence(EvidenceKind.FILE, f"/tmp/{text}", f"text {text}"),),
            remediation=Remediation(text=f"remedy {text}", commands=(Command(argv=("ls", text)),), docs=(text, f"https://x/{text}")),
        )
        for n, text in enumerate(HOSTILE)
    )  # fmt: skip


def hostile_components() -> tuple[Component, ...]:
    return tuple(
        Component(
            key=f"wheel:{text}@{PREFIX}", kind="wheel", name=text, version=text, location=f"/tmp/{text}", origin=text,
            target=PREFIX, attributes={"note": text}, evidence=(evidence(EvidenceKind.METADATA, text, text),),
            loaded_by=(LoadedBy(consumer=text, via=text, order=text),),
        )
        for text in HOSTILE
    )  # fmt: skip


def probes() -> tuple[ProbeOutcome, ...]:
    return (
        ProbeOutcome(id="cuda-toolkit", version=1, title="CUDA toolkits", status=Status.PASS),
        ProbeOutcome(id="dcmi", version=1, title="DCMI", status=Status.SKIP, reason="no libdcmi.so on the loader path"),
        ProbeOutcome(id="nvml", version=1, title="NVML", status=Status.ERROR, reason="the child did not answer in 5 s"),
        ProbeOutcome(id="target-python", version=1, title="Python environments", status=Status.PASS),
    )


def sample_report(*, hostile: bool = False) -> Report:
    """The machine; with `hostile`, strings of an attacker in every field that a machine fills."""
    target = Target(
        key=f"target:{PREFIX}", prefix=PREFIX, executable=f"{PREFIX}/bin/python", kind="venv", python_version="3.12.3",
        base_prefix="/usr", sys_path=("/usr/lib/python312.zip", "/usr/lib/python3.12", "/usr/lib/python3.12/lib-dynload", SITE),
        site_dirs=(SITE,), notes=("unknown (executes code): _distutils_hack.pth",), chosen_by="VIRTUAL_ENV",
        evidence=(evidence(EvidenceKind.FILE, f"{PREFIX}/pyvenv.cfg", "home = /usr/bin"),),
    )  # fmt: skip
    findings = problems() + quiet()
    components = system() + libraries() + packages()
    rows = compatibility()
    if hostile:
        findings += hostile_findings()
        components += hostile_components()
        rows += tuple(
            Compatibility(left=t, right=t, verdict=Verdict.UNKNOWN, rule=t, source=t, detail=t) for t in HOSTILE
        )
        target = replace(target, notes=HOSTILE, sys_path=HOSTILE, chosen_by=HOSTILE[0])
    roots = {f.id: f.fingerprint for f in findings}
    counts = dict.fromkeys((s.value for s in Status), 0)
    for found in findings:
        counts[found.status.value] += 1
    return Report(
        tool=Tool(version="0.1.0"),
        created="2026-11-20T08:00:00Z",
        machine=MachineInfo(name="machine-1f3a5c", form="live", capabilities=("files", "commands")),
        targets=(target,),
        summary=counts,
        probes=probes(),
        facts=({"probe": "cuda-toolkit", "type": "cuda-link", "version": 1, "path": "/usr/local/cuda"},),
        components=tuple(sorted(components, key=lambda c: c.key)),
        compatibility=tuple(sorted(rows, key=lambda c: (c.rule, c.left, c.right))),
        findings=tuple(sorted(findings, key=sort_key)),
        diagnoses=(
            Diagnosis(
                root=roots["CUDNN-MISSING"],
                follows=(roots["ORT-FALLBACK"],),
                text="CUDNN-MISSING explains ORT-FALLBACK: the provider's own libraries are not found",
            ),
        ),
        run={"duration_ns": 143_000_000},
    )


def empty_report() -> Report:
    """A run that saw nothing at all."""
    return Report(
        tool=Tool(version="0.1.0"), created="2026-11-20T08:00:00Z", machine=MachineInfo(name="m", form="live")
    )


def quiet_report() -> Report:
    """A machine without accelerators: nothing fails, most checks do not apply."""
    return replace(
        sample_report(),
        findings=tuple(f for f in quiet() if f.id in {"GLIBC", "CANN-ENV", "CANN-DRV", "DISTRO-CUDA"}),
        components=tuple(c for c in system() if c.kind in {"os", "libc", "cpu", "memory"}),
        compatibility=(),
        diagnoses=(),
        summary={"pass": 1, "warn": 0, "fail": 0, "skip": 3, "unknown": 0, "error": 0},
    )
