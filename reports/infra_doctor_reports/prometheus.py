"""Metrics for Prometheus, as a file for node_exporter's textfile collector: `--format prometheus=DIR/infra_doctor.prom`.

The text format is https://prometheus.io/docs/instrumenting/exposition_formats/, names and units follow
https://prometheus.io/docs/practices/naming/ and what `promtool check metrics` asks for. The collector
(https://github.com/prometheus/node_exporter#textfile-collector) refuses a whole file for one sample that stands in it twice
or carries a time of its own. Everything is a gauge, as a run counts nothing up; labels hold ids, statuses, the policy's keys,
names of benchmarks and keys of devices, never titles, paths or host names. What is waived does not count."""

import math
from collections.abc import Iterable
from typing import Any

from infra_doctor.plugin import (
    DEVICE_KINDS,
    STATUS_RANK,
    Finding,
    Measurement,
    Report,
    ReportFormat,
    Status,
    printable,
    required_unseen,
    shortened,
)

LABEL_CAP = 120
POLICY = "policy:"
# The findings that say whether a line of the policy is met.
HELD_AGAINST = frozenset({"REQUIREMENT", "THRESHOLD"})
# Base unit of a measurement -> the end of the metric's name. Others share one metric and have their unit as a label.
UNITS = {
    "B/s": "bytes_per_second",
    "FLOP/s": "flops_per_second",
    "OP/s": "operations_per_second",
    "s": "seconds",
    "B": "bytes",
}

Labels = tuple[tuple[str, str], ...]
Samples = dict[Labels, float]


def render(report: Report, options: dict[str, Any]) -> str:
    """The file; nothing in the options changes it."""
    return "".join(metric(name, text, samples) for name, text, samples in metrics(report) if samples)


def metrics(report: Report) -> Iterable[tuple[str, str, Samples]]:
    """(name, help, samples), in the order of the file."""
    live = [f for f in report.findings if f.waived is None]
    yield "info", "The infra-doctor that looked.", {labels(version=report.tool.version): 1}
    yield "last_run_timestamp_seconds", "When it looked, in seconds since 1970.", _moment(report.created)
    yield "run_duration_seconds", "How long it took to look and judge.", _duration(report)
    yield (
        "up", "1 where every accelerator device that is there, and all that the policy requires, could be looked at.",
        {(): float(not any(map(required_unseen, live)))},
    )  # fmt: skip
    yield "findings", "Findings that count, by status.", _tally(live, by_id=False)
    yield (
        "finding",
        "Findings that count, by id, status and severity; those that do not apply here are left out.",
        (_tally([f for f in live if f.status is not Status.SKIP], by_id=True)),
    )
    yield "waived_findings", "Findings that a waiver or baseline lets pass, by id.", _waived(report.findings)
    met, known = _requirements(live)
    yield "requirement_met", "Whether a line of the policy is met: 1 or 0. Absent where it could not be told.", met
    yield "requirement_known", "Whether it could be told if a line of the policy is met: 1 or 0.", known
    yield "devices", "Accelerator devices that were found, by kind.", _devices(report)
    yield from _measurements(report.measurements)


def metric(name: str, text: str, samples: Samples) -> str:
    """One metric family: HELP, TYPE and its samples."""
    whole = f"infra_doctor_{name}"
    lines = [f"# HELP {whole} {text}\n# TYPE {whole} gauge\n"]
    for pairs, value in samples.items():
        inner = ",".join(f'{key}="{escaped(said)}"' for key, said in pairs)
        lines.append(f"{whole}{{{inner}}} {number(value)}\n" if inner else f"{whole} {number(value)}\n")
    return "".join(lines)


def labels(**values: str) -> Labels:
    """Labels in the order given; long values are cut."""
    return tuple((key, shortened(printable(value), LABEL_CAP)) for key, value in values.items())


def escaped(text: str) -> str:
    """The value of a label between its quotes."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def number(value: float) -> str:
    """A float as Go reads it."""
    if math.isfinite(value):
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


# -- what is told of a report -----------------------------------------------------------------------------------------


def _moment(created: str) -> Samples:
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(created)
        return {(): moment.timestamp()} if moment.tzinfo is not None else {}
    except (ValueError, OverflowError):  # a saved report may hold anything
        return {}


def _duration(report: Report) -> Samples:
    duration = (report.run or {}).get("duration_ns")
    return {(): duration / 1e9} if isinstance(duration, int) else {}


def _tally(findings: Iterable[Finding], *, by_id: bool) -> Samples:
    """Counts by status, those of none too; or by id, status and severity, where there is one."""
    counts: dict[tuple[str, ...], int] = {} if by_id else {(str(s),): 0 for s in STATUS_RANK}
    for f in findings:
        key = (f.id, str(f.status), str(f.severity)) if by_id else (str(f.status),)
        counts[key] = counts.get(key, 0) + 1
    if not by_id:
        return {labels(status=status): count for (status,), count in counts.items()}
    return _summed((labels(id=i, status=s, severity=v), n) for (i, s, v), n in sorted(counts.items()))


def _waived(findings: Iterable[Finding]) -> Samples:
    return _summed((labels(id=f.id), 1) for f in sorted(findings, key=lambda f: f.id) if f.waived is not None)


def _summed(pairs: Iterable[tuple[Labels, float]]) -> Samples:
    """One sample for each set of labels: two that are alike after they were cut are one."""
    found: Samples = {}
    for key, value in pairs:
        found[key] = found.get(key, 0) + value
    return found


def _requirements(findings: Iterable[Finding]) -> tuple[Samples, Samples]:
    """Met and known, by the policy's key."""
    met: Samples = {}
    known: Samples = {}
    for finding in findings:
        key = finding.subject[0] if finding.subject else ""
        if finding.id not in HELD_AGAINST or not key.startswith(POLICY):
            continue
        name = labels(key=key.removeprefix(POLICY))
        told = finding.status in {Status.PASS, Status.WARN, Status.FAIL}
        known[name] = min(known.get(name, 1), float(told))
        if told:
            met[name] = min(met.get(name, 1), float(finding.status is Status.PASS))
    return dict(sorted(met.items())), dict(sorted(known.items()))


def _devices(report: Report) -> Samples:
    found = dict.fromkeys(sorted(DEVICE_KINDS), 0)
    for component in report.components:
        if component.kind in found:
            found[component.kind] += 1
    return {labels(kind=kind): count for kind, count in found.items()}


def _measurements(measurements: Iterable[Measurement]) -> Iterable[tuple[str, str, Samples]]:
    values: dict[str, Samples] = {}
    ratios: Samples = {}
    for m in measurements:
        key = labels(benchmark=m.benchmark, name=m.name, device=m.device or "")
        suffix = UNITS.get(m.unit, "other")
        whole = key if m.unit in UNITS else (*key, *labels(unit=m.unit))
        values.setdefault(suffix, {}).setdefault(whole, m.value)
        if m.ratio is not None:
            ratios.setdefault(key, m.ratio)
    for suffix, samples in sorted(values.items()):
        yield f"measurement_{suffix}", "What was measured, by benchmark, name and device.", samples
    yield "measurement_expected_ratio", "What was measured, as a share of what is expected of the device.", ratios


FORMATS = (
    ReportFormat(
        name="prometheus",
        help="metrics for node_exporter's textfile collector",
        render=render,
        suffix=".prom",
        flag=False,
    ),
)
