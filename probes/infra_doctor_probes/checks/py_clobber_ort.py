"""PY-CLOBBER-ORT: several distributions of ONNX Runtime write one folder; the last one installed wins, file by file.

RECORD says who claims a file, sha256 says whose bytes it holds (probe python.wheels)."""

import posixpath
from collections.abc import Iterator
from dataclasses import replace

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.wheel_files import WheelContest, WheelFilesGone
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild, ort_build
from infra_doctor_probes.in_target import (
    Seen,
    device_for,
    forced,
    pip_install,
    pip_words,
    prefix_of,
    titled,
    wheel_name,
)
from infra_doctor_probes.loading.onnxruntime_session import PROVIDERS

_PROVIDER = {
    "cuda": "CUDAExecutionProvider", "openvino": "OpenVINOExecutionProvider", "cann": "CANNExecutionProvider",
    "rocm": "ROCMExecutionProvider", "migraphx": "MIGraphXExecutionProvider",
}  # fmt: skip


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per environment with ONNX Runtime."""
    gone = [f for f in ctx.facts(WheelFilesGone) if wheel_name(f.wheel).startswith("onnxruntime")]
    builds = ctx.facts(OnnxRuntimeBuild)
    for fact in gone:
        if not any(b.target == fact.target and len(in_one_folder(ctx, b)) > 1 for b in builds):
            yield files_gone(ctx, fact)
    for build in builds:
        together = in_one_folder(ctx, build)
        if len(together) > 1:
            yield several(ctx, replace(build, distributions=together))
        elif not any(f.target == build.target for f in gone):
            yield CHECK.finding(
                Status.PASS, f"{titled(ctx, build.wheel)} alone owns onnxruntime in {prefix_of(build.target)}",
                subject=(build.wheel,), severity=Severity.LOW, evidence=build.evidence,
            )  # fmt: skip
    if not builds and not gone:
        yield CHECK.skip("no ONNX Runtime is installed")


def in_one_folder(ctx: CheckContext, build: OnnxRuntimeBuild) -> tuple[str, ...]:
    """The distributions that lie where the imported one lies; one in another folder of sys.path is hidden, not overwritten."""
    places = {key: posixpath.dirname(c.location or "") for key in build.distributions if (c := ctx.component(key))}
    return tuple(key for key in build.distributions if places.get(key) == places.get(build.wheel))


def several(ctx: CheckContext, build: OnnxRuntimeBuild) -> Finding:
    """More than one distribution."""
    contest = next(
        (c for c in ctx.facts(WheelContest) if c.target == build.target and set(c.wheels) <= set(build.distributions)),
        None,
    )
    names = [titled(ctx, key) for key in build.distributions]
    lost = {key: device_for(ctx, p) for key in build.distributions if (p := lost_provider(build, key)) is not None}
    lost = {key: seen for key, seen in lost.items() if seen is not Seen.ABSENT}
    counts = ""
    if contest is not None:
        won = ", ".join(f"{wheel_name(key)} {count}" for key, count in contest.won)
        rest = "".join(
            f", {word} {count}"
            for word, count in (
                ("gone", contest.missing),
                ("nobody's", contest.changed),
                ("not read", contest.not_read),
            )
            if count
        )
        counts = f" Of {contest.files} contested files: {won}{rest}."
    target = prefix_of(build.target)
    accelerated = [key for key in build.distributions if ort_build(wheel_name(key)) != "cpu"]
    wanted = next(iter([*lost, *accelerated]), build.wheel)
    found = ctx.component(wanted)
    keep = f"{wheel_name(wanted)}=={found.version}" if found is not None and found.version else wheel_name(wanted)
    return CHECK.finding(
        Status.FAIL if Seen.PRESENT in lost.values() else Status.WARN,
        f"{len(names)} ONNX Runtime distributions in {target}: imports get {titled(ctx, build.wheel)}"
        + (f", not {titled(ctx, wanted)}" if lost else ""),
        subject=build.distributions,
        detail=f"{', '.join(names)} write the same folder; the last one installed wins.{counts} Uninstalling one of them breaks"
        " the others.",
        evidence=(*build.evidence, *(contest.evidence if contest is not None else ())),
        remedy="Uninstall all of them, then install the one wanted: "
        f"{pip_words(ctx, build.target, 'uninstall', *map(wheel_name, build.distributions))}, then"
        f" {pip_words(ctx, build.target, 'install', keep)} (in that order; without the second step there is none).",
    )


def lost_provider(build: OnnxRuntimeBuild, key: str) -> str | None:
    """The provider that this distribution was installed for and that imports do not get."""
    provider = _PROVIDER.get(ort_build(wheel_name(key)))
    return provider if provider is not None and provider not in build.providers else None


def files_gone(ctx: CheckContext, fact: WheelFilesGone) -> Finding:
    """An uninstall of another distribution took the files along."""
    found = ctx.component(fact.wheel)
    name = wheel_name(fact.wheel)
    keep = f"{name}=={found.version}" if found is not None and found.version else name
    lost = [PROVIDERS[n] for n in PROVIDERS if any(p.endswith(f"/libonnxruntime_providers_{n}.so") for p in fact.gone)]
    breaks = any("onnxruntime_pybind11_state" in p for p in fact.gone)
    breaks = breaks or any(device_for(ctx, p) is Seen.PRESENT for p in lost if p != "TensorrtExecutionProvider")
    return CHECK.finding(
        Status.FAIL if breaks else Status.WARN,
        f"{titled(ctx, fact.wheel)} is installed, but {len(fact.gone)} of its {fact.listed} libraries are gone",
        subject=(fact.wheel,),
        detail=f"Gone: {', '.join(p.rpartition('/')[2] for p in fact.gone)}. Uninstalling another ONNX Runtime distribution removes"
        " the files that both claim.",
        evidence=fact.evidence,
        remedy="Put its files back by installing it again.",
        commands=pip_install(ctx, fact.target, *forced(ctx, fact.target, "--no-deps", keep)),
    )


CHECK = Check(
    id="PY-CLOBBER-ORT",
    title="Several ONNX Runtime distributions own one folder",
    explanation="""\
onnxruntime, onnxruntime-gpu, onnxruntime-openvino, onnxruntime-cann and others all install the Python package
`onnxruntime`. pip treats them as unrelated: the one installed last overwrites the others' files, and nothing is reported.
Packages that depend on plain `onnxruntime` pull it in beside onnxruntime-gpu, and the GPU is gone. Uninstalling one of them
deletes files of the other.

infra-doctor compares the digests in each RECORD with the files, so it can say whose bytes are on disk.""",
    remediation="Uninstall **all** ONNX Runtime distributions, then install the one wanted.",
    sources=(
        "https://github.com/microsoft/onnxruntime/issues/26996",
        "https://github.com/microsoft/onnxruntime/issues/10685",
        "https://github.com/pypa/pip/issues/4625",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Specified provider 'CUDAExecutionProvider' is not in available provider names",
            source="https://github.com/microsoft/onnxruntime/issues/26996",
        ),
        LogSignature(
            pattern=r"multiple onnxruntime packages are installed to the same location",
            source="https://github.com/microsoft/onnxruntime/issues/26996",
        ),
    ),
    tags=("onnxruntime", "packages", "planned"),
)

CHECKS = (CHECK,)
