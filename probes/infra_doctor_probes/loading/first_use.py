"""What CUDA libraries open by themselves once they are used: cuDNN its parts, NVRTC its built-in headers.

Facts (LD_DEBUG=libs of the wheels cuDNN 8.9.7, 9.1.0, 9.19.0, 9.28.0, NVRTC 13.5): cuDNN 9 asks for each part as
libcudnn_graph.so.9.19.0, then .so.9.19, then .so.9; cuDNN 8 for .so.8 alone. libcudnn opens graph, ops, cnn and adv;
libcudnn_graph opens the engines and the heuristics. NVRTC opens libnvrtc-builtins.so.MAJOR.MINOR. Each goes through the
search lists of the library that asks, so a RUNPATH of $ORIGIN loses to LD_LIBRARY_PATH and an RPATH wins over it."""

import posixpath
from collections.abc import Callable

from infra_doctor.plugin import LoadedObject
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.process import Process

# (part, who asks: None is the main library, whether cuDNN is of no use without it)
_CUDNN_9 = (
    ("libcudnn_graph", None, True), ("libcudnn_ops", None, True), ("libcudnn_cnn", None, True),
    ("libcudnn_adv", None, False), ("libcudnn_engines_precompiled", "libcudnn_graph", False),
    ("libcudnn_engines_runtime_compiled", "libcudnn_graph", False), ("libcudnn_heuristic", "libcudnn_graph", False),
)  # fmt: skip
_CUDNN_8 = (
    ("libcudnn_ops_infer", None, True), ("libcudnn_cnn_infer", None, True), ("libcudnn_adv_infer", None, False),
    ("libcudnn_ops_train", None, False), ("libcudnn_cnn_train", None, False), ("libcudnn_adv_train", None, False),
)  # fmt: skip


def open_parts(process: Process, consumer: str, version_of: Callable[[LoadedObject], str | None]) -> None:
    """Simulate the first use of every library that this consumer got. `version_of` gives the version of a copy."""
    for use in [u for u in process.uses if u.consumer == consumer]:
        name = library_name(posixpath.basename(use.object.path))
        if name is None:
            continue
        version = version_of(use.object)
        if name.kind == "cudnn" and name.major is not None:
            _open_cudnn(process, consumer, use.object, name.major, version)
        elif name.kind == "nvrtc" and version is not None and version.count("."):
            builtins = "libnvrtc-builtins.so." + ".".join(version.split(".")[:2])
            process.dlopen(consumer, "first use", builtins, by=use.object.path, optional=True, late=True)


def _open_cudnn(process: Process, consumer: str, main: LoadedObject, major: int, version: str | None) -> None:
    folder = set(process.machine.names(posixpath.dirname(main.real_path)))
    # NVIDIA's JIT-only cuDNN has no precompiled engines, and neither ops nor cnn.
    jit_only = major >= 9 and not any(n.startswith("libcudnn_engines_precompiled.so") for n in folder)
    for part, asker, required in _CUDNN_9 if major >= 9 else _CUDNN_8:
        by = main.path
        if asker is not None:
            graph = process.loader.find(f"{asker}.so.{major}")
            if graph is None:
                continue
            by = graph.path
        names = [f"{part}.so.{major}"]
        if major >= 9 and version is not None and version.count(".") >= 2:
            numbers = version.split(".")
            names = [f"{part}.so.{'.'.join(numbers[:3])}", f"{part}.so.{'.'.join(numbers[:2])}", *names]
        late_names = names[:-1]
        if any(process.dlopen(consumer, "first use", n, by=by, optional=True, late=True).object for n in late_names):
            continue
        optional = not required or (jit_only and part != "libcudnn_graph")
        process.dlopen(consumer, "first use", names[-1], by=by, optional=optional, late=True)
