"""Files of another machine under a folder: its kernel's state, a toolkit, a driver, Ascend's packages and a Python
environment with torch and ONNX Runtime, with links as absolute as an installer writes them. ELF files are real."""

import _ctypes
import json
import os
import shutil
from pathlib import Path

LIBRARY = Path(getattr(_ctypes, "__file__", "/nowhere"))  # a real shared object, of 100 KB or so
VENV = "opt/venv"
SITE = f"{VENV}/lib/python3.11/site-packages"
GPU = "sys/bus/pci/devices/0000:00:06.0"

TEXTS = {
    "etc/os-release": 'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.4 LTS"\n',
    "proc/version": "Linux version 6.8.0-60-generic (buildd@lcy02) (gcc 13) #63-Ubuntu SMP\n",
    "proc/sys/kernel/osrelease": "6.8.0-60-generic\n",
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon of the tree\nflags\t\t: fpu sse2\n\n"
    "processor\t: 1\nmodel name\t: Xeon of the tree\n\n",
    "proc/meminfo": "MemTotal:       1024000 kB\n",
    "proc/1/cgroup": "0::/\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build  "
    "(dvs-builder@U22)\nGCC version:  gcc version 12.3.0\n",
    "proc/driver/nvidia/params": "RegisterPCIDriver: 1\n",
    "proc/driver/nvidia/gpus/0000:00:06.0/information": "Model: \t\t NVIDIA H200\nGPU UUID: \t "
    "GPU-11111111-2222-3333-4444-555555555555\nDevice Minor: \t 0\nBus Location: \t 0000:00:06.0\n",
    "sys/module/nvidia/version": "580.82.07\n",
    f"{GPU}/vendor": "0x10de\n", f"{GPU}/device": "0x2335\n", f"{GPU}/class": "0x030200\n",
    "usr/local/cuda-13.0/version.json": json.dumps(
        {"cuda": {"name": "CUDA SDK", "version": "13.0.2"}, "cuda_nvcc": {"name": "nvcc", "version": "13.0.88"}}
    ),
    "usr/local/cuda-13.0/include/cuda.h": "#define CUDA_VERSION 13000\n",
    "usr/local/Ascend/driver/version.info": "Version=25.2.0\nascendhal_version=7.35.23\n",
    "usr/local/Ascend/ascend-toolkit/8.2.RC1/x86_64-linux/ascend_toolkit_install.info":
        "package_name=Ascend-cann-toolkit\nversion=8.2.RC1\narch=x86_64\n",
    "usr/local/Ascend/ascend-toolkit/set_env.sh": "export ASCEND_TOOLKIT_HOME=/usr/local/Ascend/ascend-toolkit/latest\n",
    "usr/lib/python3.11/os.py": "", "usr/lib/python3.11/site.py": "# site\n", "usr/lib/python3.11/lib-dynload/x": "",
    "usr/include/python3.11/patchlevel.h": '#define PY_VERSION "3.11.9"\n',
    f"{VENV}/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.9\n",
    f"{SITE}/extra.pth": "/opt/more\nimport os; os.environ.setdefault('X', '1')\n",
    f"{SITE}/__editable___mine_finder.py": "MAPPING: dict[str, str] = {'mine': '/opt/src/mine'}\nNAMESPACES = {}\n",
    f"{SITE}/__editable__.mine.pth": "import __editable___mine_finder; __editable___mine_finder.install()\n",
    f"{SITE}/torch/version.py": "__version__ = '2.11.0+cu130'\ncuda = '13.0'\nhip = None\n",
    f"{SITE}/torch/__init__.py": "import ctypes\n",
    f"{SITE}/onnxruntime/__init__.py": "",
    f"{SITE}/onnxruntime/capi/build_and_package_info.py": "package_name = 'onnxruntime-gpu'\n__version__ = '1.26.0'\n"
    "cuda_version = '13.0'\n",
    "opt/more/README": "",
}  # fmt: skip
LIBRARIES = (
    "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libcuda.so.580.82.07",
    "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.82.07", "usr/local/cuda-13.0/lib64/libcudart.so.13.0.96",
    "usr/local/cuda-13.0/bin/nvcc", f"{SITE}/torch/lib/libtorch_cuda.so", f"{SITE}/torch/lib/libtorch_global_deps.so",
    f"{SITE}/torch/_C.cpython-311-x86_64-linux-gnu.so", f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9",
    f"{SITE}/nvidia/cu13/lib/libcudart.so.13", f"{SITE}/onnxruntime/capi/libonnxruntime_providers_cuda.so",
    f"{SITE}/onnxruntime/capi/libonnxruntime_providers_shared.so",
    f"{SITE}/onnxruntime/capi/onnxruntime_pybind11_state.so", "usr/bin/python3.11",
)  # fmt: skip
LINKS = {
    "lib": "usr/lib", "lib64": "/usr/lib", "bin": "/usr/bin", "usr/local/cuda": "/usr/local/cuda-13.0",
    "usr/lib/x86_64-linux-gnu/libcuda.so.1": "libcuda.so.580.82.07",
    "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1": "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.82.07",
    "usr/local/cuda-13.0/lib64/libcudart.so.13": "libcudart.so.13.0.96",
    "usr/bin/python3": "python3.11", f"{VENV}/bin/python3": "/usr/bin/python3.11", f"{VENV}/bin/python": "python3",
    "usr/local/Ascend/ascend-toolkit/latest": "/usr/local/Ascend/ascend-toolkit/8.2.RC1",
    f"{GPU}/driver": "../../../../bus/pci/drivers/nvidia",
}  # fmt: skip
DISTRIBUTIONS = {
    "torch": ("2.11.0+cu130", ("nvidia-cudnn-cu13==9.19.0.56",)), "onnxruntime-gpu": ("1.26.0", ()),
    "nvidia-cudnn-cu13": ("9.19.0.56", ()), "nvidia-cuda-runtime": ("13.0.96", ()), "numpy": ("2.4.0", ()),
}  # fmt: skip


def build(root: Path) -> Path:
    """The whole tree; it has all that a probe may ask for by files."""
    for name, text in TEXTS.items():
        put(root, name, text)
    for name in LIBRARIES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(LIBRARY, root / name)
        (root / name).chmod(0o755)
    for name, to in LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(to, root / name)
    owners = {"torch": "torch/", "onnxruntime-gpu": "onnxruntime/", "nvidia-cudnn-cu13": "nvidia/cudnn/"}
    for name, (version, requires) in DISTRIBUTIONS.items():
        info = f"{SITE}/{name.replace('-', '_')}-{version}.dist-info"
        lines = "".join(f"Requires-Dist: {r}\n" for r in requires)
        put(root, f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}\nText.\n")
        put(root, f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n")
        put(root, f"{info}/INSTALLER", "pip\n")
        put(root, f"{info}/direct_url.json", '{"url": "https://example.org/x.whl", "archive_info": {}}')
        listed = [
            p.removeprefix(SITE + "/") for p in (*TEXTS, *LIBRARIES) if p.startswith(f"{SITE}/{owners.get(name, '-')}")
        ]
        put(root, f"{info}/RECORD", "".join(f"{p},sha256=AAAA,10\n" for p in listed))
    if Path("/etc/ld.so.cache").is_file():
        shutil.copy("/etc/ld.so.cache", root / "etc/ld.so.cache")
    return root


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
