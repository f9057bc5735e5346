"""Import orders: which copy of each library PyTorch and ONNX Runtime get, for each order in which a program may use them.

    "torch"                        import torch
    "onnxruntime"                  import onnxruntime, then a session
    "torch, onnxruntime"           import torch, then onnxruntime and a session
    "onnxruntime, torch"           onnxruntime with a session first, then import torch
    "onnxruntime.preload_dlls()"   import onnxruntime, preload_dlls(), then a session

Each is one simulated process, started from the target's own interpreter. A soname that is loaded wins, so the orders
differ; importing onnxruntime alone loads nothing of CUDA, its session does."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from infra_doctor.plugin import (
    Distribution,
    LoadedObject,
    Loader,
    Machine,
    PythonEnvironment,
    Target,
    python_environment,
    record,
)
from infra_doctor_probes.loading.first_use import open_parts
from infra_doctor_probes.loading.onnxruntime_session import (
    CPU_PROVIDER,
    OrtFiles,
    import_onnxruntime,
    open_provider,
    open_rarely_used,
    preload_dlls,
    read_onnxruntime,
)
from infra_doctor_probes.loading.process import Missing, Process, Use
from infra_doctor_probes.loading.torch_import import TorchFiles, import_torch, read_torch
from infra_doctor_probes.loading.versions import identify

TORCH, ORT = "torch", "onnxruntime"
TORCH_ORT, ORT_TORCH, PRELOAD = "torch, onnxruntime", "onnxruntime, torch", "onnxruntime.preload_dlls()"
_CUDA = "CUDAExecutionProvider"


@record
class Outcome:
    """Whether a consumer's libraries load in one order: a framework's import (`provider` empty) or an execution provider.
    `loads` is None where it cannot be told. `missing` holds what fails, at once or on first use."""

    consumer: str
    provider: str
    order: str
    loads: bool | None
    missing: tuple[Missing, ...] = ()
    unknown: str = ""


@record
class Play:
    """One order, played."""

    order: str
    uses: tuple[Use, ...]
    outcomes: tuple[Outcome, ...]


@record
class Frameworks:
    """The PyTorch and ONNX Runtime that imports of a target would find, with their component keys."""

    torch: TorchFiles | None
    torch_key: str
    ort: OrtFiles | None
    ort_key: str


def wheel_key(name: str, target: Target) -> str:
    """The component key of a distribution in a target."""
    return f"wheel:{name}@{target.prefix}"


def frameworks(machine: Machine, target: Target) -> Frameworks:
    """Read once per machine and target."""
    return machine.memo(("frameworks", target.key), lambda: _frameworks(machine, target))  # type: ignore[no-any-return]


def _frameworks(machine: Machine, target: Target) -> Frameworks:
    environment = python_environment(machine, target)
    torch_dist = environment.distribution("torch")
    torch = None
    if torch_dist is not None:
        folder = package_folder(machine, target, torch_dist, "torch")
        torch = read_torch(machine, folder, target.python_version, target.sys_path)
    names = ort_distributions(environment)
    ort = None
    owner = names[0] if names else ""
    for site in target.site_dirs if names else ():
        if machine.names(site + "/onnxruntime/capi"):
            dist = environment.distribution(owner)
            ort = read_onnxruntime(
                machine, site + "/onnxruntime", target.python_version, dist.version if dist is not None else None
            )
            if ort is not None and len(names) > 1:
                owner = extension_owner(environment, ort, names)
                ort = replace(ort, providers=usable_providers(owner, ort))
            break
    return Frameworks(torch=torch, torch_key=wheel_key("torch", target), ort=ort, ort_key=wheel_key(owner, target))


def package_folder(machine: Machine, target: Target, dist: Distribution, name: str) -> str:
    """Where a distribution's package lies: beside its metadata, or where an editable installation leads."""
    beside = f"{dist.site_dir}/{name}"
    if machine.is_dir(beside):
        return beside
    mapped = dict(python_environment(machine, target).editable_modules).get(name)
    return mapped or next((f"{p}/{name}" for p in target.sys_path if machine.is_dir(f"{p}/{name}")), beside)


def extension_owner(environment: PythonEnvironment, ort: OrtFiles, names: tuple[str, ...]) -> str:
    """Whose extension module is on disk, where several distributions write it: by its digest, else by what the package says
    of itself."""
    for file in environment.records.contested:
        if file.path == ort.extension and file.winners:
            owners = [d.normalized for d in environment.distributions if d.path in file.winners]
            if len(owners) == 1:
                return owners[0]
    return ort.package_name if ort.package_name in names else names[0]


def usable_providers(owner: str, ort: OrtFiles) -> tuple[tuple[str, str], ...]:
    """Providers that this build of the extension module knows. Another distribution's provider library may lie beside it,
    not overwritten, and is never opened."""
    known = _PROVIDERS_OF.get(owner)
    return ort.providers if known is None else tuple(p for p in ort.providers if p[0] in known)


def ort_distributions(environment: PythonEnvironment) -> tuple[str, ...]:
    """The installed distributions that write the folder onnxruntime, by name."""
    own = {"onnxruntime"} | {f"onnxruntime-{f}" for f in ORT_FLAVOURS}
    return tuple(d.normalized for d in environment.distributions if d.normalized in own)


_PROVIDERS_OF: dict[str, tuple[str, ...]] = {
    "onnxruntime": (),
    "onnxruntime-gpu": (_CUDA, "TensorrtExecutionProvider"),
    "onnxruntime-openvino": ("OpenVINOExecutionProvider",),
    "onnxruntime-cann": ("CANNExecutionProvider",),
    "onnxruntime-rocm": ("ROCMExecutionProvider", "MIGraphXExecutionProvider"),
    "onnxruntime-migraphx": ("MIGraphXExecutionProvider",),
    "onnxruntime-directml": (),
}
# Distributions whose module is `onnxruntime` (PyPI; the plug-in and genai packages have folders of their own).
ORT_FLAVOURS = (
    "gpu", "openvino", "cann", "rocm", "migraphx", "directml", "training", "training-cpu", "qnn", "azure", "silicon",
    "coreml", "vitisai", "tvm", "dnnl", "noopenmp", "winml",
)  # fmt: skip


def environment_of(machine: Machine, target: Target) -> Mapping[str, str]:
    """The environment variables under which the target's programs start: those of the process that was named, else the
    shell's."""
    how, _, number = target.chosen_by.partition(" ")
    return machine.environ_of(int(number)) if how == "--pid" and number.isdecimal() else machine.environ


def play_all(machine: Machine, target: Target, *, without_library_path: bool = False) -> tuple[Play, ...]:
    """Every order that makes sense for the target, once per machine. A torch that is no CUDA build takes no part: it loads
    none of the libraries that are looked at. `without_library_path` plays them as if
    LD_LIBRARY_PATH were not set."""
    key = ("import orders", target.key, without_library_path)
    return machine.memo(key, lambda: _play_all(machine, target, without_library_path))  # type: ignore[no-any-return]


def _play_all(machine: Machine, target: Target, without_library_path: bool) -> tuple[Play, ...]:
    found = frameworks(machine, target)
    with_torch = found.torch is not None and found.torch.cuda is not None
    orders = [TORCH] if with_torch else []
    if found.ort:
        orders += [ORT, *([TORCH_ORT, ORT_TORCH] if with_torch else ())]
        orders += [PRELOAD] if found.ort.preload and (with_torch or found.ort.cuda) else []
    if not orders:
        return ()
    environ = environment_of(machine, target)
    start = Loader(
        machine,
        target.executable,
        ld_library_path=None if without_library_path else environ.get("LD_LIBRARY_PATH"),
        ld_preload=environ.get("LD_PRELOAD"),
    )
    environments = (python_environment(machine, target),)

    def version_of(copy: LoadedObject) -> str | None:
        return identify(machine, copy.path, environments).version

    return tuple(_play(machine, start.copy(), found, order, version_of) for order in orders)


def _play(
    machine: Machine, loader: Loader, found: Frameworks, order: str, version_of: Callable[[LoadedObject], str | None]
) -> Play:
    process = Process(machine=machine, loader=loader)
    outcomes: list[Outcome] = []
    if found.torch is not None and order in {TORCH, TORCH_ORT}:
        outcomes.append(_torch(process, found.torch_key, found.torch, order, version_of))
    if found.ort is not None and order != TORCH:
        outcomes.extend(_session(process, found.ort_key, found.ort, order, version_of))
    if found.torch is not None and order == ORT_TORCH:
        outcomes.append(_torch(process, found.torch_key, found.torch, order, version_of))
    if found.ort is not None and order != TORCH:
        open_rarely_used(process, found.ort_key, found.ort)
    return Play(order=order, uses=tuple(process.uses), outcomes=tuple(outcomes))


def _torch(
    process: Process, consumer: str, torch: TorchFiles, order: str, version_of: Callable[[LoadedObject], str | None]
) -> Outcome:
    loads = import_torch(process, consumer, torch)
    if loads:
        open_parts(process, consumer, version_of)
    return Outcome(
        consumer=consumer, provider="", order=order, loads=loads, missing=_missing(process, consumer),
        unknown=process.unknown,
    )  # fmt: skip


def _session(
    process: Process, consumer: str, ort: OrtFiles, order: str, version_of: Callable[[LoadedObject], str | None]
) -> list[Outcome]:
    """Import, preload where the order says so, and one session per provider; only the CUDA provider's stays loaded, as the
    one that shares libraries with others."""
    imported = import_onnxruntime(process, consumer, ort)
    first = Outcome(
        consumer=consumer, provider=CPU_PROVIDER, order=order, loads=imported, missing=_missing(process, consumer),
        unknown=process.unknown,
    )  # fmt: skip
    outcomes = [first]
    if order == PRELOAD:
        preload_dlls(process, consumer, ort)
    for provider, library in sorted(ort.providers, key=lambda p: p[0] == _CUDA):
        trial = process
        if provider != _CUDA:
            trial = Process(machine=process.machine, loader=process.loader.copy(), uses=list(process.uses))
        process.forgive(consumer)
        loads = open_provider(trial, consumer, ort, library) if imported else imported
        if loads:
            open_parts(trial, consumer, version_of)
        outcomes.append(
            Outcome(
                consumer=consumer, provider=provider, order=order, loads=loads,
                missing=_missing(trial, consumer) or first.missing, unknown=trial.unknown,
            )
        )  # fmt: skip
    return outcomes


def _missing(process: Process, consumer: str) -> tuple[Missing, ...]:
    return tuple(dict.fromkeys(m for c, m in process.missing if c == consumer))
