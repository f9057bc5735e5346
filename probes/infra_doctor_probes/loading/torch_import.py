"""What `import torch` loads before and with its extension module, told from the text of torch/__init__.py.

`_load_global_deps` opens lib/libtorch_global_deps.so. Where that fails over a CUDA library, it opens the libraries of the
nvidia-* wheels by path and tries again; where it works, newer versions open some or all of them by path as well, so that
nothing picks up another copy later. Which, and under what condition, changed often (read: 2.2, 2.4, 2.6, 2.8, 2.11,
2.13), so both lists are taken from the installed file. Nothing of it is run."""

import fnmatch
import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import Machine, record
from infra_doctor_probes.loading.process import Process

_TEXT_CAP_BYTES = 1 << 20
_START_UP_CAP = 30_000  # characters; the real thing has 8,000


@record
class Preload:
    """One library that torch opens by path: a folder of the wheels and a file name pattern."""

    folder: str
    pattern: str
    required: bool = True  # a required one that is not found ends the series


@record
class TorchPlan:
    """What the installed torch/__init__.py says. `condition`: text that /proc/self/maps must hold for `afterwards`.
    `cuda_folder` is "cu13" where it also looks into that folder of the wheels. `understood` is False where the text has
    no list that can be read."""

    on_error: tuple[Preload, ...] = ()
    afterwards: tuple[Preload, ...] = ()
    condition: str | None = None
    cuda_folder: str | None = None
    also_top_level: bool = False
    understood: bool = True


@record
class TorchFiles:
    """An installed torch: its folder, the extension module and the plan."""

    package: str
    extension: str
    cuda: str | None  # torch.version.cuda
    plan: TorchPlan
    sys_path: tuple[str, ...]


def read_torch(
    machine: Machine, package: str, python_version: str | None, sys_path: tuple[str, ...]
) -> TorchFiles | None:
    """The files of the torch in this folder; None where it has no extension module (a source tree, a broken install)."""
    names = [n for n in machine.names(package) if n.startswith("_C.") and n.endswith(".so")]
    tag = "cpython-" + "".join((python_version or "").split(".")[:2])
    extension = next((n for n in names if tag in n), None) or next((n for n in names if "abi3" in n), None)
    extension = extension or (names[0] if names else None)
    if extension is None:
        return None
    version = machine.read_text(package + "/version.py", max_bytes=65536, quiet=True) or ""
    match = re.search(r"^cuda\b[^=\n]*=\s*[\"']([0-9.]{1,10})[\"']", version, re.MULTILINE)
    cuda = match.group(1) if match else None
    text = machine.read_text(package + "/__init__.py", max_bytes=_TEXT_CAP_BYTES, quiet=True) or "" if cuda else ""
    return TorchFiles(
        package=package, extension=f"{package}/{extension}", cuda=cuda, plan=parse_plan(text, cuda), sys_path=sys_path
    )


def parse_plan(text: str, cuda: str | None) -> TorchPlan:
    """The plan out of the text of torch/__init__.py. `cuda` is torch.version.cuda."""
    start = text.find("def _get_cuda_dep_paths")
    start = start if start >= 0 else text.find("def _preload_cuda_deps")
    end = text.find("if (USE_RTLD_GLOBAL_WITH_LIBTORCH", start)
    if start < 0:
        return TorchPlan(understood="libtorch_global_deps" not in text)
    text = text[start : min(end if end > start else len(text), start + _START_UP_CAP)]
    everything = _list_of_libraries(text)
    single = tuple(
        Preload(folder=folder, pattern=pattern, required=not optional)
        for call, folder, pattern, optional in re.findall(
            r"_preload_cuda_(deps|lib)\(\s*[\"'](\w+)[\"'],\s*[\"'](lib[^\"']+)[\"'](,\s*required=False)?", text
        )
    )
    everything += tuple(p for p in single if not p.required)
    condition = re.search(r"if [\"']([^\"']+)[\"'] not in _maps", text)
    all_afterwards = re.search(r"^\s+_preload_cuda_deps\(\)\s*$", text, re.MULTILINE) is not None
    required_single = tuple(p for p in single if p.required)
    return TorchPlan(
        on_error=everything,
        afterwards=(everything if all_afterwards else required_single) if condition else (),
        condition=condition.group(1) if condition else None,
        cuda_folder=f"cu{cuda.split('.')[0]}" if cuda and "maj_cuda_version" in text else None,
        also_top_level="os.path.join(path, lib_folder" in text,
        understood=bool(everything),
    )


def _list_of_libraries(text: str) -> tuple[Preload, ...]:
    literal = re.search(r"\bcuda_libs\b[^=\n]*=\s*[\[{](.{0,6000}?)\n[ \t]*[\]}]", text, re.DOTALL)
    if literal is None:
        return ()
    pairs = re.findall(r"[\"'](\w+)[\"']\s*[:,]\s*[\"'](lib[^\"']+)[\"']", literal.group(1))
    pairs += re.findall(r"cuda_libs\[[\"'](\w+)[\"']\]\s*=\s*[\"'](lib[^\"']+)[\"']", text)
    return tuple(Preload(folder=folder, pattern=pattern) for folder, pattern in pairs)


def import_torch(process: Process, consumer: str, torch: TorchFiles) -> bool | None:
    """Simulate `import torch`; whether its libraries load, None where that cannot be told."""
    global_deps = torch.package + "/lib/libtorch_global_deps.so"
    plan = torch.plan
    opened = process.dlopen(consumer, "import torch", global_deps)
    if opened.unknown:
        return None
    if opened.object is not None:
        if plan.condition and any(plan.condition in o.real_path for o in process.loader.objects):
            # An error in this series ends it, and torch swallows that.
            _open_all(process, consumer, torch, plan.afterwards)
            process.forgive(consumer)
    elif opened.missing or opened.broken:
        first = opened.missing[0][0] if opened.missing else opened.broken[0][0]
        if not any(p.pattern.split(".", 1)[0] in first for p in plan.on_error):
            return False
        process.forgive(consumer)
        if not _open_all(process, consumer, torch, plan.on_error):
            return False
        if process.dlopen(consumer, "import torch", global_deps).object is None:
            return False
    return process.dlopen(consumer, "import torch", torch.extension).object is not None


def _open_all(process: Process, consumer: str, torch: TorchFiles, series: tuple[Preload, ...]) -> bool:
    for item in series:
        path = next(_candidates(process.machine, torch, item), None)
        if path is None:
            if item.required:
                process.say_missing(consumer, item.pattern.split(".so")[0] + ".so", torch.package + "/__init__.py")
                return False
            continue
        if process.dlopen(consumer, "preloaded by torch/__init__.py", path).object is None:
            return False
    return True


def _candidates(machine: Machine, torch: TorchFiles, item: Preload) -> Iterator[str]:
    """The files that match, in torch's order. Two matches in one folder come in no order of their own: the first name."""
    for base in torch.sys_path:
        folders = [f"{base}/nvidia/{item.folder}/lib"]
        if torch.plan.cuda_folder:
            folders.append(f"{base}/nvidia/{torch.plan.cuda_folder}/lib")
        if torch.plan.also_top_level:
            folders.append(f"{base}/{item.folder}/lib")
        for folder in folders:
            for name in machine.names(folder):
                if fnmatch.fnmatchcase(name, item.pattern):
                    yield posixpath.join(folder, name)
