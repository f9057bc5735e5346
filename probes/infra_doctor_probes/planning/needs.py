"""What the choices share: which GPUs a plan is for, and the needs that many wheels have (Python, glibc, driver, CUDA)."""

import re

from infra_doctor.plugin import (
    CheckContext,
    Component,
    Effort,
    Need,
    Option,
    PlanContext,
    Refused,
    Verdict,
    floor,
    in_range,
    numbers,
    read_requirement,
    version_key,
)
from infra_doctor_probes.detect.wheel_metadata import WheelMetadata
from infra_doctor_probes.tables.common import (
    arch_of,
    capability,
    first_row,
    is_wsl,
    nvidia_gpus,
    prefix,
    table_text,
)
from infra_doctor_probes.tables.cuda_driver import driver_floor, forward

DRIVER, PYTHON, GLIBC, CUDA_MAJOR = "nvidia-driver", "python", "glibc", "cuda-major"
WHEEL_TAGS = "https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/"
DRIVER_DOCS = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"


def installed(ctx: PlanContext, name: str) -> Component | None:
    """The wheel of this name in the environment that is planned for."""
    if ctx.target is None:
        return None
    return next(
        (c for c in ctx.facts.by_kind("wheel") if c.name == name and prefix(c.target) == ctx.target.prefix), None
    )


def of_other_major(ctx: PlanContext, cuda_major: str, owner: str) -> tuple[str, ...]:
    """The installed wheels of CUDA libraries whose files the same library's wheel for this CUDA major overwrites, and that
    `owner` alone asks for: left there, uninstalling them later would take the new files away (PY-CLOBBER-NV)."""
    if ctx.target is None:
        return ()
    here = {c.key: c.name for c in ctx.facts.by_kind("wheel") if prefix(c.target) == ctx.target.prefix}
    asked = {
        requirement.name
        for found in ctx.facts.facts(WheelMetadata)
        if here.get(found.wheel) not in {None, owner}
        for line in found.requires
        if (requirement := read_requirement(line, machine=arch_of(ctx.facts) or "x86_64")) is not None
        and requirement.applies is not False
    }
    clashing = (re.fullmatch(r"nvidia-(?:cudnn|nccl|cusparselt|nvshmem)-cu(\d+)", name) for name in here.values())
    return tuple(sorted(m[0] for m in clashing if m is not None and m[1] != cuda_major and m[0] not in asked))


def wished(ctx: PlanContext, part: str, version: str) -> bool:
    """Whether the wish for this part, if there is one, takes this version."""
    wish = ctx.wishes.get(part)
    return wish is None or meets(version, wish.spec)


def meets(version: str, spec: str) -> bool:
    """Whether a version is within a PEP 440 specifier, as pip would judge it; pre-releases count."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(spec).contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return in_range(version, spec) is True


def gpu_capabilities(ctx: CheckContext) -> list[tuple[str, tuple[int, int]]]:
    """(name, compute capability) of each NVIDIA GPU whose capability is known."""
    return [(g.name, cc) for g in nvidia_gpus(ctx) if (cc := capability(g)) is not None]


def python_need(versions: str, source: str) -> tuple[Need, ...]:
    """A wheel that is published for these Python versions ("3.10 3.11"); none where the table does not say."""
    known = tuple(versions.split())
    if not known:
        return ()
    return (
        Need(
            part=PYTHON, text=f"Python {known[0]} to {known[-1]}", source=source,
            accepts=lambda option: option.version in known,
        ),
    )  # fmt: skip


def no_wheel_here(ctx: PlanContext, part: str) -> Refused | None:
    """The refusal on a musl system (Alpine), for which none of the packages in our tables publishes wheels."""
    if not any(c.name == "musl" for c in ctx.facts.by_kind("libc")):
        return None
    reason = "its wheels are built for glibc, and this system has musl: take an image with glibc (Debian, Ubuntu, UBI)"
    return Refused(label=part, reason=reason, source=WHEEL_TAGS)


def glibc_need(minimum: str, source: str) -> tuple[Need, ...]:
    """The C library that the wheel's platform tag asks for."""
    if not minimum:
        return ()
    return (
        Need(
            part=GLIBC, text=f"glibc {minimum} or newer", source=source or WHEEL_TAGS,
            accepts=lambda option: floor(option.version, minimum) is not Verdict.INCOMPATIBLE,
        ),
    )  # fmt: skip


def driver_need(ctx: CheckContext, cuda_major: str) -> tuple[Need, ...]:
    """A driver that serves this CUDA family."""
    row = first_row("cuda_families", cuda_major=cuda_major)
    if row is None:
        return ()
    minimum = row["windows" if is_wsl(ctx) else "linux"]

    def accepts(option: Option) -> bool:
        driver = ctx.component("driver:nvidia")
        if option.effort is Effort.NONE and driver is not None:
            if driver_floor(driver, minimum, cuda_major) is not Verdict.INCOMPATIBLE:
                return True
            lifted = forward(ctx, driver, minimum, "")  # cuda-compat in front of it
            return lifted is not None and lifted.verdict is Verdict.COMPATIBLE
        return version_key(option.values.get("serves", "0")) >= version_key(minimum)

    kind = "Windows NVIDIA driver" if is_wsl(ctx) else "NVIDIA driver"
    return (
        Need(
            part=DRIVER, text=f"{kind} {minimum} or newer (CUDA {cuda_major})",
            source=table_text("cuda_families", row), accepts=accepts,
        ),
    )  # fmt: skip


def cuda_major_need(cuda_major: str, source: str) -> Need:
    """One CUDA major for all that share a process."""
    return Need(
        part=CUDA_MAJOR, text=f"CUDA {cuda_major} in the whole process", source=source,
        accepts=lambda option: option.version == cuda_major,
    )  # fmt: skip


def too_new_or_old(cuda: str, name: str, cc: tuple[int, int]) -> str:
    """Why a CUDA release has no code for a GPU, "" where the table of architectures does not exclude it."""
    row = first_row("gpu_arch", cc=f"{cc[0]}.{cc[1]}")
    if row is None or not row.certain or len(numbers(cuda)) < 2:
        return ""
    lowest, highest = row["min_cuda_toolkit"].split(" ")[0], row["max_cuda_toolkit"].split(" ")[0]
    if lowest and version_key(cuda) < version_key(lowest):
        return f"CUDA {cuda} is older than {name} (compute capability {cc[0]}.{cc[1]} needs CUDA {lowest})"
    if highest and numbers(cuda)[:2] > numbers(highest)[:2]:
        return f"CUDA {cuda} dropped {name} (compute capability {cc[0]}.{cc[1]}; the last is CUDA {highest})"
    return ""


def nearest_first(ctx: PlanContext, part: str, versions: list[str]) -> list[str]:
    """Versions in the order in which a plan should try them. What is installed and within the wish: itself, the newer
    ones upwards, the older ones downwards. Else the newest first."""
    here = installed(ctx, part)
    mine = (here.version or "").partition("+")[0] if here is not None else ""
    wish = ctx.wishes.get(part)
    releases = re.sub(r"\+[\w.]+", "", wish.spec) if wish is not None else ""  # a build is chosen later
    fitting = [v for v in versions if meets(v, releases)]
    if mine and meets(mine, releases):
        newer = sorted((v for v in fitting if version_key(v) >= version_key(mine)), key=version_key)
        older = sorted((v for v in fitting if version_key(v) < version_key(mine)), key=version_key, reverse=True)
        return newer + older
    return sorted(fitting, key=version_key, reverse=True)
