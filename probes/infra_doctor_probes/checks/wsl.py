"""WSL: inside Windows' Linux the driver is Windows' own; a Linux driver beside it, a stale loader cache or WSL 1 hide it.

Rests on the kernel's name, /dev/dxg, the libraries that Windows' driver puts into /usr/lib/wsl/lib, and on which libcuda the
loader takes."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Command,
    Component,
    Evidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    Verdict,
    floor,
)
from infra_doctor_probes.detect.system import Container, Wsl
from infra_doctor_probes.from_matrix import label, listed
from infra_doctor_probes.tables.common import RUNTIMES, cuda_consumers

# NVIDIA's guide: the first driver with CUDA for WSL2 in general availability was R470.
WINDOWS_FLOOR = "470.76"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    wsl = context.fact(Wsl)
    if wsl is None:
        yield CHECK.skip("this is no Windows Subsystem for Linux")
        return
    copies = context.by_kind("libcuda")
    windows = next((c for c in copies if c.origin == "wsl"), None)
    users = [w for w, _ in cuda_consumers(context) if w.name not in RUNTIMES]
    if wsl.version == 1:
        yield first_version(context, wsl, users)
    elif windows is None:
        yield without_libraries(context, wsl)
    else:
        yield judge(context, wsl, windows, users)


def first_version(context: CheckContext, wsl: Wsl, users: list[Component]) -> Finding:
    """WSL 1 has no Linux kernel, so no GPU."""
    if not users:
        return CHECK.skip("WSL 1 has no GPU, and nothing here is built for CUDA")
    return CHECK.finding(
        Status.WARN, f"WSL 1 has no GPU: {listed(label(context, w.key) for w in users)} cannot use one",
        subject=tuple(w.key for w in users), evidence=wsl.evidence,
        remedy="Turn this distribution into WSL 2, in Windows: `wsl --set-version <distribution> 2`.",
        severity=Severity.MEDIUM,
    )  # fmt: skip


def without_libraries(context: CheckContext, wsl: Wsl) -> Finding:
    """No libcuda of Windows' driver: there is none, no NVIDIA GPU, or this is a container that was given none."""
    if context.fact(Container) is not None:
        return CHECK.skip("this container has no GPU library of Windows' driver")
    what = "offers a GPU, and no NVIDIA driver" if wsl.gpu else "offers no GPU"
    return CHECK.skip(f"Windows {what} (no libcuda in /usr/lib/wsl/lib)")


def judge(context: CheckContext, wsl: Wsl, windows: Component, users: list[Component]) -> Finding:
    """The library of Windows' driver is there: whether the loader takes it, and whether the driver is new enough."""
    copies = context.by_kind("libcuda")
    taken = next((c for c in copies if c.attributes.get("first") is True), None)
    evidence = (*wsl.evidence, *windows.evidence)
    subject = (windows.key, *(w.key for w in users))
    if not wsl.gpu:
        return CHECK.finding(
            Status.WARN, "Windows' driver library is here and /dev/dxg, the GPU itself, is not", subject=subject,
            evidence=evidence, remedy="Update WSL (`wsl --update` in Windows), then `wsl --shutdown` and start it again. Look"
            " for `gpuSupport=false` in Windows' .wslconfig.",
        )  # fmt: skip
    if taken is None and not windows.attributes.get("on_loader_path"):
        return CHECK.finding(
            Status.FAIL if users else Status.WARN,
            "the loader does not find Windows' libcuda in /usr/lib/wsl/lib",
            subject=subject,
            detail="WSL names the folder in /etc/ld.so.conf.d/ld.wsl.conf; the loader's cache does not hold it.",
            evidence=evidence,
            remedy="Renew the cache: `ldconfig` as root. Where ld.wsl.conf is missing, see that `[automount] ldconfig` is not false"
            " in /etc/wsl.conf and restart WSL.",
            commands=(Command(argv=("ldconfig",), needs_root=True),),
        )
    if taken is not None and shadows(taken):
        return shadowed(taken, evidence)
    driver = context.component("driver:nvidia")
    if driver is not None and floor(driver.version, WINDOWS_FLOOR) is Verdict.INCOMPATIBLE:
        return CHECK.finding(
            Status.FAIL, f"Windows' driver {driver.version} is older than CUDA under WSL 2 needs ({WINDOWS_FLOOR})",
            subject=("driver:nvidia",), evidence=(*evidence, *driver.evidence),
            remedy="Install a newer NVIDIA driver in Windows, never inside WSL.",
        )  # fmt: skip
    return CHECK.finding(
        Status.PASS, "the loader takes the libcuda of Windows' driver", subject=(windows.key,), evidence=evidence,
        severity=Severity.LOW,
    )  # fmt: skip


def shadows(taken: Component) -> bool:
    """Whether it is a Linux driver's library: its file carries the driver's version, Windows' does not; or cuda-compat."""
    return taken.origin == "cuda-compat" or (taken.origin != "wsl" and taken.version is not None)


def shadowed(taken: Component, evidence: tuple[Evidence, ...]) -> Finding:
    """Another libcuda comes first."""
    if taken.origin == "cuda-compat":
        title = "cuda-compat hides Windows' libcuda: under WSL it cannot work"
        remedy = "Take the compat folder out of LD_LIBRARY_PATH and the loader's configuration."
    else:
        title = f"a Linux driver {taken.version} inside WSL hides the one of Windows"
        remedy = (
            "Remove the Linux driver's packages from this distribution (those that own"
            f" {taken.location}, such as libnvidia-compute-… and nvidia-driver-…: `dpkg -S` or `rpm -qf` names them), then run"
            " `ldconfig` as root. Install CUDA from NVIDIA's WSL-Ubuntu repository, or the package cuda-toolkit, which brings no"
            " driver; the packages cuda and cuda-drivers do."
        )
    return CHECK.finding(
        Status.FAIL, title, subject=(taken.key,),
        detail=f"The loader takes {taken.location}, which talks to a Linux kernel module that WSL does not have: CUDA finds no"
        " device.",
        evidence=(*evidence, *taken.evidence), remedy=remedy,
    )  # fmt: skip


GUIDE = "https://docs.nvidia.com/cuda/wsl-user-guide/index.html"

CHECK = Check(
    id="WSL",
    title="WSL does not reach Windows' GPU driver",
    explanation="""\
Under WSL 2 the GPU driver is the one of Windows: its libraries appear in `/usr/lib/wsl/lib`, the GPU as `/dev/dxg`. **No Linux
driver may be installed inside**: its libcuda comes first, talks to a kernel module that is not there, and CUDA says *no
CUDA-capable device is detected*. The same happens with cuda-compat. Where the loader's cache was not renewed, libcuda.so.1 is not
found at all.

infra-doctor looks at which libcuda the loader takes. A second copy on disk that it does not take is no finding. A WSL without
an NVIDIA library from Windows is a skip: whether Windows has such a GPU cannot be seen from inside. Whether Windows' driver
is new enough for the CUDA family of the packages is DRV-OLD.""",
    remediation="Remove the Linux driver inside WSL, run `ldconfig`, update the driver in Windows.",
    sources=(GUIDE, "https://github.com/NVIDIA/cuml/issues/6218", "https://github.com/microsoft/WSL/issues/8587"),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(pattern=r"Call to cuInit results in CUDA_ERROR_NO_DEVICE",
                     source="https://github.com/NVIDIA/cuml/issues/6218", strength=1),
        LogSignature(pattern=r"[Mm]icrosoft-standard-WSL2[^\n]{0,200}(?:CUDA_ERROR_NO_DEVICE|no CUDA-capable device)",
                     source="https://github.com/huggingface/candle/issues/2282", strength=2),
        LogSignature(pattern=r"/usr/lib/wsl/lib/libcuda\.so\.1 is not a symbolic link",
                     source="https://github.com/microsoft/WSL/issues/5548", strength=1),
        LogSignature(pattern=r"WSL environment detected but no adapters were found",
                     source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/155", strength=3),
        LogSignature(
            pattern=r"GPU access blocked by the operating system",
            source="https://github.com/microsoft/WSL/issues/9938",
        ),
        LogSignature(
            pattern=r"Failed to properly shut down NVML: GPU access blocked",
            source="https://github.com/microsoft/WSL/issues/9166",
            strength=3,
        ),
    ),
    tags=("nvidia", "wsl"),
)  # fmt: skip

CHECKS = (CHECK,)
