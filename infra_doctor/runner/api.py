"""The Python API: `infra_doctor.check()` and `infra_doctor.load_report(path)`."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace

from infra_doctor.codec import load_report as load_report
from infra_doctor.errors import UsageError
from infra_doctor.model.policy import Policy
from infra_doctor.model.report import Report
from infra_doctor.runner.run import Run, RunOptions

FilePath = str | os.PathLike[str]


def check(
    *,
    python: FilePath | None = None,
    root: FilePath | None = None,
    replay: FilePath | None = None,
    identify: bool = False,
    timeout_s: float | None = None,
    policy: FilePath | None = None,
    require: Sequence[str] = (),
    baseline: FilePath | Report | None = None,
) -> Report:
    """Look at this machine and judge it: a Python environment (`python`: its program or folder; default: this shell's active
    one), the files under `root` as another machine's, or a snapshot (`replay`).

    `policy` is an `infra-doctor.toml`, or a `pyproject.toml` with `[tool.infra-doctor]`; unlike the command line, none is
    looked for where none is given. `require` holds what the machine must be, as `--require` takes it:
    `["driver>=580", "gpu.count=8", "ort.cuda"]`; of one key, it replaces what the policy's file says. Each gives a finding
    REQUIREMENT: `pass`, `fail`, or `error` where it could not be looked at. `baseline` is an earlier report (or the path
    of one, or of a snapshot): findings that are no worse than there are `waived`.

    `timeout_s` bounds the whole run, in seconds (default: the policy's); what was not done by then is an `error`.

    Raises, all of them InfraDoctorError with the way out in `help`: UsageError (arguments that do not go together, a
    requirement that cannot be read), InputError (a file that cannot be read or understood, with its line), TargetError
    (`python` or `root` names nothing that can be judged)."""
    if root is not None and replay is not None:
        raise UsageError("root and replay exclude each other", help="Give one machine to look at.")
    if timeout_s is not None and not (math.isfinite(timeout_s) and timeout_s > 0):
        raise UsageError(f"timeout_s={timeout_s:g}: a number of seconds above 0 is wanted", help="None: no bound.")
    held = _policy(policy, require)
    bound = timeout_s if timeout_s is not None or held is None else held.timeout_s
    options = RunOptions(
        python=_path(python), root=_path(root), replay=_path(replay), identify=identify, timeout_s=bound, policy=held
    )
    if baseline is not None:
        from infra_doctor.runner.baseline import Baseline, read_baseline

        if isinstance(baseline, Report):
            earlier = Baseline(source="the report given", report=baseline)
        else:
            earlier = read_baseline(os.fspath(baseline), options)
        options = replace(options, baseline=earlier)
    return Run(options).execute()


def _policy(path: FilePath | None, require: Sequence[str]) -> Policy | None:
    if isinstance(require, str):
        raise UsageError(
            f"require={require[:60]!r}: a list of texts is wanted", help=f"Write it as [{require[:60]!r}]."
        )
    if path is None and not require:
        return None
    from infra_doctor.policy.reading import Known, merged, read_policy, read_requirement
    from infra_doctor.runner import registry
    from infra_doctor.runner.core_ids import ALWAYS_ERROR, CORE_IDS

    found = registry.load(("checks", "requirements", "presets"))
    known = Known(
        keys=tuple(found.requirements), presets=tuple(found.presets), ids=(*(c.id for c in found.checks), *CORE_IDS),
        core=tuple(CORE_IDS), errors=ALWAYS_ERROR,
    )  # fmt: skip
    policy = read_policy(os.fspath(path), known) if path is not None else None
    return merged(policy, [read_requirement(text, known.keys) for text in require])


def _path(path: FilePath | None) -> str | None:
    return None if path is None else os.fspath(path)
