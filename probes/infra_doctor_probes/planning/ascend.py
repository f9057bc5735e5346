"""torch_npu and vllm-ascend: which release pairs with the torch, the CANN and the driver that are there.

Facts: TorchNPU's release notes (`ascend_torch_npu`), vllm-ascend's version matrix (`ascend_vllm`), CANN's compatibility
with the driver packages (`ascend_cann_hdk`). Read from publications; no Ascend device was at hand."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Choice,
    Component,
    Effort,
    Need,
    Option,
    PlanContext,
    Refused,
    Row,
    Verdict,
    numbers,
    parse_version,
    version_key,
)
from infra_doctor_probes.planning.needs import installed, nearest_first, python_need
from infra_doctor_probes.planning.wheels import pin_need, present
from infra_doctor_probes.tables.ascend import in_use, judge_by_table
from infra_doctor_probes.tables.ascend_frameworks import WINDOW_CANN, WINDOW_RELEASES
from infra_doctor_probes.tables.common import rows, table_text

CANN = "cann"
ON_CAPTURES = "Ascend pairs are read from the release notes; none was tried on a device"


def torch_npu_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """The installed torch_npu by its METADATA and the table, then the published ones."""
    here = installed(ctx, part)
    by_version = {r["torch_npu"]: r for r in rows("ascend_torch_npu") if parse_version(r["torch_npu"]) is not None}
    if here is not None:
        row = by_version.get(here.version or "")
        option = present(ctx, here)
        needs = (*option.needs, *(release_needs(row, part) if row is not None else ()))
        yield Option(part=part, version=option.version, effort=Effort.NONE, needs=needs, values=option.values)
    for version in nearest_first(ctx, part, list(by_version)):
        row = by_version[version]
        yield Option(
            part=part, version=version, effort=Effort.WHEEL, requirement=f"torch-npu=={version}",
            needs=release_needs(row, part), source=table_text("ascend_torch_npu", row), values={"version": version},
            assumes=(ON_CAPTURES,),
        )  # fmt: skip


def release_needs(row: Row, part: str) -> tuple[Need, ...]:
    """torch of the same release, the paired CANN (or one of its window), the Python versions."""
    said = table_text("ascend_torch_npu", row)
    torch = pin_need(part, row["torch_npu"], "torch", row["torch"], said)
    return (*((torch,) if torch else ()), *cann_need(row, said), *python_need(row["python"], said))


def cann_need(row: Row, source: str) -> tuple[Need, ...]:
    """The CANN of the release notes; within the window in which several work together, any of it."""
    paired = numbers(row["cann"])
    if len(paired) < 2:
        return ()
    release = numbers(row["branch"].rpartition("-")[2])
    window = release[:2] in WINDOW_RELEASES and paired[:2] in WINDOW_CANN

    def accepts(option: Option) -> bool:
        here = numbers(option.version)
        return (window and here[:2] in WINDOW_CANN) or here[: len(paired)] == paired

    lines = sorted(WINDOW_CANN)
    text = f"CANN {row['cann']}" + (
        f" (or {lines[0][0]}.{lines[0][1]} to {lines[-1][0]}.{lines[-1][1]})" if window else ""
    )
    return (Need(part=CANN, text=text, source=source, accepts=accepts),)


def vllm_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """The installed vllm-ascend, then the releases of its matrix."""
    here = installed(ctx, part)
    if here is not None:
        yield present(ctx, here)
    by_version = {r["vllm_ascend"].removeprefix("v"): r for r in rows("ascend_vllm")}
    by_version = {v: r for v, r in by_version.items() if parse_version(v) is not None}
    for version in nearest_first(ctx, part, list(by_version)):
        row = by_version[version]
        said = table_text("ascend_vllm", row)
        pins = {"torch": row["torch"], "torch-npu": row["torch_npu"]}
        needs = [pin_need(part, version, other, spec, said) for other, spec in pins.items()]
        cann = numbers(row["cann"])
        wanted = Need(
            part=CANN, text=f"CANN {row['cann']}", source=said,
            accepts=lambda option, cann=cann: numbers(option.version)[: len(cann)] == cann,  # type: ignore[misc]
        )  # fmt: skip
        yield Option(
            part=part, version=version, effort=Effort.WHEEL, requirement=f"vllm-ascend=={version}",
            needs=(*(n for n in needs if n is not None), *((wanted,) if cann else ())), source=said,
            values={"version": version}, assumes=(ON_CAPTURES,),
        )  # fmt: skip


def cann_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """The CANN that the environment points to, then the releases that the driver here is listed for."""
    active = next(iter(in_use(ctx.facts, "cann")), None)
    if active is not None and active.version:
        yield Option(part=part, version=active.version, effort=Effort.NONE)
    driver = ctx.facts.component("driver:ascend")
    if driver is None:
        yield Refused(label="CANN", reason="no Ascend driver is there to choose a release by")
        return
    releases = {r["cann"] for r in rows("ascend_cann_hdk") if r.certain and not r["cann"].lower().endswith("x")}
    for version in sorted(releases, key=version_key, reverse=True):
        candidate = Component(key=f"cann:{version}", kind="cann", name="CANN", version=version)
        verdict, reason, source = judge_by_table(candidate, driver)
        if verdict is Verdict.COMPATIBLE:
            yield Option(
                part=part, version=version, effort=Effort.SYSTEM, source=source, assumes=(ON_CAPTURES,),
                remedy=f"Install CANN {version} (toolkit, and the ops package of this chip) beside the others, and source its"
                " set_env.sh instead.",
            )  # fmt: skip
        elif verdict is Verdict.INCOMPATIBLE:
            yield Refused(label=f"CANN {version}", reason=reason, source=source)


CHOICES = (
    Choice(id="torch-npu", title="TorchNPU releases", parts=("torch-npu",), options=torch_npu_options),
    Choice(id="vllm-ascend", title="vllm-ascend releases", parts=("vllm-ascend",), options=vllm_options),
    Choice(id="cann", title="CANN releases", parts=(CANN,), options=cann_options, wishable=False),
)
