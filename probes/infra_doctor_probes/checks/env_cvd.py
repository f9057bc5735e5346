"""ENV-CVD: a variable such as CUDA_VISIBLE_DEVICES hides devices: all of them, or those after an entry that is not valid.

The probe compares the value with the devices; here it is told. An empty value may be meant, an entry that names no device
is not."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.visible_devices import SOURCES, VisibleDevices

DEVICES = {
    "nvidia": "GPU",
    "ascend": "NPU",
    "amd": "GPU",
    "intel": "GPU",
    "mthreads": "GPU",
    "metax": "GPU",
    "iluvatar": "GPU",
}


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per variable that hides devices; one pass for those that are in order."""
    found = context.facts(VisibleDevices)
    good = [v for v in found if not v.problem]
    for variable in found:
        if variable.problem:
            yield judge(variable)
    if good:
        names = ", ".join(dict.fromkeys(v.variable for v in good))
        yield CHECK.finding(
            Status.PASS, f"{names} name{'s' if len(good) == 1 else ''} devices that are there",
            subject=tuple(f"environment:{v.variable}" for v in good), evidence=[e for v in good for e in v.evidence],
            severity=Severity.LOW,
        )  # fmt: skip
    if not found:
        yield CHECK.skip("no variable that hides devices is set, or no such device is there")


def judge(variable: VisibleDevices) -> Finding:
    """The finding on one variable that is not in order."""
    subject = (f"environment:{variable.variable}",)
    kind = DEVICES.get(variable.vendor, "device")
    status, title, detail = words(variable, kind)
    if status is Status.UNKNOWN:
        return CHECK.finding(status, title, subject=subject, evidence=variable.evidence, severity=Severity.LOW)
    meant = variable.problem == "none"
    return CHECK.finding(
        status,
        title,
        subject=subject,
        detail=detail,
        evidence=variable.evidence,
        severity=Severity.MEDIUM if meant else Severity.HIGH,
        remedy=f"Unset {variable.variable} (`unset {variable.variable}`), or name devices that are there. Look where it is set: the"
        " shell's start-up files, the job script, the container's environment, the program itself."
        + (" If no device shall be used, nothing is to be done." if meant else ""),
        docs=[source] if (source := SOURCES.get(variable.vendor)) else CHECK.sources,
    )


def words(variable: VisibleDevices, kind: str) -> tuple[Status, str, str]:
    """(status, title, detail)."""
    name, place = variable.variable, f"entry {variable.position}"
    if variable.entry_count > 1:
        place += f" of {variable.entry_count}"
    if variable.problem == "none":
        return Status.WARN, f"{name} hides every {kind} from programs", f"Its value means no {kind} at all."
    if variable.problem == "unknown":
        return Status.UNKNOWN, f"whether {name} names {kind}s that are there could not be told", ""
    if variable.problem == "twice":
        left = f"CUDA then finds no {kind} at all (error 101)." if variable.visible == 0 else ""
        which = f"index {variable.index}" if variable.index is not None else f"one {kind}"
        return Status.FAIL, f"{name} names {which} twice", left
    if variable.problem == "index":
        count = variable.device_count
        there = f"there {'is' if count == 1 else 'are'} {count}, counted from 0" if count else "there are not that many"
        title = f"{name} names {kind} {variable.index}, and {there}"
    elif variable.problem == "mig":
        title = f"{name} names a MIG device that is not there ({place})"
    elif variable.problem == "uuid":
        title = f"{name} names a {kind} by a UUID that none has ({place})"
    else:
        title = f"{name} holds an entry that names no {kind} ({place})"
    return Status.FAIL, title, effect(variable, kind)


def effect(variable: VisibleDevices, kind: str) -> str:
    """What programs see, as far as it is known."""
    if variable.vendor != "nvidia" or variable.visible is None:
        return f"Programs find fewer {kind}s than it names, or none, and most say only that none is available."
    left = f"no {kind}" if variable.visible == 0 else f"{variable.visible} {kind}{'s' if variable.visible > 1 else ''}"
    return f"CUDA reads the list up to the first entry that is not valid and ignores the rest, so programs see {left}."


CUDA = SOURCES["nvidia"]

CHECK = Check(
    id="ENV-CVD",
    title="A variable hides devices from programs",
    explanation="""\
`CUDA_VISIBLE_DEVICES` chooses the GPUs that a process sees, and their order. CUDA reads it from the left up to the first entry
that is not valid and ignores the rest: an index beyond the last GPU, a UUID of another machine, a MIG UUID of instances that
were made anew, or a word leave fewer GPUs than meant, or none, with no other message than *no CUDA-capable device is detected*
or *No CUDA GPUs are available*. An index that is there twice leaves none at all.

An empty value, `-1` and Slurm's `NoDevFiles` hide all GPUs. That may be meant, so it is a warning. nvidia-smi ignores the
variable and shows all GPUs all the same. `CUDA_DEVICE_ORDER` decides what index 0 is (the fastest GPU, unless it is set to
`PCI_BUS_ID`): no fault, and worth knowing where GPUs differ.

The variables of other vendors are judged where their devices are there: ROCR_, HIP_, ASCEND_RT_, MLU_, MUSA_, CXPU_ and
TOPS_VISIBLE_DEVICES, ZE_AFFINITY_MASK. With MIG, where CUDA numbers instances by itself, an index is not judged.""",
    remediation="Unset the variable, or name devices that are there.",
    sources=(CUDA, "https://docs.nvidia.com/datacenter/tesla/mig-user-guide/", SOURCES["amd"], SOURCES["ascend"]),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to infer device type",
            source="https://github.com/vllm-project/vllm/issues/12847",
            strength=1,
        ),
        LogSignature(
            pattern=r"must be less than or equal to the number of visible devices",
            source="https://github.com/vllm-project/vllm-ascend/issues/14628",
            strength=1,
        ),
        LogSignature(pattern=r"No CUDA GPUs are available", source="https://github.com/ziplab/PTQD/issues/13", strength=2),
        LogSignature(pattern=r"No HIP GPUs are available", source="https://github.com/mcmonkeyprojects/SwarmUI/issues/565",
                     strength=1),
        LogSignature(pattern=r"no CUDA-capable device is detected", source="https://github.com/pytorch/examples/issues/115",
                     strength=1),
        LogSignature(pattern=r"invalid device ordinal", source="https://github.com/OpenNMT/OpenNMT-py/issues/609", strength=2),
        LogSignature(pattern=r"Set visible device failed, invalid device=\d{1,4}",
                     source="https://github.com/gpustack/gpustack/issues/3352", strength=3),
    ),
    tags=("nvidia", "ascend", "amd", "environment"),
)  # fmt: skip

CHECKS = (CHECK,)
