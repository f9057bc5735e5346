"""Times `infra-doctor check` against its peers, whole processes, in turn within one run, and prints the ratios.

    python benchmarks/compare_peers.py [--runs 9] [--target PYTHON]

The peers are pinned and installed into a temporary environment: cuda-doctor 0.2.0, env-doctor 0.3.5 (its database given
as a fresh cache, so that it asks no network), and `python -m torch.utils.collect_env` of the target where torch is there.
Each figure is the median of the wall time; a ratio is the median of the ratios of neighbouring runs, so that a change of
the machine's speed hits both. The budgets are those of the design: 1.5 x cuda-doctor, 1.0 x env-doctor, 0.25 x collect_env.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEERS = ("cuda-doctor==0.2.0", "env-doctor==0.3.5")


def once(argv: list[str], environment: dict[str, str]) -> float:
    """Wall seconds of one whole process."""
    began = time.perf_counter()
    subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def peers_in(folder: Path) -> tuple[Path, dict[str, str]]:
    """A fresh environment with the pinned peers, and the variables that keep env-doctor from the network."""
    bin_dir = folder / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    subprocess.run([str(bin_dir / "pip"), "install", "-q", *PEERS], check=True)
    # env-doctor reads its cache where it is fresher than a day: give it its own bundled tables.
    code = (
        "import env_doctor.db as d, json; "
        "fresh = {d.CACHE_FILE: d._load_bundled('compatibility.json', {})}; "
        "[json.dump(v, open(k, 'w')) for k, v in fresh.items()]"
    )
    environment = {**os.environ, "HOME": str(folder)}
    subprocess.run([str(bin_dir / "python"), "-c", code], env=environment, check=True, stderr=subprocess.DEVNULL)
    return bin_dir, environment


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time infra-doctor check against its peers.")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--target", default=sys.executable, help="the Python that is judged, and whose torch is asked")
    parser.add_argument(
        "--no-peers", action="store_true", help="only torch.utils.collect_env (no index to install from)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours = [str(Path(sys.executable).parent / "infra-doctor"), "check", "--python", args.target]
        rivals: dict[str, tuple[list[str], dict[str, str], float]] = {}
        if not args.no_peers:
            bin_dir, environment = peers_in(Path(name))
            rivals["cuda-doctor 0.2.0"] = ([str(bin_dir / "cuda-doctor"), "diagnose"], environment, 1.5)
            rivals["env-doctor 0.3.5"] = ([str(bin_dir / "env-doctor"), "check"], environment, 1.0)
        has_torch = subprocess.run(
            [args.target, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"], check=False
        )
        if has_torch.returncode == 0:
            collect = [args.target, "-m", "torch.utils.collect_env"]
            rivals["torch.utils.collect_env"] = (collect, dict(os.environ), 0.25)
        bare = statistics.median(once([sys.executable, "-c", "pass"], dict(os.environ)) for _ in range(args.runs))
        version = statistics.median(once([ours[0], "--version"], dict(os.environ)) for _ in range(args.runs))
        usage = statistics.median(once([ours[0], "--help"], dict(os.environ)) for _ in range(args.runs))
        print(f"bare interpreter {bare * 1e3:.0f} ms; --version +{(version - bare) * 1e3:.0f} ms; "
              f"--help +{(usage - bare) * 1e3:.0f} ms (bound: +60 ms)")  # fmt: skip
        for rival, (argv, environment, bound) in rivals.items():
            pairs = [(once(ours, dict(os.environ)), once(argv, environment)) for _ in range(args.runs + 1)]
            del pairs[0]  # it warms the page cache
            ratio = statistics.median(a / b for a, b in pairs)
            mine, other = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
            verdict = "within" if ratio <= bound else "OVER"
            print(f"check {mine:.0f} ms / {rival} {other:.0f} ms = {ratio:.2f} ({verdict} the bound of {bound})")


if __name__ == "__main__":
    main()
