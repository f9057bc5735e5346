"""TORCH-NPU: torch, torch_npu, CANN and ATB do not belong together.

Rests on the matrix rules `torch-npu-torch` and `cann-torch-npu`, on torch's build, and on the C++ ABI that the environment
picks of NNAL's ATB."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Command,
    Component,
    Confidence,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
)
from infra_doctor_probes.from_matrix import Rows, findings, named, others
from infra_doctor_probes.tables.ascend_frameworks import PAIRS, base
from infra_doctor_probes.tables.common import rows


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per environment for each thing that does not fit."""
    wheels = [w for w in context.by_kind("wheel") if w.name == "torch-npu"]
    if not wheels:
        yield CHECK.skip("torch_npu is in none of the Python environments looked at")
        return
    yield from findings(
        CHECK,
        context,
        context.judged("torch-npu-torch"),
        title=lambda bad: f"{named(context, bad, 'wheel')} do not belong together",
        remedy=lambda bad: pairing(context, bad),
        passed=lambda good: f"{named(context, good, 'wheel')} belong together",
    )
    yield from findings(
        CHECK,
        context,
        context.judged("cann-torch-npu"),
        title=lambda bad: f"{named(context, bad, 'wheel')} does not work with {others(context, bad, 'wheel')}",
        remedy=lambda _: REMEDY,
        passed=lambda good: f"{named(context, good, 'wheel')} works with {others(context, good, 'wheel')}",
    )
    for wheel in wheels:
        yield from torch_of(context, wheel)
        yield from atb(context, wheel)
        yield from built_for_another(context, wheel)


def pairing(context: CheckContext, bad: Rows) -> str:
    """The smallest change: torch for this torch_npu, or the torch_npu that is released for this torch and CANN."""
    npu, torch = context.component(bad[0].left), context.component(bad[0].right)
    if npu is None or torch is None:
        return REMEDY
    wanted = ".".join(map(str, base(npu.version)))
    advice = (
        f"Install torch {wanted} beside torch-npu {npu.version} (`pip install torch=={wanted}`, on x86-64 from PyTorch's CPU"
        " index)"
    )
    cann = next((c for c in context.by_kind("cann") if c.attributes.get("in_use")), None)
    for row in rows(PAIRS):
        if (
            cann is not None
            and row.certain
            and base(row["torch"]) == base(torch.version)
            and row["cann"] == cann.version
        ):
            advice += (
                f", or keep torch and install torch-npu {row['torch_npu']}, released for it and CANN {row['cann']}"
            )
            break
    return advice + "."


def torch_of(context: CheckContext, wheel: Component) -> Iterator[Finding]:
    """No torch at all, or one that was built for another device."""
    torch = next(iter(context.named("torch", wheel.target)), None)
    if torch is None:
        yield CHECK.finding(
            Status.FAIL, f"{wheel.name} {wheel.version} is installed without torch", subject=(wheel.key,),
            evidence=wheel.evidence, confidence=Confidence.DERIVED, remedy=REMEDY,
        )  # fmt: skip
    elif torch.attributes.get("build") in {"cuda", "rocm", "xpu"}:
        build = str(torch.attributes["build"]).upper()
        yield CHECK.finding(
            Status.WARN,
            f"{wheel.name} {wheel.version} stands on a {build} build of torch",
            subject=(wheel.key, torch.key),
            detail="torch_npu plugs into the CPU build; up to 2.11 its wheels pin torch X.Y.Z+cpu on x86-64.",
            evidence=(*torch.evidence, *wheel.evidence),
            confidence=Confidence.DERIVED,
            severity=Severity.LOW,
            remedy=f"Reinstall torch {(torch.version or '').partition('+')[0]} from PyTorch's CPU index.",
        )


def atb(context: CheckContext, wheel: Component) -> Iterator[Finding]:
    """The ABI of the ATB that the environment picks; and vllm-ascend without ATB."""
    from infra_doctor_probes.ascend.environment import AscendEnvironment
    from infra_doctor_probes.ascend.frameworks import AscendFrameworkLibraries

    environment = context.fact(AscendEnvironment)
    if environment is None or not environment.known:
        return
    home = environment.value("ATB_HOME_PATH")
    nnals = context.by_kind("nnal")
    script = next((str(n.attributes["set_env"]) for n in nnals if n.attributes.get("set_env")), None)
    command = (Command(argv=("source", script)),) if script else ()
    picked = re.search(r"/cxx_abi_([01])(?:/|$)", home or "")
    found = next((f for f in context.facts(AscendFrameworkLibraries) if f.wheel == wheel.key), None)
    if picked and found is not None and found.cxx_abi is not None and picked.group(1) != found.cxx_abi:
        yield CHECK.finding(
            Status.FAIL,
            f"ATB is picked for C++ ABI {picked.group(1)}, torch was built with {found.cxx_abi}",
            subject=(wheel.key, *(n.key for n in nnals)),
            detail=f"ATB_HOME_PATH={home}. NNAL's set_env.sh asks the torch that it finds; sourced before torch was installed, or"
            " outside its environment, it guesses.",
            evidence=(
                Evidence(kind=EvidenceKind.ENVIRONMENT, source="ATB_HOME_PATH", text=home or ""),
                Evidence(
                    kind=EvidenceKind.FILE, source="torch/share/cmake/Torch/TorchConfig.cmake",
                    text=f"_GLIBCXX_USE_CXX11_ABI={found.cxx_abi}",
                ),
            ),
            confidence=Confidence.DERIVED,
            remedy="With this Python environment active, source NNAL's set_env.sh again.",
            commands=command,
        )  # fmt: skip
    vllm = next(iter(context.named("vllm-ascend", wheel.target)), None)
    if vllm is not None and home is None:
        yield CHECK.finding(
            Status.WARN,
            f"vllm-ascend {vllm.version} needs NNAL (ATB), and "
            + ("its environment is not set" if nnals else "none was found"),
            subject=(vllm.key, *(n.key for n in nnals)),
            detail="Without it an import ends with libatb.so: cannot open shared object file.",
            evidence=(*vllm.evidence, *(e for n in nnals for e in n.evidence)),
            confidence=Confidence.DERIVED,
            severity=Severity.MEDIUM,
            remedy="Source NNAL's set_env.sh after CANN's." if nnals else "Install Ascend-cann-nnal of CANN's version.",
            commands=command,
        )


def built_for_another(context: CheckContext, wheel: Component) -> Iterator[Finding]:
    """Packages that were compiled against another build of torch_npu, by what they require."""
    from infra_doctor_probes.ascend.frameworks import TorchNpuPin

    for pin in context.facts(TorchNpuPin):
        if pin.target != wheel.target or pin.met is not False:
            continue
        yield CHECK.finding(
            Status.WARN,
            f"{pin.package} {pin.version} requires torch-npu {pin.requirement}, {wheel.version} is installed",
            subject=(wheel.key,),
            detail="Extensions link torch_npu's C++ symbols (c10_npu::…), which change from post to post: loading one that was"
            " built for another ends with an undefined symbol.",
            evidence=(*wheel.evidence, *pin.evidence),
            confidence=Confidence.DERIVED,
            remedy=f"Install torch-npu {pin.requirement}, or the release of {pin.package} for torch-npu {wheel.version}; an"
            " extension that was built here is built again.",
        )


REMEDY = (
    "Install torch and torch_npu of one X.Y.Z, in one command, and the CANN that the release notes pair with that torch_npu:"
    " `pip install torch==X.Y.Z torch-npu==X.Y.Z.postN` (torch from PyTorch's CPU index on x86-64)."
)

CHECK = Check(
    id="TORCH-NPU",
    title="torch, torch_npu, CANN or ATB mismatch",
    explanation="""\
torch_npu is compiled against the internals of one torch: X.Y.Z[.postN] needs torch X.Y.Z. Another torch gives *undefined
symbol* at import. Each torch_npu is released for one CANN; TorchNPU 7.3 to 26.2 work with every CANN from 8.5 to 9.2. Of other
pairs nothing is published, which is *unknown* here and not wrong.

Extensions that link torch_npu (dlinfer, vllm-ascend, mindie-turbo) are built against one build of it, the post number
included: *undefined symbol: _ZN7c10_npu…* is another one. What such a package requires in its metadata is held against the
torch_npu that is there; the symbols themselves are not read.

ATB, of the package NNAL, exists once per C++ ABI: the copy that ATB_HOME_PATH picks must be that of torch, else *undefined symbol
… GetOperationByName*.

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation=REMEDY,
    sources=(
        "https://github.com/Ascend/pytorch/issues/35",
        "https://github.com/Ascend/pytorch/blob/9e73e708ab93/COMPATIBILITY.md",
        "https://github.com/vllm-project/vllm-ascend/issues/1144",
        "https://github.com/vllm-project/vllm-ascend/issues/152",
        "https://github.com/vllm-project/vllm-ascend/issues/117",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"lib(?:torch_npu|op_plugin_atb|torch_npu_\w{1,20})\.so: undefined symbol",
            source="https://github.com/Ascend/pytorch/issues/35",
            strength=3,
        ),
        # Symbols of torch_npu's own namespaces, asked for by somebody's extension.
        LogSignature(
            pattern=r"undefined symbol: _ZNK?(?:7c10_npu|9torch_npu|6at_npu)",
            source="https://github.com/DeepLink-org/dlinfer/issues/183",
            strength=3,
        ),
        LogSignature(
            pattern=r"libtorch_npu\.so: cannot open shared object file",
            source="https://github.com/flagos-ai/vllm-plugin-FL/issues/77",
        ),
        LogSignature(
            pattern=r"\blib(?:atb|atb_\w{1,20}|mki|asdops|tbe_adapter)\.so: cannot open shared object file",
            source="https://github.com/vllm-project/vllm-ascend/issues/152",
            strength=3,
        ),
        # Symbols of ATB's namespaces: the ATB that is picked is of another version or C++ ABI.
        LogSignature(
            pattern=r"undefined symbol: _ZNK?(?:3atb|6AsdOps|3Mki)\d",
            source="https://github.com/vllm-project/vllm-ascend/issues/1144",
            strength=3,
        ),
        LogSignature(
            pattern=r"module 'torch_npu' has no attribute '_npu_\w",
            source="https://github.com/vllm-project/vllm-ascend/issues/340",
        ),
        LogSignature(
            pattern=r"MindSpore version [\w.]{1,30} and Ascend AI software package[^\n]{0,60}not match",
            source="https://github.com/mindspore-lab/mindyolo/issues/217",
        ),
    ),
    tags=("ascend", "torch", "planned"),
)

CHECKS = (CHECK,)
