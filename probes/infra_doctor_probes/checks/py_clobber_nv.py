"""PY-CLOBBER-NV: two NVIDIA wheels own one library file, or one's uninstall took the other's file along.

RECORD says who claims a file, sha256 says whose bytes it holds (probe python.wheels)."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.libraries import FrameworkImport
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.opened_later import FrameworkLibraries
from infra_doctor_probes.detect.wheel_files import WheelContest, WheelFilesGone
from infra_doctor_probes.in_target import (
    Seen,
    forced,
    nvidia_gpu,
    pip_install,
    pip_words,
    prefix_of,
    titled,
    wheel_name,
)


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per contested group and per wheel with missing files."""
    contests = [
        c
        for c in ctx.facts(WheelContest)
        if (c.libraries or c.unread) and all(wheel_name(w).startswith("nvidia-") for w in c.wheels)
    ]
    gone = [f for f in ctx.facts(WheelFilesGone) if wheel_name(f.wheel).startswith("nvidia-")]
    for contest in contests:
        yield contested(ctx, contest)
    for fact in gone:
        yield files_gone(ctx, fact)
    if contests or gone:
        return
    wheels = [c for c in ctx.by_kind("wheel") if c.name.startswith("nvidia-")]
    if not wheels:
        yield CHECK.skip("no NVIDIA wheels are installed")
        return
    yield CHECK.finding(
        Status.PASS, f"each library of the {len(wheels)} NVIDIA wheels has one owner", severity=Severity.LOW,
        evidence=wheels[0].evidence,
    )  # fmt: skip


def contested(ctx: CheckContext, contest: WheelContest) -> Finding:
    """Two wheels, one file."""
    required = dict(contest.required_by)
    holders = {wheel for _, winners in contest.libraries for wheel in winners}
    losers = [w for w in contest.wheels if w not in holders]
    wronged = [w for w in losers if w in required] if contest.libraries else []
    keep = next((w for w in contest.wheels if w in required), next(iter(sorted(holders)), contest.wheels[0]))
    file, winners = contest.libraries[0] if contest.libraries else (contest.unread[0], ())
    owner = ", ".join(titled(ctx, w) for w in winners) or ("neither" if contest.libraries else "one of them (not read)")
    return CHECK.finding(
        Status.FAIL if wronged and nvidia_gpu(ctx) is Seen.PRESENT else Status.WARN,
        f"{' and '.join(titled(ctx, w) for w in contest.wheels)} own one file: {file.rpartition('/')[2]} is that of {owner}",
        subject=contest.wheels,
        detail=f"{file} in {prefix_of(contest.target)}."
        + "".join(f" {wheel_name(required[w])} requires {titled(ctx, w)} and does not get it." for w in wronged),
        evidence=contest.evidence,
        remedy=remedy(ctx, contest, keep),
    )


def remedy(ctx: CheckContext, contest: WheelContest, keep: str) -> str:
    """Which wheel goes and which is put back; where several are required, none can go."""
    required = dict(contest.required_by)
    wanted = [w for w in contest.wheels if w in required]
    if len(wanted) > 1:
        by = ", ".join(f"{wheel_name(w)} by {wheel_name(required[w])}" for w in wanted)
        return f"Each is required ({by}): have packages of one CUDA major in this environment, or one environment for each."
    stale = [wheel_name(w) for w in contest.wheels if w != keep]
    which = "the stale one" if wanted else "the one that is not wanted"
    back = pip_words(ctx, contest.target, "install", *forced(ctx, contest.target, "--no-deps", pinned(ctx, keep)))
    return (
        f"Uninstall {which}, {pip_words(ctx, contest.target, 'uninstall', *stale)}, then reinstall the other, because the"
        f" uninstall removes the shared files: {back}."
    )


def files_gone(ctx: CheckContext, fact: WheelFilesGone) -> Finding:
    """Installed by its metadata, without its libraries."""
    required = f" {wheel_name(fact.required_by)} requires it." if fact.required_by else ""
    others = missed_by_others(ctx, fact)
    if others:
        required += f" {' and '.join(titled(ctx, k) for k in others)} cannot do without."
    elif not is_missed(ctx, fact):
        required += " What was played of its imports does without: an image that was made smaller looks like this."
    return CHECK.finding(
        Status.FAIL if is_missed(ctx, fact) else Status.WARN,
        f"{titled(ctx, fact.wheel)} is installed, but {fact.gone[0].rpartition('/')[2]} is not there",
        subject=(fact.wheel,),
        detail=f"{len(fact.gone)} of {fact.listed} libraries that its RECORD lists are gone, as after the uninstall of another"
        f" wheel with the same files.{required}",
        evidence=fact.evidence,
        remedy="Put its files back by installing it again.",
        commands=pip_install(ctx, fact.target, *forced(ctx, fact.target, "--no-deps", pinned(ctx, fact.wheel))),
    )


def is_missed(ctx: CheckContext, fact: WheelFilesGone) -> bool:
    """Whether the framework that requires the wheel fails without these files, or misses one of them later."""
    names = {path.rpartition("/")[2] for path in fact.gone}
    imports = [f for f in ctx.facts(FrameworkImport) if f.consumer == fact.required_by]
    return any(f.loads is False or names & {m.soname for m in f.missing} for f in imports)


def missed_by_others(ctx: CheckContext, fact: WheelFilesGone) -> list[str]:
    """Consumers of this environment, other than the wheel that requires it, that miss one of these files: at once or when
    they first use it. Their own findings say what fails."""
    names = {path.rpartition("/")[2] for path in fact.gone}
    wants = [(x.wheel, m) for x in ctx.facts(ProviderLoad) if x.target == fact.target for m in x.missing]
    wants += [(x.consumer, m) for x in ctx.facts(FrameworkLibraries) if x.target == fact.target for m in x.missing]
    return sorted({key for key, missing in wants if missing.soname in names})


def pinned(ctx: CheckContext, key: str) -> str:
    """`nvidia-nccl-cu12==2.27.3`."""
    found = ctx.component(key)
    return f"{wheel_name(key)}=={found.version}" if found is not None and found.version else wheel_name(key)


CHECK = Check(
    id="PY-CLOBBER-NV",
    title="Two NVIDIA wheels own one library",
    explanation="""\
`nvidia-nccl-cu11`, `-cu12` and `-cu13` all install `nvidia/nccl/lib/libnccl.so.2`; other NVIDIA wheels come in such pairs
too. The one installed last wins, and pip reports nothing. PyTorch then gets another NCCL than it was built with:
*undefined symbol: ncclCommResume*. Removing the stale wheel deletes the file for both.""",
    remediation="Uninstall the stale wheel, then **reinstall** the other.",
    sources=(
        "https://github.com/pytorch/pytorch/issues/186591",
        "https://github.com/pytorch/pytorch/issues/119932",
        "https://github.com/pypa/pip/issues/4625",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"undefined symbol: nccl\w{3,60}",
            source="https://github.com/pytorch/pytorch/issues/186591",
            strength=3,
        ),
    ),
    tags=("packages",),
)

CHECKS = (CHECK,)
