"""ONNX Runtime: its version, and whether its execution providers really load, by what the simulated loader finds.

`ort.cuda` speaks of a session that onnxruntime makes by itself. Most installations from wheels need `preload_dlls()` or an
earlier `import torch` first: whether a program does that nothing here can see, so `ort.cuda_preloaded` asks for it apart."""

from collections.abc import Callable, Iterator

from infra_doctor.plugin import CheckContext, Observed, PolicyKey, SpecKind
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild
from infra_doctor_probes.in_target import failing_orders, prefix_of, titled, wheel_name
from infra_doctor_probes.loading.names import DRIVER_SONAMES
from infra_doctor_probes.loading.onnxruntime_session import PROVIDERS
from infra_doctor_probes.loading.orders import ORT, PRELOAD
from infra_doctor_probes.requirements import programs
from infra_doctor_probes.requirements.common import ENVIRONMENT, WHEEL_PROBES, absent, hidden, unseen
from infra_doctor_probes.requirements.packages import missing

PROBES = ("python.wheels", "libraries", "onnxruntime.providers")
# Provider -> (the vendor whose device it drives, the probe that finds it). OpenVINO runs on the processor as well.
DEVICES = {
    "cann": ("ascend", "ascend-npu"), "rocm": ("amd", "amd-gpu"), "migraphx": ("amd", "amd-gpu"),
}  # fmt: skip
CUDA = ("cuda", "tensorrt")
# Distributions whose names are not those of their provider.
FLAVOURS = {"cuda": "gpu", "tensorrt": "gpu"}
EXPLAINED_BY = (
    "ORT-FALLBACK", "CUDNN-MISSING", "PY-CLOBBER-ORT", "CUDA-MAJOR", "CUDNN-LAYOUT", "PY-CLOBBER-NV", "TORCH-ORT-CUDA",
)  # fmt: skip


def version(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The version of the ONNX Runtime that an import gets, whichever distribution brought it."""
    builds = ctx.facts(OnnxRuntimeBuild)
    for build in builds:
        wheel = ctx.component(build.wheel)
        found = build.version or (wheel.version if wheel else None) or ""
        evidence = build.evidence[:1] or (wheel.evidence[:1] if wheel else ())
        yield Observed(value=found, subject=(build.wheel,), evidence=evidence)
    if not builds:
        yield absent(ctx, WHEEL_PROBES, missing(ctx, "onnxruntime"))


def provider(name: str, *, preloaded: bool = False) -> Callable[[CheckContext, str], Iterator[Observed]]:
    """Whether a provider (by the suffix of its library) loads, in each environment with an ONNX Runtime."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        builds = ctx.facts(OnnxRuntimeBuild)
        yield from (loads(ctx, build, name, preloaded=preloaded) for build in builds)
        if not builds:
            yield absent(ctx, WHEEL_PROBES, missing(ctx, "onnxruntime"))

    return observe


def loads(ctx: CheckContext, build: OnnxRuntimeBuild, name: str, *, preloaded: bool) -> Observed:
    """The answer of one environment."""
    full, where = PROVIDERS[name], f"{titled(ctx, build.wheel)} in {prefix_of(build.target)}"
    found = [x for x in ctx.facts(ProviderLoad) if x.target == build.target and x.name == full]
    if full not in build.providers:
        return Observed(
            value=False, subject=(build.wheel,), reason=not_built_in(ctx, build, name), evidence=build.evidence
        )
    subject = (build.wheel, f"ort-provider:{full}@{prefix_of(build.target)}")
    orders = [x for x in found if x.order not in failing_orders(ctx, build.target)]
    tried = [x for x in orders if x.order == ORT or preloaded]
    alone = next((x for x in found if x.order == ORT), None)
    if not tried or all(x.opens is None for x in tried):
        why = next((x.unknown for x in tried if x.unknown), "") or hidden(ctx, PROBES) or "it was not looked at"
        return unseen(f"{where}: whether {full} loads cannot be told: {why}", *subject)
    if any(x.complete for x in tried):
        return with_device(ctx, build, name, subject)
    device = with_device(ctx, build, name, subject)
    if device.unseen and any(x.missing and all(m.soname in DRIVER_SONAMES for m in x.missing) for x in tried):
        return device  # an image gets the driver's libraries from the machine that it runs on
    evidence = (alone or tried[0]).evidence
    names = ", ".join(dict.fromkeys(m.soname for m in (alone or tried[0]).missing)) or "its own library"
    works = [x.order for x in orders if x.complete]
    reason = f"{where}: {full} does not find {names}"
    if works:
        reason = f"{where}: {full} finds {names} only after {' or '.join(map(words, works))}"
        reason += f" (ort.{name}_preloaded asks for that)" if name in CUDA and not preloaded else ""
    if device.value is False:
        reason += f"; {device.reason}"
    if why := hidden(ctx, (ENVIRONMENT,)):  # an image's own LD_LIBRARY_PATH may lead to what is not found
        return unseen(f"{reason}; {why}", *subject, evidence=evidence)
    return Observed(value=False, subject=subject, reason=reason, evidence=evidence)


def words(order: str) -> str:
    """An import order as something to do first."""
    return order if order == PRELOAD else "`import torch`"


def not_built_in(ctx: CheckContext, build: OnnxRuntimeBuild, name: str) -> str:
    """Why an import gets no such provider: another distribution's files took its place, or it is a build without it."""
    flavour = f"onnxruntime-{FLAVOURS.get(name, name)}"
    lost = [titled(ctx, key) for key in build.distributions if key != build.wheel and wheel_name(key) == flavour]
    where = f"{titled(ctx, build.wheel)} in {prefix_of(build.target)} has no {PROVIDERS[name]}"
    return f"{where}; its files took the place of {lost[0]}" if lost else where


def with_device(ctx: CheckContext, build: OnnxRuntimeBuild, name: str, subject: tuple[str, ...]) -> Observed:
    """A provider whose libraries load, with the device that it drives."""
    works, why = device_for(ctx, build, name)
    if works is None:
        return unseen(f"{wheel_name(build.wheel)}: {why}", *subject, evidence=build.evidence[:1])
    return Observed(value=works, subject=subject, reason=why, evidence=build.evidence)


def device_for(ctx: CheckContext, build: OnnxRuntimeBuild, name: str) -> programs.Answer:
    """(whether the device is there and can be used, why not)."""
    if name in CUDA:
        return programs.cuda_works(ctx, build.wheel)
    if name not in DEVICES:
        return True, ""
    vendor, probe = DEVICES[name]
    if any(d.attributes.get("vendor") == vendor for d in ctx.by_kind("gpu", "npu", "accelerator")):
        return True, ""
    why = hidden(ctx, ("pci", probe))
    return (None, why) if why else (False, f"no device of {vendor} is there")


def key(name: str, what: str, *, preloaded: bool = False, more: tuple[str, ...] = ()) -> PolicyKey:
    """The key of one provider."""
    how = " after preload_dlls() or `import torch`" if preloaded else " in a session that onnxruntime makes by itself"
    return PolicyKey(
        key=f"ort.{name}{'_preloaded' if preloaded else ''}",
        title=f"whether ONNX Runtime's {what} really loads{how}, with all that it needs and a device",
        kind=SpecKind.FLAG,
        observe=provider(name, preloaded=preloaded),
        example="true",
        probes=PROBES,
        explained_by=(*EXPLAINED_BY, *more),
        offered=name == "cuda",
    )


_CUDA = programs.CUDA_EXPLAINED_BY
KEYS = (
    PolicyKey(key="ort", title="ONNX Runtime, of whichever distribution an import gets", kind=SpecKind.VERSION,
              observe=version, example='">=1.22"', probes=WHEEL_PROBES, explained_by=("PY-CLOBBER-ORT",), offered=True),
    key("cuda", "CUDA provider", more=_CUDA),
    key("cuda", "CUDA provider", preloaded=True, more=_CUDA),
    key("tensorrt", "TensorRT provider", more=("TRT", *_CUDA)),
    key("tensorrt", "TensorRT provider", preloaded=True, more=("TRT", *_CUDA)),
    key("cann", "CANN provider", more=("CANN-ENV", "CANN-DRV", "ASCEND-CTR")),
    key("openvino", "OpenVINO provider"),
    key("rocm", "ROCm provider", more=("ROCM-GPU", "ROCM-PERM")),
    key("migraphx", "MIGraphX provider", more=("ROCM-GPU", "ROCM-PERM")),
)  # fmt: skip
