"""What it costs to give work to a device, and what runs at the same time.

Latencies are seconds per call; an overlap is the share of the shorter of two pieces of work that the longer one hid; kernels in
flight are the time of n waiting kernels one after the other over their time on n streams. Only accelerators have streams."""

import time

from . import accelerator as acc
from .serve import Skipped

CALLS, GRAPH_NODES, SAMPLES = 1000, 500, 7
STREAMS = (1, 2, 4, 8, 16, 32, 64)
WAIT_CYCLES = 10000000  # about five milliseconds: long against sixty-four launches
COPY_BYTES, SQUARE = 256 << 20, 6144


def device_of(device):
    """The accelerator; a CPU has none of this."""
    here = acc.accelerator(device)
    if here.kind == "cpu":
        raise Skipped("a CPU has no streams")
    return here


def host_seconds(here, work, count):
    """Seconds per call from the first to the end of the last, by the host's clock."""
    here.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        work()
    here.synchronize()
    return (time.perf_counter() - began) / count


def sampled(report, name, measure, method, unit="s", check=None, **more):
    """The median of SAMPLES measurements, after one that does not count. `check()` says afterwards whether the work was done."""
    measure()
    began = time.monotonic_ns()
    samples = [measure() for _ in range(SAMPLES)]
    ended = time.monotonic_ns()
    right = check is None or bool(check())
    report.result(name, acc.median(samples), unit, samples, began, ended, verified=right, method=method, **more)


def launch(report, device):
    """A kernel of torch, an empty kernel through the driver, a node of a replayed graph."""
    here = device_of(device)
    torch = acc.torch()
    x = torch.zeros(1, device=here.device)

    def add():
        x.add_(1)

    add()
    x.zero_()
    sampled(report, "launch_eager", lambda: host_seconds(here, add, CALLS), "torch add_ on one element, back to back",
            check=lambda: int(x.item()) == CALLS * (SAMPLES + 1))  # fmt: skip
    if here.kind == "cuda" and not torch.version.hip:
        empty_kernel(report, here)
    else:
        report.skip("launch_empty", "an empty kernel is launched through NVIDIA's driver only")
    graph(report, here, x, add)


def empty_kernel(report, here):
    """Without torch's own cost: cuLaunchKernel of a kernel that returns at once, through ctypes."""
    from .driver import EmptyKernel

    kernel = EmptyKernel()
    stream = here.module.current_stream(here.device).cuda_stream
    call = kernel.prepared(stream)
    own = per_call(kernel.nothing)
    sampled(report, "launch_empty", lambda: host_seconds(here, call, CALLS),
            "cuLaunchKernel through ctypes, back to back; a call of ctypes alone takes %.2f us" % (own * 1e6))  # fmt: skip


def per_call(work):
    """Seconds of one call by the clock, the least of several rounds."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(CALLS):
            work()
        rounds.append((time.perf_counter() - began) / CALLS)
    return min(rounds)


def graph(report, here, x, add):
    """A captured graph of additions: device time per node."""
    if not hasattr(here.module, "CUDAGraph") and not hasattr(here.module, "NPUGraph"):
        report.skip("graph_node", "torch has no graphs for %s" % here.kind)
        return
    made = getattr(here.module, "CUDAGraph", None) or here.module.NPUGraph
    captured = made()
    # torch's own capture stream belongs to the first device that captured; on another one the graph would stay empty.
    with here.module.graph(captured, stream=here.stream()):
        for _ in range(GRAPH_NODES):
            add()
    x.zero_()
    sampled(report, "graph_node", lambda: here.timed(captured.replay) / GRAPH_NODES,
            "replay of a graph of %d one-element additions, device time per node" % GRAPH_NODES,
            check=lambda: int(x.item()) == GRAPH_NODES * (SAMPLES + 1))  # fmt: skip


def costs(report, device):
    """Synchronisation, events, the allocator."""
    here = device_of(device)
    torch = acc.torch()
    here.synchronize()
    sampled(report, "synchronize_idle", lambda: per_call(here.synchronize), "synchronize of an idle device")
    event, stream = here.module.Event(enable_timing=True), here.module.current_stream(here.device)
    sampled(
        report,
        "event_record",
        lambda: host_seconds(here, lambda: event.record(stream), CALLS),
        "record of a timing event",
    )

    def resolution():
        start, end = here.module.Event(enable_timing=True), here.module.Event(enable_timing=True)
        start.record(stream)
        end.record(stream)
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    sampled(report, "event_pair", resolution, "elapsed time of two events with nothing between them")
    sampled(report, "allocate_cached", lambda: per_call(lambda: torch.empty(1 << 20, dtype=torch.uint8, device=here.device)),
            "torch.empty of 1 MiB from the allocator's cache, freed at once")  # fmt: skip

    def fresh():
        here.free_memory()
        here.synchronize()
        began = time.perf_counter()
        block = torch.empty(256 << 20, dtype=torch.uint8, device=here.device)
        taken = time.perf_counter() - began
        del block
        return taken

    sampled(report, "allocate_fresh", fresh, "torch.empty of 256 MiB from the device")


def in_flight(report, device, streams=STREAMS):
    """Waiting kernels of one block each on n streams."""
    here = device_of(device)
    wait = getattr(here.module, "_sleep", None)
    if wait is None:
        raise Skipped("torch has no waiting kernel for %s" % here.kind)
    wait(WAIT_CYCLES)
    here.synchronize()
    one = acc.median([here.timed(lambda: wait(WAIT_CYCLES)) for _ in range(SAMPLES)])
    for count in streams:
        listed = [here.stream() for _ in range(count)]

        def together(listed=listed):
            current = here.module.current_stream(here.device)
            for stream in listed:
                stream.wait_stream(current)
                with here.module.stream(stream):
                    wait(WAIT_CYCLES)
            for stream in listed:
                current.wait_stream(stream)

        sampled(report, "in_flight streams %d" % count, lambda f=together, n=count: n * one / here.timed(f),
                "torch.cuda._sleep on %d streams against one after the other" % count, unit="kernels", streams=count)  # fmt: skip


def overlap(report, device, copy_bytes=COPY_BYTES, square=SQUARE):
    """A matrix product while the host's memory is copied, in either direction; and on one stream, where nothing can overlap."""
    here = device_of(device)
    torch = acc.torch()
    a = torch.randn(square, square, device=here.device, dtype=torch.float16)
    b, out = torch.randn_like(a), torch.empty_like(a)
    host = torch.empty(copy_bytes // 8, dtype=torch.int64).random_().pin_memory()
    there = torch.empty_like(host, device=here.device)

    def product():
        torch.mm(a, b, out=out)

    copies = {"host_to_device": lambda: there.copy_(host, non_blocking=True),
              "device_to_host": lambda: host.copy_(there, non_blocking=True)}  # fmt: skip
    product()
    there.copy_(host)
    for name in sorted(copies):
        copy = copies[name]
        copying = acc.median([here.timed(copy) for _ in range(SAMPLES)])
        single = acc.median([here.timed(product) for _ in range(SAMPLES)])
        repeats = max(1, round(copying / single))

        def work(repeats=repeats):
            for _ in range(repeats):
                product()

        working = acc.median([here.timed(work) for _ in range(SAMPLES)])
        side = here.stream()

        def both(copy=copy, work=work, side=side):
            current = here.module.current_stream(here.device)
            side.wait_stream(current)
            with here.module.stream(side):
                copy()
            work()
            current.wait_stream(side)

        def serial(copy=copy, work=work):
            copy()
            work()

        for kind, together in (("two_streams", both), ("one_stream", serial)):
            sampled(report, "overlap %s %s" % (name, kind),
                    lambda f=together, c=copying, w=working: (c + w - here.timed(f)) / min(c, w),
                    "pinned copy of %d MiB beside float16 products of %d" % (copy_bytes >> 20, square), unit="share")  # fmt: skip
    here.free_memory()
