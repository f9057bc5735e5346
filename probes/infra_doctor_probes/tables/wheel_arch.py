"""Compute capability against the machine code in wheels.

Facts: PyTorch's build scripts and release matrix (`torch_arch`), NVIDIA's rules of binary compatibility, the CUDA 13.0
release notes (nothing below 7.5), JAX's installation page (`jax_backends`) and cuDNN's support matrix (`cudnn`)."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Row,
    Verdict,
    floor,
    lookup,
    major,
    major_minor,
    pair,
    parse_version,
    version_key,
)
from infra_doctor_probes.tables.common import (
    arch_of,
    capability,
    copies_for,
    cuda_consumers,
    first_row,
    is_wsl,
    label,
    not_in_table,
    nvidia_gpus,
    rows,
    table_text,
    text,
    wheels,
)
from infra_doctor_probes.tables.cuda_driver import api_of, driver_floor

WHEEL, FLOOR_13, JAX, CUDNN = "gpu-wheel-arch", "gpu-cuda13-floor", "gpu-jax", "gpu-cudnn"
BINARY = "https://docs.nvidia.com/cuda/cuda-c-programming-guide/#binary-compatibility"
NOTES_13 = "https://docs.nvidia.com/cuda/archive/13.0.0/cuda-toolkit-release-notes/index.html"
PYTORCH = "https://github.com/pytorch/pytorch/blob/main/RELEASE.md"
CUDNN_MATRIX = "https://docs.nvidia.com/deeplearning/cudnn/latest/support-matrix/index.html"
FIRST_OF_13 = (7, 5)
UNPUBLISHED = {"cu129"}  # built by the scripts, and in no release's list but that of 2.8: nothing to advise


def judge_torch(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every CUDA build of torch against every NVIDIA GPU."""
    gpus = [g for g in nvidia_gpus(ctx) if capability(g) is not None]
    for torch in wheels(ctx, "torch"):
        if text(torch, "build") == "cuda":
            for gpu in gpus:
                yield torch_row(ctx, torch, gpu)


def torch_row(ctx: CheckContext, torch: Component, gpu: Component) -> Compatibility:
    """One build and one GPU. Only PyTorch's own releases are in the table: conda's builds, NVIDIA's, nightlies and those
    that somebody compiled have lists of their own."""
    tag, platform = text(torch, "tag"), f"linux {arch_of(ctx) or 'x86_64'}"
    cc = text(gpu, "compute_capability")
    line = major_minor(torch.version)
    built = [r for r in rows("torch_arch") if r["cuda_build"] == tag and r["platform"] == platform]
    row = next((r for r in built if line is not None and major_minor(r["torch"]) == line), None)
    if row is None or not row["sm_archs"] or is_unreleased(torch):
        too_new = compiler_too_old(torch, gpu) if tag else None
        if too_new is not None:
            return too_new
        why = why_no_row(torch, tag, platform)
        detail = f"{why}, so whether it has code for {gpu.name} (compute capability {cc}) is not known."
        return pair(gpu.key, torch.key, WHEEL, Verdict.UNKNOWN, detail, source=PYTORCH)
    verdict, reason = runs_on(row["sm_archs"], capability(gpu) or (0, 0), torch, ctx.component("driver:nvidia"))
    detail = (
        f"{label(torch)} ({tag}) has code for {row['sm_archs']}: {reason} for {gpu.name} (compute capability {cc})."
    )
    return pair(
        gpu.key,
        torch.key,
        WHEEL,
        verdict,
        detail,
        source=f"{table_text('torch_arch', row)}; {BINARY}",
        certain=row.certain,
    )


def compiler_too_old(torch: Component, gpu: Component) -> Compatibility | None:
    """For PyTorch's own wheels without a list: where CUDA learned of every capability of this major after the release that
    the wheel was built with, no code of it can be in there. Its wheels for CUDA before 12.8 have no PTX either."""
    cc, built = capability(gpu), major_minor(text(torch, "cuda"))
    known = [r for r in rows("gpu_arch") if cc is not None and major(r["cc"]) == cc[0]]
    firsts = [first for r in known if (first := major_minor(r["min_cuda_toolkit"])) is not None]
    certain = any(r.certain and major_minor(r["min_cuda_toolkit"]) == min(firsts) for r in known) if firsts else False
    if cc is None or built is None or not certain or built >= min(firsts) or built >= (12, 8):
        return None
    oldest = ".".join(str(n) for n in min(firsts))
    detail = (
        f"{label(torch)} was built with CUDA {built[0]}.{built[1]}, and CUDA compiles for compute capability {cc[0]}.x from"
        f" {oldest} on: it has no code for {gpu.name} (compute capability {text(gpu, 'compute_capability')})."
    )
    source = "; ".join(dict.fromkeys(table_text("gpu_arch", r) for r in known if r.certain))
    return pair(gpu.key, torch.key, WHEEL, Verdict.INCOMPATIBLE, detail, source=f"{source}; {BINARY}")


def why_no_row(torch: Component, tag: str, platform: str) -> str:
    """Newer than the table, or a build that it does not have."""
    if not tag:
        return f"{label(torch)} is not one of PyTorch's own wheels, whose list of architectures is known"
    newest = max((r["torch"] for r in rows("torch_arch") if r["sm_archs"]), key=version_key)
    key = parse_version(torch.version or "")
    if key is not None and (major_minor(torch.version) or (0, 0)) > (major_minor(newest) or (0, 0)):
        return f"{label(torch)} is newer than the table of architectures ({newest})"
    return f"the architectures of {label(torch)} {tag} for {platform} are in no table"


def is_unreleased(torch: Component) -> bool:
    """A nightly ("2.9.0.dev20250801+cu128") or a build of the main branch ("2.9.0a0+git…"): the list changes until the
    release."""
    return re.search(r"\d\.?(dev|a)\d", (torch.version or "").partition("+")[0]) is not None


def fitting_builds(ctx: CheckContext, version: str | None) -> tuple[str, ...]:
    """The CUDA builds of this torch release ("cu126") that have code for every GPU here and that the driver serves;
    empty where the table has none."""
    driver, line = ctx.component("driver:nvidia"), major_minor(version)
    platform = f"linux {arch_of(ctx) or 'x86_64'}"
    gpus = [cc for g in nvidia_gpus(ctx) if (cc := capability(g)) is not None]
    fitting = []
    for row in rows("torch_arch"):
        family = first_row("cuda_families", cuda_major=row["cuda_build"][2:-1])
        if not row["sm_archs"] or row["platform"] != platform or major_minor(row["torch"]) != line or not gpus:
            continue
        if not row.certain or row["cuda_build"] in UNPUBLISHED or not all(has_code(row["sm_archs"], cc) for cc in gpus):
            continue
        minimum = family["windows" if is_wsl(ctx) else "linux"] if family is not None else ""
        served = driver_floor(driver, minimum, row["cuda_build"][2:-1]) if driver is not None else Verdict.UNKNOWN
        if served is not Verdict.INCOMPATIBLE:
            fitting.append(row["cuda_build"])
    return tuple(sorted(fitting))


def nearest_release(ctx: CheckContext, version: str | None) -> tuple[str, tuple[str, ...]]:
    """The next newer torch release that has builds for these GPUs and this driver, else the next older one, with those
    builds; ("", ()) for none."""
    lines = sorted({r["torch"] for r in rows("torch_arch")}, key=version_key)
    here = version_key(version or "")
    newer = [line for line in lines if version_key(line) > here]
    for line in (*newer, *reversed([line for line in lines if line not in newer])):
        if builds := fitting_builds(ctx, line):
            return line, builds
    return "", ()


def has_code(archs: str, cc: tuple[int, int]) -> bool:
    """Whether there is machine code for it; PTX alone does not count."""
    built = [(int(m[1]), int(m[2])) for m in re.finditer(r"\b(\d+)\.(\d+)(?![\da])", archs)]
    return any(x[0] == cc[0] and x[1] <= cc[1] and not (x != cc and (8, 7) in {x, cc}) for x in built)


def torch_advice(ctx: CheckContext, torch: Component) -> str:
    """Which of PyTorch's builds fit this machine, as a sentence; "" where the table has none."""
    builds = [b for b in fitting_builds(ctx, torch.version) if b != text(torch, "tag")]
    if builds and not is_unreleased(torch):
        release = ".".join(str(n) for n in major_minor(torch.version) or ())
        return f"PyTorch {release} has code for the GPU and fits the driver in these builds: {', '.join(builds)}."
    line, nearest = nearest_release(ctx, torch.version)
    if not line:
        return ""
    return f"Of the PyTorch releases in our tables, the nearest with builds for GPU and driver is {line}: {', '.join(nearest)}."


def runs_on(archs: str, cc: tuple[int, int], wheel: Component, driver: Component | None) -> tuple[Verdict, str]:
    """(verdict, reason). Code for X.Y runs on X.Z with Z >= Y; for X.Ya on X.Y alone; PTX is compiled by the driver for
    any later one, if the driver is as new as the toolkit that wrote it."""
    ptx: list[tuple[int, int]] = []
    for entry in archs.split():
        match = re.fullmatch(r"(\d+)\.(\d+)([af]?)(\+PTX)?", entry)
        if match is None:
            continue
        built = (int(match.group(1)), int(match.group(2)))
        if match.group(3) == "a":
            if built == cc:
                return Verdict.COMPATIBLE, f"{entry} is meant"
            continue
        if built[0] == cc[0] and built[1] <= cc[1]:
            if built != cc and (8, 7) in {built, cc}:
                return (
                    Verdict.UNKNOWN,
                    f"{entry} is near, but Orin (8.7) and the other 8.x are not interchangeable in practice,",
                )
            return Verdict.COMPATIBLE, f"the code for {built[0]}.{built[1]} serves"
        if match.group(4) and built < cc:
            ptx.append(built)
    if not ptx:
        return Verdict.INCOMPATIBLE, "no code of it fits, and there is no PTX that could be compiled"
    offered, wrote = major_minor(api_of(driver) if driver else None), major_minor(text(wheel, "cuda"))
    shown = f"only the PTX for {max(ptx)[0]}.{max(ptx)[1]} is left, which the driver compiles at the first run"
    if offered is None or wrote is None or offered < wrote:
        return Verdict.UNKNOWN, f"{shown} if it is as new as CUDA {text(wheel, 'cuda') or 'of the wheel'}: open"
    return Verdict.COMPATIBLE, f"{shown} (slow once)"


def judge_floor(ctx: CheckContext) -> Iterator[Compatibility]:
    """CUDA 13 wheels against GPUs that CUDA 13 dropped."""
    gpus = [(g, cc) for g in nvidia_gpus(ctx) if (cc := capability(g)) is not None]
    if not gpus:
        return
    for wheel, use in cuda_consumers(ctx):
        if major(use.cuda) != 13 or wheel.name.startswith("nvidia-"):
            continue
        for gpu, cc in gpus:
            fits = cc >= FIRST_OF_13
            detail = (
                f"{label(wheel)} is built for CUDA {use.cuda}, whose libraries have code for compute capability 7.5 and "
                f"newer; {gpu.name} has {cc[0]}.{cc[1]}."
            )
            verdict = Verdict.COMPATIBLE if fits else Verdict.INCOMPATIBLE
            yield pair(gpu.key, wheel.key, FLOOR_13, verdict, detail, source=NOTES_13, certain=use.certain)


def judge_jax(ctx: CheckContext) -> Iterator[Compatibility]:
    """JAX's CUDA plug-ins against their lowest compute capability."""
    for wheel in wheels(ctx, "jax-cuda12-plugin", "jax-cuda13-plugin"):
        row = first_row("jax_backends", name=wheel.name.split("-")[1])
        for gpu in nvidia_gpus(ctx) if row is not None else ():
            if row is not None and capability(gpu) is not None:
                cc = text(gpu, "compute_capability")
                detail = f"{label(wheel)} needs compute capability {row['min_cc']} or newer; {gpu.name} has {cc}."
                source = table_text("jax_backends", row)
                yield pair(
                    gpu.key, wheel.key, JAX, floor(cc, row["min_cc"]), detail, source=source, certain=row.certain
                )


def judge_cudnn(ctx: CheckContext) -> Iterator[Compatibility]:
    """The copies of cuDNN that something loads against the GPUs that their release supports."""
    copies = {c.key: c for wheel, _ in cuda_consumers(ctx) for c in copies_for(ctx, wheel, "cudnn").copies}
    for copy in copies.values():
        match = lookup(rows("cudnn"), "cudnn", copy.version, agree=("compute_capability",))
        for gpu in nvidia_gpus(ctx):
            cc = capability(gpu)
            if cc is None:
                continue
            if match.row is None or not match.row["compute_capability"]:
                detail = f"{not_in_table(copy, match, 'cudnn')}; whether it serves {gpu.name} is not known."
                yield pair(gpu.key, copy.key, CUDNN, Verdict.UNKNOWN, detail, source=CUDNN_MATRIX)
            else:
                yield from cudnn_row(gpu, cc, copy, match.row)


def cudnn_row(gpu: Component, cc: tuple[int, int], copy: Component, row: Row) -> Iterator[Compatibility]:
    """One copy and one GPU. A compute capability rides on a listed one of its major. What a row that is not certain
    allows says nothing that `gpu-cuda13-floor` and `cudnn-driver` do not say for certain."""
    listed = [tuple(int(n) for n in entry.split(".")) for entry in row["compute_capability"].split()]
    fits = any(entry[0] == cc[0] and entry[1] <= cc[1] for entry in listed)
    if fits and not row.certain:
        return
    detail = f"{label(copy)} supports compute capabilities {row['compute_capability']}; {gpu.name} has {cc[0]}.{cc[1]}."
    verdict = Verdict.COMPATIBLE if fits else Verdict.INCOMPATIBLE
    yield pair(gpu.key, copy.key, CUDNN, verdict, detail, source=table_text("cudnn", row), certain=row.certain)


RULES = (
    CompatibilityRule(
        id=WHEEL,
        title="The torch wheel has code for the GPU",
        explanation="""\
A wheel carries machine code for a list of compute capabilities. Code for X.Y runs on X.Z with Z ≥ Y of the same major; code for
X.Ya on X.Y alone. `+PTX` lets a driver that is new enough compile for later ones, slowly at the first run. Nothing fitting
gives *no kernel image is available for execution on the device*. All patch versions of a torch minor version share a list.""",
        sources=(PYTORCH, BINARY),
        judge=judge_torch,
    ),
    CompatibilityRule(
        id=FLOOR_13,
        title="CUDA 13 wheels need compute capability 7.5",
        explanation="CUDA 13 compiles for, and its libraries hold code for, compute capability 7.5 and newer. Maxwell, Pascal and "
        "Volta stay on builds for CUDA 12 (for PyTorch: cu126).",
        sources=(NOTES_13,),
        judge=judge_floor,
    ),
    CompatibilityRule(
        id=JAX,
        title="JAX's CUDA plug-in supports the GPU",
        explanation="The CUDA 12 plug-in needs compute capability 5.2 or newer, the CUDA 13 plug-in 7.5.",
        sources=("https://docs.jax.dev/en/latest/installation.html",),
        judge=judge_jax,
    ),
    CompatibilityRule(
        id=CUDNN,
        title="cuDNN supports the GPU",
        explanation="Each cuDNN release supports a list of compute capabilities: up to 9.10 from 5.0 on, later ones from 7.5 on.",
        sources=(CUDNN_MATRIX,),
        judge=judge_cudnn,
    ),
)
