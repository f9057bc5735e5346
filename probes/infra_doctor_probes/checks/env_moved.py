"""ENV-MOVED: a virtual environment that was copied or moved, so that its programs run another interpreter, or none.

Rests on the absolute paths in its activate script and in the first lines of its programs (probe environment-origin)."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.environment_origin import EnvironmentOrigin
from infra_doctor_probes.in_target import prefix_of


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per virtual environment."""
    found = ctx.facts(EnvironmentOrigin)
    if not found:
        yield CHECK.skip("no virtual environment is looked at")
    yield from map(judge, found)


def judge(origin: EnvironmentOrigin) -> Finding:
    """The finding of one environment."""
    prefix = prefix_of(origin.target)
    if not origin.made_for and not origin.interpreter:
        return CHECK.skip(f"{prefix} names no place that it was made for")
    if origin.same_place:
        return CHECK.finding(
            Status.PASS, f"{prefix} lies where it was made for", subject=(origin.target,), evidence=origin.evidence,
            severity=Severity.LOW,
        )  # fmt: skip
    program = posixpath.basename(origin.program or "")
    elsewhere = origin.interpreter and posixpath.dirname(posixpath.dirname(origin.interpreter)) != prefix
    if elsewhere and origin.interpreter_exists:
        what = (
            f"its `{program}` runs {origin.interpreter}: what it installs goes into that environment, not into this one"
        )
    elif elsewhere:
        what = f'its `{program}` asks for {origin.interpreter}, which is not there ("bad interpreter")'
    else:
        what = f"its activate script puts {origin.made_for} on PATH, not this environment"
    place = origin.made_for or posixpath.dirname(posixpath.dirname(origin.interpreter or ""))
    return CHECK.finding(
        Status.WARN, f"{prefix} was made for {place}, and copied or moved", subject=(origin.target,),
        detail=f"Virtual environments hold absolute paths: {what}. Programs that are started as `{prefix}/bin/python …` run.",
        evidence=origin.evidence,
        remedy="Make the environment anew at this place and install into it what the old one holds"
        f" (`{prefix}/bin/python -m pip freeze` lists it). Until then use `{prefix}/bin/python -m pip` and `python -m` instead"
        " of its programs. An environment that must move: `uv venv --relocatable`, or an image that keeps the path.",
    )  # fmt: skip


CHECK = Check(
    id="ENV-MOVED",
    title="a virtual environment was copied or moved",
    explanation="""\
A virtual environment is made for one place. Its activate script and the first line of each of its programs (`pip`,
`torchrun`, …) hold the absolute path. After `cp -r`, a `COPY` to another folder in a Dockerfile, or a rename, `pip` of the
copy runs the interpreter of the original: packages land there, and the copy stays as it is. Where the original is gone, the
programs fail with *bad interpreter*.

Links are followed: an environment that is reached by another name is no copy. Environments without absolute paths (uv's
`--relocatable`) and conda's are not judged.""",
    remediation="Make the environment anew where it shall be; until then use `bin/python -m pip`.",
    sources=(
        "https://docs.python.org/3/library/venv.html#how-venvs-work",
        "https://github.com/pypa/virtualenv/issues/2308",
        "https://github.com/pypa/virtualenv/issues/487",
        "https://docs.astral.sh/uv/reference/cli/#uv-venv--relocatable",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"/bin/(?:pip[\d.]*|torchrun|accelerate|vllm|ipython|jupyter[\w-]*): (?:/[^\n:]{1,300}: )?bad interpreter: ",
            source="https://github.com/pypa/pip/issues/4662",
        ),
        LogSignature(
            pattern=r"bad interpreter: /[^\n:]{1,300}/bin/python[\d.]*: no such file or directory",
            source="https://docs.python.org/3/library/venv.html#how-venvs-work",
        ),
    ),
    tags=("python",),
)

CHECKS = (CHECK,)
