"""The probes of Huawei Ascend: what makes each of them do anything, and what the collector takes for them.

On a machine without Ascend each asks a few stats and loads nothing: the work is in the package `ascend`, which costs more
to import than all of these questions."""

from collections.abc import Iterable, Iterator

from infra_doctor.plugin import CheckContext, Machine, Probe, ProbeContext
from infra_doctor_probes.detect.pci import PciDevice

INSTALL_INFO = "/etc/ascend_install.info"
BASE = "/usr/local/Ascend"
# Two modules of the host driver, as public host scripts list them.
MODULES = ("drv_davinci_intf_host", "drv_devmng_host")
# What a process needs besides /dev/davinciN (vllm-ascend installation guide).
MANAGERS = ("davinci_manager", "devmm_svm", "hisi_hdc")
# Reads the NPUs' own network ports; its options that are asked.
HCCN_TOOL = f"{BASE}/driver/tools/hccn_tool"
HCCN_OPTIONS = ("link", "net_health", "optical", "ip")
# Cards that the collector asks about one by one: it cannot know which there are.
CARDS = range(8)
# Below an OPP: a folder for each chip that CANN's packages hold ready-made operators for.
KERNELS = "built-in/op_impl/ai_core/tbe/kernel/config"
ROOT_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
VARIABLES = (
    *ROOT_VARIABLES, "ASCEND_OPP_PATH", "ASCEND_AICPU_PATH", "ATB_HOME_PATH", "ASCEND_VISIBLE_DEVICES",
    "ASCEND_RT_VISIBLE_DEVICES", "NPU_VISIBLE_DEVICES",
)  # fmt: skip
# Distributions of which a part loads CANN's libraries.
FRAMEWORKS = ("torch-npu", "mindspore", "onnxruntime-cann", "fastdeploy-python", "fastdeploy-ascend-python")
ARCHITECTURES = ("aarch64", "x86_64")
INSTALL_FILES = tuple(f"{arch}-linux/ascend_toolkit_install.info" for arch in ARCHITECTURES)
# What makes a folder a CANN root.
MARKS = (
    *INSTALL_FILES, "share/info/runtime/version.info", "version.cfg", "compiler/version.info", "runtime/version.info",
    "toolkit/version.info", "lib64/libascendcl.so",
)  # fmt: skip
LIBRARY_FOLDERS = (
    "lib64", *(f"{arch}-linux/lib64" for arch in ARCHITECTURES), "hccl/lib64", "runtime/lib64", "compiler/lib64",
)  # fmt: skip
# Folders below a root whose links tell which version's folder a `latest` stands for.
LINKED_PARTS = ("runtime", "compiler", "toolkit", "opp", "hccl", "opp_kernel")
# Packages of the layout up to 8.3, each a folder below the root with a version.info.
PACKAGES = (*LINKED_PARTS, "aoe", "ncs", "nca", "fwkplugin", "amct_acl")
TOOLS = {
    "atc": ("bin/atc", "atc/bin/atc", "compiler/bin/atc"),
    "aoe": ("bin/aoe", "tools/aoe/bin/aoe", "aoe/bin/aoe"),
    "msdebug": ("bin/msdebug", "tools/msdebug/bin/msdebug", "tools/debugger/bin/msdebug"),
}
Found = Iterable[object]


def is_software_here(ctx: ProbeContext) -> bool:
    """Whether a folder, the installer's note or the environment names Ascend software."""
    machine: Machine = ctx.machine
    environ = machine.environ
    if any(environ.get(name) for name in ROOT_VARIABLES):
        return True
    search_path = environ.get("LD_LIBRARY_PATH", "").lower()
    if "ascend" in search_path or "cann" in search_path:
        return True
    home = environ.get("HOME", "")
    folders = (BASE, f"{home}/Ascend" if home else "", *(f"{target.prefix}/Ascend" for target in ctx.targets))
    return machine.exists(INSTALL_INFO) or any(machine.exists(folder) for folder in folders if folder)


def was_found(context: CheckContext) -> bool:
    """Whether these probes found anything, or a framework for Ascend is installed: for checks, before they load more."""
    if context.by_kind("cann", "nnae", "nnal", "mindie") or context.component("driver:ascend") is not None:
        return True
    if any(npu.attributes.get("vendor") == "ascend" for npu in context.by_kind("npu")):
        return True
    if any(wheel.name in FRAMEWORKS for wheel in context.by_kind("wheel")):
        return True
    return any(str(getattr(fact, "fact_type", "")).startswith(("ascend-", "cann-")) for fact in context.facts(object))


def npu_name(context: CheckContext, key: str) -> str:
    """ "NPU 3 (Ascend910B3)" for a title."""
    npu = context.component(key)
    if npu is None:
        return key
    number = npu.attributes.get("physical_id", npu.attributes.get("npu_id", "?"))
    return f"NPU {number} ({npu.name})"


def driver(ctx: ProbeContext) -> Found:
    """The driver and firmware, where their folder or a loaded module is there."""
    machine: Machine = ctx.machine
    places = (INSTALL_INFO, BASE, *(f"/sys/module/{name}" for name in MODULES))
    if any(machine.exists(place) for place in places):
        from infra_doctor_probes.ascend.driver import run

        return run(ctx)
    return ()


def npu(ctx: ProbeContext) -> Found:
    """The NPUs, where a device node or the bus shows one."""
    nodes = any(name.startswith("davinci") for name in ctx.machine.names("/dev"))
    if nodes or any(device.vendor == "ascend" and device.accelerator for device in ctx.facts(PciDevice)):
        from infra_doctor_probes.ascend.npu import run

        return run(ctx)
    return ()


def link(ctx: ProbeContext) -> Found:
    """The NPUs' network ports and connections, where there is a chip that has such."""
    if any(npu.name.startswith("Ascend910") for npu in ctx.by_kind("npu")):
        from infra_doctor_probes.ascend.link import run

        return run(ctx)
    return ()


def triton(ctx: ProbeContext) -> Found:
    """Triton for Ascend, where it or a torch_npu beside another triton is installed."""
    names = {wheel.name for wheel in ctx.by_kind("wheel")}
    if "triton-ascend" in names or {"torch-npu", "triton"} <= names:
        from infra_doctor_probes.ascend.triton import run

        return run(ctx)
    return ()


def cann(ctx: ProbeContext) -> Found:
    """The CANN toolkits."""
    if is_software_here(ctx):
        from infra_doctor_probes.ascend.cann import run

        return run(ctx)
    return ()


def packages(ctx: ProbeContext) -> Found:
    """CANN's packages and what lies beside it."""
    if is_software_here(ctx):
        from infra_doctor_probes.ascend.packages import run

        return run(ctx)
    return ()


def environment(ctx: ProbeContext) -> Found:
    """The variables, where one is set or a CANN is there."""
    if ctx.by_kind("cann") or any(ctx.machine.environ.get(name) for name in VARIABLES):
        from infra_doctor_probes.ascend.environment import run

        return run(ctx)
    return ()


def frameworks(ctx: ProbeContext) -> Found:
    """The frameworks for Ascend, where one is installed."""
    if any(wheel.name in FRAMEWORKS for wheel in ctx.by_kind("wheel")):
        from infra_doctor_probes.ascend.frameworks import run

        return run(ctx)
    return ()


# -- what the collector takes -------------------------------------------------------------------------------------


def below(*names: str) -> Iterator[str]:
    """These names below every place where a CANN of either layout lies."""
    for root in (f"{BASE}/cann", f"{BASE}/cann-*", f"{BASE}/ascend-toolkit/*"):
        yield from (f"{root}/{name}" if name else root for name in names)


PROBES = (
    Probe(
        id="ascend-driver",
        version=1,
        title="Ascend driver and firmware",
        run=driver,
        collect=(
            INSTALL_INFO, BASE, f"{BASE}/driver/version.info", f"{BASE}/firmware/version.info",
            *(f"{BASE}/driver/lib64{part}" for part in ("", "/driver", "/common", "/driver/libdcmi.so")),
            "/usr/local/dcmi/libdcmi.so", *(f"/sys/module/{name}" for name in MODULES),
        ),
    ),
    Probe(
        id="ascend-npu",
        version=1,
        title="Ascend NPUs by DCMI, npu-smi, /dev and PCI",
        run=npu,
        needs=("kernel state",),
        after=("system", "pci"),
        collect=(
            "/dev/davinci*", *(f"/dev/{name}" for name in MANAGERS), "run:npu-smi info",
            *(f"run:npu-smi info -t {what} -i {card}" for what in ("board", "ecc") for card in CARDS),
            *(f"run:npu-smi info -t health -i {card} -c 0" for card in CARDS),
            "opens:/dev/davinci*", *(f"opens:/dev/{name}" for name in MANAGERS),
        ),
        devices=True,
        explained_by=("ASCEND-CTR", "ASCEND-PERM", "ASCEND-HEALTH", "CTR-CGROUP"),
        timeout_s=30.0,
    ),
    Probe(
        id="ascend-link",
        version=1,
        title="Network ports of the NPUs and HCCS between them",
        run=link,
        needs=("files", "commands"),
        after=("ascend-driver", "ascend-npu"),
        collect=(
            HCCN_TOOL, "run:npu-smi info -t topo",
            *(f"run:{HCCN_TOOL} -i {card} -{option} -g" for card in CARDS for option in HCCN_OPTIONS),
        ),
    ),
    Probe(
        id="ascend-cann",
        version=1,
        title="CANN toolkits on disk",
        run=cann,
        environment=ROOT_VARIABLES,
        # The folders of libraries are listed, so that a replay knows what they hold.
        collect=(
            f"{BASE}/ascend-toolkit", f"{BASE}/ascend-toolkit/set_env.sh",
            *below("", "set_env.sh", *MARKS, *LIBRARY_FOLDERS, *LINKED_PARTS, f"opp/{KERNELS}"),
        ),
    ),
    Probe(
        id="ascend-packages",
        version=1,
        title="CANN packages, NNAL, MindIE",
        run=packages,
        after=("ascend-cann",),
        collect=(
            *below(*(f"{name}/version.info" for name in PACKAGES), "share/info/*/version.info"),
            *below(*(place for places in TOOLS.values() for place in places)),
            f"{BASE}/nnae/latest/ascend_nnae_install.info", f"{BASE}/mindie/latest/version.info",
            *(f"{BASE}/nnal/atb/{name}" for name in ("set_env.sh", "latest/version.info", "latest/atb")),
        ),
    ),
    Probe(
        id="ascend-environment",
        version=1,
        title="Environment for CANN",
        run=environment,
        after=("ascend-cann",),
        environment=VARIABLES,
    ),
    Probe(
        id="ascend-frameworks",
        version=1,
        title="Frameworks on CANN: what they load",
        run=frameworks,
        after=("python.wheels", "ascend-cann", "ascend-driver"),
        collect=(
            "site:torch_npu/_C.*.so", "site:torch_npu/lib/*.so", "site:torch/share/cmake/Torch/TorchConfig.cmake",
            "site:mindspore/lib/plugin/*.so*", "site:mindspore/lib/plugin/ascend/*.so*",
            "site:fastdeploy/libs/third_libs/*/lib/*.so", "site:fastdeploy/libs/third_libs/*/*/lib/*.so",
        ),
    ),
    Probe(
        id="ascend-triton",
        version=1,
        title="Triton for Ascend beside the other triton",
        run=triton,
        after=("python.wheels",),
        collect=("site:triton", "site:triton/backends", "site:triton/language/extra", "site:torch_npu/_inductor/*.py"),
    ),
)  # fmt: skip
