"""Collective operations between processes, one per device: time, bandwidth, and every element checked.

Sizes, algorithm bandwidth and bus bandwidth are those of nccl-tests (doc/PERFORMANCE.md there): the size is that of the larger
buffer of a rank, `algbw` is it over the time, `busbw` is algbw times what the operation has to move over the slowest link.
The time is the host's, from a barrier to the end of all iterations on a rank's device, and the mean of all ranks."""

import os
import time

from . import accelerator as acc
from .serve import Skipped

BACKENDS = {"cuda": "nccl", "npu": "hccl", "xpu": "xccl", "cpu": "gloo"}
WARM_UP, SAMPLES = 3, 5
# A sample takes about this long, so that a small message is sent often enough to be timed.
SAMPLE_S, MOST = 0.05, 400
# Sums of these stay exact in float32: no rank adds more than 2^24 / 8 values of at most 7.
PATTERN = 7


class Buffers:
    """What one operation sends and receives for a size in bytes, and what must arrive. `count` is in float32 elements and
    divides by the number of ranks."""

    def __init__(self, name, size, rank, ranks, device):
        torch = acc.torch()
        self.torch, self.name, self.rank, self.ranks, self.device = torch, name, rank, ranks, device
        self.count = max(ranks, size // 4 // ranks * ranks)
        share = self.count // ranks
        self.size = self.count * 4
        whole, part = (self.count,), (share,)
        self.send = self.pattern(rank, part if name == "all_gather" else whole)
        self.receive = {
            "all_reduce": self.send, "broadcast": self.send, "send_recv": torch.zeros(whole, device=device),
            "all_gather": torch.zeros(whole, device=device), "reduce_scatter": torch.zeros(part, device=device),
            "all_to_all": torch.zeros(whole, device=device),
        }[name]  # fmt: skip

    def pattern(self, rank, shape):
        """Small whole numbers that differ from rank to rank and from element to element."""
        numbers = self.torch.arange(shape[0], device=self.device, dtype=self.torch.float32)
        return (numbers + rank * 3).remainder(PATTERN)

    def reset(self):
        """The state before an operation whose result is then checked."""
        if self.name in ("all_reduce", "broadcast"):
            self.send.copy_(self.pattern(self.rank, self.send.shape))
        else:
            self.receive.zero_()

    def wanted(self):
        """What `receive` must hold after one operation."""
        torch, ranks, share = self.torch, range(self.ranks), self.count // self.ranks
        if self.name == "all_reduce":
            return sum(self.pattern(r, self.send.shape) for r in ranks)
        if self.name == "broadcast":
            return self.pattern(0, self.send.shape)
        if self.name == "send_recv":
            return self.pattern((self.rank - 1) % self.ranks, self.send.shape)
        if self.name == "all_gather":
            return torch.cat([self.pattern(r, (share,)) for r in ranks])
        parts = [self.pattern(r, (self.count,))[self.rank * share : (self.rank + 1) * share] for r in ranks]
        return sum(parts) if self.name == "reduce_scatter" else torch.cat(parts)


def operation(dist, name, buffers):
    """The call of torch.distributed."""
    send, receive, ranks, rank = buffers.send, buffers.receive, buffers.ranks, buffers.rank
    if name == "all_reduce":
        return lambda: dist.all_reduce(send)
    if name == "broadcast":
        return lambda: dist.broadcast(send, src=0)
    if name == "all_gather":
        return lambda: dist.all_gather_into_tensor(receive, send)
    if name == "reduce_scatter":
        return lambda: dist.reduce_scatter_tensor(receive, send)
    if name == "all_to_all":
        return lambda: dist.all_to_all_single(receive, send)

    def around():
        ops = [dist.P2POp(dist.isend, send, (rank + 1) % ranks), dist.P2POp(dist.irecv, receive, (rank - 1) % ranks)]
        for work in dist.batch_isend_irecv(ops):
            work.wait()

    return around


def factor(name, ranks):
    """busbw over algbw."""
    if name == "all_reduce":
        return 2.0 * (ranks - 1) / ranks
    return 1.0 if name in ("broadcast", "send_recv") else float(ranks - 1) / ranks


def measure(report, kind, operations, sizes, timeout_s=60):
    """Every operation at every size, in all processes of the group; rank 0 reports."""
    import datetime

    torch = acc.torch()
    import torch.distributed as dist

    backend = BACKENDS[kind]
    if not dist.is_available() or not getattr(dist, "is_%s_available" % backend, lambda: True)():
        raise Skipped("this torch has no %s" % backend)
    local = int(os.environ["LOCAL_RANK"])
    here = acc.accelerator({"kind": kind, "index": local})
    extra = {"device_id": here.device} if kind == "cuda" else {}
    # A file as the meeting place needs no port, which another program could take in between.
    place = {name: int(os.environ[variable]) for name, variable in (("rank", "RANK"), ("world_size", "WORLD_SIZE"))}
    dist.init_process_group(backend, init_method="file://" + os.environ["INFRA_DOCTOR_STORE"],
                            timeout=datetime.timedelta(seconds=timeout_s), **place, **extra)  # fmt: skip
    try:
        rank, ranks = dist.get_rank(), dist.get_world_size()
        version = ".".join(map(str, torch.cuda.nccl.version())) if backend == "nccl" else ""
        for name in operations:
            for size in sizes:
                one(report, dist, here, backend + (" " + version if version else ""), name, size, rank, ranks)
                here.free_memory()
    finally:
        dist.destroy_process_group()


def one(report, dist, here, library, name, size, rank, ranks):
    """One operation at one size."""
    torch = acc.torch()
    buffers = Buffers(name, size, rank, ranks, here.device)
    call = operation(dist, name, buffers)
    try:
        for _ in range(WARM_UP):
            call()
        here.synchronize()
    except (RuntimeError, NotImplementedError) as error:
        if "not support" not in str(error) and "not implemented" not in str(error).lower():
            raise
        if rank == 0:
            report.skip("%s %d" % (name, size), "%s: %s" % (library, str(error).split("\n")[0][:200]))
        return
    buffers.reset()
    call()
    here.synchronize()
    right = torch.tensor([1.0 if torch.equal(buffers.receive, buffers.wanted()) else 0.0], device=here.device)
    dist.all_reduce(right, op=dist.ReduceOp.MIN)

    def seconds(count):
        dist.barrier()
        here.synchronize()
        began = time.perf_counter()
        for _ in range(count):
            call()
        here.synchronize()
        mean = torch.tensor([(time.perf_counter() - began) / count], device=here.device, dtype=torch.float64)
        dist.all_reduce(mean)
        return float(mean.item()) / ranks

    count = max(1, min(MOST, int(SAMPLE_S / max(seconds(2), 1e-7))))
    agreed = torch.tensor([count], device=here.device)
    dist.broadcast(agreed, src=0)  # all ranks must make the same calls
    count = int(agreed.item())
    began = time.monotonic_ns()
    times = [seconds(count) for _ in range(SAMPLES)]
    ended = time.monotonic_ns()
    if rank == 0:
        bus = [factor(name, ranks) * buffers.size / t for t in times]
        middle = acc.median(times)
        report.result("%s %d" % (name, size), acc.median(bus), "B/s", bus, began, ended, size_bytes=buffers.size, ranks=ranks,
                      verified=bool(right.item() == 1.0), time_s=middle, algbw=buffers.size / middle,
                      method="torch.distributed over %s, bus bandwidth as nccl-tests counts it" % library)  # fmt: skip
