"""The CUDA libraries that installed frameworks really load: the copies that the simulated loader gives them, no others.

A copy that lies on the machine and is loaded by nothing says nothing. Where frameworks, or import orders, get several copies
each of them counts."""

from collections.abc import Callable, Iterator
from typing import Any

from infra_doctor.plugin import CheckContext, Component, Evidence, EvidenceKind, Observed, PolicyKey, SpecKind
from infra_doctor_probes.detect.libraries import FrameworkImport
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.opened_later import FrameworkLibraries
from infra_doctor_probes.in_target import copies, titled, wheel_name
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.onnxruntime_session import PROVIDERS
from infra_doctor_probes.requirements.common import ENVIRONMENT, absent, unseen

LOOKING = ("python.wheels", "libraries", "onnxruntime.providers", ENVIRONMENT)
FILES = ("PY-CLOBBER-NV", "LDPATH-SHADOW", "PY-PINS")


def loaded(kind: str) -> Callable[[CheckContext, str], Iterator[Observed]]:
    """The versions of a library (a component kind) that something loads."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        used = [c for c in ctx.by_kind(kind) if c.loaded_by]
        for copy in used:
            yield Observed(value=copy.version or "", subject=(copy.key,), evidence=use_of(copy), reason=said(copy))
        if not used:
            yield nothing_loads(ctx, kind)

    return observe


def tensorrt(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The TensorRT of ONNX Runtime's provider. Which copy that takes no probe keeps: where there is one, it is that."""
    found = ctx.by_kind("tensorrt")
    opened = [x for x in ctx.facts(ProviderLoad) if x.name == PROVIDERS["tensorrt"] and x.opens]
    if any(c.loaded_by for c in found) or not opened or not found:
        yield from loaded("tensorrt")(ctx, "")
    elif len(found) == 1:
        who = f"{titled(ctx, opened[0].wheel)} (import order: {opened[0].order})"
        yield Observed(
            value=found[0].version or "", subject=(found[0].key,), evidence=found[0].evidence[:2],
            reason=f"{found[0].name} {found[0].version or 'of unknown version'} is the only copy that {who} can load",
        )  # fmt: skip
    else:
        yield unseen(f"which one the loader takes is not known: {copies(ctx, 'tensorrt')}", *(c.key for c in found))


def use_of(copy: Component) -> tuple[Evidence, ...]:
    """Where its version stands, and who loads it, and why that copy."""
    use = copy.loaded_by[0]
    why = f"loaded by {wheel_name(use.consumer)} (import order: {use.order}): {use.via}"
    return (Evidence(kind=EvidenceKind.ELF, source=copy.location or copy.key, text=why), *copy.evidence[1:2])


def said(copy: Component) -> str:
    """`libcudnn 9.19.0 of wheel nvidia-cudnn-cu13 is loaded by torch`."""
    names = ", ".join(dict.fromkeys(wheel_name(u.consumer) for u in copy.loaded_by))
    return f"{copy.name} {copy.version or 'of unknown version'} ({copy.origin or copy.location}) is loaded by {names}"


def nothing_loads(ctx: CheckContext, kind: str) -> Observed:
    """Why no copy is loaded: it is missing, it cannot be told, or nobody wants it."""
    plays: list[Any] = [*ctx.facts(FrameworkImport), *ctx.facts(ProviderLoad), *ctx.facts(FrameworkLibraries)]
    for play in plays:
        name = next((m.soname for m in play.missing if of_kind(m.soname, kind)), None)
        consumer: str = play.wheel if isinstance(play, ProviderLoad) else play.consumer
        if name is not None:
            return absent(ctx, LOOKING, f"{titled(ctx, consumer)} needs {name}, and the loader does not find it")
    unknown = next((p.unknown for p in plays if (p.opens if isinstance(p, ProviderLoad) else p.loads) is None), None)
    if unknown is not None:
        return unseen(unknown or "what the frameworks load could not be told")
    lie = copies(ctx, kind)
    return absent(ctx, LOOKING, "no framework that was looked at loads it" + (f"; here lie {lie}" if lie else ""))


def of_kind(soname: str, kind: str) -> bool:
    """Whether this file is the library, or a part of it."""
    name = library_name(soname)
    return name is not None and name.kind in {kind, f"{kind}-sub"}


KEYS = (
    PolicyKey(key="cudnn", title="the cuDNN that frameworks load", kind=SpecKind.VERSION, observe=loaded("cudnn"),
              example='">=9.10"', probes=LOOKING, explained_by=("CUDNN-MISSING", "CUDNN-MIX", *FILES), offered=True),
    PolicyKey(key="nccl", title="the NCCL that frameworks load", kind=SpecKind.VERSION, observe=loaded("nccl"),
              example='">=2.26"', probes=LOOKING, explained_by=FILES, offered=True),
    PolicyKey(key="cublas", title="the cuBLAS that frameworks load", kind=SpecKind.VERSION, observe=loaded("cublas"),
              example='">=12.8"', probes=LOOKING, explained_by=("CUDA-MAJOR", *FILES)),
    PolicyKey(key="cudart", title="the CUDA runtime that frameworks load", kind=SpecKind.VERSION, observe=loaded("cudart"),
              example='">=12.8"', probes=LOOKING, explained_by=("CUDA-MAJOR", *FILES)),
    PolicyKey(key="tensorrt", title="the TensorRT that ONNX Runtime loads (the bindings are package.tensorrt)",
              kind=SpecKind.VERSION, observe=tensorrt, example='"==10.*"', probes=LOOKING,
              explained_by=("TRT", *FILES)),
)  # fmt: skip
