"""LIB-PATH: a library that an installed package needs lies on this machine, and the loader does not look there.

Rests on the simulated loader and on the folders that installers write to (/usr/local/lib, CANN, the package itself)."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Command,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    counted,
)
from infra_doctor_probes.detect.stack_extensions import ASCEND, ExtensionLibraries
from infra_doctor_probes.in_target import Seen, nvidia_gpu, titled
from infra_doctor_probes.tables.common import RUNTIMES, cuda_consumers, is_wsl


def run(context: CheckContext) -> Iterator[Finding]:
    """A finding for each package whose extension misses a library that is there; a `pass` for the others."""
    hidden = driver_library(context)
    if hidden is not None:
        yield hidden
    found = context.facts(ExtensionLibraries)
    if not found and hidden is not None:
        return
    if not found:
        yield CHECK.skip(
            "no package whose extension brings libraries of its own is in the Python environments looked at"
        )
        return
    for extension in found:
        if extension.missing:
            yield judge(context, extension)
    unknown = [e for e in found if e.unknown]
    if unknown:
        yield CHECK.finding(
            Status.UNKNOWN, f"{counted(len(unknown), 'extension')} could not be looked into",
            subject=dict.fromkeys(e.wheel for e in unknown), detail=unknown[0].unknown,
            evidence=unknown[0].evidence, severity=Severity.LOW,
        )  # fmt: skip
    well = [e for e in found if not e.missing and not e.unknown]
    if well and len(well) + len(unknown) == len(found):
        yield CHECK.finding(
            Status.PASS, f"{counted(len(well), 'extension')} miss no library that lies here",
            subject=dict.fromkeys(e.wheel for e in well), evidence=tuple(e for x in well for e in x.evidence),
            confidence=Confidence.DERIVED, severity=Severity.LOW,
        )  # fmt: skip


def judge(context: CheckContext, found: ExtensionLibraries) -> Finding:
    """The finding of one extension."""
    own = [place for _, _, place in found.missing if place.startswith(package_folder(found))]
    names = ", ".join(dict.fromkeys(soname for soname, _, _ in found.missing))
    folders = dict.fromkeys(place.rpartition("/")[0] for _, _, place in found.missing)
    text, commands = remedy(found, tuple(folders))
    return CHECK.finding(
        Status.WARN if len(own) == len(found.missing) else Status.FAIL,
        f"{titled(context, found.wheel)} does not find {names}, which lies in {', '.join(folders)}",
        subject=(found.wheel,),
        detail=f"{found.library} needs it; neither its own search path, nor LD_LIBRARY_PATH, nor the loader's cache leads there."
        + (" The package may open it by itself before." if own else ""),
        evidence=found.evidence,
        confidence=Confidence.HEURISTIC if own else Confidence.DERIVED,
        remedy=text,
        commands=commands,
    )


def driver_library(context: CheckContext) -> Finding | None:
    """The driver's libcuda, where it lies only in a folder that programs must be told of, and something is built for CUDA.
    WSL's has a finding of its own."""
    copies = [c for c in context.by_kind("libcuda") if c.origin == "driver"]
    users = [w for w, _ in cuda_consumers(context) if w.name not in RUNTIMES]
    if not copies or not users or is_wsl(context) or nvidia_gpu(context) is not Seen.PRESENT:
        return None
    if any(c.attributes.get("first") or c.attributes.get("on_loader_path") for c in context.by_kind("libcuda")):
        return None
    place = copies[0].location or ""
    told = next((t for start, t in DRIVER_FOLDERS if place.startswith(start)), OTHER_FOLDER)
    return CHECK.finding(
        Status.FAIL,
        f"the driver's libcuda.so.1 lies at {place}, and the loader does not look there",
        subject=(copies[0].key, *(w.key for w in users)),
        detail=f"Neither LD_LIBRARY_PATH nor the loader's cache leads there: {titled(context, users[0].key)} finds no GPU.",
        evidence=tuple(e for c in copies for e in c.evidence),
        confidence=Confidence.DERIVED,
        remedy=told,
    )


def package_folder(found: ExtensionLibraries) -> str:
    """The folder of the site directory in which the extension lies."""
    return found.library.rpartition("/")[0]


def remedy(found: ExtensionLibraries, folders: tuple[str, ...]) -> tuple[str, tuple[Command, ...]]:
    """The smallest change: the loader's cache, then its configuration."""
    if all(folder.startswith(ASCEND) for folder in folders):
        return "Source CANN's set_env.sh in the shell that starts Python.", ()
    if all(folder in found.configured for folder in folders):
        text = f"The loader's configuration names {', '.join(folders)}; its cache is older. Run `ldconfig` as root."
        return text, (Command(argv=("ldconfig",), needs_root=True),)
    text = (
        f"Name {', '.join(folders)} in a file below /etc/ld.so.conf.d (one folder a line) and run `ldconfig`, both as root. Where"
        " you are not root, append it to LD_LIBRARY_PATH of this one service (behind what is there)."
    )
    return text, ()


# The systems that keep the driver's libraries off the loader's path on purpose, each with its own way.
DRIVER_FOLDERS = (
    ("/nix/store", "NixOS keeps them in /run/opengl-driver/lib: set `LD_LIBRARY_PATH=/run/opengl-driver/lib` for this program"
     " (in the shell's flake or `mkShell`), or name it in `programs.nix-ld.libraries`."),
    ("/run/nvidia/driver", "This host has its driver from the GPU operator's driver container, for containers only. Run the"
     " program in a container that asks for a GPU; for the host itself, install the driver on it and switch the operator's off."),
    ("/home/kubernetes/bin/nvidia", "Container-Optimized OS keeps the driver for containers. Run the program in a pod that asks"
     " for `nvidia.com/gpu`."),
    ("/usr/local/nvidia", "The device plug-in of GKE mounts them there: set `LD_LIBRARY_PATH=/usr/local/nvidia/lib64` in the"
     " pod's specification."),
)  # fmt: skip
OTHER_FOLDER = "Name the folder in a file below /etc/ld.so.conf.d and run `ldconfig`, both as root."

CHECK = Check(
    id="LIB-PATH",
    title="A library lies on disk where the loader does not look",
    explanation="""\
`make install` puts libraries into /usr/local/lib. Debian and Ubuntu name that folder in the loader's configuration and need an
`ldconfig` after it; Red Hat, openEuler and Kylin do not name it at all. A package whose extension needs such a library fails on
import with *cannot open shared object file*, though the file is there: Mooncake's Ascend transport is the case in point.

NixOS, GKE and driver containers keep the driver's own libcuda in a folder that programs must be told of; a program that
was not told finds no GPU.

Besides that, only packages of a short table are looked at, whose import loads the extension, and only libraries of which a
copy lies in a
folder that installers write to. A library that lies nowhere, and one that a package opens by itself, is not this finding's.""",
    remediation="Name the folder in /etc/ld.so.conf.d and run `ldconfig`.",
    sources=(
        "https://github.com/vllm-project/vllm-ascend/issues/6949",
        "https://github.com/kvcache-ai/Mooncake/issues/229",
        "https://man7.org/linux/man-pages/man8/ldconfig.8.html",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"\b(?:ascend_transport|libascend_transport\w{0,12}|libmooncake_\w{1,20}|libetcd_wrapper)\.so: "
            r"cannot open shared object file",
            source="https://github.com/vllm-project/vllm-ascend/issues/6949",
            strength=3,
        ),
        LogSignature(
            # Not what programs do without (network plug-ins, codecs, TPU), nor the driver's own libraries.
            pattern=r"(?<![\w.+-])(?!lib(?:[nr]ccl-[a-z]{3,8}|tpu|png\d{0,2}|jpeg|turbojpeg|av[a-z]{4,8}|sox|nvinfer\w{0,20}|cuda|nvidia-ml)\b)"
            r"[\w.+-]{3,80}\.so(?:\.\d{1,4}){0,3}: cannot open shared object file: No such file or directory",
            source="https://github.com/kvcache-ai/Mooncake/issues/187",
            strength=1,
        ),
        LogSignature(
            pattern=r"AssertionError: libcuda\.so cannot found",
            source="https://github.com/MAGICS-LAB/DNABERT_2/issues/56",
        ),
        LogSignature(
            pattern=r"/ld: cannot find -lcuda\b",
            source="https://github.com/state-spaces/mamba/issues/123",
            strength=1,
        ),
    ),
    explained_by=("CANN-ENV", "CTR-TOOLKIT"),
    tags=("libraries",),
)

CHECKS = (CHECK,)
