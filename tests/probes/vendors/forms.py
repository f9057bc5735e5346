"""Which parser each public capture of a vendor's tool belongs to, as its vendor's row and its own name say."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from infra_doctor_probes.amd.rocm_smi import parse_rocm_smi
from infra_doctor_probes.amd.smi_text import parse_amd_smi
from infra_doctor_probes.intel.texts import parse_clinfo, parse_discovery, parse_sycl_ls
from infra_doctor_probes.other_vendors.forms import parse
from infra_doctor_probes.other_vendors.reading import SmiText
from tests.support.recipe import SAMPLES

VENDORS = (
    "amd", "intel", "cambricon", "enflame", "hygon", "iluvatar", "kunlun", "metax", "moorethreads", "thead", "framework",
)  # fmt: skip
Parser = Callable[[str], SmiText]
# (vendor, start of the file's name) -> parser; the longest start counts.
FORMS: dict[tuple[str, str], Parser] = {
    ("amd", "amd-smi"): parse_amd_smi,
    ("amd", "rocm-smi"): parse_rocm_smi,
    ("intel", "clinfo"): parse_clinfo,
    ("intel", "sycl-ls"): parse_sycl_ls,
    ("intel", "xpu-smi-discovery"): parse_discovery,
    ("intel", "xpu-smi-help"): partial(parse, "xpu-smi (Intel)"),
    ("cambricon", "cnmon"): partial(parse, "cnmon"),
    ("enflame", "efsmi"): partial(parse, "efsmi"),
    ("hygon", "hy-smi"): partial(parse, "hy-smi"),
    ("hygon", "rocm-smi-dcu"): partial(parse, "hy-smi"),
    ("iluvatar", "ixsmi"): partial(parse, "ixsmi"),
    ("kunlun", "xpu-smi"): partial(parse, "xpu-smi (Kunlunxin)"),
    ("kunlun", "xpu_smi"): partial(parse, "xpu_smi"),
    ("metax", "mx-smi__"): partial(parse, "mx-smi"),
    ("metax", "mx-smi-topo"): partial(parse, "matrix"),
    ("moorethreads", "mthreads-gmi"): partial(parse, "mthreads-gmi"),
    ("framework", "ds_report"): partial(parse, "ds_report"),
}
ALL_PARSERS: dict[str, Parser] = {f"{v} {n}": p for (v, n), p in FORMS.items()} | {
    "detector": partial(parse, "detector")
}


def parser_of(vendor: str, name: str) -> Parser | None:
    """The parser of a file of this vendor."""
    if name.startswith(("api-detect-json", "api-topology-json")):
        return partial(parse, "detector")
    starts = [s for v, s in FORMS if v == vendor and name.startswith(s)]
    return FORMS[vendor, max(starts, key=len)] if starts else None


def sample_files() -> list[Path]:
    """Every capture of these vendors, INDEX.md aside."""
    folders = [SAMPLES / "vendors" / v for v in VENDORS]
    return sorted(p for f in folders if f.is_dir() for p in f.iterdir() if p.name != "INDEX.md")
