"""Snapshots: the observations of a run, redacted; replaying one gives the same report after redaction."""

from typing import Any

from infra_doctor import __version__
from infra_doctor.machine.forms import longer, observation_key
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.redaction import Redactor
from infra_doctor.model.report import SCHEMA_VERSION, Report
from infra_doctor.runner.run import Run


def make_snapshot(run: Run, report: Report) -> dict[str, Any]:
    """The snapshot document of a run that has been executed."""
    if run.machine is None or run.redactor is None:
        raise ValueError("the run has not been executed")
    request = {
        "python": run.redactor.text(run.options.python) if run.options.python else None,
        "pid": run.options.pid,
        "all_pythons": run.options.all_pythons or report.machine.form == "rooted",
    }
    if run.replayed_from is not None:
        request = {**request, **(run.replayed_from.get("request") or {})}
    return {
        "kind": "snapshot",
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "infra-doctor", "version": __version__},
        "created": report.created,
        "machine": {
            "name": report.machine.name,
            "form": report.machine.form,
            "capabilities": list(report.machine.capabilities),
        },
        "request": request,
        "observations": observations(run.machine, run.redactor),
    }


def observations(machine: Machine, redactor: Redactor) -> list[list[Any]]:
    """[name, arguments, result] in a total order. Strings are redacted, arguments too, so that a replay asks alike."""
    asked: dict[tuple[Any, ...], Any] = {}
    for (name, *arguments), result in machine.observations.items():
        key = observation_key(name, arguments)
        if key not in asked or longer(result, asked[key]):
            asked[key] = result
    return redactor.observations((key[0], list(key[1:]), result) for key, result in asked.items())
