"""Times the report formats: `check` with all machine-readable ones together against `check --json`, and each on its own.

    python benchmarks/formats.py [--runs 15] [--replay SNAPSHOT]

Whole processes run in turn; a ratio is the median of the ratios of neighbouring runs, so that a change of the machine's
speed hits both. The budget is the design's: all together at most 1.3 x `check --json`. Below it, the median time to render
one report in a process that is warm: the machine's own report, and one with a thousand findings."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from infra_doctor.model.plugins import ReportFormat
from infra_doctor.model.report import Report
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions

BOUND = 1.3
# HTML has a budget of its own, and text goes to people.
MACHINE_READABLE = ("json", "junit", "sarif", "github", "gitlab", "prometheus", "markdown")


def once(argv: list[str], folder: str) -> float:
    """Wall seconds of one whole process."""
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    took = time.perf_counter() - began
    if done.returncode not in (0, 1, 3):
        sys.exit(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.decode(errors='replace')}")
    return took


def milliseconds(form: ReportFormat, report: Report, folder: str, runs: int) -> float:
    """Median time to render a report."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        form.render(report, {"width": 100, "anchor": folder})
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def main() -> None:
    """Measure and print; exit code 1 over the budget."""
    parser = argparse.ArgumentParser(description="Time the report formats.")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--replay", metavar="SNAPSHOT", help="look at this snapshot instead of this machine")
    args = parser.parse_args()
    formats = {f.name: f for f in registry.load(("reports",)).reports}
    names = [n for n in MACHINE_READABLE if n in formats]
    snapshot = os.path.abspath(args.replay) if args.replay else None
    with tempfile.TemporaryDirectory() as folder:
        machine = ["--replay", snapshot] if snapshot else []
        base = [str(Path(sys.executable).parent / "infra-doctor"), "check", "--no-policy", *machine]
        plain = [*base, "--json"]
        every = [*plain, *(w for n in names if n != "json" for w in ("--format", f"{n}={n}{formats[n].suffix}"))]
        pairs = [(once(every, folder), once(plain, folder)) for _ in range(args.runs + 1)][
            1:
        ]  # one warms the page cache
        ratio = statistics.median(a / b for a, b in pairs)
        mine, other = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
        verdict = "within" if ratio <= BOUND else "OVER"
        print(f"check with {', '.join(names)}: {mine:.0f} ms / check --json: {other:.0f} ms = {ratio:.2f} "
              f"({verdict} the bound of {BOUND})")  # fmt: skip
        report = Run(RunOptions(replay=snapshot)).execute()
        copies = -(-1000 // len(report.findings))
        large = replace(report, findings=(report.findings * copies)[:1000])
        print(f"{'rendering, ms':<14}{len(report.findings):>6} findings{len(large.findings):>8} findings")
        for name in (*names, "text", "html"):
            small, big = (milliseconds(formats[name], r, folder, args.runs) for r in (report, large))
            print(f"{name:<14}{small:>15.1f}{big:>17.1f}")
    sys.exit(ratio > BOUND)


if __name__ == "__main__":
    main()
