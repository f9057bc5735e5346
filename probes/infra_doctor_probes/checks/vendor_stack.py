"""VENDOR-STACK: a further vendor's accelerator whose driver, device files, toolkit or framework plug-in does not fit together.

Table-driven: rests on the PCI bus, the kernel's driver links, the vendor's device files and folders as its table row names
them, and on the versions that plug-in wheels carry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Confidence,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    numbers,
)
from infra_doctor_probes.detect.system import Container

if TYPE_CHECKING:
    from infra_doctor_probes.other_vendors.probe import VendorStack
    from infra_doctor_probes.other_vendors.rows import Vendor

PROVEN = "Proven on captures only, not on such a device."
# Plug-ins and labels of PyTorch builds that were seen to load the toolkit's libraries from where it is installed.
NEEDS_TOOLKIT = ("torch-mlu", "torch-musa", "das", "corex", "metax")


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per fault of each vendor; one `pass` for each vendor without."""
    if not any(getattr(f, "fact_type", "") == "vendor-stack" for f in context.facts(object)):
        yield CHECK.skip("no accelerator of these vendors is there")
        return
    from infra_doctor_probes.other_vendors.probe import VendorStack
    from infra_doctor_probes.other_vendors.rows import vendors

    for stack in context.facts(VendorStack):
        vendor = vendors()[stack.vendor]
        users = users_of(context, vendor)
        found = [*kernel(context, stack, users), *toolkit(context, vendor, stack, users), *pins(context, users)]
        yield from found
        if not found:
            yield in_order(context, stack)


def users_of(context: CheckContext, vendor: Vendor) -> list[Component]:
    """The wheels that would use the vendor's devices."""
    return [
        w for w in context.by_kind("wheel")
        if w.name in vendor.plug_ins or (w.name == "torch" and w.attributes.get("build") in vendor.labels)
    ]  # fmt: skip


def in_order(context: CheckContext, stack: VendorStack) -> Finding:
    """Nothing is wrong as far as it can be told."""
    driver = context.component(f"driver:{stack.vendor}")
    if not stack.devices or driver is None or not stack.certain:
        return CHECK.skip(f"{stack.name}: nothing that could be judged")
    return CHECK.finding(
        Status.PASS,
        f"{stack.name}: the driver {driver.version or 'of unknown version'} serves {len(stack.devices)} device"
        + ("s" if len(stack.devices) > 1 else ""),
        subject=(driver.key, *keys(context, stack)),
        detail=PROVEN,
        evidence=(*stack.evidence, *driver.evidence),
        confidence=Confidence.DERIVED,
        severity=Severity.LOW,
    )


def keys(context: CheckContext, stack: VendorStack, addresses: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """The keys of the vendor's devices."""
    wanted = stack.devices if addresses is None else addresses
    return tuple(c.key for c in context.by_kind("gpu", "npu") if c.key.partition(":")[2] in wanted)


def table_row(stack: VendorStack) -> Evidence:
    """Where the vendor's files are named."""
    return Evidence(kind=EvidenceKind.TABLE, source=stack.source, text=f"table vendors, row {stack.vendor}")


# -- driver and device files --------------------------------------------------------------------------------------


def kernel(context: CheckContext, stack: VendorStack, users: list[Component]) -> Iterator[Finding]:
    """A device that no kernel driver serves; a driver without device files; a container without them."""
    idle = tuple(a for a in stack.undriven if users or a not in stack.plain_display)
    if idle and not is_unverified(context, idle):
        yield CHECK.finding(
            Status.WARN,
            f"no kernel driver serves {len(idle)} {stack.name} device{'s' if len(idle) > 1 else ''}",
            subject=(*keys(context, stack, idle), *(u.key for u in users)),
            detail=f"No driver is bound to {', '.join(idle[:4])}. {PROVEN}",
            evidence=(*stack.evidence, table_row(stack)),
            confidence=Confidence.DERIVED,
            remedy=f"Install {stack.name}'s driver for the running kernel, or load its module; see `dmesg` for why it does not.",
        )
    driven = [a for a in stack.devices if a not in stack.undriven]
    in_container = context.fact(Container) is not None
    if stack.not_given and not stack.devices and users:
        yield CHECK.finding(
            Status.WARN,
            f"this container was given no {stack.name} device",
            subject=tuple(u.key for u in users),
            detail=f"Its host has {len(stack.not_given)} on the bus; {', '.join(stack.node_patterns)} is not here. {PROVEN}",
            evidence=(*stack.evidence, *(e for u in users[:2] for e in u.evidence[:1])),
            confidence=Confidence.DERIVED,
            remedy=f"Start the container with {stack.name}'s device files, or by its container toolkit.",
        )
    elif driven and stack.node_patterns and not stack.nodes and not in_container:
        yield CHECK.finding(
            Status.WARN,
            f"{stack.name}: the kernel driver is bound and made no device file",
            subject=keys(context, stack),
            detail=f"None of {', '.join(stack.node_patterns)} is there. {PROVEN}",
            evidence=(*stack.evidence, table_row(stack)),
            confidence=Confidence.HEURISTIC,
            remedy=f"See `dmesg` for an error of the driver; {stack.name}'s installer also sets up the device files at boot.",
        )


def is_unverified(context: CheckContext, addresses: tuple[str, ...]) -> bool:
    """Whether the vendor itself is a guess: an id that the PCI ID repository does not have."""
    found = [c for c in context.by_kind("gpu", "npu") if c.key.partition(":")[2] in addresses]
    return any(c.attributes.get("vendor_unverified") for c in found)


# -- toolkit and plug-ins -----------------------------------------------------------------------------------------


def toolkit(context: CheckContext, vendor: Vendor, stack: VendorStack, users: list[Component]) -> Iterator[Finding]:
    """A plug-in that loads the toolkit's libraries, and no toolkit."""
    needing = [u for u in users if u.name in NEEDS_TOOLKIT or u.attributes.get("build") in NEEDS_TOOLKIT]
    if not needing or stack.toolkits or not stack.toolkit_places or not (stack.devices or stack.nodes):
        return
    if stack.libraries:
        return
    names = ", ".join(f"{u.name} {u.version}" for u in needing)
    yield CHECK.finding(
        Status.WARN,
        f"{names} needs {stack.name}'s toolkit, and none was found",
        subject=tuple(u.key for u in needing),
        detail=f"Neither {', '.join(stack.toolkit_places)} nor a folder in {', '.join(vendor.homes) or 'a variable'} is there."
        f" {PROVEN}",
        evidence=(*(e for u in needing for e in u.evidence[:1]), table_row(stack)),
        confidence=Confidence.HEURISTIC,
        remedy=f"Install the toolkit release that {stack.name} names for this plug-in, or use its container image.",
    )


def pins(context: CheckContext, users: list[Component]) -> Iterator[Finding]:
    """A plug-in whose version names the PyTorch that it was built for (`1.33.1+torch2.11.0`), beside another."""
    for user in users:
        match = re.search(r"\+torch(\d{1,3}(?:\.\d{1,3}){1,3})", user.version or "")
        torch = next(iter(context.named("torch", user.target)), None)
        if match is None or torch is None or not torch.version:
            continue
        wanted = numbers(match.group(1))
        if numbers(torch.version)[: len(wanted)] != wanted:
            yield CHECK.finding(
                Status.WARN,
                f"{user.name} {user.version} was built for torch {match.group(1)}, and {torch.version} is installed",
                subject=(user.key, torch.key),
                detail=f"The plug-in's version names its PyTorch. {PROVEN}",
                evidence=(*user.evidence[:1], *torch.evidence[:1]),
                confidence=Confidence.DERIVED,
                remedy=f"Install torch {match.group(1)} beside it (the CPU build), or the plug-in for torch {torch.version}.",
            )


CHECK = Check(
    id="VENDOR-STACK",
    title="A further vendor's driver, toolkit or plug-in does not fit",
    explanation="""\
Cambricon, Enflame, Hygon, Iluvatar, Kunlunxin, MetaX, Moore Threads, T-Head, Tecorigin, Intel's Gaudi: each is one row of a
table (PCI vendor, kernel driver, device files, tool, toolkit, plug-ins). What is judged is the same for all: a device on the
bus without a kernel driver; a driver without device files; a plug-in for PyTorch without the toolkit whose libraries it loads;
a plug-in that names the PyTorch it was built for, beside another one.

The vendor is told by the PCI id alone. Several of these devices show themselves to PyTorch as *cuda*, one prints NVIDIA's own
table, and `xpu-smi` is the tool of two vendors: no rule of NVIDIA's is applied to them. A tool whose text has a form that is
not known is reported as such, never guessed at. Devices for virtual machines, virtual functions without a driver and desktop
displays that nothing here uses are left alone.

*Proven on captures and on described machines, not on these devices: nothing here is more than a warning.*""",
    remediation="Install the vendor's driver, then the toolkit release that it names for the plug-in, then the plug-in with the"
    " PyTorch that it names; the vendor's container images hold the last two in fitting versions.",
    sources=(
        "https://github.com/pciutils/pciids",
        "https://github.com/gpustack/runtime",
        "https://github.com/gpustack/gpustack/blob/main/docs/installation/requirements.md",
        "https://github.com/Syllo/nvtop",
        "https://github.com/PaddlePaddle/PaddleCustomDevice",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"unsupported display driver / musa driver combination",
            source="https://github.com/ggml-org/llama.cpp/issues/11675",
            strength=3,
        ),
        LogSignature(
            pattern=r"libmusa\.so[.0-9]{0,8}: cannot open shared object file",
            source="https://github.com/MooreThreads/torch_musa/issues/83", strength=2,
        ),
        LogSignature(
            pattern=r"libmccl\.so[.0-9]{0,8}: cannot open shared object file",
            source="https://github.com/MooreThreads/torch_musa/issues/5", strength=2,
        ),
        LogSignature(
            pattern=r"libmupti\.so[.0-9]{0,8}: cannot open shared object file",
            source="https://github.com/MooreThreads/torch_musa/issues/56", strength=2,
        ),
        LogSignature(
            pattern=r"lib(?:musa|musart|mudnn|mublas|mccl|mufft|musparse|murand|mupti|musa_python)\.so[.\d]{0,8}: "
            r"undefined symbol",
            source="https://github.com/MooreThreads/torch_musa/issues/24",
        ),
        LogSignature(
            pattern=r"lib(?:musart|mudnn|mublas(?:Lt)?|mufft|murand|musparse|musolver|musa_python|musa_kernels)\.so[.\d]{0,8}: "
            r"cannot open shared object file",
            source="https://github.com/MooreThreads/torch_musa/issues/83",
        ),
        LogSignature(
            pattern=r"modprobe: ERROR: could not insert 'mtgpu'",
            source="https://github.com/MooreThreads/tutorial_on_musa/issues/64",
        ),
        LogSignature(
            pattern=r"MUSA error: no (?:CUDA|MUSA)-capable device is detected",
            source="https://github.com/MooreThreads/torch_musa/issues/50",
        ),
    ),
    tags=("vendors",),
)  # fmt: skip

CHECKS = (CHECK,)
