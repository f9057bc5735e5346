"""An environment of 500 distributions and 200,000 files: time and memory of what the doctor asks about it.

    python benchmarks/large_environment.py [--distributions 500] [--files 200000] [--shared 300] [--environments 4]

Writes the .dist-info folders with their RECORDs (and only the contested files: the others are never touched by a scan)
into a temporary folder, then asks in a fresh process, and prints one line per question: best of five, peak RSS. At last
the whole `check` of a virtual environment with them, beside one that is empty: wall time, peak RSS of the whole process; and
`check --all-pythons` of several such environments in a home directory of their own.
The bounds are those of the design: 1 s more and 150 MiB for the whole environment, 1 s for each of several."""

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ASK = """
import json, resource, sys, time
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from infra_doctor.machine.agent import Agent
best = None
for _ in range(int(sys.argv[3])):
    start = time.perf_counter()
    result = Agent("/").ask(sys.argv[1], json.loads(sys.argv[2]))
    took = time.perf_counter() - start
    best = took if best is None else min(best, took)
size = {"records": lambda: [sum(n for _, n in result["file_counts"]), len(result["contested"]), len(result["errors"])],
        "distributions": lambda: [len(result), sum("error" in d for d in result)]}[sys.argv[1]]()
print(json.dumps([best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, size]))
"""


def digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def build(site: Path, distributions: int, files: int, shared: int) -> None:
    """The tree. Every tenth distribution and its neighbour claim `shared` files with different digests in all."""
    per_distribution = files // distributions
    for number in range(distributions):
        name = f"package_{number:03d}"
        info = site / f"{name}-1.{number}.0.dist-info"
        info.mkdir(parents=True)
        requires = "".join(f"Requires-Dist: package-{i:03d} (>=1.0)\n" for i in range(number % 12))
        classifiers = "".join(f"Classifier: Programming Language :: Python :: 3.{i}\n" for i in range(8, 15))
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: package-{number:03d}\nVersion: 1.{number}.0\n{classifiers}"
            f"Requires-Python: >=3.9\n{requires}\n# Package\n" + "A line of its description.\n" * 200
        )
        (info / "WHEEL").write_text(
            "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_28_x86_64\n"
        )
        (info / "INSTALLER").write_text("pip\n")
        (info / "top_level.txt").write_text(name + "\n")
        rows = []
        contested = shared * 2 // max(1, distributions // 5) if number % 10 < 2 else 0
        for i in range(contested):
            path = f"contested_{number // 10:03d}/module_{i:04d}.py"
            data = f"# {name} {i}\n".encode() * 50
            (site / path).parent.mkdir(exist_ok=True)
            (site / path).write_bytes(data)
            rows.append(f"{path},{digest(data)},{len(data)}\n")
        for i in range(per_distribution - contested - 5):
            ending = ".so" if i % 100 == 99 else ".py"
            row_digest = digest(f"{number} {i}".encode())
            rows.append(
                f"{name}/sub_package_{i % 20:02d}/a_module_with_a_name_{i:05d}{ending},{row_digest},{1000 + i}\n"
            )
        rows += [f"{info.name}/{f},{digest(b'')},1\n" for f in ("METADATA", "WHEEL", "INSTALLER", "top_level.txt")]
        rows.append(f"{info.name}/RECORD,,\n")
        (info / "RECORD").write_text("".join(rows))


def ask(question: str, argument: object, repeats: int) -> tuple[float, int, list[int]]:
    argv = [sys.executable, "-I", "-c", ASK, question, json.dumps(argument), str(repeats)]
    seconds, kib, size = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return seconds, kib, size


def check(options: list[str], runs: int, environ: dict[str, str] | None = None) -> tuple[float, float]:
    """Best wall seconds and peak MiB of `infra-doctor check` with these options."""
    argv = [sys.executable, "-m", "infra_doctor", "check", "--json", *options]
    best, peak_kib = float("inf"), 0
    for _ in range(runs):
        began = time.perf_counter()
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environ)
        _, status, usage = os.wait4(process.pid, 0)
        best, peak_kib = min(best, time.perf_counter() - began), max(peak_kib, usage.ru_maxrss)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode > 1:
            raise SystemExit(f"check ended with {process.returncode}")
    return best, peak_kib / 1024


def home(folder: str, name: str, environments: int, site: Path) -> dict[str, str]:
    """A home directory with so many environments whose site-packages hold copies of this one's metadata, and the process
    environment under which they are found."""
    for number in range(environments):
        place = f"{folder}/{name}/.virtualenvs/env{number}"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        shutil.copytree(site, next(Path(place).glob("lib/python3*/site-packages")), dirs_exist_ok=True)
    Path(folder, name).mkdir(exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "CONDA_PREFIX"}}
    return kept | {"HOME": f"{folder}/{name}", "PATH": "/usr/bin:/bin"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--distributions", type=int, default=500)
    parser.add_argument("--files", type=int, default=200000)
    parser.add_argument("--shared", type=int, default=300)
    parser.add_argument("--environments", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", f"{folder}/empty"], check=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", f"{folder}/venv"], check=True)
        site = next(Path(folder, "venv").glob("lib/python3*/site-packages"))
        build(site, options.distributions, options.files, options.shared)
        best, _, found = ask("distributions", str(site), 5)
        _, kib, _ = ask("distributions", str(site), 1)
        print(
            f"distributions: {best * 1e3:6.0f} ms  {kib / 1024:4.0f} MiB peak  {found[0]} found, {found[1]} unreadable"
        )
        total = best
        best, _, found = ask("records", [str(site)], 5)
        _, kib, _ = ask("records", [str(site)], 1)
        print(
            f"records:       {best * 1e3:6.0f} ms  {kib / 1024:4.0f} MiB peak  {found[0]} files,"
            f" {found[1]} contested, {found[2]} errors"
        )
        empty_s, _ = check(["--python", f"{folder}/empty/bin/python"], 5)
        whole_s, whole_mib = check(["--python", f"{folder}/venv/bin/python"], 5)
        print(
            f"whole check:   {whole_s * 1e3:6.0f} ms  {whole_mib:4.0f} MiB peak  "
            f"(of an empty environment {empty_s * 1e3:.0f} ms)"
        )
        none_s, _ = check(["--all-pythons"], 3, home(folder, "nobody", 0, site))
        all_s, all_mib = check(["--all-pythons"], 3, home(folder, "somebody", options.environments, site))
        each_s = (all_s - none_s) / options.environments
        print(
            f"--all-pythons: {all_s * 1e3:6.0f} ms  {all_mib:4.0f} MiB peak  {options.environments} such environments,"
            f" {each_s * 1e3:.0f} ms each (without them {none_s * 1e3:.0f} ms)"
        )
        within = (
            total + best <= 1.0 and kib <= 150 << 10 and whole_s - empty_s <= 1.0 and whole_mib <= 150 and each_s <= 1.0
        )
        print(f"{'within' if within else 'OVER'} the bounds of 1 s and 150 MiB")
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
