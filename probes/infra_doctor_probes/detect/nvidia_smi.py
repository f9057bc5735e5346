"""The nvidia-smi that a shell starts: which file it is, its own version, and whether it answers.

It is part of the driver and prints the driver's version; another one on PATH, a script in its place or one that hangs misleads
people and tools. Asked only where an NVIDIA device or driver shows, beside the NVML session: `nvidia-smi --version` costs
one start of NVML. Facts come from PATH and from what it prints; what it is missing is not judged here."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    Capability,
    CommandResult,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    fact,
    record,
)
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes, NvidiaKernelModule
from infra_doctor_probes.detect.pci import PciDevice

PROGRAM = "nvidia-smi"
ARGV = (PROGRAM, "--version")
DEADLINE_S = 5.0
PATIENCE_S = 10.0  # for the driver's own program: without persistence each GPU is first initialised, 1.5 s each
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LINUX_OWN_DRIVERS = frozenset({"nouveau", "nova", "nova_core"})
PATH_ENTRIES_CAP = 100


@fact("nvidia-smi", 1)
@record
class NvidiaSmi:
    """The first nvidia-smi on PATH: `path`, its real one, and whether that is a program ("elf") or a "script"; `others`
    are further ones by real path. `version`, `nvml_version`, `driver_version` are as it prints them. `timed_out`: no answer
    in time; `error` what it said instead, `error_kind` a word for that (nvidia_smi/errors.py; "look-alike" for
    another vendor's tool, "old" for one that does not know --version, "other" for anything else)."""

    path: str
    real_path: str
    form: str
    others: tuple[str, ...] = ()
    version: str | None = None
    nvml_version: str | None = None
    driver_version: str | None = None
    cuda_version: str | None = None
    timed_out: bool = False
    error: str = ""
    error_kind: str = ""
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """One NvidiaSmi; nothing where no NVIDIA device or driver shows, or none is on PATH."""
    machine: Machine = ctx.machine
    machine.need(Capability.COMMANDS)
    served = [d for d in ctx.facts(PciDevice) if d.vendor == "nvidia" and d.driver not in LINUX_OWN_DRIVERS]
    loaded = ctx.fact(NvidiaKernelModule) is not None or ctx.fact(NvidiaDeviceNodes) is not None
    if not served and not loaded and not machine.exists("/dev/dxg"):
        return
    found = on_path(machine)
    if not found:
        return
    form = "script" if machine.elf(found[0][1], quiet=True) is None else "elf"
    deadline = DEADLINE_S
    result = machine.run(*ARGV, timeout_s=deadline)
    if result.timed_out and form == "elf":
        deadline = PATIENCE_S
        result = machine.run(*ARGV, timeout_s=deadline)
    yield fact_of(found, form, result, deadline)


def on_path(machine: Machine) -> tuple[tuple[str, str], ...]:
    """(path, real path) of each executable of that name on PATH, in order; each real file once."""
    found: dict[str, str] = {}
    folders = (machine.environ.get("PATH") or USUAL_PATH).split(":")
    for folder in folders[:PATH_ENTRIES_CAP]:
        path = posixpath.join(folder, PROGRAM)
        stat = machine.stat(path) if folder.startswith("/") else None
        if stat is not None and stat.type == "file" and stat.mode & 0o111:
            found.setdefault(machine.realpath(path), path)
    return tuple((path, real) for real, path in found.items())


def fact_of(found: tuple[tuple[str, str], ...], form: str, result: CommandResult, deadline: float) -> NvidiaSmi:
    """The fact of the first one and its answer."""
    from infra_doctor_probes.nvidia_smi.errors import error_of, look_alike
    from infra_doctor_probes.nvidia_smi.smi_version import read_smi_version
    from infra_doctor_probes.nvidia_smi.text import Refused

    versions = read_smi_version(result.stdout)
    error, kind = "", ""
    told = error_of(result.stdout) or error_of(result.stderr)
    other = look_alike(result.stdout)
    if result.timed_out:
        error, kind = f"no answer within {deadline:g} s", "timeout"
    elif result.error:
        error, kind = result.error, "not-started"
    elif other is not None:
        error, kind = f"it is {other}", "look-alike"
    elif told is not None:
        error, kind = told.text, "old" if told.kind == "usage" else told.kind
    elif isinstance(versions, Refused) or result.rc != 0:
        said = next((line.strip() for line in (result.stderr + result.stdout).splitlines() if line.strip()), "nothing")
        error, kind = f"exit code {result.rc}: {said[:120]}", "other"
    known = None if isinstance(versions, Refused) else versions
    path, real = found[0]
    shown = error or (f"NVIDIA-SMI version {known.smi}, driver {known.driver}" if known else "")
    return NvidiaSmi(
        path=path,
        real_path=real,
        form=form,
        others=tuple(r for _, r in found[1:]),
        version=known.smi if known else None,
        nvml_version=known.nvml if known else None,
        driver_version=known.driver if known else None,
        cuda_version=known.cuda if known else None,
        timed_out=result.timed_out,
        error=error,
        error_kind=kind,
        evidence=(
            Evidence(kind=EvidenceKind.FILE, source=path, text=f"{form}, {real}"),
            Evidence(kind=EvidenceKind.COMMAND, source=" ".join(ARGV), text=shown[:200]),
        ),
    )


PROBES = (
    Probe(
        id="nvidia-smi",
        version=1,
        title="The nvidia-smi on PATH",
        run=run,
        needs=("commands",),
        after=("pci", "nvidia-driver"),
        collect=(f"which:{PROGRAM}", f"run:{PROGRAM} --version"),
    ),
)
