"""How fast `triage` reads a log of 1 GB, and how much memory that takes. The log is made here, and removed after.

    python benchmarks/triage_speed.py [MEGABYTES]

Three logs: a training's, where most lines are alike; one that repeats the same error on each line; and one of noise, where
the search finds no two lines alike. Prints seconds, MB/s, lines per second and the highest memory of the process."""

import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

USUAL = (
    "INFO step loss lr epoch iteration train eval model layer rank device memory allocated tokens per second throughput "
    "DataLoader worker NCCL Channel via P2P/IPC Ring Tree comm"
)
WORDS = USUAL.split()
ERROR = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def training(chance: random.Random) -> Iterator[str]:
    n = 0
    while True:
        n += 1
        words = " ".join(chance.choices(WORDS, k=6))
        yield (
            f"2026-11-20 10:{n % 60:02d}:{n % 59:02d},{n % 1000:03d} [rank{n % 8}] INFO trainer.py:{n % 500} - "
            f"step={n} loss={chance.random():.4f} lr={chance.random() * 1e-4:.3e} {words}\n"
        )


def errors(chance: random.Random) -> Iterator[str]:
    n = 0
    while True:
        n += 1
        yield f"[rank{n % 8}]: attempt {n}: {ERROR} ({chance.random():.6f})\n"


def noise(chance: random.Random) -> Iterator[str]:
    while True:
        yield "".join(chance.choices(LETTERS, k=76)) + "\n"


def write(path: Path, megabytes: int, lines: Callable[[random.Random], Iterator[str]]) -> None:
    """A log of this size that ends with an error."""
    some = lines(random.Random(1))
    # A piece of 32 MB of different lines is repeated: to make 1 GB of them would take longer than to read it.
    piece, size = [], 0
    while size < min(megabytes, 32) * 1_000_000:
        piece.append(next(some))
        size += len(piece[-1])
    raw = "".join(piece).encode()
    with path.open("wb") as file:
        for _ in range(max(1, megabytes * 1_000_000 // len(raw))):
            file.write(raw)
        file.write(f"{ERROR}\n".encode())


def measure(path: Path) -> tuple[float, int, int]:
    """Seconds, lines and the largest resident set in bytes of one run: of the largest of its processes."""
    import json
    import time

    began = time.perf_counter()
    command = [sys.executable, "-m", "infra_doctor", "triage", "--log-only", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    document = json.loads(done.stdout)
    assert [c["finding"] for c in document["causes"]] == ["ARCH"], document["causes"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return seconds, document["inputs"][0]["lines"], peak


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{megabytes} MB, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    for lines in (training, errors, noise):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "big.log"
            # In a process of its own: what it held would count as held by the one that is measured.
            writer = multiprocessing.get_context("spawn").Process(target=write, args=(path, megabytes, lines))
            writer.start()
            writer.join()
            seconds, count, peak = measure(path)
        size = f"{seconds:6.1f} s  {megabytes / seconds:6.1f} MB/s  {count / seconds:12,.0f} lines/s  {peak / 2**20:5.0f} MiB"
        print(f"{lines.__name__:<9} {size}")


if __name__ == "__main__":
    main()
