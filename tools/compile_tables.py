#!/usr/bin/env python3
"""Compile gathered compatibility facts (csv, toml) into the tables that the rules read.

    python tools/compile_tables.py KNOWLEDGE_DIR [--check]

Every row must name its source, or nothing is written. A row is certain only if its source names something public and
neither the source nor a column that verdicts rest on is doubtful ("unverified", "from memory", "not seen" …); rows that
are not certain give hints. Numbers that tell second-hand copies apart are left out. The output does not depend on
anything but the input: newest versions first, one row a line, so that a change shows as a small diff."""

import argparse
import csv
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from infra_doctor.compat.version import version_key

OUTPUT = Path(__file__).resolve().parent.parent / "probes" / "infra_doctor_probes" / "tables" / "data"
# Tables of the same form whose rows are written by hand, with their sources: left as they are.
HAND_WRITTEN = frozenset({"ascend_fault_codes.json", "xid.json"})

Cells = dict[str, str]


class CompileError(Exception):
    """An input that must not become a table."""


# -- sources and doubts -------------------------------------------------------------------------------------------

DOUBT = re.compile(
    r"unverified|from memory|not seen|not read|by inference|\binferred\b|one report|\(doubtful\)|\d\?|\?$",
    re.IGNORECASE,
)
ID_LIST = r"\d{6,}(?:(?:, | and )\d{6,})*"
COPY = re.compile(
    rf"(?:[,;]?\s*\b(?:copied|quoted|read|seen|copy) in|[,;]?\s*\bvia)?[,\s]*\b"
    rf"(?:public copy refs?|public code index file ids?|text index ids?|public code index,? ids?)\s+{ID_LIST}"
)
LOOSE_IDS = re.compile(
    r"[:,]?\s*\b(?:notes )?(?:file )?ids?\s+\d{9,}(?:(?:, | and )\d{9,})*|[,:]?\s*\b\d{9,}(?:(?:, | and )\d{9,})*\b"
)
TALK = re.compile(r",?\s*\(?(?:all )?read through the public search\)?|\s*\((?:the )?public code index\)")
SECOND_HAND = "(second-hand copy)"
# What somebody else can look up: an address, a repository, a package's metadata, a named document of a vendor.
PUBLIC = re.compile(
    r"https?://|\bpypi\b|METADATA|RELEASE\.md|[\w-]+/[\w.-]+(?:@|#|\s\.?\w+/)|[\w-]+\.(?:com|org|io|ai)\b|\.md\b"
    r"|release notes|installation guide|documentation|support matrix|compatibility row|\btable\b|\bdocs\b",
    re.IGNORECASE,
)


def public_source(text: str) -> tuple[str, bool]:
    """The source as printed, and whether it names something public once second-hand copies are taken out."""
    shown = TALK.sub("", LOOSE_IDS.sub("", COPY.sub(f" {SECOND_HAND}", text)))
    shown = re.sub(rf"\(\s*{re.escape(SECOND_HAND)}\s*\)", SECOND_HAND, shown)
    shown = re.sub(r";? ?rows in \w+\.csv", "", shown)  # an input of this script, which nobody else has
    shown = re.sub(r"\s+", " ", shown).strip(" ;,")
    shown = re.sub(rf"(?:{re.escape(SECOND_HAND)}(?:[;,]| and)? ?)+{re.escape(SECOND_HAND)}", SECOND_HAND, shown)
    named = re.sub(rf"{re.escape(SECOND_HAND)}(?:\s*\([^()]*\))?", "", shown)
    return shown, bool(PUBLIC.search(named))


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How one csv file becomes one table. `columns` are kept, in order; the first is the key. `doubt` names the columns
    beside the source whose doubts count (all kept ones and the note by default): a doubt about a column that no verdict
    rests on must not silence the others. `change` may drop a row (None), split it, or rewrite its cells."""

    file: str
    columns: tuple[str, ...]
    name: str = ""
    doubt: tuple[str, ...] | None = None
    versions: bool = True
    change: Callable[[Cells], Cells | Iterable[Cells] | None] = lambda row: row


def rows_of(folder: Path, spec: Spec) -> Iterator[tuple[list[str], str, bool]]:
    """(cells, source, certain) of each row."""
    previous = ""
    with (folder / spec.file).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        for raw in reader:
            where = f"{spec.file}:{reader.line_num}"
            if None in raw or None in raw.values():
                raise CompileError(f"{where}: not as many cells as columns")
            if raw.get("source", "").strip() == "same":
                raw["source"] = previous
            previous = raw.get("source", "")
            changed = spec.change(dict(raw))
            for row in (changed,) if isinstance(changed, dict) else changed or ():
                yield finish(row, spec.columns, spec.doubt, where)


def finish(
    row: Cells, columns: tuple[str, ...], doubt: tuple[str, ...] | None, where: str
) -> tuple[list[str], str, bool]:
    """One row's cells, printed source and certainty."""
    source, public = public_source(row.get("source", ""))
    if not source:
        raise CompileError(f"{where}: no source")
    looked_at = (*columns, "note") if doubt is None else doubt
    doubtful = any(DOUBT.search(text) for text in (row["source"], *(row.get(c, "") for c in looked_at)))
    certain = public and not doubtful and row.get("uncertain", "no").strip().lower() not in {"yes", "true"}
    cells = []
    for column in columns:
        if column not in row:
            raise CompileError(f"{where}: no column {column}")
        text = TALK.sub("", LOOSE_IDS.sub("", COPY.sub("", row[column])))
        cells.append(re.sub(r"\s+", " ", text.replace("\xa0", " ")).strip())
    return cells, source, certain


def render(
    name: str, retrieved: str, columns: tuple[str, ...], rows: Iterable[tuple[list[str], str, bool]], *, versions: bool
) -> str:
    """The file's text."""
    unique = dict.fromkeys((tuple(cells), source, certain) for cells, source, certain in rows)
    if not unique:
        raise CompileError(f"{name}: no rows")
    ordered = sorted(unique, key=lambda row: (row[0], row[1]))
    if versions:
        ordered.sort(key=lambda row: version_key(row[0][0]), reverse=True)
    sources = sorted({source for _, source, _ in ordered})
    index = {source: number for number, source in enumerate(sources)}
    lines = [
        json.dumps([*cells, index[source], int(certain)], ensure_ascii=False) for cells, source, certain in ordered
    ]
    head = {"columns": list(columns), "name": name, "retrieved": retrieved}
    parts = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in head.items()]
    parts.append('"rows": [\n' + ",\n".join(lines) + "\n]")
    parts.append('"sources": [\n' + ",\n".join(json.dumps(s, ensure_ascii=False) for s in sources) + "\n]")
    return "{" + ",\n".join(parts) + "}\n"


# -- what the csv files need --------------------------------------------------------------------------------------


def only_parts(row: Cells, *wanted: str) -> Cells:
    """The source without the parts that speak of columns which are left out."""
    parts = [p for p in row["source"].split(";") if any(w in p for w in wanted)]
    return row | {"source": ";".join(parts) or row["source"]}


def soname_rows(row: Cells) -> list[Cells]:
    """One row for each CUDA major: the CUDA 11 column is from memory where the source says so."""
    out = []
    source = re.sub(r";?\s*11: unverified", "", row["source"])
    for number in ("11", "12", "13"):
        if row[f"cuda{number}"].strip(" -").startswith("lib"):
            doubt = "11: unverified" in row["source"] and number == "11"
            library = re.sub(r"\s*\(.*", "", row["library"])
            soname = re.sub(r"\s*\(.*", "", row[f"cuda{number}"])
            cells = {"library": library, "cuda_major": number, "soname": soname, "uncertain": "yes" if doubt else "no"}
            out.append(row | cells | {"source": source})
    return out


def last_driver(row: Cells) -> Cells | None:
    """The `uncertain` flag of these rows speaks of the first toolkit; NVIDIA's own matrix has the last driver branch.
    Jetson modules have no driver branch."""
    if not re.fullmatch(r"R\d{3}", row["last_driver_branch"]):
        return None
    return row | {"source": ARCHITECTURE_MATRIX, "uncertain": "no"}


ARCHITECTURE_MATRIX = (
    "https://docs.nvidia.com/datacenter/tesla/drivers/cuda-toolkit-driver-and-architecture-matrix.html "
    "(CUDA Toolkit, Driver, and Architecture Matrix)"
)


# Boards of NVIDIA's own list of compute capabilities that the PCI ID repository names too.
LISTED_BOARDS = {
    "10.0": r"\bG?B200\b", "10.3": r"\bG?B300\b", "12.1": r"\bGB10\b",
    "12.0": r"\bGeForce RTX 50[5-9]0\b|\bRTX PRO (?:2000|4000|4500|5000|6000) Blackwell\b",
}  # fmt: skip
BOARD_LIST = "https://developer.nvidia.com/cuda-gpus"


def pci_row(row: Cells) -> Cells:
    """A compute capability inferred from the chip's code name is certain where NVIDIA lists the board with it."""
    boards = LISTED_BOARDS.get(row["cc_from_codename"])
    if row["uncertain"] == "yes" and boards and re.search(boards, row["name"]):
        return row | {"uncertain": "no", "source": f"{row['source']}; {BOARD_LIST}"}
    return row


def cudnn_row(row: Cells) -> Cells:
    """The drivers that cuDNN's matrix asks for, one column for each CUDA major, and Blackwell's own."""
    minimum = row["min_driver_linux"]
    found = {f"driver_cuda{n}": "" for n in ("11", "12", "13")} | {"driver_blackwell": ""}
    for label, number in re.findall(r"([\w/. +]+): (\d+\.\d+(?:\.\d+)?)", minimum):
        if label.strip().startswith("Blackwell"):
            found["driver_blackwell"] = number
        else:
            found[f"driver_cuda{label.strip()[-2:]}"] = number
    if re.fullmatch(r"[\d.]+", minimum):  # an 8.x release for CUDA 11 alone
        found["driver_cuda11"] = minimum
    capability = re.sub(r"\s*\(.*", "", row["compute_capability"])
    if not re.fullmatch(r"\d+\.\d(?: \d+\.\d)*", capability):
        capability = ""
    return row | found | {"compute_capability": capability, "source": f"{row['matrix_source']}; {row['source']}"}


def cuda_driver_row(row: Cells) -> Cells:
    """Without the words beside numbers; a branch without a build is no version."""
    match = re.match(r"(\d+\.\d+(?:\.\d+)?)\b(?! branch)", row["toolkit_driver_linux"])
    return row | {"toolkit_driver_linux": match.group(1) if match else ""}


def known_bad_nccl(row: Cells) -> Cells | None:
    """Rows with a known fault: a range of versions and the architecture that it is limited to."""
    if not row["known_bad"]:
        return None
    version = row["nccl"].strip()
    spec = version.replace(" ", "") if version[:1] in "<>" else f"=={version.split(' ')[0].replace('.x', '.*')}"
    arch = "aarch64" if row["known_bad"].startswith("aarch64") else ""
    doubt = "by inference" if "inference" in version else ""
    return row | {"spec": spec, "arch": arch, "source": row["known_bad_source"], "note": doubt}


def jax_row(row: Cells) -> Cells:
    """The plug-in's range and cuDNN's for each CUDA major, out of the extras."""
    cells: Cells = {}
    for number in ("12", "13"):
        text = row[f"extra_cuda{number}"] + " " + row[f"cuda{number}_plugin_with_cuda_pins"]
        for column, name in (
            (f"cuda{number}_plugin", f"jax-cuda{number}-plugin"),
            (f"cuda{number}_cudnn", f"nvidia-cudnn-cu{number}"),
        ):
            match = re.search(rf"(?:^|\s){name}(?:\[[\w,-]+\])?([<>=!~][^\s]*)", text)
            cells[column] = match.group(1) if match else ""
    return row | cells


def ort_opset(row: Cells) -> Cells | None:
    """The newest opset and IR version that a release reads, where they were measured or stand in the documentation."""
    if not (row["max_onnx_opset"].isdigit() and row["max_ir_version"].isdigit() and row["opset_basis"]):
        return None
    basis = f"{row['opset_basis']}; " if row["opset_basis"].startswith("measured") else ""
    return row | {"source": basis + ORT_COMPATIBILITY, "note": ""}


ORT_COMPATIBILITY = "https://onnxruntime.ai/docs/reference/compatibility.html#onnx-opset-support"


def ort_cuda(row: Cells) -> Cells:
    """The build that PyPI serves; other feeds serve others."""
    match = re.match(r"(\d+(?:\.\d+)*(?:\.x)?)", row["cuda_default_pypi"])
    return row | {"cuda_default_pypi": match.group(1) if match else "", "cudnn": row["cudnn"].split(" ")[0]}


CSV_TABLES = (
    Spec(file="cuda_driver.csv", columns=("cuda_version", "toolkit_driver_linux"), change=cuda_driver_row),
    # `kind` (long-term support …) is left out, and with it what is doubtful about it
    Spec(file="driver_branches.csv", columns=("branch", "cuda_driver_api"),
         change=lambda row: row | {"source": row["source"].replace("; LTS status unverified", "")}),
    Spec(file="cuda_toolkit_components.csv",
         columns=("toolkit", "cudart", "nvcc", "nvrtc", "cublas", "cusparse", "nvjitlink", "cufft", "curand", "cusolver", "cupti")),
    Spec(file="sonames.csv", columns=("library", "cuda_major", "soname"), change=soname_rows, versions=False),
    # the notes' doubts are about products, sm_90a and the open kernel module, none of which is kept
    Spec(file="gpu_arch.csv", columns=("cc", "arch", "market", "min_cuda_toolkit", "max_cuda_toolkit"),
         doubt=("min_cuda_toolkit", "max_cuda_toolkit")),
    Spec(file="gpu_arch.csv", name="gpu_last_driver", columns=("cc", "arch", "last_driver_branch"), change=last_driver, doubt=()),
    # what a benchmark's result is compared with; sizes of several boards in one row are kept as they are
    Spec(file="gpu_peaks.csv", versions=False, doubt=("note",),
         columns=("name", "vendor", "cc", "sms", "boost_mhz", "tensor_clock_mhz", "mem_gb", "bw_gbs", "fp64_tflops",
                  "fp64tc_tflops", "fp32_tflops",
                  "tf32_tflops", "fp16_tflops", "bf16_tflops", "fp8_tflops", "int8_tflops", "fp4_tflops", "pcie")),
    Spec(file="interconnect.csv", versions=False, columns=("kind", "gen", "lanes", "uni_gbs")),
    Spec(file="pci_ids.csv", columns=("pci_id", "vendor", "name", "cc_from_codename"), versions=False, change=pci_row),
    Spec(file="cudnn.csv", change=cudnn_row,
         columns=("cudnn", "soname", "driver_cuda11", "driver_cuda12", "driver_cuda13", "driver_blackwell", "compute_capability")),
    Spec(file="nccl_env.csv", columns=("env", "default_in_source", "leftover_suspect"), versions=False),
    Spec(file="nccl.csv", name="nccl_known_bad", columns=("spec", "arch", "known_bad"), change=known_bad_nccl, versions=False),
    # the release matrix's columns (other builds, ROCm) are not kept: it is older than the wheels and contradicts them
    Spec(file="pytorch.csv", change=lambda row: only_parts(row, "METADATA"),
         columns=("torch", "default_pypi_cuda", "cuda_toolkit_or_runtime_pin", "cudnn", "nccl", "cublas", "cusparselt",
                  "nvshmem", "triton", "requires_python", "wheel_pythons_linux_x86_64", "min_glibc")),
    Spec(file="torch_arch.csv", columns=("torch", "cuda_build", "platform", "sm_archs"),
         change=lambda row: row | {"cuda_build": row["cuda_build"].split(" ")[0]}),
    Spec(file="torchvision.csv", columns=("torchvision", "torch", "requires_python", "wheel_pythons")),
    Spec(file="triton.csv", columns=("triton", "torch_that_pins_it", "requires_python", "min_glibc")),
    Spec(file="jax.csv", change=jax_row,
         columns=("jax", "jaxlib", "requires_python", "wheel_pythons_jaxlib", "cuda12_plugin", "cuda13_plugin",
                  "cuda12_cudnn", "cuda13_cudnn")),
    Spec(file="tensorflow.csv",
         columns=("tensorflow", "cuda_tested", "cudnn_tested", "requires_python", "wheel_pythons", "min_glibc")),
    Spec(file="tensorrt.csv", columns=("tensorrt", "soname", "cuda", "min_driver")),
    # the note is about single reports and packaging
    Spec(file="onnxruntime_gpu.csv", change=ort_cuda, doubt=("cuda_default_pypi", "cudnn", "tensorrt_ep"),
         columns=("onnxruntime_gpu", "cuda_default_pypi", "cudnn", "tensorrt_ep", "requires_python",
                  "wheel_pythons_linux_x86_64", "min_glibc")),
    Spec(file="onnxruntime_gpu.csv", name="onnxruntime_opsets", change=ort_opset,
         columns=("onnxruntime_gpu", "max_onnx_opset", "max_ir_version")),
    Spec(file="onnxruntime_cuda_builds.csv", columns=("onnxruntime", "cuda_build", "cudnn_linux", "torch_pairing", "on_pypi")),
    Spec(file="onnxruntime_eps.csv", versions=False,
         columns=("package", "version", "needs", "basis", "runpath_measured", "min_glibc")),
    Spec(file="openvino_pypi.csv", columns=("openvino", "requires_python", "min_glibc")),
    Spec(file="serving_stacks.csv", versions=False,
         columns=("package", "version", "requires_python", "wheel_pythons", "min_glibc", "torch", "torchvision", "triton",
                  "xformers", "flashinfer_python", "torch_npu", "triton_ascend")),
    Spec(file="rocm.csv", columns=("kind", "rocm", "torch", "driver", "gfx", "note"), versions=False),
    Spec(file="ascend_cann_hdk.csv", columns=("cann", "hdk", "relation", "chip", "driver", "firmware")),
    # the product names and memory sizes are unverified and for display; the soc names and generations are read from source
    Spec(file="ascend_chips.csv", columns=("soc_name", "generation", "products"), doubt=("soc_name", "generation"), versions=False),
    Spec(file="ascend_torch_npu.csv", columns=("torch_npu", "branch", "torch", "cann", "python", "triton_ascend")),
    Spec(file="ascend_torch_npu_pypi.csv", columns=("torch_npu", "torch_pin", "wheel_pythons_x86_64", "min_glibc", "other_deps")),
    Spec(file="ascend_vllm.csv", columns=("vllm_ascend", "vllm", "python", "cann", "torch", "torch_npu", "triton_ascend")),
    Spec(file="cann_python.csv", columns=("cann", "kind", "name", "requirement", "note"), versions=False),
    Spec(file="mindspore_pypi.csv", columns=("mindspore", "requires_python", "wheel_pythons", "numpy", "protobuf", "scipy")),
)  # fmt: skip


# -- what the toml files need -------------------------------------------------------------------------------------

SHORT_NAMES = {
    "RT": "gpustack/runtime@88026d6", "GS": "gpustack/gpustack@47277d7:docs/installation/requirements.md",
    "NVTOP": "nvtop@3d4a953", "FP": "FlagPerf@1b5a030", "PCD": "PaddlePaddle/PaddleCustomDevice",
}  # fmt: skip
Entry = dict[str, Any]


def text_of(value: Any) -> str:
    """Lists become "a; b", flags "yes" or "no"."""
    if isinstance(value, list):
        return "; ".join(text_of(v) for v in value)
    if isinstance(value, dict):
        return "; ".join(f"{k} = {text_of(v)}" for k, v in value.items())
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def vendor_rows(document: Entry) -> Iterator[Entry]:
    """Every vendor; the keys under `unverified` are for recognition only, and stand in a column of that name."""
    for vendor in document["vendor"]:
        source = re.sub(r"\b(RT|GS|NVTOP|FP|PCD)\b", lambda m: SHORT_NAMES[m.group(1)], vendor["source"])
        yield vendor | {"source": source}


def families(document: Entry) -> Iterator[Entry]:
    """CUDA major -> the oldest driver that runs its applications, on Linux and on Windows (WSL2)."""
    rule = next(r for r in document["rule"] if r["id"] == "minor-version-compat")
    for number, linux in rule["min_driver_linux"].items():
        windows = rule["min_driver_windows"][number].split(" ")[0]
        yield {
            "cuda_major": number,
            "linux": linux,
            "windows": windows,
            "source": rule["source"],
            "uncertain": rule["uncertain"],
        }


@dataclass(frozen=True, kw_only=True)
class TomlSpec:
    """How a list of entries of a toml file becomes a table."""

    file: str
    name: str
    columns: tuple[str, ...]
    entries: Callable[[Entry], Iterable[Entry]]
    doubt: tuple[str, ...] | None = None
    versions: bool = False


TOML_TABLES = (
    TomlSpec(file="cuda_rules.toml", name="cuda_families", columns=("cuda_major", "linux", "windows"), versions=True,
             entries=families),
    TomlSpec(file="cuda_rules.toml", name="cuda_known_bad", columns=("component", "versions", "symptom", "fixed_in"),
             entries=lambda d: d["known_bad"]),
    TomlSpec(file="frameworks_other.toml", name="jax_backends", columns=("name", "min_driver_linux", "min_cc", "cudnn"),
             entries=lambda d: [b | {"source": d["jax"]["source"]} for b in d["jax"]["backend"] if "min_cc" in b]),
    TomlSpec(file="frameworks_other.toml", name="mindspore_cann", columns=("mindspore", "cann"), versions=True,
             entries=lambda d: d["mindspore"]["cann"]),
    TomlSpec(file="ort_packages.toml", name="ort_packages", columns=("name", "module", "providers", "note"),
             entries=lambda d: d["package"], doubt=("module",)),
    TomlSpec(file="ascend_rules.toml", name="ascend_rules", columns=("id", "text"), entries=lambda d: d["rule"], doubt=()),
    TomlSpec(file="vendors.toml", name="vendors", entries=vendor_rows, doubt=(),
             columns=("id", "name", "pci_vendor", "device_nodes", "kernel_modules", "smi", "libraries", "paths", "env_visible",
                      "env_paths", "python", "torch_device", "trap", "unverified")),
)  # fmt: skip


def toml_rows(folder: Path, spec: TomlSpec) -> Iterator[tuple[list[str], str, bool]]:
    """(cells, source, certain) of each entry."""
    document = tomllib.loads((folder / spec.file).read_text(encoding="utf-8"))
    for number, entry in enumerate(spec.entries(document), 1):
        row = dict.fromkeys((*spec.columns, "source"), "") | {k: text_of(v) for k, v in entry.items()}
        yield finish(row, spec.columns, spec.doubt, f"{spec.file}: {spec.name} {number}")


# -- all of it ----------------------------------------------------------------------------------------------------


def compile_all(folder: Path) -> dict[str, str]:
    """File name -> text of every table. Raises CompileError."""
    gathered = re.search(r"Gathered (\d{4}-\d{2}-\d{2})", (folder / "README.md").read_text(encoding="utf-8"))
    if gathered is None:
        raise CompileError("README.md does not say when the facts were gathered")
    out: dict[str, str] = {}
    for spec in CSV_TABLES:
        name = spec.name or spec.file.removesuffix(".csv")
        out[f"{name}.json"] = render(name, gathered[1], spec.columns, rows_of(folder, spec), versions=spec.versions)
    for toml_spec in TOML_TABLES:
        rows = toml_rows(folder, toml_spec)
        out[f"{toml_spec.name}.json"] = render(
            toml_spec.name, gathered[1], toml_spec.columns, rows, versions=toml_spec.versions
        )
    return out


def main() -> int:
    """Write the tables, or with --check say which are not up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("knowledge", type=Path, metavar="KNOWLEDGE_DIR")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    options = parser.parse_args()
    try:
        tables = compile_all(options.knowledge)
    except (CompileError, OSError, ValueError, KeyError) as error:
        print(f"compile_tables: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    compiled = {p for p in OUTPUT.glob("*.json") if p.name not in HAND_WRITTEN}
    stale = sorted(set(tables) ^ {p.name for p in compiled})
    stale += [n for n, text in tables.items() if n not in stale and (OUTPUT / n).read_text(encoding="utf-8") != text]
    if options.check:
        print("\n".join(stale) or "all tables are up to date", file=sys.stderr)
        return 1 if stale else 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for path in compiled:
        if path.name not in tables:
            path.unlink()
    for name, text in tables.items():
        (OUTPUT / name).write_text(text, encoding="utf-8")
    print(f"{len(tables)} tables, {len(stale)} changed", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
