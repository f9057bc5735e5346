"""One face for every device that torch can use: CUDA and ROCm (`torch.cuda`), Ascend (`torch.npu`), Intel (`torch.xpu`), CPU.

Time on a device is taken by its own events; on a CPU by the clock. Works from torch 2.3 on, where `torch.accelerator` is not
there yet, so the device modules are used throughout."""

import importlib
import os
import time

TYPES = ("cuda", "npu", "xpu")
_torch = None


def torch():
    """The target's torch, with what registers further devices."""
    global _torch
    if _torch is None:
        _torch = importlib.import_module("torch")
        if os.environ.get("INFRA_DOCTOR_WORKER_NPU"):  # set where the doctor found torch_npu in the target
            importlib.import_module("torch_npu")
    return _torch


class Accelerator:
    """A device: `Accelerator("cuda", 0)`; `Accelerator("cpu")`."""

    def __init__(self, kind, index=0):
        self.kind, self.index = kind, index
        self.device = torch().device(kind, index) if kind != "cpu" else torch().device("cpu")
        self.module = getattr(torch(), kind) if kind != "cpu" else None

    def activate(self):
        """Make it the current device of this thread."""
        if self.module is not None:
            self.module.set_device(self.index)

    def synchronize(self):
        """Wait for all that was given to it."""
        if self.module is not None:
            self.module.synchronize(self.index)

    def free_memory(self):
        """Give back what the allocator keeps."""
        if self.module is not None:
            self.module.empty_cache()

    def stream(self):
        """A stream of its own, None on a CPU."""
        return self.module.Stream(device=self.device) if self.module is not None else None

    def timed(self, work, stream=None):
        """Seconds that `work()` takes on the device: between two events on its stream."""
        if self.module is None:
            began = time.perf_counter()
            work()
            return time.perf_counter() - began
        stream = stream or self.module.current_stream(self.device)
        start, end = self.module.Event(enable_timing=True), self.module.Event(enable_timing=True)
        with self.module.stream(stream):
            start.record(stream)
            work()
            end.record(stream)
        end.synchronize()
        return start.elapsed_time(end) / 1e3


def accelerator(device):
    """The device of {"kind": "cuda", "index": 0}."""
    found = Accelerator(device["kind"], device.get("index", 0))
    found.activate()
    return found


def median(values):
    """The middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
