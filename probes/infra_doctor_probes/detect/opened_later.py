"""Libraries that TensorFlow and JAX open by name once they look for GPUs: they are in no dependency list.

TensorFlow's dlopen_checker.cc tries the CUDA runtime, cuBLAS, cuBLASLt, cuFFT, cuSOLVER, cuSPARSE and cuDNN, and registers no
GPU where one of them fails; XLA, which is JAX's back end, opens the same through the same code. The calling library's search
list counts: a wheel names the folders of the nvidia-* wheels there (readelf of jax-cuda12-pjrt 0.6.0: an RPATH)."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    Distribution,
    Evidence,
    Loader,
    Machine,
    Target,
    fact,
    numbers,
    python_environment,
    record,
)
from infra_doctor_probes.detect.framework_builds import FrameworkBuild, tensorflow_folder
from infra_doctor_probes.loading.orders import environment_of, package_folder, wheel_key
from infra_doctor_probes.loading.process import Missing, Process, Use

# Sonames by CUDA major: the names that TensorFlow's log gives for CUDA 11.2 and newer (tensorflow/tensorflow#44777), its
# cuda_config.h for 13, NVIDIA's wheels for 12.
SONAMES = {
    11: ("libcudart.so.11.0", "libcublas.so.11", "libcublasLt.so.11", "libcufft.so.10", "libcusolver.so.11", "libcusparse.so.11"),
    12: ("libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcufft.so.11", "libcusolver.so.11", "libcusparse.so.12"),
    13: ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libcufft.so.12", "libcusolver.so.12", "libcusparse.so.12"),
}  # fmt: skip
_TENSORFLOW = ("tensorflow", "tensorflow-gpu", "tf-nightly", "nvidia-tensorflow")


@fact("framework-libraries", 1)
@record
class FrameworkLibraries:
    """Whether a framework finds what it opens by name: `loads` is None where that cannot be told."""

    target: str
    consumer: str
    order: str
    cuda: str
    loads: bool | None
    missing: tuple[Missing, ...] = ()
    unknown: str = ""
    evidence: tuple[Evidence, ...] = ()


@record
class _Plan:
    consumer: str
    order: str
    cuda: str
    entry: str  # the library that an import opens first
    own: str  # only libraries below this folder ask
    sonames: tuple[str, ...]


Played = tuple[FrameworkLibraries, tuple[Use, ...]]


def opened_later(machine: Machine, target: Target, builds: tuple[FrameworkBuild, ...]) -> tuple[Played, ...]:
    """For each framework of the target that would look for CUDA libraries: what it finds, and what it gets of it; played
    once per machine. The evidence is left to the caller."""
    made: tuple[Played, ...] = machine.memo(
        ("opened later", target.key), lambda: tuple(_play(machine, target, p) for p in _plans(machine, target, builds))
    )
    return made


def _plans(machine: Machine, target: Target, builds: tuple[FrameworkBuild, ...]) -> Iterator[_Plan]:
    environment = python_environment(machine, target)
    by_wheel = {b.wheel: b for b in builds if b.target == target.key and b.build == "cuda"}
    for dist in environment.distributions:
        build = by_wheel.get(wheel_key(dist.normalized, target))
        if dist.normalized in _TENSORFLOW and build is not None:
            folder = tensorflow_folder(machine, target, dist)
            entries = (
                folder + "/python/_pywrap_tensorflow_internal.so",
                *(f"{folder}/{n}" for n in machine.names(folder) if n.startswith("libtensorflow_framework.so.")),
            )
            yield from _plan(machine, target, dist, "tensorflow", build.cuda or "", build.cudnn, entries, folder)
        elif dist.normalized == "jaxlib" and build is not None and build.cudnn is not None:
            folder = package_folder(machine, target, dist, "jaxlib")
            yield from _plan(
                machine, target, dist, "jax", build.cuda or "", build.cudnn, (folder + "/xla_extension.so",), folder
            )
        elif dist.normalized in {"jax-cuda12-pjrt", "jax-cuda13-pjrt"}:
            cuda = dist.normalized[8:10]
            folder = f"{dist.site_dir}/jax_plugins/xla_cuda{cuda}"
            yield from _plan(machine, target, dist, "jax", cuda, "9", (folder + "/xla_cuda_plugin.so",), folder)


def _plan(
    machine: Machine, target: Target, dist: Distribution, order: str, cuda: str, cudnn: str | None,
    entries: tuple[str, ...], own: str,
) -> Iterator[_Plan]:  # fmt: skip
    """One plan, where the CUDA version's names are known and the framework's own library is there."""
    version, cudnn_major = numbers(cuda), numbers(cudnn or "")
    sonames = SONAMES.get(version[0]) if version else None
    entry = next((e for e in entries if machine.is_file(e)), None)
    if entry is None or sonames is None or not cudnn_major or (11, 0) <= version[:2] < (11, 2):
        return
    yield _Plan(
        consumer=wheel_key(dist.normalized, target), order=order, cuda=cuda, entry=entry, own=own + "/",
        sonames=(*sonames, f"libcudnn.so.{cudnn_major[0]}"),
    )  # fmt: skip


def _play(machine: Machine, target: Target, plan: _Plan) -> Played:
    environ = environment_of(machine, target)
    loader = Loader(
        machine, target.executable, ld_library_path=environ.get("LD_LIBRARY_PATH"), ld_preload=environ.get("LD_PRELOAD")
    )
    process = Process(machine=machine, loader=loader)
    entry = process.dlopen(plan.consumer, "import", plan.entry)
    unknown = entry.unknown
    if entry.object is None and not unknown:
        # Not loading at all is another failure than not finding a GPU's libraries.
        unknown = f"{posixpath.basename(plan.entry)} itself does not load"
    if not unknown:
        _open_all(process, plan, [o.path for o in entry.loaded if o.path.startswith(plan.own)] or [plan.entry])
        unknown = process.unknown
    missing = () if unknown else tuple(dict.fromkeys(m for c, m in process.missing if c == plan.consumer))
    found = FrameworkLibraries(
        target=target.key, consumer=plan.consumer, order=plan.order, cuda=plan.cuda,
        loads=None if unknown else not missing, missing=missing, unknown=unknown,
    )  # fmt: skip
    return found, tuple(process.uses)


def _open_all(process: Process, plan: _Plan, asking: list[str]) -> None:
    """Which of its libraries asks changed over the versions: a name is missing where none of them finds it."""
    for soname in plan.sonames:
        if not any(process.dlopen(plan.consumer, "GPU start", soname, by=by, optional=True).object for by in asking):
            process.dlopen(plan.consumer, "GPU start", soname, by=asking[-1])
