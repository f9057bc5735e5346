"""Which triton a target imports: triton-ascend and the community's triton are two distributions of one folder `triton`, and
the one that was installed last wins. Told by the folders that only the one for Ascend has, and by what torch_npu's code
generator imports; nothing is imported."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import Component, Evidence, EvidenceKind, Machine, ProbeContext, fact, record

# torch_npu's file that imports the device library of triton-ascend (torch_npu 2.7 to 2.12).
HELPERS = "torch_npu/_inductor/npu_triton_helpers.py"
_EXTRA = re.compile(r"^[ \t]{0,12}import triton\.language\.extra\.(\w{1,40})", re.MULTILINE)


@fact("ascend-triton", 1)
@record
class AscendTriton:
    """The folder `triton` of one target. `has_backend`: whether the Ascend backend lies in it; `extras` are the folders of
    triton.language.extra; `wanted` are those that torch_npu imports, any of which does."""

    target: str
    wheels: tuple[str, ...]
    folder: str
    has_backend: bool
    extras: tuple[str, ...]
    wanted: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[AscendTriton]:
    """A fact for each target that holds triton-ascend, or a torch_npu beside another triton."""
    for target in ctx.targets:
        found = {
            w.name: w
            for w in ctx.by_kind("wheel", target=target.key)
            if w.name in {"triton", "triton-ascend", "torch-npu"}
        }
        if "triton-ascend" in found or {"torch-npu", "triton"} <= found.keys():
            fact_of_target = triton_of(ctx.machine, target.key, found)
            if fact_of_target is not None:
                yield fact_of_target


def triton_of(machine: Machine, target: str, found: dict[str, Component]) -> AscendTriton | None:
    """What lies on disk; None where no metadata says where (an editable installation)."""
    site = next(
        (posixpath.dirname(w.location) for n in ("triton-ascend", "triton") if (w := found.get(n)) and w.location), ""
    )
    folder = f"{site}/triton"
    if not site or not machine.is_dir(folder):
        return None
    extras = tuple(n for n, kind in machine.listdir(folder + "/language/extra") if kind == "dir" and n[:1].isalpha())
    text = machine.read_text(f"{site}/{HELPERS}", max_bytes=65536, quiet=True) or ""
    wanted = tuple(dict.fromkeys(_EXTRA.findall(text)))
    backends = machine.names(folder + "/backends")
    seen = [
        Evidence(kind=EvidenceKind.DIRECTORY, source=folder + "/backends", text=" ".join(backends)[:200]),
        Evidence(kind=EvidenceKind.DIRECTORY, source=folder + "/language/extra", text=" ".join(extras)[:200]),
    ]
    if wanted:
        shown = "imports triton.language.extra." + " or .".join(wanted)
        seen.append(Evidence(kind=EvidenceKind.FILE, source=f"{site}/{HELPERS}", text=shown))
    return AscendTriton(
        target=target,
        wheels=tuple(w.key for w in found.values()),
        folder=folder,
        has_backend="ascend" in backends,
        extras=extras,
        wanted=wanted,
        evidence=tuple(seen),
    )
