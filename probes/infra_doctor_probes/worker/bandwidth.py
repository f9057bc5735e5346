"""Copies: between host and device, within a device, between devices, within the host.

Bytes are those moved one way, in B/s, as nvbandwidth counts them: a copy within a device reads and writes each byte and counts it
once. A sample is a number of copies of one buffer between two events, so that a launch's cost does not show; the value is the
median of the samples. Every buffer holds random bytes, and what arrived is compared with what was sent."""

import time

from . import accelerator as acc
from .serve import Skipped

SAMPLES = 5
# A sample moves at least this much, so that small buffers are copied often enough to be timed.
SAMPLE_BYTES = 1 << 30
MOST_COPIES = 1024


def copies_for(size, sample_bytes):
    """How many copies a sample holds."""
    return max(4, min(MOST_COPIES, sample_bytes // size))


def random_bytes(size, device, pinned=False):
    """A buffer of random bytes."""
    torch = acc.torch()
    words = torch.randint(-(2**62), 2**62, (max(1, size // 8),), dtype=torch.int64, device=device)
    return words.pin_memory() if pinned else words


def moved(source, target, non_blocking):
    """(what copies one buffer to the other, what tells whether the bytes arrived)."""
    torch = acc.torch()
    return (lambda: target.copy_(source, non_blocking=non_blocking)), (lambda: torch.equal(target.cpu(), source.cpu()))


def measure(report, device, name, pair, method, sample_bytes, **more):
    """Time copies of a (source, target, non_blocking) and report the bytes over it."""
    size = pair[0].numel() * pair[0].element_size()
    copy, arrived = moved(*pair)
    copies = copies_for(size, sample_bytes)
    pair[1].zero_()

    def sample():
        for _ in range(copies):
            copy()

    device.timed(sample)  # clocks and page tables settle
    began = time.monotonic_ns()
    samples = [size * copies / device.timed(sample) for _ in range(SAMPLES)]
    ended = time.monotonic_ns()
    device.synchronize()
    report.result(name, acc.median(samples), "B/s", samples, began, ended, size_bytes=size, verified=bool(arrived()),
                  method=method, **more)  # fmt: skip


def host_device(report, device, sizes, memory="pinned", sample_bytes=SAMPLE_BYTES, both=True):
    """From host to device, back, and both at once, for each size in bytes."""
    here = acc.accelerator(device)
    if here.kind == "cpu":
        raise Skipped("a CPU has no other memory to copy to")
    torch = acc.torch()
    pinned = memory == "pinned"
    how = "cudaMemcpyAsync" if here.kind == "cuda" else here.kind
    method = "torch copy_ (%s), %s host memory" % (how, memory)
    for size in sizes:
        host = random_bytes(size, "cpu", pinned=pinned)
        there = torch.zeros_like(host, device=here.device)
        back = torch.zeros_like(host).pin_memory() if pinned else torch.zeros_like(host)
        label = "%s %d" % (memory, size)
        measure(report, here, "host_to_device " + label, (host, there, pinned), method, sample_bytes)
        measure(report, here, "device_to_host " + label, (there, back, pinned), method, sample_bytes)
        if both and pinned:
            both_ways(report, here, (host, there, back), label, method, sample_bytes)
        del host, there, back
        here.free_memory()


def both_ways(report, here, buffers, label, method, sample_bytes):
    """Up and down at the same time on two streams; the value is the sum of both directions."""
    torch = acc.torch()
    host, there, back = buffers
    size = host.numel() * host.element_size()
    copies = copies_for(size, sample_bytes)
    up, down, source = here.stream(), here.stream(), torch.empty_like(there)
    source.copy_(host)
    there.zero_()
    back.zero_()
    here.synchronize()

    def sample():
        current = here.module.current_stream(here.device)
        up.wait_stream(current)
        down.wait_stream(current)
        for _ in range(copies):
            with here.module.stream(up):
                there.copy_(host, non_blocking=True)
            with here.module.stream(down):
                back.copy_(source, non_blocking=True)
        current.wait_stream(up)
        current.wait_stream(down)

    here.timed(sample)
    began = time.monotonic_ns()
    samples = [2 * size * copies / here.timed(sample) for _ in range(SAMPLES)]
    ended = time.monotonic_ns()
    right = torch.equal(there.cpu(), back)
    report.result("host_device_both_ways " + label, acc.median(samples), "B/s", samples, began, ended, size_bytes=size,
                  verified=bool(right), method=method + ", two streams, sum of both directions")  # fmt: skip


def device_local(report, device, sizes, sample_bytes=SAMPLE_BYTES):
    """Within the device's memory."""
    here = acc.accelerator(device)
    torch = acc.torch()
    for size in sizes:
        source = random_bytes(size, here.device)
        target = torch.zeros_like(source)
        measure(report, here, "device_local %d" % size, (source, target, True), "torch copy_, bytes counted once",
                max(sample_bytes, 8 * size))  # fmt: skip
        del source, target
        here.free_memory()


def peer(report, device, other, sizes, sample_bytes=SAMPLE_BYTES):
    """From `device` to `other`, driven by the first (write) and by the second (read)."""
    torch = acc.torch()
    if device["kind"] != "cuda":
        raise Skipped("copies between devices are measured on torch.cuda devices")
    direct = torch.cuda.can_device_access_peer(device["index"], other["index"])
    method = "torch copy_ between devices, %s" % ("direct" if direct else "through the host")
    for size in sizes:
        sender, receiver = acc.accelerator(device), acc.accelerator(other)
        source = random_bytes(size, sender.device)
        target = torch.zeros_like(source, device=receiver.device)
        for name, driver in (("write", sender), ("read", receiver)):
            driver.activate()
            with torch.cuda.stream(driver.stream()):
                measure(report, driver, "peer_%s %d" % (name, size), (source, target, True), method,
                        max(sample_bytes, 4 * size), other=other["index"])  # fmt: skip
        del source, target
        sender.free_memory()
        receiver.free_memory()


def host_memory(report, size, threads=0):
    """The host's own memory: STREAM's triad a = b + s * c by torch's threads; three arrays of `size` bytes each, each byte
    counted as STREAM does (two read, one written)."""
    torch = acc.torch()
    if threads:
        torch.set_num_threads(threads)
    here = acc.Accelerator("cpu")
    count = size // 8
    b, c = (torch.rand(count, dtype=torch.float64) for _ in range(2))
    a = torch.empty_like(b)
    here.timed(lambda: torch.add(b, c, alpha=3.0, out=a))
    began = time.monotonic_ns()
    samples = [3 * size / here.timed(lambda: torch.add(b, c, alpha=3.0, out=a)) for _ in range(2 * SAMPLES)]
    ended = time.monotonic_ns()
    right = bool(torch.allclose(a, b + 3.0 * c, rtol=1e-14, atol=0.0))  # a fused product rounds once less
    report.result("triad %d" % size, acc.median(samples), "B/s", samples, began, ended, size_bytes=size, verified=right,
                  method="STREAM triad by torch.add, %d threads" % torch.get_num_threads())  # fmt: skip
