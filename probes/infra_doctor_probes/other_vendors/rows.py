"""One row per vendor: how its devices, driver, toolkit and framework plug-ins are known.

The facts and their sources stand in the compiled table `vendors`; keys that nobody read in a source are named there as
unverified and only ever give hints. What a program needs beside them stands here: which form a tool's output has, what kind
of component a device is, which labels PyTorch's builds carry."""

import posixpath
import re
from functools import lru_cache

from infra_doctor.plugin import Row, load_table, record

TABLE = posixpath.join(posixpath.dirname(posixpath.dirname(__file__)), "tables", "data", "vendors.json")
PCI_IDS = "the PCI ID repository (pci.ids)"


@record
class Vendor:
    """`nodes` are patterns of the vendor's own device files (render nodes, which all share, left out). `tools` are (command,
    form of its output). `toolkits` are folders, `version_files` files that tell their version. `labels` are local version
    labels of its PyTorch builds, `plug_ins` distributions that need the toolkit. `certain` is False where the row as a whole
    rests on nothing public; `unverified` are the keys of it that do."""

    id: str
    name: str
    pci_vendor: str
    kind: str
    nodes: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    tools: tuple[tuple[str, str], ...] = ()
    libraries: tuple[str, ...] = ()
    toolkits: tuple[str, ...] = ()
    version_files: tuple[str, ...] = ()
    visible: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    plug_ins: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    source: str = ""
    certain: bool = True
    unverified: str = ""

    def is_verified(self, key: str) -> bool:
        """Whether somebody read this path, library or name in a source."""
        return self.certain and key not in self.unverified


@record
class Own:
    """What the table does not hold of a vendor."""

    kind: str
    tools: tuple[tuple[str, str], ...] = ()
    toolkits: tuple[str, ...] = ()
    plug_ins: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


# "gpu" for what runs general kernels through an imitation of CUDA or HIP, "npu" for the others.
OWN = {
    "cambricon": Own(kind="npu", tools=(("cnmon", "cnmon"),), toolkits=("/usr/local/neuware",),
                     plug_ins=("torch-mlu", "paddle-custom-mlu"), labels=("mlu",)),
    "hygon": Own(kind="gpu", tools=(("hy-smi", "hy-smi"), ("/opt/hyhal/bin/hy-smi", "hy-smi")), toolkits=("/opt/dtk",),
                 plug_ins=("paddlepaddle-dcu",), labels=("das",)),
    "iluvatar": Own(kind="gpu", tools=(("ixsmi", "ixsmi"),), toolkits=("/usr/local/corex",),
                    plug_ins=("paddle-iluvatar-gpu",), labels=("corex",)),
    "metax": Own(kind="gpu", tools=(("mx-smi", "mx-smi"),), toolkits=("/opt/maca",),
                 plug_ins=("paddle-metax-gpu", "vllm-metax"), labels=("metax",)),
    "mthreads": Own(kind="gpu", tools=(("mthreads-gmi", "mthreads-gmi"),), toolkits=("/usr/local/musa",),
                    plug_ins=("torch-musa",), labels=("musa",)),
    # The R series and the P800 have tools of other names, and other tables.
    "kunlun": Own(kind="npu", tools=(("xpu_smi", "xpu_smi"), ("xpu-smi", "xpu-smi (Kunlunxin)")),
                  plug_ins=("paddlepaddle-xpu", "torch-xmlir")),
    "enflame": Own(kind="npu", tools=(("efsmi", "efsmi"),), toolkits=("/opt/tops",),
                   plug_ins=("torch-gcu", "paddle-custom-gcu"), labels=("gcu",)),
    "biren": Own(kind="gpu", plug_ins=("torch-supa", "torch-br")),
    "thead": Own(kind="gpu"),
    "tecorigin": Own(kind="npu", plug_ins=("torch-sdaa", "paddle-sdaa")),
}  # fmt: skip
# Gaudi stands in Intel's row of the table; its PCI vendor is its own, its nodes are unverified there.
HABANA = Vendor(
    id="habana", name="Intel Gaudi", pci_vendor="1da3", kind="npu", nodes=("/dev/accel/accel[0-9]*",),
    modules=("habanalabs",), visible=("HABANA_VISIBLE_DEVICES",), source=PCI_IDS,
    unverified="/dev/accel/accel[0-9]*; habanalabs; HABANA_VISIBLE_DEVICES",
)  # fmt: skip


@lru_cache(maxsize=1)
def vendors() -> dict[str, Vendor]:
    """Every vendor by its id."""
    found = {row["id"]: vendor_of(row, OWN[row["id"]]) for row in load_table(TABLE).rows if row["id"] in OWN}
    return found | {HABANA.id: HABANA}


def vendor_of(row: Row, own: Own) -> Vendor:
    """The table's row, its lists taken apart."""
    paths = listed(row["paths"])
    unverified = row["unverified"]
    if "device_nodes" in unverified:
        unverified += "; " + "; ".join(globs(row["device_nodes"]))
    return Vendor(
        id=row["id"], name=row["name"], pci_vendor=row["pci_vendor"], kind=own.kind, nodes=globs(row["device_nodes"]),
        modules=listed(row["kernel_modules"]), tools=own.tools,
        libraries=tuple(n for n in listed(row["libraries"]) if "{" not in n), toolkits=own.toolkits,
        version_files=tuple(p for p in paths if posixpath.basename(p).startswith("version")),
        visible=listed(row["env_visible"]), homes=listed(row["env_paths"]), plug_ins=own.plug_ins, labels=own.labels,
        source=row.source, certain=row.certain, unverified=unverified,
    )  # fmt: skip


def listed(text: str) -> tuple[str, ...]:
    """The entries of a cell, without the words in parentheses; `a / b` is two."""
    bare = re.sub(r"\s*\([^()]*\)", "", text)
    return tuple(entry.strip() for part in bare.split(";") for entry in part.split(" / ") if entry.strip())


def globs(text: str) -> tuple[str, ...]:
    """Device files as patterns. Moore Threads' nodes are mtgpu.0 or, in some images, mtgpu0."""
    own = [node for node in listed(text) if "/dev/dri/" not in node and node != "/dev/kfd"]
    patterns = [node.replace("[0-9]+", "[0-9]*") for node in own]
    return tuple(
        dict.fromkeys(p for pattern in patterns for p in (pattern, pattern.replace("mtgpu.[0-9]", "mtgpu[0-9]")))
    )
