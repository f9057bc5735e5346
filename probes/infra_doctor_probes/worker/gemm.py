"""Matrix products: how many operations a second, for each number format that the device and this torch have.

Random data (a product of zeros runs faster, as fewer bits switch); before each timed product the L2 cache is overwritten
("cold") or not ("warm"). Time is that of each product between two events; the value is the median. The product is compared with
one in float64 on sampled rows and columns."""

import time

from . import accelerator as acc

WARM_UP_S, RUN_S, LEAST, MOST = 0.25, 0.5, 5, 200
FLUSH_BYTES = 256 << 20
SAMPLED = 64
# Format -> (torch's name, largest relative error of an entry against float64 in units of the inputs' rounding).
FORMATS = {
    "fp64": ("float64", 1e-12), "fp32": ("float32", 1e-5), "tf32": ("float32", 5e-3), "fp16": ("float16", 5e-3),
    "bf16": ("bfloat16", 2e-2), "fp8": ("float8_e4m3fn", 2e-2), "int8": ("int8", 0.0),
}  # fmt: skip


def square(report, device, dtype, shapes, cold=True, seconds=RUN_S):
    """For each (m, n, k): FLOP/s (OP/s for integers) of an m×k by k×n product."""
    here = acc.accelerator(device)
    for shape in shapes:
        one(report, here, dtype, tuple(shape), cold, seconds)
        here.free_memory()


def one(report, here, dtype, shape, cold, seconds):
    """One shape."""
    m, n, k = shape
    name = "%s %dx%dx%d" % (dtype, m, n, k)
    work, check, method = product(here, dtype, m, n, k)
    if work is None:
        report.skip(name, method)
        return
    torch = acc.torch()
    flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=here.device) if cold and here.kind != "cpu" else None

    def timed():
        if flush is not None:
            flush.zero_()
        return here.timed(work)

    until = time.monotonic() + WARM_UP_S
    while time.monotonic() < until:
        here.timed(work)
    began = time.monotonic_ns()
    end, taken = time.monotonic() + seconds, []
    while len(taken) < LEAST or (time.monotonic() < end and len(taken) < MOST):
        taken.append(timed())
    ended = time.monotonic_ns()
    operations = 2.0 * m * n * k
    samples = [operations / s for s in taken]
    report.result(name, acc.median(samples), "OP/s" if dtype == "int8" else "FLOP/s", samples, began, ended, dtype=dtype,
                  shape=list(shape), verified=check(), cache="cold" if flush is not None else "warm",
                  method=method + (", L2 overwritten before each" if flush is not None else ""))  # fmt: skip


def product(here, dtype, m, n, k):
    """(work, check, method); (None, None, why) where this cannot be measured here."""
    torch = acc.torch()
    name, tolerance = FORMATS[dtype]
    if not hasattr(torch, name):
        return None, None, "torch %s has no %s" % (torch.__version__, name)
    kind = getattr(torch, name)
    generator = torch.Generator(device=here.device).manual_seed(1)

    def normal(rows, columns):
        return torch.randn(rows, columns, device=here.device, generator=generator, dtype=torch.float32)

    if dtype == "int8":
        a = torch.randint(-8, 8, (m, k), dtype=torch.int8, device=here.device, generator=generator)
        # cuBLASLt's integer product wants the second matrix column-major.
        b = torch.randint(-8, 8, (n, k), dtype=torch.int8, device=here.device, generator=generator).t()
        out = torch.empty(m, n, dtype=torch.int32, device=here.device)
        work, method = (lambda: torch._int_mm(a, b, out=out)), "torch._int_mm, B column-major"
    elif dtype == "fp8":
        a = normal(m, k).to(kind)
        b = normal(n, k).to(kind).t()
        scale = torch.ones((), device=here.device)
        out = torch.empty(m, n, dtype=torch.bfloat16, device=here.device)
        how = {"scale_a": scale, "scale_b": scale, "out_dtype": torch.bfloat16, "use_fast_accum": True, "out": out}
        work = lambda: torch._scaled_mm(a, b, **how)  # noqa: E731
        method = "torch._scaled_mm, e4m3 by e4m3 to bf16, fast accumulation"
    else:
        a, b = normal(m, k).to(kind), normal(k, n).to(kind)
        out = torch.empty(m, n, dtype=kind, device=here.device)
        if dtype in ("tf32", "fp32") and here.kind == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        elif dtype == "tf32":
            return None, None, "TF32 is a format of NVIDIA GPUs"
        work, method = (lambda: torch.mm(a, b, out=out)), "torch.mm"
    try:
        work()
        here.synchronize()
    except (RuntimeError, NotImplementedError, TypeError) as error:
        if "out of memory" in str(error).lower():
            raise
        return None, None, "not supported here: %s" % str(error).split("\n")[0][:200]

    def check():
        """Whether sampled entries are those of float64, to the format's rounding over k terms."""
        rows = torch.randint(0, m, (SAMPLED,), device="cpu").to(here.device)
        columns = torch.randint(0, n, (SAMPLED,), device="cpu").to(here.device)
        exact = a[rows].double() @ b.t()[columns].double().t()
        seen = out[rows][:, columns].double()
        scale_of = (a[rows].double().norm(dim=1)[:, None] * b.t()[columns].double().norm(dim=1)[None, :]).clamp(
            min=1e-30
        )
        return bool(((seen - exact).abs() / scale_of).max().item() <= tolerance)

    return work, check, method
