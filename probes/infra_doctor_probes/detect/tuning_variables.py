"""Variables that tune or hinder CUDA, NCCL, HCCL and the frameworks on them, and where each comes from.

NCCL also reads settings from files, and what is set already stays: the environment first, then the file that
NCCL_CONF_FILE names (from 2.23 on; else ~/.nccl.conf), then /etc/nccl.conf (src/misc/param.cc of NVIDIA/nccl). Values are
read of allowed names only; of other NCCL_ variables no more than the name. Nothing is judged here."""

from collections.abc import Iterator, Mapping

from infra_doctor.plugin import Evidence, EvidenceKind, Machine, Probe, ProbeContext, fact, kernel_evidence, record
from infra_doctor_probes.loading.orders import environment_of
from infra_doctor_probes.tables.nccl_variables import NAMES as NCCL_NAMES
from infra_doctor_probes.tables.nccl_variables import OF_OTHERS, OTHERS_PREFIXES, PRIVATE, RELEASES

SYSTEM_FILE = "/etc/nccl.conf"
OTHER_NAMES = (
    # CUDA: docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html
    "CUDA_LAUNCH_BLOCKING", "CUDA_FORCE_PTX_JIT", "CUDA_DISABLE_PTX_JIT", "CUDA_FORCE_JIT", "CUDA_DISABLE_JIT",
    "CUDA_CACHE_DISABLE", "CUDA_MODULE_LOADING", "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_AUTO_BOOST",
    "CUDA_ENABLE_COREDUMP_ON_EXCEPTION", "CUDA_DEVICE_WAITS_ON_EXCEPTION", "CUDA_HOME", "CUDA_PATH",
    # left behind by profilers and debuggers
    "CUDA_INJECTION64_PATH", "CUDA_INJECTION32_PATH", "NVTX_INJECTION64_PATH", "NSIGHT_CUDA_DEBUGGER", "COMPUTE_PROFILE",
    "CUDA_PROFILE", "NVIDIA_TF32_OVERRIDE",
    # frameworks
    "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING", "TORCH_CUDA_ARCH_LIST",
    "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE", "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME",
    "TORCH_NCCL_BLOCKING_WAIT", "TORCH_NCCL_ASYNC_ERROR_HANDLING",
    # Ascend: hiascend.com, environment variables of HCCL
    "HCCL_CONNECT_TIMEOUT", "HCCL_EXEC_TIMEOUT", "HCCL_BUFFSIZE", "HCCL_ALGO", "HCCL_INTRA_PCIE_ENABLE",
    "HCCL_INTRA_ROCE_ENABLE", "HCCL_SOCKET_IFNAME", "HCCL_SOCKET_FAMILY", "HCCL_WHITELIST_DISABLE", "HCCL_OP_EXPANSION_MODE",
    "HCCL_DETERMINISTIC", "HCCL_RDMA_TC", "HCCL_RDMA_SL", "HCCL_RDMA_TIMEOUT", "HCCL_RDMA_RETRY_CNT",
)  # fmt: skip
ALLOWED = tuple(sorted({*NCCL_NAMES, *OTHER_NAMES}))
CONF_BYTES = 65536
SETTINGS_CAP = 500


@fact("tuning-variable", 1)
@record
class TuningVariable:
    """A variable that is set. `source` is "environment" or the settings file that it stands in; of two sources the one that
    counts is reported. `value` is None where only the name may be known."""

    name: str
    value: str | None
    source: str
    evidence: tuple[Evidence, ...] = ()


@fact("network-interfaces", 1)
@record
class NetworkInterfaces:
    """The names of the network interfaces of this network namespace; asked where a variable names some."""

    names: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


@fact("missing-path", 1)
@record
class MissingPath:
    """A path that a variable names and that is not there."""

    variable: str
    path: str
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """TuningVariables, NetworkInterfaces where a variable names some, MissingPaths."""
    machine: Machine = ctx.machine
    environment = environment_of(machine, ctx.targets[0]) if ctx.targets else machine.environ
    found = {name: variable(name, environment[name], "environment") for name in ALLOWED if name in environment}
    for name in machine.environ_names("NCCL_", pid=pid_of(ctx)):
        if name not in found and not is_known(name):
            seen = Evidence(kind=EvidenceKind.ENVIRONMENT, source=name, text="set")
            found[name] = TuningVariable(name=name, value=None, source="environment", evidence=(seen,))
    for path in settings_files(environment):
        for name, value in read_settings(machine, path).items():
            found.setdefault(name, variable(name, value, path))
    yield from (found[name] for name in sorted(found))
    if any(name.endswith("_SOCKET_IFNAME") for name in found):
        names = machine.names("/sys/class/net")
        if names:
            yield NetworkInterfaces(names=names, evidence=(kernel_evidence("/sys/class/net", ", ".join(names)),))
    yield from missing_paths(machine, {name: item.value or "" for name, item in found.items()}, environment)


def pid_of(ctx: ProbeContext) -> int | None:
    """The process whose environment is judged, None for our own."""
    how, _, number = ctx.targets[0].chosen_by.partition(" ") if ctx.targets else ("", "", "")
    return int(number) if how == "--pid" and number.isdecimal() else None


def variable(name: str, value: str, source: str) -> TuningVariable:
    """One variable with its evidence."""
    kind = EvidenceKind.ENVIRONMENT if source == "environment" else EvidenceKind.FILE
    where = name if source == "environment" else source
    seen = Evidence(kind=kind, source=where, text=f"{name}={value}"[:400])
    return TuningVariable(name=name, value=value[:1000], source=source, evidence=(seen,))


def is_known(name: str) -> bool:
    """Whether somebody reads a variable of this name: NCCL, or one of those that borrow its prefix."""
    return name in RELEASES or name in PRIVATE or name in OF_OTHERS or name.startswith(OTHERS_PREFIXES)


# -- NCCL's files -------------------------------------------------------------------------------------------------


def settings_files(environment: Mapping[str, str]) -> tuple[str, ...]:
    """In the order in which NCCL reads them."""
    named, home = environment.get("NCCL_CONF_FILE", ""), environment.get("HOME", "")
    user = named or (home.rstrip("/") + "/.nccl.conf" if home.startswith("/") else "")
    return tuple(path for path in (user, SYSTEM_FILE) if path.startswith("/"))


def read_settings(machine: Machine, path: str) -> dict[str, str]:
    """NAME=value lines. A line that begins with # is a comment; blanks belong to the name, as NCCL takes them. Of a name
    that stands twice the first counts: what is set already stays."""
    text = machine.read_text(path, max_bytes=CONF_BYTES, quiet=True) or ""
    found: dict[str, str] = {}
    for row in text.splitlines():
        name, equals, value = row.partition("=")
        if len(found) >= SETTINGS_CAP:
            break
        if equals and name.startswith("NCCL_") and len(name) < 200 and name not in PRIVATE:
            found.setdefault(name, value)
    return found


# -- paths that variables name ------------------------------------------------------------------------------------


def missing_paths(machine: Machine, values: dict[str, str], environment: Mapping[str, str]) -> Iterator[MissingPath]:
    """Absolute paths only: what a relative one, or a bare library name, means depends on who asks."""
    for name in (
        "CUDA_HOME",
        "CUDA_PATH",
        "NCCL_TOPO_FILE",
        "NCCL_GRAPH_FILE",
        "NCCL_CONF_FILE",
        "CUDA_INJECTION64_PATH",
    ):
        path = values.get(name, "")
        if path.startswith("/") and not machine.exists(path):
            yield missing(name, path)
    # ld.so(8): entries are separated by spaces or colons; $LIB and the like are expanded there, not here.
    for path in environment.get("LD_PRELOAD", "").replace(":", " ").split():
        if path.startswith("/") and "$" not in path and not machine.exists(path):
            yield missing("LD_PRELOAD", path)


def missing(name: str, path: str) -> MissingPath:
    """The fact."""
    seen = Evidence(kind=EvidenceKind.FILE, source=path[:400], text="is not there")
    return MissingPath(variable=name, path=path[:400], evidence=(seen,))


PROBES = (
    Probe(
        id="tuning-variables",
        version=1,
        title="Variables for CUDA, NCCL, HCCL and the frameworks on them",
        run=run,
        needs=("environment",),
        environment=ALLOWED,
        collect=(SYSTEM_FILE, "$HOME/.nccl.conf", "environ-names:NCCL_", "/sys/class/net/*"),
    ),
)
